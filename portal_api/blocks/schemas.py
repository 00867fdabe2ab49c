"""Prefixes that are blocked or allowed, as they are shown and set."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from portal_api.schemas import OPTIONAL_OWNER, ResourceView, Value, View, examples, patch_of
from sipsvc.store.numbers import Block
from sipsvc.store.values import Section

SET: dict[str, Any] = {
    "prefix": "979",
    "reason": "international premium rate",
    "action": "block",
    "liftable": True,
    "lift_expensive": False,
}
ONE_CUSTOMER = Annotated[
    Value | None,
    Field(description="The id of the one customer it is for. Without one it is for all.", examples=[None]),
]


class BlockView(ResourceView):
    """A prefix that nobody of the partner may call (nobody at all where `partner` is null), or may all the same.

    With `customer` it is for that one alone. `liftable`: a partner's allow undoes this block of the platform's;
    `lift_expensive`: the price list's threshold does not hold there.
    """

    model_config = ResourceView.model_config | examples(
        {
            "id": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e07",
            "version": 1,
            "created_at": "2026-11-22T23:23:05.120Z",
            "updated_at": "2026-11-22T23:23:05.120Z",
            "partner": None,
            "customer": None,
            **SET,
        }
    )

    partner: str | None
    customer: str | None
    prefix: str
    reason: str
    action: str
    liftable: bool
    lift_expensive: bool


class BlockCreate(Block):
    """A prefix as it is blocked or allowed."""

    model_config = Section.model_config | examples({"prefix": "979", "reason": "international premium rate"})

    partner: OPTIONAL_OWNER = None
    customer: ONE_CUSTOMER = None


class BlocksImported(View):
    """What became of a file's rows; prefixes that it does not name stay as they are."""

    model_config = View.model_config | examples({"rows": 120, "created": 118, "updated": 1, "unchanged": 1})

    rows: int
    created: int
    updated: int
    unchanged: int


BlockPatch = patch_of(Block, "BlockPatch", {"reason": "premium rate, by order of the regulator"})
