"""Web products as they are shown and set."""

from __future__ import annotations

from typing import Any

from portal_api.schemas import OWNER, ResourceView, examples, patch_of
from sipsvc.store.offers import ProductFields
from sipsvc.store.values import Section

SET: dict[str, Any] = {"name": "Harbour Voice", "type": "business_voip", "currencies": ["GBP", "EUR"]}


class ProductView(ResourceView):
    """A brand that customers sign up on: `business_voip`, `residential_voip` or `live_support_chat`."""

    model_config = ResourceView.model_config | examples(
        {
            "id": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e31",
            "version": 1,
            "created_at": "2026-11-22T23:23:05.120Z",
            "updated_at": "2026-11-22T23:23:05.120Z",
            "partner": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e02",
            **SET,
        }
    )

    partner: str
    name: str
    type: str
    currencies: list[str]


class ProductCreate(ProductFields):
    """A web product as it is made."""

    model_config = Section.model_config | examples(SET)

    partner: OWNER = None


ProductPatch = patch_of(ProductFields, "ProductPatch", {"currencies": ["GBP", "EUR", "USD"]})
