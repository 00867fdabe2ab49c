"""Secrets that must be told again: sealed in the database, told to the worker, shown to nobody (TG-1, SIP-33)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import StatementError
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from sipsvc.errors import ConfigError
from sipsvc.store import catalogue, snapshot
from sipsvc.store.bundle import load_bundle
from sipsvc.store.database import open_database, writing
from sipsvc.store.models import Gateway, History
from sipsvc.vault import MARK, NAME, Unreadable, Vault
from tests.databases import migrated_copy
from tests.store.conftest import BUNDLE

PASSWORD = "c0rrect horse é"
LOGIN = f'host = "198.51.100.1"\nauth_username = "acme"\nauth_password = "{PASSWORD}"'
WITH_LOGIN = BUNDLE.replace('host = "198.51.100.1"', LOGIN)


@pytest.mark.rule("TG-1")
def test_only_its_key_and_purpose_open_what_was_sealed(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    vault, other = Vault(tmp_path), Vault(tmp_path / "other")
    sealed = vault.seal(PASSWORD, "a")
    assert sealed.startswith(MARK)
    assert PASSWORD not in sealed
    assert sealed != vault.seal(PASSWORD, "a")
    assert Vault(tmp_path).open(sealed, "a") == PASSWORD
    assert (vault.seal("", "a"), vault.open("", "a")) == ("", "")
    other.seal("makes its key", "a")
    changed = sealed[:-6] + ("A" if sealed[-6] != "A" else "B") + sealed[-5:]
    for opener, what, purpose in ((other, sealed, "a"), (vault, sealed, "b"), (vault, changed, "a"), (vault, "x", "a")):
        with pytest.raises(Unreadable):
            opener.open(what, purpose)


@pytest.mark.rule("TG-1")
def test_the_key_is_its_owners_made_once_and_told_when_it_is_damaged(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        sealed = list(pool.map(lambda number: Vault(tmp_path).seal(f"{number}", "a"), range(8)))
    assert [Vault(tmp_path).open(one, "a") for one in sealed] == [f"{number}" for number in range(8)]
    path = tmp_path / NAME
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == [NAME]
    for damage in ("", "zz", "00"):
        path.write_text(damage)
        with pytest.raises(ConfigError, match="must hold 32 bytes"):
            Vault(tmp_path).open(sealed[0], "a")
    path.unlink()
    with pytest.raises(ConfigError, match="No such file"):
        Vault(tmp_path).open(sealed[0], "a")


@pytest.fixture(params=["sqlite", "postgresql"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[Path | None], Engine]]:
    """Opens one migrated database, with a key's folder or without."""
    url = migrated_copy(request.param, request, tmp_path)
    engines: list[Engine] = []

    def open_one(keys: Path | None) -> Engine:
        engines.append(open_database(url, keys))
        return engines[-1]

    yield open_one
    for engine in engines:
        engine.dispose()


@pytest.mark.rule("TG-1", "UI-2")
def test_a_gateways_password_lies_sealed_and_is_told_to_the_worker_only(
    opened: Callable[[Path | None], Engine], write_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    engine = opened(tmp_path)
    bundle = load_bundle(write_bundle(WITH_LOGIN))
    assert PASSWORD not in repr(bundle)
    for _ in range(2):
        with writing(engine) as session:
            catalogue.replace(session, bundle)
    with Session(engine) as session:
        (row,) = session.execute(text("SELECT auth_password FROM gateway WHERE id = 'alpha'")).one()
        assert row.startswith(MARK)
        told = {one["id"]: one["auth_password"] for one in snapshot.items(session, "gateway")}
        assert told == {"alpha": PASSWORD, "beta": ""}
        # Loaded again it is the same password, though nobody could tell that from how it is sealed.
        assert session.get_one(Gateway, "alpha").version == 2  # made, and its rows
        history = "".join(repr(entry.changes) for entry in session.query(History))
    assert PASSWORD not in history
    assert "'auth_password': [None, '(hidden)']" in history


@pytest.mark.rule("TG-1")
def test_without_the_key_calls_go_on_and_nothing_is_lost(
    opened: Callable[[Path | None], Engine], write_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    bundle = load_bundle(write_bundle(WITH_LOGIN))
    with pytest.raises(StatementError, match="without the key"), writing(opened(None)) as session:
        catalogue.replace(session, bundle)
    with writing(opened(tmp_path)) as session:
        catalogue.replace(session, bundle)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for keys in (None, elsewhere):
        with capture_logs() as logs, writing(opened(keys)) as session:
            gateway = session.get_one(Gateway, "alpha")
            assert gateway.auth_password == ""
            gateway.priority += 1
        assert [one["event"] for one in logs] == ([] if keys is None else ["secret_unreadable"])
    with Session(opened(tmp_path)) as session:
        assert session.get_one(Gateway, "alpha").auth_password == PASSWORD
