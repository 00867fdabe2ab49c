"""Tokens as they are shown and issued."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from portal_api import roles
from portal_api.schemas import OPTIONAL_OWNER, Instant, InstantIn, ResourceView, Value, examples
from sipsvc.store.values import Name, Section

MOST_SCOPES = 32
EXAMPLE: dict[str, Any] = {
    "id": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e08",
    "version": 1,
    "created_at": "2026-11-22T23:23:05.120Z",
    "updated_at": "2026-11-22T23:23:05.120Z",
    "partner": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e02",
    "customer": None,
    "name": "billing export",
    "role": "partner_billing",
    "scopes": ["cdrs:read", "usage:read"],
    "expires_at": "2027-02-20T23:23:05.120Z",
    "revoked_at": None,
}


def _each_once(value: list[str]) -> list[str]:
    if len(set(value)) != len(value):
        raise ValueError("names a scope twice")
    return value


class TokenView(ResourceView):
    """An API token without its secret. `scopes` narrow what its role may do."""

    model_config = ResourceView.model_config | examples(EXAMPLE)

    partner: str | None
    customer: str | None
    name: str
    role: str
    scopes: list[str]
    expires_at: Instant
    revoked_at: Instant | None


class TokenCreated(TokenView):
    """`secret` is the bearer token. It is shown this once; a replay and a dry run have null in its place."""

    model_config = ResourceView.model_config | examples(
        EXAMPLE | {"secret": "sipsvc_Jr9wq0bX8m2F1cPz5uT7yKd3nLh6vEa4sGo0iWRQxNY"}
    )

    secret: str | None


class TokenCreate(Section):
    """A token to issue; it may do no more than the one it is asked for with."""

    model_config = Section.model_config | examples(
        {"name": "billing export", "role": "partner_billing", "scopes": ["cdrs:read", "usage:read"]}
    )

    name: Name
    role: Literal[roles.ROLES]  # type: ignore[valid-type]
    scopes: Annotated[
        list[Literal[roles.SCOPES]],  # type: ignore[valid-type]
        Field(min_length=1, max_length=MOST_SCOPES, json_schema_extra={"uniqueItems": True}),
        AfterValidator(_each_once),
    ] = [roles.EVERYTHING]
    expires_at: InstantIn | None = Field(None, description="At most 365 days from now; by default 90.")
    customer: Value | None = Field(None, description="The customer's id, for roles of a customer.")
    partner: OPTIONAL_OWNER = None
