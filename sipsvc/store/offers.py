"""Web products, which customers sign up on (WP), and price packages, which they are sold (PP); what suits what."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from sipsvc.store.values import Currency, Matches, Name, Section, Slug, Text, once

PAYG = "payg"
DOMESTIC = "unlimited_domestic"
COUNTRY = re.compile("[A-Z]{2}")
# More names than this are no help in an error.
FEW = 12

Currencies = Annotated[list[Currency], Field(min_length=1, max_length=50), AfterValidator(once)]
Fault = tuple[str, str]
"""A field, and what is wrong with it."""


class ProductFields(Section):
    """What a web product has wherever it is written down (WP-1, WP-3)."""

    name: Name
    type: Literal["business_voip", "residential_voip", "live_support_chat"]
    currencies: Currencies


class Product(ProductFields):
    """`[[product]]`."""

    id: Slug


class PackageFields(Section):
    """What a price package has wherever it is written down (PP-1..6). `minutes` 0 have no end."""

    name: Name
    kind: Literal["payg", "unlimited_domestic", "unlimited_international"] = "payg"
    pricelist: str
    # Behind the kind, which says what goes with it.
    minutes: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    country: Annotated[str, Matches(f"({COUNTRY.pattern})?", "must be two capital letters such as GB")] = ""
    currencies: Currencies
    products: Annotated[list[Text], Field(max_length=100), AfterValidator(once)] = []
    default: bool = False

    @field_validator("minutes")
    @classmethod
    def _of_unlimited(cls, value: int, info: ValidationInfo) -> int:
        if value and info.data.get("kind") == PAYG:
            raise ValueError("go with unlimited_domestic and unlimited_international, not with payg")
        return value

    @field_validator("country")
    @classmethod
    def _of_domestic(cls, value: str, info: ValidationInfo) -> str:
        kind = info.data.get("kind")
        if kind == DOMESTIC and not value:
            raise ValueError(f"is needed with {DOMESTIC}: calls to which country are free?")
        if value and kind not in (DOMESTIC, None):
            raise ValueError(f"goes with {DOMESTIC}, not with {kind}")
        return value


class Package(PackageFields):
    """`[[package]]`."""

    id: Slug
    customer: str | None = None


def whose(products: Sequence[str], customer: str | None, default: bool) -> Fault | None:
    """What is wrong with whose a package is to be; None for nothing (PP-6)."""
    if customer is not None and products:
        return "products", "are those of a customer's own package; it is either for web products or for one customer"
    if customer is not None and default:
        return "default", "is for all customers, and this package is for one"
    return None


def not_listed(currencies: Collection[str], currency: str) -> str:
    """Why a package in these currencies cannot be sold by a list in that one; "" where it can."""
    return "" if currency in currencies else f"must hold {currency}, the currency of the price list"


def not_covered(currencies: Collection[str], products: Iterable[tuple[str, Collection[str]]]) -> str:
    """Which currency of which of `products` is missing; "" where all are there (PP-1)."""
    for name, theirs in products:
        missing = sorted(set(theirs).difference(currencies))
        if missing:
            return f"must hold {', '.join(missing)}, which web product {name} has"
    return ""


def no_such_country(country: str, there: Collection[str]) -> str:
    """What is said of a country that no row of a list is of, whose rows are of `there` (PP-4)."""
    named = sorted(set(there) - {""})
    if not named:
        return f"no row of the price list is of {country}, for none says its country"
    return f"no row of the price list is of {country}" + (f", only of {', '.join(named)}" if len(named) <= FEW else "")
