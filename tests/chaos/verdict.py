"""What came of a run, by Call-ID: what the parties saw beside what the database holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.orm import Session

from sipsvc.demo.sipp import Sipp
from sipsvc.store.scope import PLATFORM
from sipsvc.store.types import from_ms, from_scaled
from sipsvc.store.usage import usage

CALLS = "SELECT call_id, answer_at IS NOT NULL, state, recovered, code FROM cdr"
CHARGED = "SELECT coalesce(sum(sell_amount), 0) FROM cdr WHERE state = 'ended'"
BOOKED = "SELECT coalesce(sum(amount), 0) FROM ledger_posting WHERE source_type = 'cdr' AND kind = 'charge'"
POSITION = 'SELECT segment, "offset" FROM delivery_position'


@dataclass(frozen=True, slots=True)
class Held:
    """The database at the end. `booked` is what the ledger, or else the customers' usage, says of `charged`."""

    rows: Counter[str]
    answered: set[str]
    open: int
    recovered: int
    codes: Counter[str]
    charged: Decimal
    booked: Decimal
    position: tuple[str, int]


def read(engine: Engine) -> Held:
    with engine.connect() as connection:
        found = connection.execute(text(CALLS)).all()
        position = connection.execute(text(POSITION)).one_or_none()
        return Held(
            Counter(row[0] for row in found),
            {row[0] for row in found if row[1]},
            sum(row[2] != "ended" for row in found),
            sum(bool(row[3]) for row in found),
            Counter(row[4] for row in found),
            from_scaled(int(connection.scalar(text(CHARGED)) or 0)),
            _booked(connection),
            ("", 0) if position is None else (position[0], position[1]),
        )


def _booked(connection: Connection) -> Decimal:
    if inspect(connection).has_table("ledger_posting"):
        return from_scaled(int(connection.scalar(text(BOOKED)) or 0))
    first, last = connection.execute(text("SELECT min(counted_at), max(counted_at) FROM cdr")).one()
    months = {from_ms(at).date().replace(day=1) for at in (first, last) if at is not None}
    with Session(connection) as session:
        found = (customer for of in months for customer in usage(session, PLATFORM, of))
        return sum((amount.amount for customer in found for amount in customer.amounts), Decimal(0))


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the verdict."""

    name: str
    value: str
    good: bool = True

    def __str__(self) -> str:
        return f"{self.name:<52} {self.value}{'' if self.good else '   <- NOT as asked'}"


def answers(party: Sipp, *, sent: bool) -> set[str]:
    """The Call-IDs whose INVITE this party saw, or sent, a 2xx to."""
    return {
        line.call_id
        for line in party.lines()
        if line.sent is sent and line.cseq.endswith(" INVITE") and line.start.startswith("SIP/2.0 2")
    }


def figures(
    held: Held, heard: set[str], given: set[str], live: int, rejected: int, delivered: bool
) -> Iterator[Figure]:
    """`heard` are the answers the callers saw, `given` those the gateway sent; `live` the server's calls at the end."""
    unrecorded, invented = heard - held.answered, held.answered - given
    doubled = sum(times > 1 for times in held.rows.values())
    yield Figure("answers the callers saw", f"{len(heard)}", bool(heard))
    yield Figure("answered calls in the database", f"{len(held.answered)}")
    yield Figure("answers the gateway sent", f"{len(given)}")
    yield Figure("answers seen without an answered record", _some(unrecorded), not unrecorded)
    yield Figure("answered records without an answer of the gateway", _some(invented), not invented)
    yield Figure("calls with more than one record", f"{doubled}", not doubled)
    yield Figure("sum of the ledger", f"{held.booked}", held.booked == held.charged)
    yield Figure("sum of the records", f"{held.charged}", held.charged > 0)
    yield Figure("live calls at the end", f"{live}", not live)
    yield Figure("records still open", f"{held.open}", not held.open)
    yield Figure("records the database refused", f"{rejected}", not rejected)
    yield Figure("log delivered to its end", "yes" if delivered else "no", delivered)
    yield Figure("records marked recovered", f"{held.recovered}")
    yield Figure("records by code", ", ".join(f"{code} {times}" for code, times in held.codes.most_common()))


def _some(calls: set[str]) -> str:
    return f"{len(calls)}" + (f" ({', '.join(sorted(calls)[:5])})" if calls else "")
