"""Opening and migrating the database: SQLite in WAL mode, or PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.orm import Session

from sipsvc.errors import ConfigError
from sipsvc.store.types import VAULTS
from sipsvc.vault import Vault

BUSY_TIMEOUT_MS = 10_000


def open_database(url: str, keys: Path | None = None) -> Engine:
    """An engine for `url`; an SQLite file's folder is made. Raises ConfigError for one that cannot be used.

    `keys` is the folder of the key that seals secrets (`vault`); without it none can be read or written.

    On SQLite a transaction sees one state of the file from its first read to its end. So a transaction that
    writes must write first, or take the lock to write as `writing` does: one that read an older state is refused
    at once, whatever the busy timeout.
    """
    engine = _open(url)
    if keys is not None:
        VAULTS[engine.dialect] = Vault(keys)
    return engine


def _open(url: str) -> Engine:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigError([("data.database", url.partition("://")[0], "is not a database URL")]) from None
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise _refused(parsed, "only sqlite and postgresql are supported")
    try:
        if parsed.get_backend_name() == "postgresql":
            if parsed.drivername == "postgresql":
                parsed = parsed.set(drivername="postgresql+psycopg")
            return create_engine(parsed, pool_pre_ping=True, hide_parameters=True)
        if parsed.database and parsed.database != ":memory:":
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        # What is written may be a secret, and errors are logged.
        engine = create_engine(parsed, hide_parameters=True)
    except ImportError as error:
        raise _refused(parsed, f"its driver is not installed: {error.name}") from None
    except NoSuchModuleError:
        raise _refused(parsed, f"there is no driver {parsed.drivername!r}") from None
    except OSError as error:
        raise _refused(parsed, f"its folder cannot be made: {error.strerror}") from None
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def migrate(url: str, revision: str = "head") -> None:
    """Bring the database up to `revision`; on one that is up to date it changes nothing.

    Raises ConfigError for one that a newer version has brought further.
    """
    _run(url, lambda config: command.upgrade(config, revision))


def newest_revision() -> str:
    """The schema this version works with."""
    return _script().get_current_head() or ""


def known_revision(name: str) -> bool:
    """Whether this version knows the revision of exactly that name."""
    return any(one.revision == name for one in _script().walk_revisions())


def revision(connection: Connection) -> str:
    """Where the schema is, "" for a database without one."""
    return MigrationContext.configure(connection).get_current_revision() or ""


def current_revision(url: str) -> str:
    """The same by the database's URL. Raises ConfigError, and what a database raises."""
    engine = open_database(url)
    try:
        with engine.connect() as connection:
            return revision(connection)
    finally:
        engine.dispose()


def outdated(connection: Connection) -> str:
    """Why the schema is not the one this version works with; "" when it is. Raises what a database raises."""
    found, wanted = revision(connection), newest_revision()
    return "" if found == wanted else f"the schema is at revision {found}, this version needs {wanted}"


def downgrade(url: str, revision: str) -> None:
    """Take the database back to `revision`; `base` removes every table and what is in it."""
    _run(url, lambda config: command.downgrade(config, revision))


@contextmanager
def one_state(engine: Engine) -> Iterator[Connection]:
    """A connection whose reads all see one committed state, whatever others commit meanwhile."""
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Session]:
    """A session whose transaction commits at the end, and may read before it writes (see `open_database`).

    What it loaded can still be read afterwards.
    """
    with (
        engine.connect().execution_options(writes=True) as connection,
        connection.begin(),
        Session(connection, join_transaction_mode="control_fully", expire_on_commit=False) as session,
    ):
        yield session
        session.commit()


def _run(url: str, step: Any) -> None:
    engine = open_database(url)
    sqlite = engine.dialect.name == "sqlite"
    if sqlite:
        # A table is altered there by copying it, and dropping the old one would take along what points at it.
        event.listen(engine, "connect", _forget_references)
    config = _configured()
    try:
        with engine.begin() as connection:
            found = revision(connection)
            if found and not known_revision(found):
                reason = f"its schema ({found}) is newer than this version knows ({newest_revision()}): "
                raise _refused(engine.url, reason + "roll it back with the newer version, or run that one")
            config.attributes["connection"] = connection
            step(config)
            if sqlite:
                broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
                assert not broken, f"the migration breaks references: {broken[:5]}"
    finally:
        engine.dispose()


def _script() -> ScriptDirectory:
    return ScriptDirectory.from_config(_configured())


def _configured() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


def _refused(url: URL, reason: str) -> ConfigError:
    return ConfigError([("data.database", url.render_as_string(hide_password=True), reason)])


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own BEGIN comes only before writes, and reads would see one state each; we send ours.
    connection.isolation_level = None
    for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", "journal_mode=WAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _forget_references(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA foreign_keys=OFF").close()


def _begin_sqlite(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
