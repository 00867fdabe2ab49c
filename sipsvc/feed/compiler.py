"""Compiling price tables: small ones here, big ones in a process of its own, so that other edits need not wait."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from sipsvc.directory.image import compile_image
from sipsvc.errors import SipsvcError
from sipsvc.feed.images import Images, Key, Name, tables_folder
from sipsvc.observe import get_logger
from sipsvc.settings import Settings
from sipsvc.store import snapshot
from sipsvc.store.database import one_state, open_database

NICE = 10
RETRY_S = 30.0
log = get_logger("feed")


def compile_rows(connection: Connection, images: Images, key: Key) -> Name:
    """Write the image of an owner's rows as `connection` sees them. Raises KeyError when there is no such owner."""
    began = time.monotonic()
    name = Name(*key, snapshot.rows_versions(Session(connection))[key])
    image = compile_image(snapshot.rows(connection, *key))
    images.write(name, image)
    log.info("table_compiled", kind=key[0], id=key[1], rows_version=name.version, bytes=len(image),
             ms=round(1000 * (time.monotonic() - began)))  # fmt: skip
    return name


def main(settings: Settings, kind: str, owner: str) -> None:
    """The process of its own. It gives way to everything else on the machine."""
    os.nice(NICE)
    engine = open_database(settings.data.url)
    with one_state(engine) as connection:
        compile_rows(connection, Images(tables_folder(settings)), (kind, owner))
    engine.dispose()


class NotCompiled(SipsvcError):
    """There are rows no table can be made of, so there is no directory."""


class Compiler:
    """The processes, one at a time: two would take both cores from the calls."""

    def __init__(self, config: str | None) -> None:
        self._options = ["--config", config] if config else []
        self._waiting: list[Key] = []
        self._running: tuple[Key, subprocess.Popen[bytes]] | None = None
        self._failed: dict[Key, float] = {}

    def want(self, key: Key) -> None:
        """Compile this owner's rows, unless that is under way or failed a moment ago."""
        running = self._running is not None and self._running[0] == key
        failed = key in self._failed and self._failed[key] + RETRY_S > time.monotonic()
        if not running and not failed and key not in self._waiting:
            self._waiting.append(key)
        self._next()

    def run(self, keys: list[Key], wait: Callable[[], object]) -> None:
        """Compile these now, calling `wait` meanwhile. Raises NotCompiled."""
        for key in keys:
            self._failed.pop(key, None)
            self.want(key)
        while self.wanted:
            ended = self.done()
            if ended is not None and ended in self._failed:
                raise NotCompiled(f"the rows of {ended[0]} {ended[1]} cannot be compiled")
            wait()

    @property
    def wanted(self) -> list[Key]:
        """What runs or waits."""
        return [*([self._running[0]] if self._running is not None else []), *self._waiting]

    def done(self) -> Key | None:
        """An owner whose compilation has ended since the last time."""
        if self._running is None:
            return None
        key, process = self._running
        status = process.poll()
        if status is None:
            return None
        self._running = None
        self._failed.pop(key, None)
        if status:
            log.error("table_not_compiled", kind=key[0], id=key[1], status=status)
            self._failed[key] = time.monotonic()
        self._next()
        return key

    def stop(self) -> None:
        """End what runs."""
        self._waiting.clear()
        if self._running is not None:
            self._running[1].kill()
            self._running[1].wait()

    def _next(self) -> None:
        if self._running is None and self._waiting:
            key = self._waiting.pop(0)
            command = [sys.executable, "-m", "sipsvc", "compile-table", *key, *self._options]
            self._running = key, subprocess.Popen(command, stdin=subprocess.DEVNULL)
