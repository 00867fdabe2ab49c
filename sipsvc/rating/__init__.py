"""Money and what a call costs, exactly (DOMAIN, charge a call)."""

from sipsvc.rating.charge import Charge, Price, charge, expected, first_minute
from sipsvc.rating.money import ZERO, exchanged, half_up, text

__all__ = ["ZERO", "Charge", "Price", "charge", "exchanged", "expected", "first_minute", "half_up", "text"]
