"""Exchange rates as they are written: what one unit of a currency is worth, in units of one that stands for all."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

RATE = re.compile(r"[0-9]{1,8}(\.[0-9]{1,12})?")


def rate(value: Any) -> Decimal:
    """A rate such as `1.0835` as an exact Decimal. Raises ValueError with why."""
    if not isinstance(value, str) or not RATE.fullmatch(value) or not Decimal(value):
        raise ValueError('must be text such as "1.0835": digits, above 0, at most 12 behind the point')
    return Decimal(value)


Rate = Annotated[Decimal, BeforeValidator(rate), PlainSerializer(lambda one: f"{one:f}")]
"""Kept as text."""
