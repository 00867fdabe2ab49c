"""Customers as they are shown. What proves who calls (HA1) is left out: it is as good as the password."""

from __future__ import annotations

from pydantic import ConfigDict

from portal_api.schemas import View
from sipsvc.store import models


class DialPlanView(View):
    """How dialled strings become E.164 (SIP-25)."""

    international: list[str]
    national: str
    country: str
    bare: str


class CallerIdsView(View):
    """Numbers that may be shown (SIP-23)."""

    allowed: list[str]
    default: str
    otherwise: str


class TrunkView(View):
    """Known by `source` (a network; port 0 is any) or by `username`."""

    id: str
    source: str
    port: int
    username: str | None


class CustomerView(View):
    """`max_channels` 0 is unlimited."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "examples": [
                {
                    "id": "acme",
                    "name": "Acme Ltd",
                    "partner": "demo",
                    "status": "active",
                    "pricelist": "retail",
                    "allow_expensive": False,
                    "max_channels": 30,
                    "dial_plan": {"international": ["00"], "national": "0", "country": "44", "bare": "international"},
                    "caller_ids": {"allowed": ["4420*"], "default": "442079460000", "otherwise": "default"},
                    "trunks": [{"id": "acme-office", "source": "192.0.2.10/32", "port": 0, "username": None}],
                }
            ]
        },
    )

    id: str
    name: str
    partner: str
    status: str
    pricelist: str
    allow_expensive: bool
    max_channels: int
    dial_plan: DialPlanView
    caller_ids: CallerIdsView
    trunks: list[TrunkView]


def view(row: models.Customer, trunks: list[models.Trunk]) -> CustomerView:
    """A customer and how its calls are known."""
    return CustomerView(
        id=row.id,
        name=row.name,
        partner=row.partner,
        status=row.status,
        pricelist=row.pricelist,
        allow_expensive=row.allow_expensive,
        max_channels=row.max_channels,
        dial_plan=DialPlanView(**row.dial_plan),
        caller_ids=CallerIdsView(**row.caller_ids),
        trunks=[TrunkView.model_validate(trunk) for trunk in trunks],
    )
