"""One state of the database as a file, and back: SQLite by its own copying, PostgreSQL by its client programs."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from sipsvc.errors import ConfigError, SipsvcError
from sipsvc.store import cdrs
from sipsvc.store.database import one_state, open_database, revision

SQLITE = "sqlite"
FILES = {SQLITE: "sipsvc.db", "postgresql": "sipsvc.pgdump"}
BESIDE = ("-wal", "-shm", "-journal")
# Those of an extension go and come with it.
OWN_FUNCTIONS = """
    SELECT oid::regprocedure::text FROM pg_proc
    WHERE pronamespace = current_schema()::regnamespace AND prokind = 'f'
    AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
"""


class NotKept(SipsvcError):
    """The database could not be saved or put back."""


class State(NamedTuple):
    """What a copy holds: its schema's revision, and up to where the log is delivered."""

    schema: str
    delivered: tuple[str, int]


def kind(url: str) -> str:
    """`sqlite` or `postgresql`."""
    return make_url(url).get_backend_name()


def save(url: str, target: Path) -> State:
    """Copy one committed state, while others write. Raises ConfigError, NotKept."""
    try:
        if kind(url) == SQLITE:
            return _save_sqlite(_file(url), target)
        return _dump(url, target)
    except (sqlite3.Error, SQLAlchemyError, OSError) as error:
        raise NotKept(f"the database cannot be copied: {getattr(error, 'orig', None) or error}") from error


def put_back(url: str, source: Path) -> None:
    """Make the database what `source` holds, and nothing else. Raises ConfigError, NotKept."""
    try:
        if kind(url) == SQLITE:
            _put_back_sqlite(_file(url), source)
        else:
            _load(url, source)
    except (sqlite3.Error, SQLAlchemyError, OSError) as error:
        raise NotKept(f"the database cannot be put back: {getattr(error, 'orig', None) or error}") from error


def tables(url: str) -> list[str]:
    """Those there are. Raises ConfigError, NotKept for a database that cannot be reached."""
    if kind(url) == SQLITE and not _file(url).exists():
        return []
    engine = open_database(url)
    try:
        return sorted(inspect(engine).get_table_names())
    except SQLAlchemyError as error:
        raise NotKept(f"the database cannot be reached: {getattr(error, 'orig', None) or error}") from error
    finally:
        engine.dispose()


def ready(url: str, program: str) -> None:
    """Raises ConfigError where the client program this kind of database needs is not there."""
    if kind(url) != SQLITE and shutil.which(program) is None:
        raise ConfigError(
            [("data.database", "postgresql", f"needs {program}, which is not installed (package postgresql-client)")]
        )


def _file(url: str) -> Path:
    name = make_url(url).database
    if not name or name == ":memory:":
        raise ConfigError([("data.database", url, "is no file that could be kept")])
    return Path(name)


def _save_sqlite(source: Path, target: Path) -> State:
    if not source.exists():
        raise NotKept(f"there is no database: {source}")
    # All pages in one go: readers and, by the write-ahead log, writers go on meanwhile.
    with closing(sqlite3.connect(source)) as there, closing(sqlite3.connect(target)) as here:
        there.backup(here)
        # One file, whole by itself.
        here.execute("PRAGMA journal_mode=DELETE")
        (schema,) = here.execute("SELECT version_num FROM alembic_version").fetchone()
        position = here.execute('SELECT segment, "offset" FROM delivery_position').fetchone()
    return State(schema, position or ("", 0))


def _put_back_sqlite(target: Path, source: Path) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = target.with_name(f"{target.name}.new")
    shutil.copyfile(source, draft)
    draft.chmod(0o600)
    for ending in BESIDE:
        target.with_name(target.name + ending).unlink(missing_ok=True)
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.rename(target)


def _dump(url: str, target: Path) -> State:
    ready(url, "pg_dump")
    engine = open_database(url)
    try:
        with one_state(engine) as connection, Session(connection) as session:
            state = State(revision(connection), cdrs.position(session))
            # What is read here and what the program dumps are one state.
            snapshot = connection.execute(text("SELECT pg_export_snapshot()")).scalar_one()
            _client("pg_dump", url, "--format=custom", f"--snapshot={snapshot}", f"--file={target}")
        return state
    finally:
        engine.dispose()


def _load(url: str, source: Path) -> None:
    ready(url, "pg_restore")
    engine = open_database(url)
    try:
        with engine.begin() as connection:
            quote: Callable[[str], str] = engine.dialect.identifier_preparer.quote
            for name in inspect(connection).get_table_names():
                connection.execute(text(f"DROP TABLE {quote(name)} CASCADE"))
            # What triggers called stays behind their tables.
            for signature in connection.scalars(text(OWN_FUNCTIONS)).all():
                connection.execute(text(f"DROP FUNCTION {signature} CASCADE"))
    finally:
        engine.dispose()
    _client("pg_restore", url, "--exit-on-error", "--single-transaction", str(source))


def _client(program: str, url: str, *words: str) -> None:
    """The password goes by the environment: arguments are for everybody on the machine to see."""
    parsed: URL = make_url(url)
    where = parsed.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
    password = {"PGPASSWORD": str(parsed.password)} if parsed.password else {}
    done = subprocess.run(
        [program, "--no-owner", "--no-privileges", "--no-password", f"--dbname={where}", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **password},
    )
    if done.returncode:
        raise NotKept(f"{program} failed: {done.stderr.strip()[-500:]}")
