"""Users as they are shown and set."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from portal_api.schemas import OWNER, ResourceView, Value, examples, patch_of
from sipsvc.store.signup import Email, Username
from sipsvc.store.values import Digits, Name, Section, Text

UserRole = Literal[
    "partner_admin", "partner_billing", "partner_support", "partner_readonly", "customer_admin", "customer_user"
]
SET: dict[str, Any] = {
    "username": "adaking",
    "email": "ada@example.com",
    "first_name": "Ada",
    "last_name": "King",
    "role": "customer_admin",
    "extension": "201",
    "caller_ids": ["442079460018"],
}
CUSTOMER = "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e04"
EXAMPLE: dict[str, Any] = {
    "id": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e05",
    "version": 1,
    "created_at": "2026-11-22T23:23:05.120Z",
    "updated_at": "2026-11-22T23:23:05.120Z",
    "partner": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e02",
    "customer": CUSTOMER,
    **SET,
}


class UserView(ResourceView):
    """A person of a customer, or of the partner itself where `customer` is null."""

    model_config = ResourceView.model_config | examples(EXAMPLE)

    partner: str
    customer: str | None
    username: str
    email: str
    first_name: str
    last_name: str
    role: str
    extension: str
    caller_ids: list[str]


class UserSettable(Section):
    """What may be set. Username and email are unique on the whole platform, in any case."""

    username: Username
    email: Email
    first_name: Name
    last_name: Text = ""
    role: UserRole
    extension: Annotated[Digits, Field(max_length=16)] = ""
    caller_ids: Annotated[list[Annotated[Digits, Field(min_length=1, max_length=20)]], Field(max_length=100)] = []


class UserCreate(UserSettable):
    """A user as it is made."""

    model_config = Section.model_config | examples({"customer": CUSTOMER, **SET})

    customer: Value | None = Field(None, description="The customer's id; for a customer's own people it is theirs.")
    partner: OWNER = None


UserPatch = patch_of(UserSettable, "UserPatch", {"last_name": "Lovelace", "extension": "202"})
