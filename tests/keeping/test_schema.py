"""Upgrade and rollback over two schema versions with data in every table, and what refuses a wrong version."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import MetaData, inspect, text

from sipsvc.cdr.deliver import drain_once
from sipsvc.cdr.log import LogWriter, lock_file
from sipsvc.errors import ConfigError
from sipsvc.firstrun import load
from sipsvc.keeping.restore import NotRestored
from sipsvc.keeping.schema import rollback, upgrade
from sipsvc.settings import Settings
from sipsvc.store.database import current_revision, known_revision, migrate, newest_revision, open_database
from tests.cdr.records import answer, end, start
from tests.directories import load_directory
from tests.keeping.conftest import Place
from tests.keeping.test_backup import rows
from tests.store.conftest import BUNDLE, COVERAGE, PRICES

STEPS = 2


def before(revision: str, steps: int) -> str:
    """The revision so many steps older."""
    older = f"{int(revision) - steps:04d}"
    assert known_revision(older)
    return older


def contents(settings: Settings, only: dict[str, list[str]] | None = None) -> dict[str, list[Any]]:
    """All rows, of the columns in `only` where it is given, in one order."""
    engine = open_database(settings.data.url)
    metadata = MetaData()
    metadata.reflect(engine)
    found = {}
    with engine.connect() as connection:
        for name, table in metadata.tables.items():
            wanted = [column.name for column in table.columns] if only is None else only.get(name)
            if wanted and name != "alembic_version":
                listed = ", ".join(f'"{column}"' for column in sorted(wanted))
                found[name] = sorted(map(str, connection.execute(text(f'SELECT {listed} FROM "{name}"'))))
    engine.dispose()
    return found


def columns(settings: Settings) -> dict[str, list[str]]:
    engine = open_database(settings.data.url)
    looked = inspect(engine)
    found = {name: [column["name"] for column in looked.get_columns(name)] for name in looked.get_table_names()}
    engine.dispose()
    return found


def filled(settings: Settings) -> None:
    """A partner with everything it sells, and calls in log and database."""
    bundle = settings.data.dir / "bundle.toml"
    for name, content in (("bundle.toml", BUNDLE), ("prices.csv", PRICES), ("coverage.csv", COVERAGE)):
        bundle.with_name(name).write_text(content)
    load(settings, bundle)
    writer = LogWriter(settings.data.dir / "cdr", lambda seq: None)
    records = [one for number in range(1, 21) for one in (start(number), answer(number), end(number))]
    writer.append([(record, seq, False) for seq, record in enumerate(records, 1)])
    writer.close()
    assert drain_once(settings) == 20


@pytest.mark.rule("law 8")
def test_two_versions_back_and_forth_keep_what_both_know(place: Place) -> None:
    settings = place("here", migrated=True)
    filled(settings)
    newest = newest_revision()
    older = before(newest, STEPS)
    there = columns(settings)
    assert rollback(settings, older) == (newest, older)
    shared = {name: [one for one in listed if one in there.get(name, ())] for name, listed in columns(settings).items()}
    assert shared != there, "two versions apart and no difference"
    then = contents(settings, shared)
    for name in ("cdr", "delivery_position", "customer", "trunk", "gateway", "pricelist", "price_row", "history"):
        assert then[name], name
    assert upgrade(settings) == (older, newest)
    assert columns(settings) == there
    assert contents(settings, shared) == then
    engine = open_database(settings.data.url)
    directory = load_directory(engine)
    engine.dispose()
    assert directory.customers
    assert directory.gateways
    assert len(rows(settings)) == 20
    assert upgrade(settings) == (newest, newest)


@pytest.mark.rule("law 8")
def test_the_way_back_loses_nothing_both_versions_know(place: Place) -> None:
    settings = place("here", migrated=True)
    filled(settings)
    everything = contents(settings)
    older = before(newest_revision(), STEPS)
    # What the older version has, read while the newer one is in force.
    twin = place("twin")
    twin.data.dir.mkdir()
    migrate(twin.data.url, older)
    there, older_ones = columns(settings), columns(twin)
    shared = {
        name: [one for one in older_ones[name] if one in there[name]] for name in everything if name in older_ones
    }
    seen = contents(settings, shared)
    rollback(settings, older)
    assert contents(settings, shared) == seen


def test_a_database_of_a_newer_version_is_left_alone(place: Place) -> None:
    settings = place("here", migrated=True)
    engine = open_database(settings.data.url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    for step in (lambda: upgrade(settings), lambda: migrate(settings.data.url)):
        with pytest.raises(ConfigError, match=r"its schema \(9999\) is newer than this version knows"):
            step()
    with pytest.raises(ConfigError, match=r"its schema \(9999\)"):
        rollback(settings, newest_revision())
    assert current_revision(settings.data.url) == "9999"


def test_a_rollback_goes_back_and_nowhere_else(place: Place) -> None:
    settings = place("here", migrated=True)
    newest = newest_revision()
    with pytest.raises(ConfigError, match="REVISION = '9999': is none of this version"):
        rollback(settings, "9999")
    rollback(settings, before(newest, 1))
    with pytest.raises(ConfigError, match=r"is newer than the database is"):
        rollback(settings, newest)


def test_neither_goes_under_a_running_server(place: Place) -> None:
    settings = place("here", migrated=True)
    (settings.data.dir / "cdr").mkdir()
    held = lock_file(settings.data.dir / "cdr" / "lock")
    with open(held, "rb"):
        for step in (lambda: upgrade(settings), lambda: rollback(settings, before(newest_revision(), 1))):
            with pytest.raises(NotRestored, match="a server runs here"):
                step()
    assert current_revision(settings.data.url) == newest_revision()
