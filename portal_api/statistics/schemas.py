"""Daily statistics as they are asked for and shown."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from portal_api.schemas import ListQuery, Money, Value, View, examples
from sipsvc.store.days import FIRST_YEAR, LAST_YEAR
from sipsvc.store.statistics import MOST_DAYS
from sipsvc.store.values import TimeZone


def _date(value: Any) -> date:
    if isinstance(value, date):
        return value
    reason = "must be a date such as 2026-11-22"
    if not (isinstance(value, str) and len(value) == 10 and value.isascii() and value[4] == value[7] == "-"):
        raise ValueError(reason)
    try:
        found = date.fromisoformat(value)
    except ValueError:
        raise ValueError(reason) from None
    if not FIRST_YEAR <= found.year <= LAST_YEAR:
        raise ValueError(f"must be in the years {FIRST_YEAR} to {LAST_YEAR}")
    return found


Date = Annotated[
    date,
    BeforeValidator(_date),
    WithJsonSchema({"type": "string", "format": "date", "examples": ["2026-11-22"]}),
]


class DailyQuery(ListQuery):
    """Which days, by whose clock, and cut how."""

    first: Date = Field(alias="from", description="The first day.")
    last: Date = Field(alias="to", description=f"The last day, at most {MOST_DAYS} days in all.")
    time_zone: TimeZone = Field("UTC", description="An IANA name: the days are its.")
    group: Literal["customer", "destination", "gateway"] | None = Field(
        None, description="A line for each of them a day; without it one line a day."
    )
    partner: Value | None = Field(None, alias="filter[partner][eq]", description="This partner's calls only.")
    customer: Value | None = Field(None, alias="filter[customer][eq]", description="This customer's calls only.")
    gateway: Value | None = Field(None, alias="filter[gateway][eq]", description="Calls by this gateway only.")
    sell_prefix: Value | None = Field(
        None, alias="filter[sell_prefix][eq]", description="Calls sold by this prefix only."
    )

    @model_validator(mode="after")
    def _range(self) -> DailyQuery:
        days = (self.last - self.first).days + 1
        if not 1 <= days <= MOST_DAYS:
            raise ValueError(f"from and to must be 1 to {MOST_DAYS} days, both counted, not {days}")
        return self


class MoneyView(View):
    """Answered calls: what was sold and bought in one currency, and the margin of those that have both prices in it."""

    currency: str
    sell: Money
    buy: Money
    margin: Money
    margin_calls: int


EXAMPLE: dict[str, Any] = {
    "day": "2026-11-22",
    "customer": None,
    "sell_prefix": None,
    "sell_name": None,
    "gateway": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e01",
    "calls": 1204,
    "refused": 0,
    "seizures": 1204,
    "answered": 804,
    "asr": "0.667774",
    "ner": "0.981728",
    "duration_ms": 144720000,
    "acd_ms": 180000,
    "minutes": "2412.000000",
    "billed_s": 148200,
    "unpriced": 0,
    "mixed": 0,
    "money": [{"currency": "USD", "sell": "30.875000", "buy": "21.612500", "margin": "9.262500", "margin_calls": 804}],
}


class DayView(View):
    """A day, of what it was grouped by: the other keys are null. Each figure is defined in docs/statistics.md.

    `asr` is answered / seizures, `ner` those that reached their callee / seizures, `acd_ms` the mean talk time;
    null where there is nothing to divide by. Money is never added over currencies.
    """

    model_config = View.model_config | examples(EXAMPLE)

    day: date
    customer: str | None
    sell_prefix: str | None
    sell_name: str | None
    gateway: str | None
    calls: int
    refused: int
    seizures: int
    answered: int
    asr: Money | None
    ner: Money | None
    duration_ms: int
    acd_ms: int | None
    minutes: Money
    billed_s: int
    unpriced: int
    mixed: int
    money: list[MoneyView]
