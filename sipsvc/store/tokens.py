"""API tokens: random, shown once, stored by their SHA-256."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from sipsvc.store.models import ApiToken

PREFIX = "sipsvc_"
ADMIN = "platform_admin"


def create_admin(session: Session) -> str:
    """A new platform administrator's token; this is the only time it can be seen."""
    token = PREFIX + secrets.token_urlsafe(32)
    session.add(ApiToken(role=ADMIN, sha256=_digest(token), created_at=datetime.now(UTC)))
    session.flush()
    return token


def has_admin(session: Session) -> bool:
    """Whether an administrator's token was ever made."""
    return session.execute(select(ApiToken.id).where(ApiToken.role == ADMIN).limit(1)).first() is not None


def verify(session: Session, token: str) -> bool:
    """Whether `token` is one of ours. The time it takes depends on how many there are, not on how close it is."""
    given = _digest(token)
    known = False
    for stored in session.scalars(select(ApiToken.sha256)):
        known |= hmac.compare_digest(stored, given)
    return known


def _digest(token: str) -> str:
    # A long random token needs no slow hash; surrogates are what a broken header may hold.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
