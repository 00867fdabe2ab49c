"""Short codes as they are shown and set."""

from __future__ import annotations

from typing import Any

from portal_api.blocks.schemas import ONE_CUSTOMER
from portal_api.schemas import OWNER, ResourceView, examples, patch_of
from sipsvc.store.numbers import ShortCode
from sipsvc.store.values import Section

SET: dict[str, Any] = {
    "code": "112",
    "name": "Emergency services",
    "number": "",
    "gateways": ["carrier-a"],
    "dial": "112",
    "emergency": True,
}


class ShortCodeView(ResourceView):
    """What a few digits stand for: a number, or gateways in the order of trial and what is dialled there.

    An emergency code passes every limit and block. Without `customer` it is for every customer of the partner.
    """

    model_config = ResourceView.model_config | examples(
        {
            "id": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e21",
            "version": 1,
            "created_at": "2026-11-22T23:23:05.120Z",
            "updated_at": "2026-11-22T23:23:05.120Z",
            "partner": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e02",
            "customer": None,
            **SET,
        }
    )

    partner: str
    customer: str | None
    code: str
    name: str
    number: str
    gateways: list[str]
    dial: str
    emergency: bool


class ShortCodeCreate(ShortCode):
    """A short code as it is made."""

    model_config = Section.model_config | examples({"code": "*98", "name": "Voice mail", "number": "442079460098"}, SET)

    partner: OWNER = None
    customer: ONE_CUSTOMER = None


ShortCodePatch = patch_of(ShortCode, "ShortCodePatch", {"name": "Police, fire, ambulance"})
