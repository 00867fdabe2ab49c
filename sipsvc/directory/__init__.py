"""The immutable picture of customers, gateways and prices that calls are decided on (law 3)."""

from sipsvc.directory.model import (
    CallerIds,
    Customer,
    DialPlan,
    Directory,
    Gateway,
    Platform,
    PriceList,
    Rewrite,
    Timing,
    Trunk,
)
from sipsvc.directory.prefix import PrefixTable, PriceRow

__all__ = [
    "CallerIds",
    "Customer",
    "DialPlan",
    "Directory",
    "Gateway",
    "Platform",
    "PrefixTable",
    "PriceList",
    "PriceRow",
    "Rewrite",
    "Timing",
    "Trunk",
]
