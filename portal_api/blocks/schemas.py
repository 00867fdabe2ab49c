"""Blocked prefixes as they are shown and set."""

from __future__ import annotations

from typing import Any

from portal_api.schemas import OPTIONAL_OWNER, ResourceView, examples, patch_of
from sipsvc.store.sections import Block, Section

SET: dict[str, Any] = {"prefix": "979", "reason": "international premium rate"}


class BlockView(ResourceView):
    """A prefix that nobody of the partner may call, or nobody at all where `partner` is null."""

    model_config = ResourceView.model_config | examples(
        {
            "id": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e07",
            "version": 1,
            "created_at": "2026-11-22T23:23:05.120Z",
            "updated_at": "2026-11-22T23:23:05.120Z",
            "partner": None,
            **SET,
        }
    )

    partner: str | None
    prefix: str
    reason: str


class BlockCreate(Block):
    """A blocked prefix as it is made."""

    model_config = Section.model_config | examples(SET)

    partner: OPTIONAL_OWNER = None


BlockPatch = patch_of(Block, "BlockPatch", {"reason": "premium rate, by order of the regulator"})
