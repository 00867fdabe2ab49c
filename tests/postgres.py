"""A PostgreSQL of the tests' own: made in a temporary folder, on a Unix socket, gone afterwards.

It needs Debian's package postgresql; where that is missing the tests that use it fail.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg

from tests.processes import end

# What a crash would lose is lost with the tests anyway.
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "listen_addresses": "",
    "max_connections": "200",
}


def _binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    assert on_path, "PostgreSQL is missing: run `make deps`, or install Debian's package postgresql"
    return Path(on_path).resolve().parent


class Postgres:
    """A running server. Databases made by `database` are copies of one another at no cost worth mentioning."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._bin = _binaries()
        # initdb refuses root; Debian's package brings this user.
        self._user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self._numbers = count()
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            os.chown(folder, pwd.getpwnam(self._user).pw_uid, -1)
        folder.chmod(0o700)
        self._run("initdb", "-D", str(folder / "data"), "-U", "sipsvc", "-A", "trust", "-E", "UTF8", "--no-sync")

    def _run(self, program: str, *words: str) -> None:
        done = subprocess.run(
            [str(self._bin / program), *words],
            user=self._user if os.geteuid() == 0 else None,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, f"{program}: {done.stderr.decode(errors='replace')}"

    def start(self) -> None:
        """Returns when it takes connections."""
        options = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._bin / "postgres"), "-D", str(self.folder / "data"), "-k", str(self.folder), *options],
                user=self._user if os.geteuid() == 0 else None,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        give_up = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self._dsn("postgres")).close()
                return
            except psycopg.OperationalError:
                assert self._process.poll() is None and time.monotonic() < give_up, (self.folder / "log").read_text()
                time.sleep(0.05)

    def stop(self) -> None:
        """At once: open connections are cut."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            end(self._process, 10)

    def database(self, template: str = "template1") -> str:
        """A new database's name."""
        name = f"test_{next(self._numbers)}"
        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return name

    def url(self, name: str) -> str:
        """What `open_database` takes."""
        return f"postgresql://sipsvc@/{name}?host={self.folder}"

    def _dsn(self, name: str) -> str:
        return f"host={self.folder} user=sipsvc dbname={name}"


@contextmanager
def running() -> Iterator[Postgres]:
    """A server until the end of the block. Its folder's path is short, for a Unix socket's is bounded."""
    folder = Path(tempfile.mkdtemp(prefix="sipsvc-pg-"))
    folder.chmod(0o755)
    server = Postgres(folder / "pg")
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
