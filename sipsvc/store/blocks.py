"""A prefix blocked from the command line, for everybody (SIP-26)."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from sqlalchemy import select

from sipsvc.errors import ConfigError
from sipsvc.settings import key_of, reason_of
from sipsvc.store import numbers
from sipsvc.store.changes import LOCAL, Changes
from sipsvc.store.database import open_database, writing
from sipsvc.store.models import Block


def add(url: str, prefix: str, reason: str) -> dict[str, Any]:
    """Block it for the whole platform, with history. Raises ConfigError for what cannot be used or is there already."""
    try:
        given = numbers.Block(prefix=prefix, reason=reason)
    except ValidationError as error:
        raise ConfigError(
            [
                (key_of(one["loc"]), {"prefix": prefix, "reason": reason}[key_of(one["loc"])],
                 reason_of(one["type"], one["msg"]))
                for one in error.errors()
            ]
        ) from None  # fmt: skip
    engine = open_database(url)
    try:
        with writing(engine) as session:
            changes = Changes(session, LOCAL)
            ours = select(Block).where(Block.partner.is_(None))
            row = session.scalars(ours.where(Block.prefix == given.prefix)).first()
            if row is None:
                row = Block(partner=None, customer=None, **given.model_dump())
                changes.create(row)
            elif row.action == "block" and not row.liftable:
                raise ConfigError([("prefix", prefix, "is blocked already")])
            else:
                changes.update(row, given.model_dump())
            # A longer entry of the platform's speaks before this one, and may let calls through.
            longer = ours.where(Block.prefix.startswith(given.prefix), Block.prefix != given.prefix)
            open_still = sorted(one.prefix for one in session.scalars(longer) if one.action == "allow" or one.liftable)
            return {
                "id": row.id,
                "prefix": row.prefix,
                "reason": row.reason,
                "open_still": open_still,
                "version": changes.directory,
            }
    finally:
        engine.dispose()
