"""What signing a customer up asks for (IP-8 to IP-10): addresses, usernames, time zones, plans and their tiers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from sipsvc.store.models import Customer, User
from sipsvc.store.values import Matches

BillingType = Literal["usage", "user_bundle", "port_bundle"]
Plan = Literal["standard", "advanced"]
Tier = Literal["basic", "plus", "pro", "enterprise"]
TIERS: Mapping[str, tuple[str, ...]] = {"standard": ("basic", "plus"), "advanced": ("pro", "enterprise")}
"""The tiers to choose from on each CPaaS plan (IP-8)."""

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
EMAIL = rf"{_ATOM}+(\.{_ATOM}+)*@{_LABEL}(\.{_LABEL})+"
PHONE = r"\+?[0-9][0-9 ().-]{0,30}"


Email = Annotated[
    str,
    Field(max_length=254),
    Matches(EMAIL, "is no email address"),
    AfterValidator(str.lower),
    Field(description="Kept in lower case.", examples=["ada@example.com"]),
]
Username = Annotated[str, Matches("[A-Za-z0-9]{3,32}", "must be 3 to 32 letters and digits"), AfterValidator(str.lower)]
Phone = Annotated[
    str, Matches(f"({PHONE})?", "must be a telephone number: digits, and + ( ) . - and spaces between them")
]


def email_taken(session: Session, email: str, customer: str | None, user: str | None = None) -> bool:
    """Whether an address, in lower case, is another customer's, or that of a user who is not one's own (IP-10).

    `customer` is whose address it is to be: it may share it with its users. `user` is the user it is to be.
    """
    customers = select(Customer.id).where(Customer.email == email)
    users = select(User.id).where(User.email == email)
    if customer is not None:
        customers = customers.where(Customer.id != customer)
        if user is None:
            users = users.where(User.customer.is_distinct_from(customer))
    if user is not None:
        users = users.where(User.id != user)
    return any(session.execute(found.limit(1)).first() is not None for found in (customers, users))


def username_taken(session: Session, username: str, user: str | None = None) -> bool:
    """Whether a username, in lower case, is another user's anywhere on the platform (IP-9)."""
    found = select(User.id).where(User.username == username)
    if user is not None:
        found = found.where(User.id != user)
    return session.execute(found.limit(1)).first() is not None
