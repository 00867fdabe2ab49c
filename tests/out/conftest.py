"""A migrated database with a deliverer before it, on SQLite and on PostgreSQL, and a Redis."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from sipsvc.cdr.deliver import Deliverer
from sipsvc.cdr.segments import encode, segment_path
from sipsvc.store.database import open_database
from tests.databases import migrated_copy
from tests.redis import Redis, running


class Log:
    """Records go into the log, and by the real deliverer into the database."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self.folder = folder
        self.engine = engine
        folder.mkdir(exist_ok=True)
        self._deliverer = Deliverer(folder, engine)

    def write(self, *records: dict[str, Any]) -> None:
        with open(segment_path(self.folder, 1), "ab") as file:
            file.write(b"".join(encode(record) for record in records))
        while self._deliverer.step():
            pass


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    made = open_database(migrated_copy(request.param, request, tmp_path))
    yield made
    made.dispose()


@pytest.fixture
def log(tmp_path: Path, engine: Engine) -> Log:
    return Log(tmp_path / "cdr", engine)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    with running() as server:
        yield server
