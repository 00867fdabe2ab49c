"""Places on either database, and the databases that tests make by the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sipsvc.settings import DataSettings, Settings
from tests.databases import migrated_copy
from tests.postgres import Postgres

Place = Callable[..., Settings]


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def place(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Settings of a data folder by name; with `migrated` there is a schema in its database."""

    def make(name: str, *, migrated: bool = False) -> Settings:
        folder = tmp_path / name
        if migrated:
            folder.mkdir()
            return Settings(data=DataSettings(dir=folder, database=migrated_copy(kind, request, folder)))
        if kind == "sqlite":
            return Settings(data=DataSettings(dir=folder))
        server: Postgres = request.getfixturevalue("postgres")
        return Settings(data=DataSettings(dir=folder, database=server.url(server.database())))

    return make
