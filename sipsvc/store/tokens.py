"""API tokens: random, shown once, stored by their SHA-256, good until they expire or are revoked."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from sipsvc.store.changes import LOCAL, Changes
from sipsvc.store.models import Token

PREFIX = "sipsvc_"
ADMIN = "platform_admin"
EVERYTHING = "*"
ADMIN_LIFETIME = timedelta(days=365)


def make() -> tuple[str, str]:
    """A new token, which is never to be seen again, and its digest."""
    token = PREFIX + secrets.token_urlsafe(32)
    return token, digest(token)


def create_admin(changes: Changes) -> str:
    """A new platform administrator's token; this is the only time it can be seen."""
    token, sha256 = make()
    expires = changes.at + ADMIN_LIFETIME
    changes.create(
        Token(
            partner=None,
            customer=None,
            name="administrator",
            role=ADMIN,
            scopes=[EVERYTHING],
            sha256=sha256,
            expires_at=expires,
            revoked_at=None,
        )
    )
    return token


def has_admin(session: Session, now: datetime) -> bool:
    """Whether there is an administrator's token that is good."""
    good = (Token.role == ADMIN, Token.expires_at > now, Token.revoked_at.is_(None))
    return session.execute(select(Token.id).where(*good).limit(1)).first() is not None


def find(session: Session, token: str, now: datetime) -> Token | None:
    """The token if it is one of ours and good. It is looked up by its digest, so how long that takes says nothing."""
    found = session.scalars(select(Token).where(Token.sha256 == digest(token))).one_or_none()
    if found is None or found.revoked_at is not None or found.expires_at <= now:
        return None
    return found


def digest(token: str) -> str:
    # A long random token needs no slow hash; surrogates are what a broken header may hold.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def local_admin(session: Session) -> str:
    """As `create_admin`, for a command on this machine."""
    return create_admin(Changes(session, LOCAL))
