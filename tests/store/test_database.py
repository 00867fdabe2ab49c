"""Opening, migrating up and down, and what SQLite is told."""

from __future__ import annotations

import io
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Engine, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.schema import CreateTable

from sipsvc.errors import ConfigError
from sipsvc.store import database
from sipsvc.store.database import downgrade, migrate, one_state, open_database
from sipsvc.store.models import Base


def test_models_and_migration_agree(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_up_down_up(url: str) -> None:
    migrate(url)
    migrate(url)
    engine = open_database(url)
    assert set(inspect(engine).get_table_names()) == set(Base.metadata.tables) | {"alembic_version"}
    downgrade(url, "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]
    migrate(url)
    assert "cdr" in inspect(engine).get_table_names()
    engine.dispose()


def test_migration_is_the_models_on_postgresql_too() -> None:
    """Column by column the SQL for PostgreSQL is what the models would make."""
    out = io.StringIO()
    context = MigrationContext.configure(dialect_name="postgresql", opts={"as_sql": True, "output_buffer": out})
    path = next((Path(database.__file__).parent / "migrations" / "versions").glob("0001_*.py"))
    spec = spec_from_file_location("first", path)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    with Operations.context(context):
        module.upgrade()
    made = {_table(sql): _lines(sql) for sql in out.getvalue().split(";") if "CREATE TABLE" in sql}
    wanted = [
        str(CreateTable(table).compile(dialect=make_url("postgresql://").get_dialect()()))
        for table in Base.metadata.sorted_tables
    ]
    assert made == {_table(sql): _lines(sql) for sql in wanted}
    assert "BIGSERIAL" in out.getvalue()


def _table(sql: str) -> str:
    return sql.split("CREATE TABLE ")[1].split(" ")[0]


def _lines(sql: str) -> list[str]:
    return sorted(line.strip(" ,\t") for line in sql.partition("(")[2].rpartition(")")[0].splitlines() if line.strip())


def test_sqlite_is_told(engine: Engine) -> None:
    with engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1
        assert connection.execute(text("PRAGMA busy_timeout")).scalar() == database.BUSY_TIMEOUT_MS


def test_reads_see_one_state(engine: Engine) -> None:
    insert = text("INSERT INTO block (prefix, reason) VALUES ('979', 'x')")
    count = text("SELECT count(*) FROM block")
    with one_state(engine) as reader:
        assert reader.execute(count).scalar() == 0
        with engine.begin() as writer:
            writer.execute(insert)
        assert reader.execute(count).scalar() == 0
    with one_state(engine) as reader:
        assert reader.execute(count).scalar() == 1


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("nonsense", "not a database URL"),
        ("mysql://u:geheim@h/d", "only sqlite and postgresql"),
        ("postgresql+nodriver://u:geheim@h/d", "no driver"),
        ("sqlite+nodriver:///x", "no driver"),
        ("sqlite:////dev/null/x/y.db", "folder cannot be made"),
    ],
)
def test_a_url_that_cannot_be_used(url: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        open_database(url)
    assert caught.value.faults[0][0] == "data.database"
    assert "geheim" not in str(caught.value)
