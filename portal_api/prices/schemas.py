"""Prices as they are shown and set."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from portal_api.schemas import Instant, InstantIn, Money, View, examples, patch_of
from sipsvc.rating import ZERO
from sipsvc.store.values import Amount, Interval, Section, Text

SHOWN: dict[str, Any] = {
    "id": 17,
    "prefix": "4420",
    "origin": "",
    "name": "United Kingdom, London",
    "country": "GB",
    "kind": "L",
    "rate": "0.012500",
    "fee": "0.000000",
    "initial": 60,
    "increment": 60,
    "valid_from": "2026-11-22T23:23:05.120Z",
    "valid_to": None,
}


class PriceView(View):
    """One price per minute, from `valid_from` until before `valid_to` (null: for good).

    `origin` is the caller's prefix it is for, "" for any caller; `kind` L landline, M mobile, O other, or "".
    """

    model_config = View.model_config | examples(SHOWN)

    id: int
    prefix: str
    origin: str
    name: str
    country: str
    kind: str
    rate: Money
    fee: Money
    initial: int
    increment: int
    valid_from: Instant
    valid_to: Instant | None


class OnePrice(PriceView):
    """A price with its `version`, which is its ETag: one higher each time it is set."""

    model_config = View.model_config | examples(SHOWN | {"version": 2})

    version: int


class PriceSettable(Section):
    """What a price says."""

    model_config = Section.model_config | examples({"name": "United Kingdom, London", "rate": "0.012500"})

    name: Text
    rate: Amount
    fee: Amount = ZERO
    initial: Interval | None = Field(None, description="The list's, where it is not said.")
    increment: Interval | None = Field(None, description="The list's, where it is not said.")
    country: Annotated[str, Field(pattern="^([A-Z]{2})?$")] = ""
    kind: Literal["L", "M", "O", ""] = ""


class PricePut(PriceSettable):
    """A price as it is set, now or from an instant on."""

    model_config = Section.model_config | examples({"name": "United Kingdom, London", "rate": "0.012500"})

    effective_from: InstantIn | None = Field(None, description="Now, where it is not said.")


PricePatch = patch_of(PricePut, "PricePatch", {"rate": "0.0135", "effective_from": "2030-01-01T00:00:00Z"})
