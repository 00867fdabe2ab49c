"""Any sequence of imports, undos and single edits leaves the prices a naive model says, at every instant."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from sipsvc.errors import SipsvcError
from sipsvc.imports import steps
from sipsvc.store import prices
from sipsvc.store.changes import Changes, utc_now
from sipsvc.store.database import writing
from sipsvc.store.models import Gateway, PriceList
from sipsvc.store.pricefile import key
from sipsvc.store.rates import Owner
from tests.imports.world import SOMEBODY, LocalStep, add_gateway, add_pricelist, in_force, upload

START = utc_now()
MINUTE = timedelta(minutes=1)
NUMBERS = count(1)
# Destinations few enough to meet, two of them for callers from somewhere only.
KEYS = st.sampled_from([("44", ""), ("447", ""), ("33", ""), ("33", "1"), ("33", "12")])
SHEETS = st.dictionaries(KEYS, st.integers(1, 3), max_size=4)
DELAYS = st.sampled_from([0, 0, 0, 2, 5])

Table = dict[str, int]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("import"), SHEETS.filter(bool), st.sampled_from(["full", "partial"]), DELAYS),
        st.tuples(st.just("undo")),
        st.tuples(st.just("set"), KEYS, st.integers(1, 3), DELAYS),
        st.tuples(st.just("end"), KEYS, DELAYS),
    ),
    min_size=2,
    max_size=8,
)


class Import:
    """What an import did to a destination: the price it found and the one it made (None: none)."""

    def __init__(self, import_id: str, begin: datetime) -> None:
        self.id = import_id
        self.begin = begin
        self.did: dict[str, tuple[int | None, int | None]] = {}
        # Destinations whose price was set by somebody else since.
        self.lost: set[str] = set()


class Model:
    """Prices as a list of dated changes: (instant, destination, price or None), later ones winning."""

    def __init__(self) -> None:
        self.log: list[tuple[datetime, str, int | None]] = []
        self.applied: list[Import] = []

    def final(self) -> Table:
        """What is in force for good."""
        table: dict[str, int | None] = {}
        for _, word, price in self.log:
            table[word] = price
        return {word: price for word, price in table.items() if price is not None}

    def at(self, moment: datetime) -> Table:
        table: dict[str, int | None] = {}
        for begin, word, price in self.log:
            if begin <= moment:
                table[word] = price
        return {word: price for word, price in table.items() if price is not None}

    def horizon(self, word: str | None = None) -> datetime:
        """The latest change of a destination, or of any."""
        return max((begin for begin, other, _ in self.log if word in (None, other)), default=START - MINUTE)

    def put(self, begin: datetime, word: str, price: int | None) -> None:
        self.log.append((begin, word, price))

    def undo(self, now: datetime) -> None:
        done = self.applied.pop()
        for word, (found, made) in done.did.items():
            if word in done.lost:
                continue
            if done.begin > now:
                # It never came into force: as if it had never been said.
                said = len(self.log) - 1 - self.log[::-1].index((done.begin, word, made))
                del self.log[said]
            else:
                self.put(now, word, found)

    def touch(self, word: str) -> None:
        for done in self.applied:
            done.lost.add(word)


def words(sheet: dict[tuple[str, str], int]) -> Table:
    return {key(*at): price for at, price in sheet.items()}


def csv_of(sheet: dict[tuple[str, str], int]) -> str:
    return "prefix,origin,name,rate\n" + "".join(f"{at[0]},{at[1]},x,0.{price}\n" for at, price in sheet.items())


def values(price: int) -> dict[str, Any]:
    rate = Decimal(f"0.{price}")
    return {"name": "x", "rate": rate, "fee": Decimal(0), "initial": 1, "increment": 1, "country": "", "kind": ""}


@pytest.mark.rule("TG-7", "TP-7")
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(sequence=STEPS, sold=st.booleans())
def test_prices_are_what_was_done_to_them(engine: Engine, sequence: list[tuple[Any, ...]], sold: bool) -> None:
    owner_id = f"owner-{next(NUMBERS)}"
    target: type[Gateway] | type[PriceList] = PriceList if sold else Gateway
    with writing(engine) as session:
        changes = Changes(session, SOMEBODY)
        if sold:
            add_pricelist(changes, owner_id, initial=1, increment=1)
        else:
            add_gateway(changes, owner_id)
    model = Model()
    now = START
    instants = [START]
    for step in sequence:
        now += MINUTE
        instants += [now, *(now + minutes * MINUTE for minutes in (1, 2, 5))]
        kind, *rest = step
        if kind == "import":
            _import(engine, target, owner_id, model, now, *rest)
        elif kind == "undo" and model.applied:
            steps.undo(LocalStep(engine, now), model.applied[-1].id)
            model.undo(now)
        elif kind in ("set", "end"):
            _edit(engine, target, owner_id, model, now, kind, *rest)
        shown = {word: price for word, (_, price) in in_force(engine, target, owner_id, now).items()}
        assert shown == {word: Decimal(f"0.{price}") for word, price in model.at(now).items()}
    for moment in sorted(instants):
        found = in_force(engine, target, owner_id, moment)
        assert {word: int(rate * 10) for word, (_, rate) in found.items()} == model.at(moment), moment


def _import(
    engine: Engine, target: Any, owner_id: str, model: Model, now: datetime, sheet: Any, mode: str, delay: int
) -> None:
    begin = now + delay * MINUTE
    import_id = upload(engine, target, owner_id, csv_of(sheet), mode=mode, at=now)
    if model.horizon() > begin:
        with pytest.raises(steps.Refused):
            steps.apply(LocalStep(engine, now), import_id, effective_from=begin, accept_rejected=False)
        return
    steps.apply(LocalStep(engine, now), import_id, effective_from=begin, accept_rejected=False)
    done = Import(import_id, begin)
    wanted, before = words(sheet), model.final()
    for word in sorted(before.keys() | wanted.keys()):
        found, made = before.get(word), wanted.get(word)
        if found == made or (made is None and mode == "partial"):
            continue
        done.did[word] = (found, made)
        model.put(begin, word, made)
    model.applied.append(done)


def _edit(
    engine: Engine, target: Any, owner_id: str, model: Model, now: datetime, kind: str, at: Any, *rest: Any
) -> None:
    *price, delay = rest
    begin, word = now + delay * MINUTE, key(*at)
    before = model.final().get(word)
    wanted: int | None = price[0] if price else None
    refused = model.horizon(word) > begin or (kind == "end" and before is None)

    def edit() -> None:
        with writing(engine) as session:
            changes = Changes(session, SOMEBODY, now)
            owner: Owner = session.get_one(target, owner_id)
            act: Callable[[], object] = (
                (lambda: prices.end_price(changes, owner, *at, begin))
                if kind == "end"
                else (lambda: prices.set_price(changes, owner, *at, values(price[0]), begin))
            )
            act()

    if refused:
        with pytest.raises(SipsvcError):
            edit()
        return
    edit()
    if before != wanted:
        model.put(begin, word, wanted)
        model.touch(word)
    with Session(engine) as session:
        owner = session.get_one(target, owner_id)
        rows = prices.versions(session, owner, *at)
        assert all(row.valid_to is None or row.valid_to >= row.valid_from for row in rows)
