"""Tokens are shown once and kept as hashes."""

from __future__ import annotations

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from sipsvc.store import tokens


def test_an_admin_token(engine: Engine) -> None:
    with Session(engine) as session, session.begin():
        assert not tokens.has_admin(session)
        assert not tokens.verify(session, "sipsvc_")
        first, second = tokens.create_admin(session), tokens.create_admin(session)
    assert first != second
    assert first.startswith("sipsvc_")
    assert len(first) > 40
    with Session(engine) as session:
        assert tokens.has_admin(session)
        assert tokens.verify(session, first)
        assert tokens.verify(session, second)
        for wrong in ("", first[:-1], first + "x", first.upper(), "é", "\udc80"):
            assert not tokens.verify(session, wrong)
        kept = str(session.execute(text("SELECT * FROM api_token")).all())
        assert first not in kept
        assert first.removeprefix("sipsvc_") not in kept
