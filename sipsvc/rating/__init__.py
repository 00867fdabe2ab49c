"""Money and what a call costs, exactly (DOMAIN, charge a call)."""

from sipsvc.rating.charge import Charge, Price, charge, first_minute
from sipsvc.rating.money import ZERO, half_up, text

__all__ = ["ZERO", "Charge", "Price", "charge", "first_minute", "half_up", "text"]
