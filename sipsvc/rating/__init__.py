"""Money and what a call costs, exactly (DOMAIN, charge a call)."""

from sipsvc.rating.allowance import Settled, buys, cost, settle
from sipsvc.rating.charge import Charge, Price, charge, expected, first_minute, stepped
from sipsvc.rating.money import ZERO, exchanged, half_up, text

__all__ = [
    "ZERO", "Charge", "Price", "Settled", "buys", "charge", "cost", "exchanged", "expected", "first_minute", "half_up",
    "settle", "stepped", "text",
]  # fmt: skip
