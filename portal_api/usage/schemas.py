"""Usage as it is asked for and shown."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from pydantic import AfterValidator, Field, WithJsonSchema

from portal_api.schemas import Instant, ListQuery, Money, Value, View, examples
from sipsvc.store.days import FIRST_YEAR, LAST_YEAR


def month_of(value: str) -> str:
    """A month such as 2026-11. Raises ValueError with why it is none."""
    if len(value) != 7 or value[4] != "-" or not (value[:4] + value[5:]).isdecimal() or not value.isascii():
        raise ValueError("must be a month such as 2026-11")
    if not (FIRST_YEAR <= int(value[:4]) <= LAST_YEAR and 1 <= int(value[5:]) <= 12):
        raise ValueError(f"must be a month from {FIRST_YEAR}-01 to {LAST_YEAR}-12")
    return value


MONTH = {"type": "string", "pattern": "^(19[7-9][0-9]|[2-8][0-9]{3})-(0[1-9]|1[0-2])$", "examples": ["2026-11"]}


class UsageQuery(ListQuery):
    """Whose, and which month."""

    month: Annotated[str, AfterValidator(month_of), WithJsonSchema(MONTH)] = Field(
        description="The month, by each customer's own clock."
    )
    customer: Value | None = Field(None, alias="filter[customer][eq]", description="This customer's only.")

    def first(self) -> date:
        return date(int(self.month[:4]), int(self.month[5:]), 1)


class AmountView(View):
    """The calls priced in one currency, and what they cost the customer."""

    currency: str
    calls: int
    answered: int
    duration_ms: int
    billed_s: int
    amount: Money


EXAMPLE: dict[str, Any] = {
    "customer": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e04",
    "partner": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e02",
    "month": "2026-11",
    "time_zone": "Europe/London",
    "begin": "2026-11-01T00:00:00.000Z",
    "end": "2026-12-01T00:00:00.000Z",
    "calls": 1204,
    "answered": 804,
    "duration_ms": 144720000,
    "billed_s": 148200,
    "amounts": [
        {
            "currency": "USD",
            "calls": 1190,
            "answered": 804,
            "duration_ms": 144720000,
            "billed_s": 148200,
            "amount": "30.875000",
        }
    ],
}


class UsageView(View):
    """One customer's month, from `begin` until before `end`: sums of its calls that have ended, exact (IP-5).

    A call belongs to the month in which it was answered, or else in which its INVITE came.
    """

    model_config = View.model_config | examples(EXAMPLE)

    customer: str
    partner: str
    month: str
    time_zone: str
    begin: Instant
    end: Instant
    calls: int
    answered: int
    duration_ms: int
    billed_s: int
    amounts: list[AmountView]
