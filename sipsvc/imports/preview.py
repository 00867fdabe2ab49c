"""What an import would change, before it does: counts, some of each, and all of it as a file (TG-7)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import chain
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from sipsvc.imports.files import PackedCsv, harmless
from sipsvc.imports.minutes import Loss, Minutes, first_minute, losses
from sipsvc.rating import text
from sipsvc.store import rates
from sipsvc.store.models import Gateway, PriceList
from sipsvc.store.pricefile import Row
from sipsvc.store.rates import Difference, Owner

SAMPLES = 20
CLASSES = ("new", "dearer", "cheaper", "other", "gone", "newly_expensive", "below_cost")
COLUMNS = (
    "what", "prefix", "origin", "name", "old_rate", "new_rate", "old_fee", "new_fee", "old_initial", "new_initial",
    "old_increment", "new_increment", "against", "sell", "cost",
)  # fmt: skip


class Line(NamedTuple):
    """A line of the changes file. `what` is one of CLASSES.

    Of a loss, `sell` and `cost` are what the expected call brings and costs, and `against` is the price list it is
    sold by.
    """

    what: str
    prefix: str
    origin: str
    name: str
    old: Row | None = None
    new: Row | None = None
    against: str = ""
    sell: Decimal | None = None
    cost: Decimal | None = None

    def cells(self) -> tuple[str, ...]:
        """As COLUMNS names them; what there is not is empty."""
        old, new = self.old, self.new
        pairs = [
            cell(row) if row is not None else "" for cell in (_rate, _fee, _initial, _increment) for row in (old, new)
        ]
        loss = ("" if self.sell is None else text(self.sell), "" if self.cost is None else text(self.cost))
        return (self.what, self.prefix, self.origin, harmless(self.name), *pairs, self.against, *loss)


def _rate(row: Row) -> str:
    return text(row.rate)


def _fee(row: Row) -> str:
    return text(row.fee)


def _initial(row: Row) -> str:
    return str(row.initial)


def _increment(row: Row) -> str:
    return str(row.increment)


def preview(session: Session, owner: Owner, wanted: list[Row], *, full: bool) -> tuple[dict[str, Any], bytes]:
    """Counts and samples as JSON values, and the changes file, packed: how `wanted` differs from what is there."""
    others = _others(session, owner)
    before = _empty(owner)
    difference = rates.compare(session, owner, wanted, full=full, see=before.add if others else None)
    counts = dict.fromkeys((*CLASSES, "same"), 0) | {"same": difference.same}
    samples: dict[str, list[dict[str, str]]] = {name: [] for name in CLASSES}
    file = PackedCsv(COLUMNS)
    lines = [_differing(difference)]
    if isinstance(owner, PriceList) and owner.expensive_at is not None:
        lines.append(_newly_expensive(difference, owner.expensive_at))
    if others and not difference.empty:
        after = _after(session, owner, wanted, full)
        lines.append(_below_cost(session, owner, others, (before.ready(), after), difference))
    for line in chain.from_iterable(lines):
        counts[line.what] += 1
        cells = line.cells()
        if len(samples[line.what]) < SAMPLES:
            samples[line.what].append(dict(zip(COLUMNS[1:], cells[1:], strict=True)))
        file.write(cells)
    return {"counts": counts, "samples": samples}, file.finish()


def _others(session: Session, owner: Owner) -> Sequence[Owner]:
    """What the owner's prices are set against: lists for a gateway, gateways for a list, of the same currency."""
    model: type[Gateway] | type[PriceList] = PriceList if isinstance(owner, Gateway) else Gateway
    same = select(model).where(model.partner == owner.partner, model.currency == owner.currency)
    return list(session.scalars(same.order_by(model.id)))


def _differing(difference: Difference) -> Iterator[Line]:
    minute = first_minute()
    for row in _sorted(difference.new):
        yield Line("new", row.prefix, row.origin, row.name, None, row)
    for there, row in sorted(difference.changed, key=lambda pair: (pair[1].prefix, pair[1].origin)):
        yield Line(_kind(minute, there.row, row), row.prefix, row.origin, row.name, there.row, row)
    for row in _sorted(there.row for there in difference.gone):
        yield Line("gone", row.prefix, row.origin, row.name, row, None)


def _sorted(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row.prefix, row.origin))


def _kind(minute: Callable[[Row], Decimal], old: Row, new: Row) -> str:
    """By the first 60 seconds, fee included, and where these cost the same by the rate alone."""
    before, after = (minute(old), old.rate, old.fee), (minute(new), new.rate, new.fee)
    if after == before:
        return "other"
    return "dearer" if after > before else "cheaper"


def _newly_expensive(difference: Difference, at: Decimal) -> Iterator[Line]:
    """Rows that reach the threshold and did not before (TP-4): calls to them are refused by default."""
    minute = first_minute()
    for row in _sorted(difference.new):
        if minute(row) >= at:
            yield Line("newly_expensive", row.prefix, row.origin, row.name, None, row)
    for there, row in difference.changed:
        if minute(there.row) < at <= minute(row):
            yield Line("newly_expensive", row.prefix, row.origin, row.name, there.row, row)


def _below_cost(
    session: Session, owner: Owner, others: Sequence[Owner], ours: tuple[Minutes, Minutes], difference: Difference
) -> Iterator[Line]:
    """`ours` is the owner's side before and after. A destination that is not in the import has no name here."""
    set_now = [*difference.new, *(row for _, row in difference.changed)]
    named = {(row.prefix, row.origin): row.name for row in (*(there.row for there in difference.gone), *set_now)}
    if isinstance(owner, Gateway):
        for pricelist in others:
            sells = _minutes(session, pricelist)
            found = losses((sells, sells), ([ours[0]], [ours[1]]), named.keys(), told_again=frozenset())
            yield from _losses(found, pricelist.id, named)
    else:
        costs = [_minutes(session, gateway) for gateway in others]
        again = {(row.prefix, row.origin) for row in set_now}
        yield from _losses(losses(ours, (costs, costs), named.keys(), told_again=again), owner.id, named)


def _losses(found: Iterable[Loss], against: str, named: Mapping[tuple[str, str], str]) -> Iterator[Line]:
    for sell, cost in sorted(found):
        deeper = max(sell, cost, key=lambda side: (len(side.prefix), len(side.origin)))
        destination = (deeper.prefix, deeper.origin)
        yield Line(
            "below_cost", *destination, named.get(destination, ""), None, None, against, sell.amount, cost.amount
        )  # fmt: skip


def _empty(owner: Owner) -> Minutes:
    return Minutes(owner.minimum) if isinstance(owner, PriceList) else Minutes()


def _minutes(session: Session, owner: Owner) -> Minutes:
    minutes = _empty(owner)
    minutes.extend(there.row for there in rates.current(session, owner))
    return minutes.ready()


def _after(session: Session, owner: Owner, wanted: list[Row], full: bool) -> Minutes:
    after = _empty(owner)
    if not full:
        after.extend(there.row for there in rates.current(session, owner))
    after.extend(wanted)
    return after.ready()


def totals(difference: Difference) -> dict[str, int]:
    """What a difference did, in numbers."""
    return {
        "new": len(difference.new),
        "changed": len(difference.changed),
        "gone": len(difference.gone),
        "same": difference.same,
    }
