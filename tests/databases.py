"""Migrated databases for tests: made once a test process, then copied, for migrating takes half a second."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sipsvc.store.database import migrate
from tests.postgres import Postgres


def migrated_copy(kind: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """The URL of a new migrated database: `kind` is `sqlite` (a file in `folder`) or `postgresql`."""
    template: str = request.getfixturevalue(f"migrated_{kind}")
    if kind == "sqlite":
        shutil.copyfile(template, folder / "sipsvc.db")
        return f"sqlite:///{folder / 'sipsvc.db'}"
    server: Postgres = request.getfixturevalue("postgres")
    return server.url(server.database(template))


def sqlite_template(folder: Path) -> str:
    """The path of a migrated file."""
    migrate(f"sqlite:///{folder / 'template.db'}")
    return str(folder / "template.db")


def postgresql_template(server: Postgres) -> str:
    """The name of a migrated database that nobody is connected to."""
    name = server.database()
    migrate(server.url(name))
    return name
