"""Price lists as they are shown and set, and their rows."""

from __future__ import annotations

from typing import Any

from portal_api.schemas import OWNER, Money, ResourceView, View, examples, patch_of
from sipsvc.store.sections import PriceListFields
from sipsvc.store.values import Section

SET: dict[str, Any] = {
    "name": "Retail",
    "currency": "USD",
    "initial": 60,
    "increment": 60,
    "minimum": "0.010000",
    "expensive_at": "0.500000",
    "min_rate": "0.010000",
    "max_profit": "0.100000",
    "strategy": "cheapest",
    "expected_s": 60,
    "allow_loss": False,
}


class PriceListView(ResourceView):
    """`initial` and `increment` are seconds; `expensive_at` is null where nothing is too expensive (TP-4).

    `min_rate` and `max_profit` are the floor and the cap of rows made from coverage (TP-5, TP-6).
    A gateway at which a call of `expected_s` seconds would lose money is left out, unless `allow_loss`.
    """

    model_config = ResourceView.model_config | examples(
        {
            "id": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e03",
            "version": 3,
            "created_at": "2026-11-22T23:23:05.120Z",
            "updated_at": "2026-11-23T08:00:00.000Z",
            "partner": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e02",
            **SET,
        }
    )

    partner: str
    name: str
    currency: str
    initial: int
    increment: int
    minimum: Money
    expensive_at: Money | None
    min_rate: Money
    max_profit: Money | None
    strategy: str
    expected_s: int
    allow_loss: bool


class PriceListCreate(PriceListFields):
    """A price list as it is made, without rows."""

    model_config = Section.model_config | examples(SET)

    partner: OWNER = None


class UsingPackageView(View):
    """A price package that is sold by the list, and whose that is."""

    id: str
    name: str
    customer: str | None
    products: list[str]
    default: bool


class UsedByView(View):
    """Where a price list is used: by its packages, and as their own by so many customers (TP-1)."""

    model_config = View.model_config | examples(
        {
            "customers": 12,
            "packages": [
                {
                    "id": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e32",
                    "name": "Unlimited UK",
                    "customer": None,
                    "products": ["0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e31"],
                    "default": False,
                }
            ],
        }
    )

    customers: int
    packages: list[UsingPackageView]


PriceListPatch = patch_of(PriceListFields, "PriceListPatch", {"minimum": "0.02", "max_profit": None})
