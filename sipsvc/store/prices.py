"""One price of a list or a gateway's coverage: a series of rows, each in force until the next (UI-2).

Its versions are its rows in the order they were made, the first is 1. What is said here of a price list and its
prices holds for a gateway and its coverage.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from sipsvc.errors import SipsvcError
from sipsvc.rating import text
from sipsvc.store.changes import Changes
from sipsvc.store.models import CoverageRow, Gateway, PriceRow
from sipsvc.store.pricefile import key
from sipsvc.store.rates import Owner, TooEarly, model_of, of_owner
from sipsvc.store.types import instant

AnyRow = CoverageRow | PriceRow
VALUES = ("name", "rate", "fee", "initial", "increment", "country", "kind")


class NoPrice(SipsvcError):
    """There is no such price, or no such version of it."""


class NotNow(SipsvcError):
    """The change cannot begin when it was asked to."""


def kind_of(owner: Owner) -> str:
    """What history calls the owner's prices."""
    return "coverage" if isinstance(owner, Gateway) else "price"


def id_of(owner: Owner, prefix: str, origin: str) -> str:
    """What history calls one of them."""
    return f"{owner.id}/{key(prefix, origin)}"


def versions(session: Session, owner: Owner, prefix: str, origin: str) -> list[AnyRow]:
    """All rows of a price, version 1 first; one taken back before its time ends when it begins."""
    model = model_of(owner)
    found = select(model).where(of_owner(owner), model.prefix == prefix, model.origin == origin).order_by(model.id)
    return list(session.scalars(found))


def at_time(session: Session, owner: Owner, prefix: str, origin: str, at: datetime) -> AnyRow | None:
    """The row in force at an instant."""
    found = (row for row in versions(session, owner, prefix, origin) if row.valid_from <= at)
    return next((row for row in found if row.valid_to is None or row.valid_to > at), None)


def values_of(row: AnyRow) -> dict[str, Any]:
    """What `set_price` takes to make a row like this one."""
    return {name: getattr(row, name) for name in VALUES}


def set_price(
    changes: Changes, owner: Owner, prefix: str, origin: str, values: Mapping[str, Any], at: datetime | None = None
) -> AnyRow:
    """The price is `values` (all of VALUES) from `at` on, now where it is None; the row that says so.

    Where it is that already, nothing is written. Raises NotNow for an instant in the past, TooEarly for one before
    what is set to begin or end later.
    """
    return _set(changes, owner, prefix, origin, values, at, "set")


def revert(
    changes: Changes, owner: Owner, prefix: str, origin: str, version: int, at: datetime | None = None
) -> AnyRow:
    """The price is from `at` on what its `version` said. Raises NoPrice, and as `set_price` does."""
    rows = versions(changes.session, owner, prefix, origin)
    if not 1 <= version <= len(rows):
        raise NoPrice(f"there is no version {version} of this price, only 1 to {len(rows)}")
    return _set(changes, owner, prefix, origin, values_of(rows[version - 1]), at, "revert")


def end_price(changes: Changes, owner: Owner, prefix: str, origin: str, at: datetime | None = None) -> AnyRow:
    """There is no price from `at` on; the row that ends. Raises NoPrice, and as `set_price` does."""
    rows = versions(changes.session, owner, prefix, origin)
    begin = _begin(changes, rows, at)
    open_row = next((row for row in rows if row.valid_to is None), None)
    if open_row is None:
        raise NoPrice("there is no such price, or it has an end already")
    _close(changes, open_row, begin)
    told = {name: [_shown(value), None] for name, value in values_of(open_row).items()}
    _tell(changes, owner, open_row, len(rows), "end", begin, told)
    return open_row


def _set(
    changes: Changes,
    owner: Owner,
    prefix: str,
    origin: str,
    values: Mapping[str, Any],
    at: datetime | None,
    action: str,
) -> AnyRow:
    rows = versions(changes.session, owner, prefix, origin)
    begin = _begin(changes, rows, at)
    before = next((row for row in rows if row.valid_to is None), None)
    wanted = {name: values[name] for name in VALUES}
    old = values_of(before) if before is not None else dict.fromkeys(VALUES)
    differing = [name for name in VALUES if old[name] != wanted[name]]
    if before is not None and not differing:
        return before
    if before is not None:
        _close(changes, before, begin)
    common: dict[str, Any] = {
        "prefix": prefix, "origin": origin, "valid_from": begin, "valid_to": None, "changed": changes.directory,
        "opened_by": None, "closed_by": None,
    }  # fmt: skip
    row: AnyRow
    if isinstance(owner, Gateway):
        row = CoverageRow(gateway=owner.id, **wanted, **common)
    else:
        row = PriceRow(pricelist=owner.id, source_row=None, markup=None, **wanted, **common)
    changes.session.add(row)
    changes.session.flush()
    told = {name: [_shown(old[name]), _shown(wanted[name])] for name in differing}
    _tell(changes, owner, row, len(rows) + 1, action, begin, told)
    return row


def _begin(changes: Changes, rows: list[AnyRow], at: datetime | None) -> datetime:
    """When a change begins that may begin at `at`."""
    begin = changes.at if at is None else at
    if begin < changes.at:
        raise NotNow(f"{instant(begin)} is in the past")
    edges = [
        edge
        for row in rows
        if row.valid_to is None or row.valid_to > row.valid_from
        for edge in (row.valid_from, row.valid_to)
        if edge is not None
    ]
    latest = max(edges, default=begin)
    if latest > begin:
        raise TooEarly(latest, begin)
    return begin


def _close(changes: Changes, row: AnyRow, at: datetime) -> None:
    row.valid_to, row.changed, row.closed_by = at, changes.directory, None
    changes.session.flush()


def _tell(
    changes: Changes, owner: Owner, row: AnyRow, version: int, action: str, at: datetime, told: dict[str, list[Any]]
) -> None:
    name = key(row.prefix, row.origin)
    changes.tell(
        kind_of(owner),
        id_of(owner, row.prefix, row.origin),
        version,
        action,
        told | {"in_force_from": [None, instant(at)]},
        partner=owner.partner,
    )
    changes.rows_changed(owner, f"{action} {name} at {instant(at)}")


def _shown(value: Any) -> Any:
    return text(value) if isinstance(value, Decimal) else value
