"""Prices as if they were put into force now: to decide on in a transaction that is taken back (EX-1).

Nothing is told and no order of time is kept, so what is done here must never be committed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import and_, case, literal, or_, update

from sipsvc.store.changes import Changes
from sipsvc.store.models import CoverageRow, Gateway, PriceRow
from sipsvc.store.pricefile import Row
from sipsvc.store.rates import Owner, model_of, of_owner


def put_rows(changes: Changes, owner: Owner, rows: Sequence[Row], *, ending: Collection[str] = ()) -> None:
    """`rows` are the owner's prices from now on, for good, in the place of all that is or was to be in force.

    Of the prefixes in `ending` every other row ends.
    """
    model = model_of(owner)
    same = [and_(model.prefix == row.prefix, model.origin == row.origin) for row in rows]
    gone = or_(model.prefix.in_(ending), *same)
    over = case(
        (model.valid_from > changes.at, model.valid_from), else_=literal(changes.at, type_=model.valid_from.type)
    )
    still = or_(model.valid_to.is_(None), model.valid_to > changes.at)
    changes.session.connection().execute(update(model).where(of_owner(owner), gone, still).values(valid_to=over))
    for row in rows:
        changes.session.add(_row(changes, owner, row))
    changes.session.flush()


def _row(changes: Changes, owner: Owner, row: Row) -> CoverageRow | PriceRow:
    values: dict[str, Any] = {
        **row._asdict(), "valid_from": changes.at, "valid_to": None, "changed": changes.directory, "opened_by": None,
        "closed_by": None,
    }  # fmt: skip
    if isinstance(owner, Gateway):
        del values["source_row"], values["markup"]
        return CoverageRow(gateway=owner.id, **values)
    return PriceRow(pricelist=owner.id, **values)
