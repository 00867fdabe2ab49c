"""What bodies are written in: Accept and Content-Type against what an endpoint offers and takes (RFC 9110)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import Request

from portal_api.problems import MEDIA_TYPE, UNUSABLE_PARAMETERS, Problem

JSON = "application/json"
CSV = "text/csv"
CSV_TOO: dict[str, Any] = {"content": {CSV: {"schema": {"type": "string"}, "example": "id,name\r\n17,Retail\r\n"}}}
"""What a list's answer says besides its page, to OpenAPI."""
BODY_METHODS = ("POST", "PUT", "PATCH")
QUALITY = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")

F = TypeVar("F", bound=Callable[..., Any])


def offers(*media: str) -> Callable[[F], F]:
    """Marks an endpoint that can answer in these media types, the first by default; JSON alone without the mark."""

    def mark(endpoint: F) -> F:
        endpoint.offers = media  # type: ignore[attr-defined]
        return endpoint

    return mark


def takes(*media: str, most: int | None = None) -> Callable[[F], F]:
    """Marks an endpoint whose body is in one of these media types, and of at most `most` bytes if not the usual."""

    def mark(endpoint: F) -> F:
        endpoint.takes = media  # type: ignore[attr-defined]
        endpoint.most = most  # type: ignore[attr-defined]
        return endpoint

    return mark


def negotiate(request: Request) -> None:
    """Leaves the answer's media type in `request.state.media`. Raises Problem 400, 406 or 415."""
    endpoint = request.scope.get("endpoint")
    offered: tuple[str, ...] = getattr(endpoint, "offers", (JSON,))
    request.state.media = _best(request.headers.get("accept", "*/*"), offered)
    if request.method in BODY_METHODS:
        taken: tuple[str, ...] = getattr(endpoint, "takes", (JSON,))
        given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        there = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
        if given not in taken and (given or there):
            raise Problem(
                415, f"The body must be {' or '.join(taken)}.", [("Content-Type", f"must be {' or '.join(taken)}")]
            )


def _best(accept: str, offered: tuple[str, ...]) -> str:
    ranges = [_range(part) for part in accept.split(",") if part.strip()]
    best, top = "", 0.0
    for media in offered:
        fitting = [(specific, quality) for pattern, specific, quality in ranges if _fits(pattern, media)]
        quality = max(fitting)[1] if fitting else (1.0 if not ranges else 0.0)
        if quality > top:
            best, top = media, quality
    if not best:
        raise Problem(406, f"Only {' and '.join(offered)} can be had here.", [("Accept", f"has none of {offered}")])
    return best


def _range(text: str) -> tuple[str, int, float]:
    """A media range, how specific it is, and its weight (RFC 9110 §12.5.1)."""
    pattern, *parameters = (part.strip().lower() for part in text.split(";"))
    quality = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            if not QUALITY.fullmatch(value.strip()):
                raise Problem(400, UNUSABLE_PARAMETERS, [("Accept", "has a weight that is no number from 0 to 1")])
            quality = float(value)
    return pattern, 2 - pattern.count("*"), quality


def _fits(pattern: str, media: str) -> bool:
    if media == JSON and pattern == MEDIA_TYPE:
        return True
    return pattern in ("*/*", media) or (pattern.endswith("/*") and media.startswith(pattern[:-1]))
