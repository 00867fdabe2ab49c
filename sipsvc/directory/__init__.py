"""The immutable picture of customers, gateways and prices that calls are decided on (law 3)."""

from sipsvc.directory.build import Builder, assemble, customer_of, package_of, shortcode_of
from sipsvc.directory.draft import DirectoryError, Item
from sipsvc.directory.image import FOREVER, Image, PriceRow
from sipsvc.directory.model import (
    Block,
    CallerIds,
    Customer,
    DialPlan,
    Directory,
    Gateway,
    Package,
    Platform,
    PriceList,
    Rewrite,
    ShortCode,
    Timing,
    Trunk,
)
from sipsvc.directory.prefix import PrefixTable

__all__ = [
    "FOREVER",
    "Block",
    "Builder",
    "CallerIds",
    "Customer",
    "DialPlan",
    "Directory",
    "DirectoryError",
    "Gateway",
    "Image",
    "Item",
    "Package",
    "Platform",
    "PrefixTable",
    "PriceList",
    "PriceRow",
    "Rewrite",
    "ShortCode",
    "Timing",
    "Trunk",
    "assemble",
    "customer_of",
    "package_of",
    "shortcode_of",
]
