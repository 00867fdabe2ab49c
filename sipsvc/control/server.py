"""The server's end: a line of JSON asks, lines of JSON answer, and nobody who asks can hold the loop.

`{"do": "calls", "customer": "acme"}` is answered by any number of lines `{"data": …}` and then by `{"done": true}`, or
by `{"error": "why"}`. A connection may ask again.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from sipsvc.control.place import NAME, address
from sipsvc.errors import SipsvcError
from sipsvc.observe import get_logger

Handler = Callable[[dict[str, Any]], Iterator[Any]]

# Whoever is more has to come again.
MOST_CLIENTS = 16
LINE_BYTES = 16 * 1024
# How long a question may take to come, and an answer to be taken.
PATIENCE_S = 10.0
# What waits for a client that does not read; then nothing more is made for it.
HELD_BYTES = 64 * 1024


class Refused(SipsvcError):
    """What is asked cannot be done; the text is for whoever asked."""


class ControlServer:
    """`handlers` by what they do. Each is a generator of small pieces: after every piece the loop has its turn, so what
    it walks over must be a copy. It may raise Refused."""

    def __init__(self, handlers: Mapping[str, Handler], *, patience_s: float = PATIENCE_S) -> None:
        self._handlers = handlers
        self._patience = patience_s
        self._folder: Path | None = None
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[Any]] = set()
        self._log = get_logger("control")

    async def start(self, folder: Path) -> None:
        """Listen in `folder`, which is locked by us: a socket that is there is of a process that is gone.

        Raises OSError.
        """
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.setblocking(False)
            # Before it has a name, so that it is nobody else's for no moment.
            os.fchmod(listening.fileno(), 0o600)
            with suppress(FileNotFoundError):
                (folder / NAME).unlink()
            with address(folder) as name:
                listening.bind(name)
            self._folder = folder
            self._server = await asyncio.start_unix_server(self._client, sock=listening, limit=LINE_BYTES)
        except OSError:
            listening.close()
            raise

    def stop(self) -> None:
        """Take the socket away and hang up on whoever is there."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for client in self._clients:
            client.cancel()
        if self._folder is not None:
            with suppress(FileNotFoundError):
                (self._folder / NAME).unlink()
            self._folder = None

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        writer.transport.set_write_buffer_limits(high=HELD_BYTES)
        try:
            if len(self._clients) > MOST_CLIENTS:
                writer.write(_line({"error": "too many ask at once; try again"}))
                return
            while await self._question(reader, writer):
                pass
        except (TimeoutError, ConnectionError, asyncio.CancelledError):
            # It asks nothing, takes nothing, or is gone; or the server ends.
            writer.transport.abort()
        finally:
            self._clients.discard(task)
            writer.close()

    async def _question(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one; whether there may be another."""
        try:
            line = await asyncio.wait_for(reader.readline(), self._patience)
        except ValueError:
            writer.write(_line({"error": f"a question has at most {LINE_BYTES} bytes"}))
            return False
        if not line.endswith(b"\n"):
            return False
        try:
            for piece in self._answer(line):
                writer.write(_line({"data": piece}))
                await asyncio.wait_for(writer.drain(), self._patience)
                await asyncio.sleep(0)
            said: dict[str, Any] = {"done": True}
        except Refused as refused:
            said = {"error": str(refused)}
        writer.write(_line(said))
        await asyncio.wait_for(writer.drain(), self._patience)
        return True

    def _answer(self, line: bytes) -> Iterator[Any]:
        try:
            asked = orjson.loads(line)
        except ValueError:
            raise Refused("a question is a line of JSON") from None
        do = asked.get("do") if isinstance(asked, dict) else None
        handler = self._handlers.get(do) if isinstance(do, str) else None
        if handler is None:
            raise Refused(f"`do` must be one of {', '.join(sorted(self._handlers))}")
        try:
            yield from handler(asked)
        except Refused:
            raise
        except Exception as error:  # a question must not cost the worker
            self._log.error("control_failed", do=do, error=repr(error))
            raise Refused("this is a fault of the server's; it has been logged") from error


def _line(said: Any) -> bytes:
    return orjson.dumps(said, default=str) + b"\n"
