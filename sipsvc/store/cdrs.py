"""CDRs in the database: one row a call, written by the deliverer, read by the API (law 8).

Delivery is idempotent: a row that ended is final, and an open one never takes its place. So any record may
come twice, or older ones after newer ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, func, or_, select, type_coerce, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from sipsvc.store import allowances, ledger
from sipsvc.store.ledger import ENDED
from sipsvc.store.models import Cdr, Customer, DeliveryPosition
from sipsvc.store.types import from_ms, from_scaled, to_ms

ANSWERED = "answered"
HOUR_MS = 3_600_000
LONGEST_CALL = timedelta(days=7)

Record = dict[str, Any]
Row = dict[str, Any]

_START_TEXT = (
    "call_id", "partner", "customer", "customer_name", "trunk", "auth", "source", "dialled", "e164", "caller",
    "caller_shown",
)  # fmt: skip
# What of the answer and the end goes with what the call is sold at.
_OF_ACCOUNT = ("granted_s", "month")
_LATER_TEXT = ("reason", "code", "hangup_by", "gateway", "gateway_name", "sent_to")


def merge(start: Record | None, answer: Record | None, end: Record | None) -> Row:
    """One call's records of the log (cdr/record.py) as the columns of its row.

    The end of a refused call may follow its start or hold the start's fields itself. A record that is missing
    leaves its columns blank: a call with a gap is worth more than none. Raises ValueError when all are None.
    """
    known: Record = {**(start or {}), **(answer or {}), **(end or {})}
    if not known:
        raise ValueError("a CDR needs at least one record")
    ended = end is not None
    sell, buy = known.get("sell"), known.get("buy")
    if sell is not None:
        sell = sell | {name: known[name] for name in _OF_ACCOUNT if known.get(name) is not None}
    first_seen = next(known[key] for key in ("invite_at", "answer_at", "end_at") if known.get(key) is not None)
    row: Row = {"cdr_id": known["cdr_id"], "state": ENDED if ended else ANSWERED}
    row |= {key: known.get(key, "") for key in _START_TEXT}
    row |= {key: known.get(key, "") for key in _LATER_TEXT}
    row |= {
        "invite_at": from_ms(first_seen),
        "progress_at": _instant(known.get("progress_at")),
        "answer_at": _instant(known.get("answer_at")),
        "end_at": _instant(known.get("end_at")),
        "duration_ms": known.get("duration_ms"),
        "status": known.get("status", 0),
        "q850": known.get("q850"),
        "recovered": known.get("recovered", False),
        "directory": known.get("directory", 0),
        "attempts": known.get("attempts", []),
        "trace": known.get("trace", []),
        "live": known.get("live", {}),
        "sell": sell,
        "buy": buy,
        "billed_s": sell["billed"] if ended and sell else None,
        "sell_amount": Decimal(sell["amount"]) if ended and sell else None,
        "sell_currency": sell["currency"] if sell else "",
        "buy_amount": Decimal(buy["amount"]) if ended and buy else None,
        "buy_currency": buy["currency"] if buy else "",
        "margin": Decimal(known["margin"]) if known.get("margin") is not None else None,
        "sell_prefix": sell["prefix"] if sell else "",
        # Records of version 0.1 hold no name.
        "sell_name": sell.get("name", "") if sell else "",
        "rating_version": 1,
        "rated_before": [],
    }
    row["answered"] = row["answer_at"] is not None
    row["counted_at"] = (row["answer_at"] or row["invite_at"]) if ended else None
    row["sequence"] = None
    return row


def number(rows: Sequence[Row], last: int) -> int:
    """Give the calls that ended their `sequence`, from `last` on; the new last one.

    To be stored with `set_position` in the same transaction, by the one writer: so whoever has read up to a number has
    missed none below it. A row that is stored already keeps the number it has.
    """
    for row in rows:
        if row["state"] == ENDED:
            last += 1
            row["sequence"] = last
    return last


def upsert(session: Session, rows: Sequence[Row]) -> None:
    """Store rows of `merge`, and post what those that ended cost (`ledger`). One that ended is never changed again
    but by a re-rating; one that is open is replaced.

    What allowances paid for of calls that end by it is counted, once however often a call is delivered. A row without a
    partner (its record is of version 0.1, or lost) is its customer's partner's.
    """
    final: dict[str, Row] = {}
    for row in rows:
        there = final.get(row["cdr_id"])
        # One statement may carry the whole batch, and PostgreSQL takes a key only once in it.
        if there is None or there["state"] != ENDED:
            final[row["cdr_id"]] = row
    if not final:
        return
    statement = upsert_statement(session.get_bind().dialect.name)
    run = session.connection().execute
    written = run(statement.returning(Cdr.cdr_id), list(final.values())).scalars().all()
    orphans = [row["cdr_id"] for row in final.values() if not row["partner"]]
    if orphans:
        # Behind the insert: a transaction of SQLite that read first may be refused when it writes.
        partner = select(Customer.partner).where(Customer.id == Cdr.customer).scalar_subquery()
        found = select(Customer.id).where(Customer.id == Cdr.customer).exists()
        run(update(Cdr).where(Cdr.cdr_id.in_(orphans), Cdr.partner == "", found).values(partner=partner))
    ended = [final[cdr_id] for cdr_id in written if final[cdr_id]["state"] == ENDED]
    ledger.charge_calls(session, [row["cdr_id"] for row in ended])
    allowances.use_allowances(session, ended)


def upsert_statement(dialect: str) -> sqlite.Insert | postgresql.Insert:
    """Insert a row, or replace one that is still open."""
    insert = postgresql.insert(Cdr) if dialect == "postgresql" else sqlite.insert(Cdr)
    names = [column.name for column in Cdr.__table__.columns if not column.primary_key]
    return insert.on_conflict_do_update(
        index_elements=["cdr_id"],
        set_={name: insert.excluded[name] for name in names},
        where=Cdr.__table__.c.state != ENDED,
    )


def add_late(session: Session, record: Record) -> None:
    """Add a `late` record to the attempts of a call that is stored; the same one again changes nothing.

    Raises LookupError when there is no such call or attempt.
    """
    # A write first: a transaction of SQLite that read first may be refused when it writes.
    late = record["late"]
    tag = late["tag"]
    run = session.connection().execute
    this = update(Cdr).where(Cdr.cdr_id == record["cdr_id"])
    attempts = run(this.values(state=Cdr.state).returning(Cdr.attempts)).scalar_one_or_none()
    if attempts is None:
        raise LookupError(f"no call {record['cdr_id']!r} for a late answer")
    answers = attempts[record["attempt"]].setdefault("late", [])
    if all(one["tag"] != tag for one in answers):
        answers.append(late)
        run(this.values(attempts=attempts))


def apply(session: Session, records: Sequence[Record], *, open_calls: bool = False) -> None:
    """Store a run of log records: every call whose end is among them and, if `open_calls`, those answered so far.

    An end whose start is not in the run takes the missing fields from the open row stored before.
    """
    calls: dict[str, dict[str, Record]] = {}
    for record in records:
        calls.setdefault(record["cdr_id"], {}).setdefault(record["kind"], record)
    rows: list[Row] = []
    for cdr_id, kinds in calls.items():
        start, answer, end = kinds.get("start"), kinds.get("answer"), kinds.get("end")
        if end is None and not (open_calls and answer is not None):
            continue
        if start is None:
            start = _start_of(get(session, cdr_id))
        rows.append(merge(start, answer, end))
    upsert(session, rows)


def spent(session: Session, now: datetime) -> Iterator[tuple[str, str, int, Decimal]]:
    """What calls that ended on the day of `now` (UTC) cost the customers whose spending has a limit or an alert.

    Customer, currency, the hour they ended in (ms), and the sum.
    """
    since = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    watched = select(Customer.id).where(_watched())
    # By the index, which knows when a call was answered: none lasts longer than a week.
    recent = Cdr.counted_at >= since - LONGEST_CALL
    hour = type_coerce(Cdr.end_at, BigInteger) // HOUR_MS
    amount = func.sum(type_coerce(Cdr.sell_amount, BigInteger))
    found = (
        select(Cdr.customer, Cdr.sell_currency, hour, amount)
        .where(Cdr.customer.in_(watched), recent, Cdr.answered, Cdr.end_at >= since, Cdr.sell_amount.is_not(None))
        .group_by(Cdr.customer, Cdr.sell_currency, hour)
    )
    for customer, currency, hours, total in session.execute(found):
        yield customer, currency, int(hours) * HOUR_MS, from_scaled(int(total))


def is_watched(session: Session) -> bool:
    """Whether the spending of any customer has a limit or an alert."""
    return session.execute(select(Customer.id).where(_watched()).limit(1)).first() is not None


def _watched() -> ColumnElement[bool]:
    limits = (Customer.spend_alert_hour, Customer.spend_alert_day, Customer.spend_cap_hour, Customer.spend_cap_day)
    return or_(*(limit.is_not(None) for limit in limits))


def position(session: Session) -> tuple[str, int]:
    """The log segment and the byte offset in it up to which everything is delivered; ("", 0) at first."""
    row = session.execute(select(DeliveryPosition.segment, DeliveryPosition.offset)).first()
    return (row[0], row[1]) if row else ("", 0)


def last_sequence(session: Session) -> int:
    """The last number given to a call; 0 at first. It never goes back, whatever is removed."""
    return session.execute(select(DeliveryPosition.sequence)).scalar_one_or_none() or 0


def set_position(session: Session, segment: str, offset: int, sequence: int | None = None) -> None:
    """To be committed together with the rows it stands for; `sequence` as `number` told."""
    dialect = session.get_bind().dialect.name
    insert = (postgresql.insert if dialect == "postgresql" else sqlite.insert)(DeliveryPosition)
    values: dict[str, Any] = {"segment": segment, "offset": offset}
    if sequence is not None:
        values["sequence"] = sequence
    session.execute(insert.values(id=1, **values).on_conflict_do_update(index_elements=["id"], set_=values))


def get(session: Session, cdr_id: str) -> Cdr | None:
    """One call."""
    return session.get(Cdr, cdr_id)


def _start_of(cdr: Cdr | None) -> Record | None:
    """The fields of the start record, out of a row."""
    if cdr is None:
        return None
    fields: Record = {name: getattr(cdr, name) for name in _START_TEXT}
    return fields | {
        "cdr_id": cdr.cdr_id,
        "invite_at": to_ms(cdr.invite_at),
        "directory": cdr.directory,
        "trace": cdr.trace,
        "live": cdr.live,
    }


def _instant(value: int | None) -> datetime | None:
    return None if value is None else from_ms(value)
