"""Price rows in bulk: what new rows change, putting that into force at an instant, and taking it back.

Only rows that differ are written, so the price of a destination that stays the same keeps its row and its id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from itertools import islice
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    and_,
    bindparam,
    case,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    type_coerce,
    update,
)
from sqlalchemy.orm import Session, aliased

from sipsvc.errors import SipsvcError
from sipsvc.store.changes import Changes
from sipsvc.store.models import CoverageRow, Gateway, PriceList, PriceRow
from sipsvc.store.pricefile import Row, key
from sipsvc.store.types import from_scaled, instant, to_ms, to_scaled

BATCH = 10_000
Owner = Gateway | PriceList
T = TypeVar("T")
Model = type[CoverageRow] | type[PriceRow]

_COLUMNS = ("prefix", "origin", "name", "rate", "fee", "initial", "increment", "country", "kind")


class Current(NamedTuple):
    """A row in force for good, and its number."""

    id: int
    row: Row


class Difference(NamedTuple):
    """What `wanted` rows change: `gone` are empty where the rows come on top of those there."""

    new: list[Row]
    changed: list[tuple[Current, Row]]
    gone: list[Current]
    same: int

    @property
    def empty(self) -> bool:
        return not (self.new or self.changed or self.gone)


class TooEarly(SipsvcError):
    """Rows already begin or end at `horizon`, later than what was to be put into force."""

    def __init__(self, horizon: datetime, at: datetime) -> None:
        super().__init__(
            f"prices that begin or end at {instant(horizon)} are there already; "
            f"nothing can be put into force before that, at {instant(at)}"
        )
        self.horizon = horizon


class Undone(NamedTuple):
    """How many rows an undo ended, and how many are in force again."""

    ended: int
    restored: int


def model_of(owner: Owner) -> Model:
    return CoverageRow if isinstance(owner, Gateway) else PriceRow


def of_owner(owner: Owner) -> ColumnElement[bool]:
    """The condition that a row is the owner's."""
    return CoverageRow.gateway == owner.id if isinstance(owner, Gateway) else PriceRow.pricelist == owner.id


def current(session: Session, owner: Owner) -> Iterator[Current]:
    """The rows that have no end, in no order. Amounts and names are shared, for few differ."""
    model = model_of(owner)
    money = {"rate", "fee"}
    columns = [
        type_coerce(getattr(model, name), BigInteger) if name in money else getattr(model, name) for name in _COLUMNS
    ]
    amounts: dict[int, Decimal] = {}
    names: dict[str, str] = {}
    statement = select(model.id, *columns).where(of_owner(owner), model.valid_to.is_(None))
    for number, *cells in session.connection().execute(statement, execution_options={"yield_per": BATCH}):
        prefix, origin, name, rate, fee, initial, increment, country, kind = cells
        for amount in (rate, fee):
            if amount not in amounts:
                amounts[amount] = from_scaled(amount)
        name = names.setdefault(name, name)
        yield Current(number, Row(prefix, origin, name, amounts[rate], amounts[fee], initial, increment, country, kind))


def compare(
    session: Session, owner: Owner, wanted: Iterable[Row], *, full: bool, see: Callable[[Row], None] | None = None
) -> Difference:
    """How `wanted`, each (prefix, origin) once, differs from what is there; `full` ends what is not in it.

    `see` is shown every row that is there.
    """
    left: dict[str, Row] = {key(row.prefix, row.origin): row for row in wanted}
    changed: list[tuple[Current, Row]] = []
    gone: list[Current] = []
    same = 0
    for there in current(session, owner):
        if see is not None:
            see(there.row)
        row = left.pop(key(there.row.prefix, there.row.origin), None)
        if row is None:
            if full:
                gone.append(there)
        elif row[: len(_COLUMNS)] == there.row[: len(_COLUMNS)]:
            same += 1
        else:
            changed.append((there, row))
    return Difference(list(left.values()), changed, gone, same)


def horizon(session: Session, owner: Owner) -> datetime | None:
    """The latest instant at which a row begins or ends, None where there never was one.

    What is put into force may not begin before it: a row that ends later, with none after it, would overlap.
    """
    model = model_of(owner)
    latest = select(func.max(model.valid_from), func.max(model.valid_to)).where(of_owner(owner), ever(model))
    return max((found for found in session.execute(latest).one() if found is not None), default=None)


def ever(model: Model) -> ColumnElement[bool]:
    """The condition that a row is, was or will be in force: it was not taken back before its time."""
    return or_(model.valid_to.is_(None), model.valid_to > model.valid_from)


