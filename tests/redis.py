"""A Redis of the tests' own: on a Unix socket in a temporary folder, gone afterwards.

It needs Debian's package redis-server; where that is missing the tests that use it fail.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from tests.processes import end


class Redis:
    """`url` is what `cdr.redis.url` takes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"unix://{folder / 'redis.sock'}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers; what was in it is there again."""
        program = shutil.which("redis-server")
        assert program, "Redis is missing: run `make deps`, or install Debian's package redis-server"
        options = ["--port", "0", "--unixsocket", str(self.folder / "redis.sock"), "--dir", str(self.folder)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program, *options, "--save", "", "--appendonly", "yes"], stdin=subprocess.DEVNULL, stdout=log
            )
        give_up = time.monotonic() + 60
        with self.client() as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.RedisError:
                    assert self._process.poll() is None and time.monotonic() < give_up
                    time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            end(self._process, 10)

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url)


@contextmanager
def running() -> Iterator[Redis]:
    """A server until the end of the block."""
    folder = Path(tempfile.mkdtemp(prefix="sipsvc-redis-"))
    server = Redis(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
