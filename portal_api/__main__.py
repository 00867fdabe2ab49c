"""`python -m portal_api --config FILE`: the API as a process beside the SIP worker."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from portal_api.app import create_app
from sipsvc.errors import ConfigError
from sipsvc.observe import configure
from sipsvc.settings import Settings, load
from sipsvc.store.database import open_database

GRACE_S = 5


class Server(uvicorn.Server):
    """Ends on SIGTERM and when the parent is gone; Ctrl-C is the parent's to answer where there is one."""

    def __init__(self, config: uvicorn.Config, parent: int | None) -> None:
        super().__init__(config)
        self._parent = parent

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._parent is not None:
            asyncio.get_running_loop().add_reader(self._parent, self._parent_gone, self._parent)

    def _parent_gone(self, parent: int) -> None:
        # Nothing is ever written to the pipe: readable means that its other end is closed.
        asyncio.get_running_loop().remove_reader(parent)
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        signal.signal(signal.SIGTERM, self.handle_exit)
        signal.signal(signal.SIGINT, self.handle_exit if self._parent is None else signal.SIG_IGN)
        yield


def run(settings: Settings) -> None:
    """Serve until told to end. Raises ConfigError where the address cannot be listened on."""
    engine = open_database(settings.data.url, settings.data.dir)
    config = uvicorn.Config(
        create_app(engine, settings.sip.uri_host(), settings.data.dir),
        http="httptools",
        ws="none",
        loop="uvloop",
        lifespan="off",
        log_config=None,
        access_log=False,
        # History names the peer, and a header could name another.
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    family = socket.AF_INET6 if ":" in settings.api.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.api.host, settings.api.port), family=family, backlog=config.backlog)
    except OSError as error:
        # Not `strerror`: there Python repeats the address.
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ConfigError([("api.listen", settings.api.listen, reason)]) from None
    parent = os.environ.get("SIPSVC_PARENT_FD")
    with listener:
        Server(config, int(parent) if parent else None).run(sockets=[listener])
    engine.dispose()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m portal_api", description="The management API of sipsvc.")
    parser.add_argument("--config", help="TOML file; default: SIPSVC_CONFIG, else built-in values")
    try:
        settings = load(parser.parse_args().config)
        configure(settings.log.level, settings.log.format)
        run(settings)
    except ConfigError as error:
        for where, value, reason in error.faults:
            print(f"{where} = {value!r}: {reason}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
