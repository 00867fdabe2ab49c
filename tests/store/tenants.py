"""A partner with customers, straight into the database."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sipsvc.store.changes import Changes
from sipsvc.store.models import Customer, Partner, PriceList

PLAIN_PLAN = {"international": ["00"], "national": "", "country": "", "bare": "international"}
ANY_CALLER = {"allowed": ["*"], "default": "", "otherwise": "refuse"}


def add_partner(changes: Changes, partner: str, time_zone: str = "UTC") -> None:
    """If it is not there; with a price list of its name."""
    if changes.session.get(Partner, partner) is None:
        changes.create(Partner(id=partner, name=partner, email="", time_zone=time_zone))
        add_pricelist(changes, partner, partner)


def add_pricelist(changes: Changes, pricelist: str, partner: str, **values: Any) -> PriceList:
    usual: dict[str, Any] = {
        "name": pricelist, "currency": "USD", "initial": 1, "increment": 1, "minimum": Decimal(0),
        "expensive_at": None, "min_rate": Decimal(0), "max_profit": None, "strategy": "cheapest", "rows_version": 0,
        "expected_s": 60, "allow_loss": False,
    }  # fmt: skip
    made = PriceList(id=pricelist, partner=partner, **usual | values)
    changes.create(made)
    return made


def add_customer(changes: Changes, customer: str, owner: str, **values: Any) -> Customer:
    """With its partner, where that is not there."""
    add_partner(changes, owner)
    usual: dict[str, Any] = {
        "partner": owner, "name": customer, "status": "active", "pricelist": owner, "time_zone": "UTC",
        "allow_expensive": False, "max_channels": 0, "dial_plan": PLAIN_PLAN, "caller_ids": ANY_CALLER, "email": None,
        "max_cps": 0, "busy_status": 486, "prepaid": False, "funds": Decimal(0),
    }  # fmt: skip
    blank = "contact_first_name contact_last_name phone billing_address billing_type plan tier".split()
    made = Customer(id=customer, **dict.fromkeys(blank, "") | usual | values)
    changes.create(made)
    return made
