"""What has to be there before the first call: schema, secret, an administrator's token, and a demo when asked."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Engine

from sipsvc import keyring
from sipsvc.effects import written
from sipsvc.errors import ConfigError
from sipsvc.keyring import private
from sipsvc.settings import Settings
from sipsvc.store import catalogue, tokens
from sipsvc.store.bundle import load_bundle
from sipsvc.store.changes import utc_now
from sipsvc.store.database import migrate, open_database, writing

# In the data folder while `sipsvc restore` replaces what is there.
BROKEN_OFF = "restore.broken-off"


class Made(NamedTuple):
    """What exists now and can be shown only once: passwords by username, and the administrator's token or ""."""

    passwords: dict[str, str]
    token: str


def prepare(settings: Settings, demo: Path | None) -> tuple[Engine, tuple[bytes, ...], Made]:
    """Migrate the database, load `demo` where there is no partner yet. Secrets are newest first. Raises ConfigError."""
    folder = settings.data.dir
    try:
        # Keys, hashes of passwords and who called whom: for its owner's eyes.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        secrets = keyring.load(folder, time.time_ns() // 1_000_000)
    except OSError as error:
        raise ConfigError([("data.dir", str(folder), error.strerror or "cannot be used")]) from None
    if (folder / BROKEN_OFF).exists():
        raise ConfigError([("data.dir", str(folder), "a restore was broken off: run it again with --force")])
    migrate(settings.data.url)
    engine = open_database(settings.data.url, folder)
    passwords: dict[str, str] = {}
    token = ""
    with writing(engine) as session:
        catalogue.prepare(session)
        if demo is not None and catalogue.is_empty(session):
            bundle = load_bundle(demo)
            passwords = bundle.made_passwords
            catalogue.replace(session, bundle)
        if not tokens.has_admin(session, utc_now()):
            token = tokens.local_admin(session)
    if demo is not None and (passwords or token):
        _write_credentials(settings, passwords, token)
    return engine, secrets, Made(passwords, token)


def load(settings: Settings, path: Path) -> tuple[int, dict[str, str]]:
    """Store a bundle whole or not at all: the new catalogue version and the passwords made. Raises ConfigError."""
    bundle = load_bundle(path)
    settings.data.dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    migrate(settings.data.url)
    engine = open_database(settings.data.url, settings.data.dir)
    try:
        with writing(engine) as session:
            return catalogue.replace(session, bundle), bundle.made_passwords
    finally:
        engine.dispose()


def _write_credentials(settings: Settings, passwords: dict[str, str], token: str) -> None:
    """For `demo-call` on this machine; readable by its owner only."""
    ours = settings.sip.listeners()
    where = next((one for one in ours if one.transport == "UDP"), ours[0])
    host, port = where.host, where.port
    username = next(iter(passwords), "")
    credentials = {
        "username": username,
        "password": passwords.get(username, ""),
        "api_token": token,
        "api_url": f"http://{settings.api.listen}",
        "sip": f"{written(host)}:{port}",
    }
    private(settings.data.dir / "demo-credentials.json", json.dumps(credentials, indent=1).encode() + b"\n")
