"""Customers as they are shown, signed up and changed."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator

from portal_api.schemas import OWNER, Money, ResourceView, Value, View, examples, patch_of
from portal_api.users.schemas import EXAMPLE as USER_EXAMPLE
from portal_api.users.schemas import UserView
from sipsvc.store.sections import CustomerFields
from sipsvc.store.signup import TIERS, BillingType, Email, Phone, Plan, Tier, Username
from sipsvc.store.values import Name, Section, Text

PERSON: dict[str, Any] = {
    "contact_first_name": "Ada",
    "contact_last_name": "King",
    "email": "ada@example.com",
    "phone": "+44 20 7946 0018",
    "billing_address": "12 Harbour Street, London",
}
BILLED: dict[str, Any] = {"billing_type": "usage", "plan": "standard", "tier": "plus"}
SET: dict[str, Any] = {
    "name": "Acme Ltd",
    "status": "active",
    "pricelist": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e03",
    "allow_expensive": False,
    "max_channels": 30,
    "dial_plan": {"international": ["00"], "national": "0", "country": "44", "bare": "international"},
    "caller_ids": {"allowed": ["4420*"], "default": "442079460000", "otherwise": "default", "diversion": False},
    "max_cps": 10,
    "busy_status": 486,
    "spend_alert_hour": "20.000000",
    "spend_alert_day": None,
    "spend_cap_hour": "50.000000",
    "spend_cap_day": "200.000000",
    "product": None,
    "time_zone": "Europe/London",
    "prepaid": True,
    "credit_limit": None,
    "low_balance": "5.000000",
    **PERSON,
}
EXAMPLE: dict[str, Any] = {
    "id": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e04",
    "version": 1,
    "created_at": "2026-11-22T23:23:05.120Z",
    "updated_at": "2026-11-22T23:23:05.120Z",
    "partner": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e02",
    **SET,
    **BILLED,
    "funds": "50.000000",
}


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
    diversion: bool = False


class CustomerView(ResourceView):
    """`max_channels` and `max_cps` (calls a second) 0 are unlimited; over one the caller hears `busy_status`.

    By `product`, the web product it came by, it may have a price package, which goes before its price list.
    Alerts and caps are of what is spent in an hour or a day (UTC), in the price list's currency, null for none.
    A `prepaid` account has no more than was paid in, and its `credit_limit`, which others may have too (null: not
    looked at); at `low_balance` we are told. `funds` is what was posted to it but for calls: see
    `/customers/{id}/balance`.
    What sign-up asks for is blank where a bundle made the customer.
    """

    model_config = ResourceView.model_config | examples(EXAMPLE)

    partner: str
    name: str
    status: str
    pricelist: str
    allow_expensive: bool
    max_channels: int
    dial_plan: DialPlanView
    caller_ids: CallerIdsView
    max_cps: int
    busy_status: int
    spend_alert_hour: Money | None
    spend_alert_day: Money | None
    spend_cap_hour: Money | None
    spend_cap_day: Money | None
    product: str | None
    time_zone: str
    prepaid: bool
    credit_limit: Money | None
    low_balance: Money | None
    funds: Money
    contact_first_name: str
    contact_last_name: str
    email: str | None
    phone: str
    billing_address: str
    billing_type: str
    plan: str
    tier: str


class CustomerCreated(CustomerView):
    """The new customer and its administrator (IP-12)."""

    model_config = ResourceView.model_config | examples(EXAMPLE | {"admin_user": USER_EXAMPLE})

    admin_user: UserView


class CustomerSettable(CustomerFields):
    """What may be set later; blank where a bundle, which does not say it, made the customer."""

    pricelist: Value = Field(description="The id of one of the partner's termination price lists.")
    product: Value | None = Field(None, description="The id of the partner's web product that it came by.")
    contact_first_name: Text
    contact_last_name: Text
    email: Email | None
    phone: Phone = ""
    billing_address: Text


class CustomerCreate(CustomerSettable):
    """What signing up asks for (IP-8). The plan standard has the tiers basic and plus, advanced pro and enterprise."""

    model_config = Section.model_config | examples({"admin_username": "adaking", **SET, **BILLED})

    contact_first_name: Name
    contact_last_name: Name
    email: Email
    billing_address: Name
    billing_type: BillingType
    plan: Plan
    tier: Tier
    admin_username: Annotated[Username, Field(description="Of the customer's first user; kept in lower case.")]
    partner: OWNER = None

    @field_validator("tier")
    @classmethod
    def _of_the_plan(cls, value: str, info: ValidationInfo) -> str:
        plan = info.data.get("plan")
        if plan is not None and value not in TIERS[plan]:
            raise ValueError(f"is {' or '.join(TIERS[plan])} on the plan {plan}")
        return value


CustomerPatch = patch_of(
    CustomerCreate,
    "CustomerPatch",
    {"name": "Acme Holdings Ltd", "phone": "+44 20 7946 0019"},
    leave=frozenset({"partner", "admin_username"}),
)
