"""Single prices: set, ended and reverted at their time, each with its versions and its history."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from sipsvc.store import prices
from sipsvc.store.changes import Changes, entries, utc_now
from sipsvc.store.database import writing
from sipsvc.store.models import Gateway, PriceList
from sipsvc.store.prices import NoPrice, NotNow
from sipsvc.store.rates import Owner, TooEarly
from tests.imports.world import SOMEBODY, in_force

NOW = utc_now()
HOUR = timedelta(hours=1)
T = TypeVar("T")
Target = type[Gateway] | type[PriceList]
OWNERS: list[tuple[Target, str, str]] = [(PriceList, "retail", "price"), (Gateway, "alpha", "coverage")]


def values(rate: str, name: str = "UK", **more: Any) -> dict[str, Any]:
    common = {"fee": Decimal(0), "initial": 60, "increment": 60, "country": "GB", "kind": "L"}
    return {"name": name, "rate": Decimal(rate), **common, **more}


def edit(engine: Engine, target: Target, owner_id: str, at: datetime, act: Callable[[Changes, Owner], T]) -> T:
    """One edit in a transaction of its own, at an instant."""
    with writing(engine) as session:
        changes = Changes(session, SOMEBODY, at)
        owner: Owner = session.get_one(target, owner_id)
        return act(changes, owner)


def put(engine: Engine, rate: str, at: datetime, begin: datetime | None = None, *, target: Target = PriceList,
        owner_id: str = "retail", origin: str = "") -> None:  # fmt: skip
    edit(engine, target, owner_id, at, lambda changes, owner: prices.set_price(
        changes, owner, "44", origin, values(rate), begin
    ))  # fmt: skip


@pytest.mark.rule("UI-2")
@pytest.mark.parametrize(("target", "owner_id", "kind"), OWNERS)
def test_a_price_is_a_series_of_versions(engine: Engine, target: Target, owner_id: str, kind: str) -> None:
    put(engine, "0.01", NOW, target=target, owner_id=owner_id)
    put(engine, "0.02", NOW + HOUR, target=target, owner_id=owner_id)
    put(engine, "0.05", NOW + HOUR, target=target, owner_id=owner_id, origin="33")
    edit(engine, target, owner_id, NOW + 2 * HOUR, lambda changes, owner: prices.revert(changes, owner, "44", "", 1))
    edit(engine, target, owner_id, NOW + 3 * HOUR, lambda changes, owner: prices.end_price(changes, owner, "44", ""))
    shown = [in_force(engine, target, owner_id, NOW + hours * HOUR).get("44") for hours in range(4)]
    assert shown == [("UK", Decimal("0.01")), ("UK", Decimal("0.02")), ("UK", Decimal("0.01")), None]
    with Session(engine) as session:
        owner: Owner = session.get_one(target, owner_id)
        assert [row.rate for row in prices.versions(session, owner, "44", "")] == [
            Decimal("0.01"), Decimal("0.02"), Decimal("0.01"),
        ]  # fmt: skip
        then = prices.at_time(session, owner, "44", "", NOW + HOUR)
        assert then is not None and then.rate == Decimal("0.02")
        assert prices.at_time(session, owner, "44", "", NOW + 3 * HOUR) is None
        told = entries(session, kind, f"{owner_id}/44")
        assert [(entry.version, entry.action) for entry in told] == [(1, "set"), (2, "set"), (3, "revert"), (3, "end")]
        assert {entry.actor for entry in told} == {"token-of-ann"}
        assert told[1].changes["rate"] == ["0.010000", "0.020000"]
        assert set(told[1].changes) == {"rate", "in_force_from"}
        assert [entry.version for entry in entries(session, kind, f"{owner_id}/44:33")] == [1]
        # The list has a new version with each, and the feed finds the rows by it.
        assert [entry.action for entry in entries(session, "pricelist" if kind == "price" else "gateway", owner_id)][
            1:
        ] == ["rows"] * 5
        changed = [row.changed for row in prices.versions(session, owner, "44", "")]
        assert max(changed) == owner.rows_version


@pytest.mark.rule("UI-2")
def test_a_price_that_begins_later(engine: Engine) -> None:
    put(engine, "0.01", NOW)
    put(engine, "0.02", NOW + HOUR, NOW + 24 * HOUR)
    assert in_force(engine, PriceList, "retail", NOW + 23 * HOUR)["44"] == ("UK", Decimal("0.01"))
    assert in_force(engine, PriceList, "retail", NOW + 24 * HOUR)["44"] == ("UK", Decimal("0.02"))
    with pytest.raises(TooEarly, match="begin or end at"):
        put(engine, "0.03", NOW + 2 * HOUR)
    # The same instant again takes its place: the one before never comes into force.
    put(engine, "0.04", NOW + 2 * HOUR, NOW + 24 * HOUR)
    assert in_force(engine, PriceList, "retail", NOW + 24 * HOUR)["44"] == ("UK", Decimal("0.04"))
    # Another caller's price is another price.
    put(engine, "0.09", NOW + 2 * HOUR, origin="33")


def test_what_is_so_already_is_not_written(engine: Engine) -> None:
    put(engine, "0.01", NOW)
    put(engine, "0.010", NOW + HOUR)
    with Session(engine) as session:
        owner = session.get_one(PriceList, "retail")
        assert len(prices.versions(session, owner, "44", "")) == 1
        assert (owner.version, len(entries(session, "price", "retail/44"))) == (2, 1)


def test_what_cannot_be(engine: Engine) -> None:
    with pytest.raises(NoPrice, match="no such price"):
        edit(engine, PriceList, "retail", NOW, lambda changes, owner: prices.end_price(changes, owner, "44", ""))
    put(engine, "0.01", NOW)
    with pytest.raises(NotNow, match="is in the past"):
        put(engine, "0.02", NOW + HOUR, NOW)
    for version in (0, 2):
        with pytest.raises(NoPrice, match="only 1 to 1"):
            edit(engine, PriceList, "retail", NOW + HOUR, lambda changes, owner, version=version: prices.revert(  # type: ignore[misc]
                changes, owner, "44", "", version
            ))  # fmt: skip
    edit(engine, PriceList, "retail", NOW + HOUR, lambda changes, owner: prices.end_price(changes, owner, "44", ""))
    with pytest.raises(NoPrice, match="has an end already"):
        edit(engine, PriceList, "retail", NOW + HOUR, lambda changes, owner: prices.end_price(changes, owner, "44", ""))
    assert in_force(engine, PriceList, "retail", NOW + HOUR) == {}
