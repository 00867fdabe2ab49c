"""A partner with gateways and price lists to import into, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from sipsvc.store.database import open_database
from tests.databases import migrated_copy
from tests.imports.world import make


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A migrated database of its own, with the world of `world.make`."""
    made = migrated_copy(request.param, request, tmp_path)
    engine = open_database(made)
    make(engine)
    engine.dispose()
    return made


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = open_database(url)
    yield engine
    engine.dispose()
