"""The API as a process of its own, on a database of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from sipsvc.settings import DataSettings, Settings
from sipsvc.store import tokens
from sipsvc.store.database import migrate, open_database, writing


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def serving(settings: Settings, parent_fd: int | None = None) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The API as `python -m portal_api`, answering; ended afterwards if it still runs."""
    port = free_port()
    environment = dict(os.environ) | {
        "SIPSVC_DATA__DIR": str(settings.data.dir),
        "SIPSVC_DATA__DATABASE": settings.data.database,
        "SIPSVC_API__LISTEN": f"127.0.0.1:{port}",
    }
    if parent_fd is not None:
        environment["SIPSVC_PARENT_FD"] = str(parent_fd)
    process = subprocess.Popen(
        [sys.executable, "-m", "portal_api"], env=environment, pass_fds=() if parent_fd is None else (parent_fd,)
    )
    try:
        give_up = time.monotonic() + 60
        while True:
            assert process.poll() is None, "the API ended at once"
            assert time.monotonic() < give_up, "the API does not answer"
            try:
                httpx.get(f"http://127.0.0.1:{port}/healthz")
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield process, port
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(timeout=60)


def prepared(folder: Path, database: str = "") -> tuple[Settings, str]:
    """A migrated database, in `folder` if it has no URL, and an administrator's token."""
    settings = Settings(data=DataSettings(dir=folder, database=database))
    migrate(settings.data.url)
    engine = open_database(settings.data.url)
    with writing(engine) as session:
        token = tokens.local_admin(session)
    engine.dispose()
    return settings, token
