"""The question, and the answer as `sipsvc explain` gives it (EX-1)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from portal_api.explain.draft import Draft
from portal_api.schemas import Instant, InstantIn, Value, examples
from sipsvc.store.values import NO_CONTROLS, clean

Header = Annotated[
    str, AfterValidator(clean), Field(max_length=1024), Field(json_schema_extra={"pattern": f"^{NO_CONTROLS}*$"})
]
SELL: dict[str, Any] = {
    "row": 17,
    "prefix": "4420",
    "origin": "",
    "name": "United Kingdom, London",
    "rate": "0.012500",
    "fee": "0.000000",
    "initial": 60,
    "increment": 60,
    "minimum": "0.010000",
    "currency": "USD",
    "first_minute": "0.012500",
}
SOLD: dict[str, Any] = {
    "outcome": "route",
    "code": "",
    "status": None,
    "reason": None,
    "text": None,
    "customer": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e04",
    "e164": "442079460123",
    "caller": "442079460000",
    "sell": SELL,
    "privacy": None,
    "directory": 42,
    "live": {"channels": 0},
    "at": "2026-11-22T23:23:05.120Z",
}

ROUTED: dict[str, Any] = SOLD | {
    "attempts": [
        {
            "gateway": "carrier-a",
            "name": "Carrier A",
            "request_line": "INVITE sip:9%23442079460123@192.0.2.80:5060 SIP/2.0",
            "from": "From: <sip:442079460000@192.0.2.1>",
            "p_asserted_identity": "P-Asserted-Identity: <sip:442079460000@192.0.2.1>",
            "remote_party_id": None,
            "buy": SELL | {"prefix": "44", "rate": "0.009000", "first_minute": "0.009000"},
            "margin": "0.003500",
        }
    ],
    "trace": [["number", "00442079460123", "442079460123"]],
    "trace_text": ["dialled 00442079460123: E.164 is 442079460123"],
}


class Question(BaseModel):
    """A call that is not made. Nothing is dialled and nothing stored."""

    model_config = ConfigDict(extra="forbid", strict=True) | examples(
        {"customer": "acme", "dialled": "00442079460123", "caller": "442079460000"},
        {
            "customer": "acme",
            "dialled": "sip:00442079460123@192.0.2.1",
            "caller": '"Ada" <sip:442079460000@acme.example>;tag=1',
            "privacy": "id",
            "at": "2030-01-31T00:00:00Z",
            "draft": {
                "changes": [{"kind": "gateways", "id": "carrier-a", "set": {"enabled": False}}],
                "imports": ["0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e08"],
                "prices": [{"gateway": "carrier-b", "prefix": "4420", "rate": "0.004"}],
            },
        },
    )

    customer: Value = Field(description="Customer id.")
    dialled: Value = Field(description="The number as it would be dialled, or a whole Request-URI.")
    caller: Header = Field("", description="The number the caller shows, or a whole From header.")
    p_preferred_identity: Header = Field("", description="The P-Preferred-Identity header, if there is one.")
    privacy: Header = Field("", description="The Privacy header, such as `id`.")
    at: InstantIn | None = Field(
        None, description="By the prices and schedules of this instant; all else is as it is now. Now, when left out."
    )
    channels: int = Field(0, ge=0, le=1_000_000, description="Calls of the customer to be taken as in progress.")
    call_id: Header = Field("", description="The Call-ID, by which gateways are drawn where that goes by weight.")
    draft: Draft | None = Field(None, description="Changes to be taken as made. They are checked, and not stored.")


class Price(BaseModel):
    """A price row; `first_minute` is what a call of 60 seconds costs, connection fee and minimum included."""

    row: int
    prefix: str
    origin: str
    name: str
    rate: str
    fee: str
    initial: int
    increment: int
    minimum: str
    currency: str
    first_minute: str


class Attempt(BaseModel):
    """A gateway, in the order they would be tried: its lines as they would leave, null where there would be none.

    `margin` is of the price list's expected call; null where buy and sell price are in two currencies.
    """

    gateway: str
    name: str
    request_line: str
    # The field is a keyword of Python.
    from_: str = Field(alias="from")
    p_asserted_identity: str | None
    remote_party_id: str | None
    buy: Price
    margin: str | None


class Live(BaseModel):
    """What was taken as true of the moment."""

    channels: int


class SoldExplanation(BaseModel):
    """What a customer is told: whether the call goes, at what price, or why not, as SIP would say it."""

    model_config = examples(SOLD)

    outcome: str
    code: str
    status: int | None
    reason: str | None
    text: str | None
    customer: str
    e164: str
    caller: str
    sell: Price | None
    privacy: str | None
    directory: int
    live: Live
    at: Instant


class Explanation(SoldExplanation):
    """`outcome` is `route` or `refused`; `trace_text` says each rule looked at, in order.

    `directory` is the version of the catalogue it was decided on; with a draft, the one the draft would make.
    """

    model_config = examples(ROUTED)

    attempts: list[Attempt]
    trace: list[list[Any]]
    trace_text: list[str]
