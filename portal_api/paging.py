"""Opaque cursors: where the next page begins, and of which list."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Protocol, TypeVar

import orjson

from portal_api.problems import Problem


class HasId(Protocol):
    """A row with a text id that its list is sorted by."""

    @property
    def id(self) -> str: ...


Row = TypeVar("Row", bound=HasId)


def encode(kind: str, *place: int | str) -> str:
    """A cursor of list `kind`."""
    return urlsafe_b64encode(orjson.dumps([kind, *place])).decode().rstrip("=")


def decode(cursor: str, kind: str, *types: type[int] | type[str]) -> list[int | str]:
    """The place in a cursor that `encode` made. Raises Problem 400 for any other text."""
    try:
        data = orjson.loads(urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)))
    except ValueError:
        raise refused("is not a cursor of ours") from None
    if type(data) is not list or [type(part) for part in data] != [str, *types] or data[0] != kind:
        raise refused("is not a cursor of this list")
    return data[1:]


def refused(reason: str) -> Problem:
    return Problem(400, "The page cannot be found.", [("page[after]", reason)])


def by_id(rows: Sequence[Row], kind: str, after: str | None, size: int) -> tuple[Sequence[Row], str | None]:
    """The page of rows sorted by id behind the cursor `after`, and the cursor of the next."""
    if after is not None:
        last = str(decode(after, kind, str)[0])
        rows = [row for row in rows if row.id > last]
    found = rows[:size]
    return found, encode(kind, found[-1].id) if len(rows) > size else None
