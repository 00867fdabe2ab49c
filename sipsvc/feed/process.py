"""`python -m sipsvc feed`: watches the catalogue's version and sends the worker what changed, until that is gone."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import PoolProxiedConnection

from sipsvc.feed.compiler import Compiler
from sipsvc.feed.images import Images, Key, tables_folder
from sipsvc.feed.line import Line, LineClosed, Message
from sipsvc.feed.source import Source
from sipsvc.observe import get_logger
from sipsvc.settings import Settings
from sipsvc.store.database import open_database

POLL_S = 0.15
RETRY_S = 1.0
QUERY = "SELECT version, changed_at FROM catalogue WHERE id = 1"
log = get_logger("feed")


def main(settings: Settings, config: str | None) -> None:
    """Begins when the worker says so; ends when the worker is gone."""
    # Ctrl-C reaches the whole group; the worker finishes its calls first, and then we see its end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line = Line(socket.socket(fileno=int(os.environ["SIPSVC_FEED_FD"])))
    engine: Engine | None = None
    compiler = Compiler(config)
    try:
        line.receive()
        engine = open_database(settings.data.url, settings.data.dir)
        images = Images(tables_folder(settings))
        Feed(line, engine, images, compiler).run()
    except LineClosed:
        return
    finally:
        compiler.stop()
        if engine is not None:
            engine.dispose()


class Watch:
    """The catalogue's version, asked for on one connection that is kept: a poll costs the database next to nothing."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: PoolProxiedConnection | None = None

    def look(self) -> tuple[int, int]:
        """The version, and when its change began (UTC ms); zeros before there is any. Raises the driver's errors."""
        if self._connection is None:
            self._connection = self._engine.raw_connection()
            if self._engine.dialect.name == "postgresql":
                driver: Any = self._connection.driver_connection
                driver.autocommit = True
        cursor = self._connection.cursor()
        try:
            cursor.execute(QUERY)
            found = cursor.fetchone()
        finally:
            cursor.close()
        return (int(found[0]), int(found[1])) if found else (0, 0)

    def forget(self) -> None:
        """The connection may be broken."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()


class Feed:
    """The loop. Whatever the database does, the worker keeps the directory it has."""

    def __init__(self, line: Line, engine: Engine, images: Images, compiler: Compiler) -> None:
        self._line = line
        self._images = images
        self._compiler = compiler
        self._source = Source(engine, images, compiler)
        self._watch = Watch(engine)
        # Whether what the worker has is known; what was refused is looked at again when something changes.
        self._known = self._refused = False
        self._looked = 0
        # Since when (UTC ms) a table is wanted that is being compiled.
        self._wanted: dict[Key, int] = {}
        self._errors = (DBAPIError, OSError, engine.dialect.import_dbapi().Error)

    def run(self) -> None:
        """Until LineClosed is raised. Raises NotCompiled."""
        away = False
        while True:
            try:
                self._step()
                if away:
                    log.info("feed_database_back")
                away = False
            except self._errors as error:
                if not away:
                    log.warning("feed_database_away", reason=str(error).partition("\n")[0], retry_s=RETRY_S)
                away = True
                self._watch.forget()
            self._line.receive(RETRY_S if away else POLL_S)

    def _step(self) -> None:
        version, changed_at = self._watch.look()
        # Committed between the last look and this one, and not before the change began.
        since, self._looked = max(changed_at, self._looked), utc_ms()
        if version < self._source.version or (version > self._source.version and self._refused):
            self._known = False
        if not self._known:
            self._everything()
        elif version > self._source.version:
            self._send(self._source.changes(), since)
        elif (key := self._compiler.done()) is not None:
            self._send(self._source.changes(), self._wanted.pop(key, since))

    def _everything(self) -> None:
        """Big tables first, so that what is then sent is one state of it all."""
        since = utc_ms()
        while keys := self._source.to_compile():
            self._compiler.run(keys, lambda: self._line.receive(POLL_S))
        self._send(self._source.everything(), since)

    def _send(self, messages: Iterator[Message], since: int) -> None:
        everything = not self._known
        self._known = False
        for message in messages:
            self._line.send(message)
        self._known = True
        version = self._source.version
        self._line.send({"commit": version, "since": since})
        for key in self._compiler.wanted:
            self._wanted.setdefault(key, since)
        answer = self._line.receive() or {}
        self._refused = "refused" in answer
        if self._refused:
            log.error("directory_refused", version=version, reason=answer["reason"])
        else:
            self._images.keep(self._source.used, only=everything)


def utc_ms() -> int:
    return time.time_ns() // 1_000_000
