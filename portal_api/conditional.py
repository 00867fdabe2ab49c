"""ETag, If-Match and If-None-Match (RFC 9110 §8.8, §13.1): a resource's version in quotes."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Header

from portal_api.problems import Problem

TAGS = re.compile(r'\s*(W/)?"[\x21\x23-\x7e]*"(\s*,\s*(W/)?"[\x21\x23-\x7e]*")*\s*')
TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]*"')
# A header's bytes are Latin-1, and what stands here is shown and generated as text.
PATTERN = r'^(\*|"[0-9]{1,9}")$'

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        description='The ETag of what is to be changed, such as `"3"`, or `*`. Needed (428); 412 where it is not so.',
        json_schema_extra={"pattern": PATTERN, "x-required": True, "examples": ["*"]},
    ),
]
IfNoneMatch = Annotated[
    str | None,
    Header(
        alias="If-None-Match",
        description="An ETag that is known: 304 where it is still the one.",
        json_schema_extra={"pattern": PATTERN, "examples": ['"3"']},
    ),
]


def etag(version: int) -> str:
    return f'"{version}"'


def check(given: str | None, version: int) -> None:
    """If-Match must be there and name the version. Raises Problem 428, 412, or 400 for what is no ETag."""
    if given is None:
        raise Problem(428, "Say with If-Match which version is to be changed.", [("If-Match", "is missing")])
    if given.strip() != "*" and etag(version) not in _tags("If-Match", given):
        reason = f"is not the version there is, {etag(version)}"
        raise Problem(412, "It has been changed since it was read.", [("If-Match", reason)])


def unchanged(given: str | None, version: int) -> bool:
    """Whether If-None-Match names the version. Raises Problem 400 for what is no ETag."""
    if given is None:
        return False
    # Weak comparison (RFC 9110 §13.1.2).
    return given.strip() == "*" or etag(version) in [tag.removeprefix("W/") for tag in _tags("If-None-Match", given)]


def _tags(field: str, given: str) -> list[str]:
    if not TAGS.fullmatch(given):
        raise Problem(400, "The header cannot be read.", [(field, 'must be ETags such as "3", or *')])
    return TAG.findall(given)
