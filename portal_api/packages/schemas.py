"""Price packages as they are shown and set, and what is free by one."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from portal_api.blocks.schemas import ONE_CUSTOMER
from portal_api.schemas import OWNER, ResourceView, Value, View, examples, patch_of
from sipsvc.store.offers import PackageFields
from sipsvc.store.values import Section

SET: dict[str, Any] = {
    "name": "Unlimited UK",
    "kind": "unlimited_domestic",
    "pricelist": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e03",
    "minutes": 3000,
    "country": "GB",
    "currencies": ["GBP", "EUR"],
    "products": ["0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e31"],
    "default": False,
}


class PackageView(ResourceView):
    """What a customer's calls are sold by: its own package, else its web product's, else the partner's default.

    `payg` sells every call by `pricelist`. By `unlimited_domestic` calls to `country` are free, by
    `unlimited_international` all that the list has, for `minutes` a month and account; 0 is no end of them.
    """

    model_config = ResourceView.model_config | examples(
        {
            "id": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e32",
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
    name: str
    kind: str
    pricelist: str
    minutes: int
    country: str
    currencies: list[str]
    products: list[str]
    default: bool


class PackageSettable(PackageFields):
    """What may be set later."""

    pricelist: Value = Field(description="The id of one of the partner's termination price lists.")


class PackageCreate(PackageSettable):
    """A price package as it is made: for web products, or for one customer."""

    model_config = Section.model_config | examples(
        SET, {"name": "As you go", "pricelist": SET["pricelist"], "currencies": ["USD"], "default": True}
    )

    partner: OWNER = None
    customer: ONE_CUSTOMER = None


PackagePatch = patch_of(PackageSettable, "PackagePatch", {"minutes": 5000})


class DestinationView(View):
    """So many prefixes of the price list have this name."""

    name: str
    prefixes: int


class FreeView(View):
    """What calls are free while there are minutes: `prefixes` of the price list, under `destinations` names (PP-5)."""

    model_config = View.model_config | examples(
        {
            "prefixes": 214,
            "destinations": 2,
            "data": [{"name": "United Kingdom", "prefixes": 1}, {"name": "United Kingdom, mobile", "prefixes": 213}],
            "next": None,
        }
    )

    prefixes: int
    destinations: int
    data: list[DestinationView]
    next: str | None
