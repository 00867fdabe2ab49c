"""Cursors: opaque text that says where the next page begins, and of which list."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import orjson

from portal_api.problems import Problem


def encode(kind: str, *place: int | str) -> str:
    """A cursor of list `kind`."""
    return urlsafe_b64encode(orjson.dumps([kind, *place])).decode().rstrip("=")


def decode(cursor: str, kind: str, count: int) -> list[Any]:
    """The place, of `count` parts, in a cursor of list `kind`. Raises Problem 400 for any other text."""
    try:
        data = orjson.loads(urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)))
    except ValueError:
        raise refused() from None
    if type(data) is not list or data[:1] != [kind] or len(data) != 1 + count:
        raise refused()
    return data[1:]


def refused() -> Problem:
    reason = "is not a cursor of this list in this order"
    return Problem(400, "The page cannot be found.", [("page[after]", reason)])
