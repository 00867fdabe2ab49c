"""Price lists and their rows as they are shown."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from portal_api.schemas import Digits, ListQuery, Money, View


class PriceListView(View):
    """`initial` and `increment` are seconds; `expensive_at` is null where nothing is too expensive (TP-4)."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "examples": [
                {
                    "id": "retail",
                    "name": "Retail",
                    "currency": "USD",
                    "initial": 60,
                    "increment": 60,
                    "minimum": "0.000000",
                    "expensive_at": "0.500000",
                    "strategy": "cheapest",
                }
            ]
        },
    )

    id: str
    name: str
    currency: str
    initial: int
    increment: int
    minimum: Money
    expensive_at: Money | None
    strategy: str


class PriceView(View):
    """One price per minute. `origin` is the caller's prefix it is for, "" for any caller."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "examples": [
                {
                    "id": 17,
                    "prefix": "4420",
                    "origin": "",
                    "name": "United Kingdom, London",
                    "rate": "0.012500",
                    "fee": "0.000000",
                    "initial": 60,
                    "increment": 60,
                }
            ]
        },
    )

    id: int
    prefix: str
    origin: str
    name: str
    rate: Money
    fee: Money
    initial: int
    increment: int


class PriceQuery(ListQuery):
    """Of one list."""

    prefix: Digits | None = Field(None, alias="filter[prefix][starts]", description="Prefixes that begin so.")
