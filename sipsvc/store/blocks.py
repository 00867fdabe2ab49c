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
            same = select(Block.id).where(Block.partner.is_(None), Block.prefix == given.prefix)
            if session.execute(same.limit(1)).first() is not None:
                raise ConfigError([("prefix", prefix, "is blocked already")])
            row = Block(partner=None, customer=None, **given.model_dump())
            changes.create(row)
            return {"id": row.id, "prefix": row.prefix, "reason": row.reason, "version": changes.directory}
    finally:
        engine.dispose()
