"""How far each output has handed on the calls that ended, and the calls behind that (law 8).

Calls are read in the order of `sequence`, which the deliverer, the one writer, gives in the transaction that stores
them: what is read up to a number has nothing missing below it, however late a transaction ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from sipsvc.store.ledger import ENDED
from sipsvc.store.models import Cdr, CdrOutput


def position(session: Session, name: str) -> tuple[int, dict[str, Any] | None]:
    """The last `sequence` handed on, 0 at first, and the state noted with it."""
    found = session.execute(select(CdrOutput.sequence, CdrOutput.state).where(CdrOutput.name == name)).first()
    return (found[0], found[1]) if found else (0, None)


def note(session: Session, name: str, sequence: int, state: dict[str, Any] | None) -> None:
    """Everything up to `sequence` is handed on."""
    dialect = session.get_bind().dialect.name
    insert = (postgresql.insert if dialect == "postgresql" else sqlite.insert)(CdrOutput)
    values = {"sequence": sequence, "state": state}
    session.execute(insert.values(name=name, **values).on_conflict_do_update(index_elements=["name"], set_=values))


def after(session: Session, sequence: int, most: int) -> Sequence[Cdr]:
    """The next `most` calls."""
    return session.scalars(select(Cdr).where(Cdr.sequence > sequence).order_by(Cdr.sequence).limit(most)).all()


def old(
    session: Session, before: datetime, behind: tuple[datetime, str], names: Iterable[str], most: int
) -> tuple[list[str], tuple[datetime, str] | None]:
    """The calls among the next `most` that ended before `before` and are handed on to all of `names`; where to go on.

    `behind` is the INVITE's instant and the cdr_id of the last call looked at; None as the next one is the end.
    """
    at, cdr_id = behind
    found = session.execute(
        select(Cdr.cdr_id, Cdr.invite_at, Cdr.state, Cdr.end_at, Cdr.sequence)
        .where(Cdr.invite_at < before, or_(Cdr.invite_at > at, (Cdr.invite_at == at) & (Cdr.cdr_id > cdr_id)))
        .order_by(Cdr.invite_at, Cdr.cdr_id)
        .limit(most)
    ).all()
    if not found:
        return [], None
    sent = min((position(session, name)[0] for name in names), default=None)
    ids = [
        row.cdr_id
        for row in found
        if row.state == ENDED
        and row.end_at is not None
        and row.end_at < before
        and (row.sequence is None or sent is None or row.sequence <= sent)
    ]
    return ids, (found[-1].invite_at, found[-1].cdr_id)


def remove(session: Session, ids: Sequence[str]) -> None:
    """Remove calls that ended. Not in the transaction that found them: on SQLite one that read may not write."""
    session.execute(delete(Cdr).where(Cdr.cdr_id.in_(ids), Cdr.state == ENDED))