def apply(
    changes: Changes, owner: Owner, difference: Difference, *, at: datetime, import_id: str | None = None
) -> None:
    """Put a difference into force at `at`; the caller has compared within this transaction and commits.

    Raises TooEarly, and nothing is written then.
    """
    session, model = changes.session, model_of(owner)
    latest = horizon(session, owner)
    if latest is not None and latest > at:
        raise TooEarly(latest, at)
    ended = [there.id for there, _ in difference.changed] + [there.id for there in difference.gone]
    close = (
        update(model)
        .where(model.id == bindparam("row"))
        .values(valid_to=at, changed=changes.directory, closed_by=import_id)
    )
    for batch in _batches(ended):
        session.connection().execute(close, [{"row": number} for number in batch])
    begun = sorted([*difference.new, *(row for _, row in difference.changed)], key=itemgetter(0, 1))
    _insert(changes, owner, begun, to_ms(at), import_id)
    session.expire_all()


def undo(changes: Changes, owner: Owner, import_id: str) -> Undone:
    """Take back what an import did: from now on its rows are over, and what they replaced is in force again.

    A price that was set otherwise since stays as it was set. What is in force again counts as opened by who opened it
    first, so that an earlier import can be undone after this one.
    """
    session, model, now = changes.session, model_of(owner), changes.at
    moment = literal(now, type_=model.valid_from.type)
    ours = of_owner(owner)
    other = aliased(model)
    owner_column = "gateway" if isinstance(owner, Gateway) else "pricelist"
    beside = and_(getattr(other, owner_column) == owner.id, other.prefix == model.prefix, other.origin == model.origin)
    run = session.connection().execute
    ended = run(
        update(model)
        .where(ours, model.opened_by == import_id, model.valid_to.is_(None))
        .values(
            valid_to=case((model.valid_from > now, model.valid_from), else_=moment),
            changed=changes.directory,
            closed_by=import_id,
        )
    ).rowcount
    by_import = and_(beside, other.opened_by == import_id)
    ended_now = and_(by_import, other.closed_by == import_id, other.changed == changes.directory)
    later = and_(beside, other.valid_from >= model.valid_to, or_(other.valid_to.is_(None), other.valid_to > now))
    restored = and_(
        ours,
        model.closed_by == import_id,
        or_(model.opened_by.is_(None), model.opened_by != import_id),
        # The import's own row was in force until now, or the import had none for this destination.
        or_(_exists(ended_now), ~_exists(by_import)),
        ~_exists(and_(later, other.id != model.id, ever(other))),
    )
    reopened = run(
        update(model)
        .where(restored, model.valid_to > now)
        .values(valid_to=None, closed_by=None, changed=changes.directory)
        .execution_options(synchronize_session=False)
    ).rowcount
    extra = ("source_row", "markup") if model is PriceRow else ()
    kept = [*_COLUMNS, *extra, "opened_by"]
    copied = [getattr(model, name) for name in (owner_column, *kept)]
    again = select(*copied, moment, literal(changes.directory)).where(restored, model.valid_to <= now)
    copy = insert(model).from_select([f"{owner_column}_id", *kept, "valid_from", "changed"], again)
    copies = run(copy, execution_options={"preserve_rowcount": True}).rowcount
    session.expire_all()
    return Undone(ended, reopened + copies)


def _exists(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists(select(literal(1)).where(condition))


def _insert(changes: Changes, owner: Owner, rows: list[Row], at: int, import_id: str | None) -> None:
    """Past SQLAlchemy, whose parameters would cost more than all the rest; PostgreSQL takes a COPY."""
    table = model_of(owner).__tablename__
    owner_column = "gateway_id" if isinstance(owner, Gateway) else "pricelist_id"
    extra = () if isinstance(owner, Gateway) else ("source_row", "markup")
    names = (owner_column, *_COLUMNS, *extra, "valid_from", "changed", "opened_by")
    amounts: dict[Decimal | None, int | None] = {None: None}

    def scaled(amount: Decimal | None) -> int | None:
        if amount is not None and amount not in amounts:
            amounts[amount] = to_scaled(amount)
        return amounts[amount]

    def cells(row: Row) -> tuple[Any, ...]:
        prefix, origin, name, rate, fee, initial, increment, country, kind, source_row, markup = row
        own = (prefix, origin, name, scaled(rate), scaled(fee), initial, increment, country, kind)
        made_of = (source_row, scaled(markup)) if extra else ()
        return (owner.id, *own, *made_of, at, changes.directory, import_id)

    connection = changes.session.connection()
    if connection.dialect.name == "postgresql":
        driver: Any = connection.connection.driver_connection
        with driver.cursor() as cursor, cursor.copy(f"COPY {table} ({', '.join(names)}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(cells(row))
        return
    statement = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
    for batch in _batches(rows):
        connection.exec_driver_sql(statement, [cells(row) for row in batch])


def _batches(items: list[T]) -> Iterator[list[T]]:
    left = iter(items)
    while batch := list(islice(left, BATCH)):
        yield batch
