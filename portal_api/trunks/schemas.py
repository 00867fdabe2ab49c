"""Trunks as they are shown and set. What proves who calls is never shown: HA1 is as good as the password."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from portal_api.schemas import OWNER, ResourceView, Value, examples, patch_of
from sipsvc.store.sections import TrunkFields
from sipsvc.store.values import Section, SipUsername

SET: dict[str, Any] = {
    "source": "192.0.2.10/32",
    "port": 0,
    "username": None,
    "enabled": True,
    "max_channels": 0,
    "tech_prefix": "",
    "certificate": "",
    "algorithms": [],
}
CUSTOMER = "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e04"


class TrunkView(ResourceView):
    """Known by `source` (a network; port 0 is any), `certificate` or `username`. `max_channels` 0 is unlimited."""

    model_config = ResourceView.model_config | examples(
        {
            "id": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e06",
            "version": 1,
            "created_at": "2026-11-22T23:23:05.120Z",
            "updated_at": "2026-11-22T23:23:05.120Z",
            "partner": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e02",
            "customer": CUSTOMER,
            **SET,
        }
    )

    partner: str
    customer: str
    enabled: bool
    source: str
    port: int
    username: str | None
    max_channels: int
    tech_prefix: str
    certificate: str
    algorithms: list[str]


class TrunkSettable(TrunkFields):
    """What may be set. `password` goes with a username, is never shown, and is needed whenever that changes."""

    # TOML has no null, JSON has; the rules of the base read either as none.
    username: SipUsername | None = None  # type: ignore[assignment]
    enabled: bool = True


class TrunkCreate(TrunkSettable):
    """A trunk as it is made."""

    model_config = Section.model_config | examples(
        {"customer": CUSTOMER, "username": "acme-pbx", "password": "correct horse battery"},
        {"customer": CUSTOMER, "source": "192.0.2.10/32", "tech_prefix": "555"},
    )

    customer: Value = Field(description="The customer's id.")
    partner: OWNER = None


TrunkPatch = patch_of(TrunkSettable, "TrunkPatch", {"enabled": False})
