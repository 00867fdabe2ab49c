"""Tokens are shown once, kept as hashes, and good until they expire or are revoked."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from sipsvc.store import tokens
from sipsvc.store.changes import LOCAL, Changes, utc_now
from sipsvc.store.database import writing


def test_an_admin_token(engine: Engine) -> None:
    now = utc_now()
    with writing(engine) as session:
        assert not tokens.has_admin(session, now)
        assert tokens.find(session, "sipsvc_", now) is None
        first, second = tokens.local_admin(session), tokens.local_admin(session)
    assert first != second
    assert first.startswith("sipsvc_")
    assert len(first) > 40
    now = utc_now()
    with Session(engine) as session:
        assert tokens.has_admin(session, now)
        assert tokens.find(session, first, now) is not None
        assert tokens.find(session, second, now) is not None
        for wrong in ("", first[:-1], first + "x", first.upper(), "é", "\udc80"):
            assert tokens.find(session, wrong, now) is None
        for kept in ("token", "history"):
            rows = str(session.execute(text(f"SELECT * FROM {kept}")).all())
            assert first.removeprefix("sipsvc_") not in rows
        assert tokens.digest(first) not in rows


def test_a_token_ends(engine: Engine) -> None:
    with writing(engine) as session:
        token = tokens.local_admin(session)
    now = utc_now()
    with Session(engine) as session:
        found = tokens.find(session, token, now)
        assert found is not None
        assert tokens.find(session, token, found.expires_at - timedelta(milliseconds=1)) is not None
        assert tokens.find(session, token, found.expires_at) is None
        assert not tokens.has_admin(session, found.expires_at)
    with writing(engine) as session:
        row = tokens.find(session, token, now)
        assert row is not None
        Changes(session, LOCAL).update(row, {"revoked_at": now})
    with Session(engine) as session:
        assert tokens.find(session, token, now) is None
        assert not tokens.has_admin(session, now)
