"""A small HTTP listener: /metrics, /healthz and /readyz, worked out when they are asked for and at most once a second.

It speaks as much HTTP as a scraper or a load balancer needs: one GET a connection.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

from sipsvc.errors import ConfigError
from sipsvc.observe import get_logger
from sipsvc.watch.facts import Facts
from sipsvc.watch.metrics import CONTENT_TYPE_LATEST, render, snapshot

MOST_CLIENTS = 16
REQUEST_BYTES = 8 * 1024
PATIENCE_S = 5.0
# A page is good for so long, however many ask.
FRESH_S = 1.0
PLAIN = "text/plain; charset=utf-8"
REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 500: "Internal Server Error",
           503: "Service Unavailable"}  # fmt: skip

Page = tuple[int, str, bytes]


class HttpListener:
    """Bound in the constructor. `where` is (host, port). Raises ConfigError."""

    def __init__(self, where: tuple[str, int]) -> None:
        host, port = where
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server((host, port), family=family, backlog=MOST_CLIENTS)
        except OSError as error:
            # Not `strerror`: there Python repeats the address.
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise ConfigError([("metrics.listen", f"{host}:{port}", reason)]) from None
        self._socket.setblocking(False)
        self._facts: Facts | None = None
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[Any]] = set()
        self._metrics: asyncio.Task[Page] | None = None
        self._metrics_at = 0.0
        self._log = get_logger("watch")

    async def start(self, facts: Facts) -> None:
        self._facts = facts
        self._server = await asyncio.start_server(self._client, sock=self._socket, limit=REQUEST_BYTES)

    def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for client in self._clients:
            client.cancel()
        self._socket.close()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            async with asyncio.timeout(PATIENCE_S):
                if len(self._clients) > MOST_CLIENTS:
                    writer.transport.abort()
                    return
                writer.write(_response(await self._page(await self._head(reader))))
                await writer.drain()
        except (TimeoutError, ConnectionError, asyncio.CancelledError):
            # It says nothing, takes nothing, or is gone; or the server ends.
            writer.transport.abort()
        finally:
            self._clients.discard(task)
            writer.close()

    async def _head(self, reader: asyncio.StreamReader) -> bytes:
        """The request line; "" where there is none. The rest is read, so that closing resets nothing."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return b""
        return head.partition(b"\r\n")[0]

    async def _page(self, line: bytes) -> Page:
        words = line.split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return 400, PLAIN, b"this is HTTP/1.1\n"
        if words[0] != b"GET":
            return 405, PLAIN, b"only GET\n"
        path = words[1].partition(b"?")[0]
        if path == b"/metrics":
            return await self._current_metrics()
        if path == b"/healthz":
            return 200, PLAIN, b"alive\n"
        if path == b"/readyz":
            assert self._facts is not None
            reasons = self._facts.unready()
            return (
                (503, PLAIN, "".join(f"{one}\n" for one in reasons).encode()) if reasons else (200, PLAIN, b"ready\n")
            )
        return 404, PLAIN, b"/metrics, /healthz, /readyz\n"

    async def _current_metrics(self) -> Page:
        """Those of the last second, or new ones, which one asks for and all who ask meanwhile get."""
        clock = asyncio.get_running_loop().time()
        if self._metrics is None or (self._metrics.done() and clock - self._metrics_at >= FRESH_S):
            self._metrics_at = clock
            self._metrics = asyncio.create_task(self._made())
        # Shielded, for whoever hangs up must not take it from the others.
        return await asyncio.shield(self._metrics)

    async def _made(self) -> Page:
        assert self._facts is not None
        try:
            page = await asyncio.get_running_loop().run_in_executor(None, render, snapshot(self._facts))
        except Exception as error:  # whoever watches must not cost the worker
            self._log.error("metrics_failed", error=repr(error))
            return 500, PLAIN, b"this is a fault of ours; it has been logged\n"
        return 200, CONTENT_TYPE_LATEST, page


def _response(page: Page) -> bytes:
    status, kind, body = page
    head = (
        f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
