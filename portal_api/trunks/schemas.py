"""Trunks as they are shown and set. What proves who calls is never shown: HA1 is as good as the password."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from portal_api.schemas import OWNER, ResourceView, Value, View, examples, patch_of
from portal_api.usage.schemas import MONTH, month_of
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


class AllowanceQuery(BaseModel):
    """Of which month."""

    model_config = ConfigDict(extra="forbid")

    month: Annotated[str, AfterValidator(month_of), WithJsonSchema(MONTH)] | None = Field(
        None, description="The month, by the customer's clock; the present one, where it is not said."
    )


class AllowanceView(View):
    """What a trunk used of its allowance in a month, and what of it is left (PP-2).

    `minutes` are those of its customer's price package as it is now, 0 for no end of them (`left_s` is null then); both
    are null where the package has none.
    """

    model_config = View.model_config | examples(
        {
            "trunk": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e06",
            "month": "2026-11",
            "time_zone": "Europe/London",
            "package": "Unlimited UK",
            "kind": "unlimited_domestic",
            "minutes": 3000,
            "used_s": 6120,
            "left_s": 173880,
        }
    )

    trunk: str
    month: str
    time_zone: str
    package: str | None
    kind: str | None
    minutes: int | None
    used_s: int
    left_s: int | None


TrunkPatch = patch_of(TrunkSettable, "TrunkPatch", {"enabled": False})
