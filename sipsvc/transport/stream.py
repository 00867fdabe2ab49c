"""TCP and TLS: the listening sockets, the connections there are, and those that are opened to send by."""

from __future__ import annotations

import asyncio
import errno
import resource
import socket
import ssl
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from sipsvc.effects import Flow, source_of
from sipsvc.observe import get_logger
from sipsvc.transport.connection import Connection, Limits, StreamUser
from sipsvc.transport.tls import Tls

BACKLOG = 1_024
# Connections that may come to us; descriptors for all else: the log, the feed, datagram sockets, connections of ours.
MOST = 10_000
SPARE = 800
# Connections taken in at one wake-up.
ACCEPTED = 64
# Without descriptors or memory nobody can be taken in; whoever knocks waits so long.
ACCEPT_AGAIN_S = 1.0
# The same trouble of the same peer is told once in so long.
TOLD_AGAIN_S = 60.0
MOST_TOLD = 1_000
NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
# A peer that vanished is found out two minutes after its last word, or 20 s after we said something.
OPTIONS = (
    (socket.TCP_KEEPIDLE, 60),
    (socket.TCP_KEEPINTVL, 15),
    (socket.TCP_KEEPCNT, 4),
    (socket.TCP_USER_TIMEOUT, 20_000),
)

Key = tuple[str, str, int, int, str]


class Listening(NamedTuple):
    """One listening socket, and the index of its listener."""

    listener: int
    transport: str
    host: str
    socket: socket.socket


class Streams:
    """All connections of a worker. `user` is told what happens; `tls` is needed once a flow's transport is TLS."""

    def __init__(self, user: StreamUser, tls: Tls | None = None, limits: Limits | None = None) -> None:
        self.user = user
        self.limits = limits or Limits(connections=_room())
        self.loop: asyncio.AbstractEventLoop
        self._tls = tls
        self._listening: dict[int, Listening] = {}
        self._conns: dict[int, Connection] = {}
        self._ours: dict[Key, Connection] = {}
        # How many there are, those that are being closed too: that came to us and of ours, and with whom.
        self._sources: dict[str, int] = {}
        self._peers: dict[str, int] = {}
        self._came = 0
        self._opened = 0
        self._last = 0
        self._running = False
        # Who is about to make a connection.
        self._making: set[asyncio.Task[None]] = set()
        self._told: dict[tuple[str, str, str], float] = {}
        self._log = get_logger("transport")

    def __len__(self) -> int:
        """Connections there are, those that are being closed included."""
        return self._came + self._opened

    def listen(self, index: int, transport: str, host: str, port: int) -> int:
        """Bind listener `index`; the port, for 0 is any. Raises OSError when the address is not ours or taken."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setblocking(False)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listening.bind((host, port))
            listening.listen(BACKLOG)
        except OSError:
            listening.close()
            raise
        self._listening[index] = Listening(index, transport, host, listening)
        return int(listening.getsockname()[1])

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._running = True
        for listening in self._listening.values():
            loop.add_reader(listening.socket.fileno(), self._accept, listening)

    def send(self, data: bytes, flow: Flow, ref: str) -> None:
        """Send by the connection of `flow`, or without one by ours to its peer, which is opened when there is none.

        What cannot be sent is told to `user.failed`, later, unless `ref` is "".
        """
        if not self._running:
            return
        if flow.conn:
            connection = self._conns.get(flow.conn)
        else:
            key = (flow.transport, flow.host, flow.port, flow.listener, flow.name)
            connection = self._ours.get(key) or self._open(flow, key)
        if (connection is None or not connection.send(data, ref)) and ref:
            self.loop.call_soon(self.user.failed, ref)

    def close(self, flow: Flow) -> None:
        """End the connection of `flow` once what was sent by it is written."""
        connection = self._conns.get(flow.conn)
        if connection is not None:
            # Later, for its end has consequences, and the engine's last wishes are just being carried out.
            self.loop.call_soon(connection.end)

    def stop(self) -> None:
        """Take nobody in any more and end every connection; that is no news for anybody."""
        for listening in self._listening.values():
            if self._running:
                self.loop.remove_reader(listening.socket.fileno())
            listening.socket.close()
        self._listening.clear()
        self._running = False
        for connection in list(self._conns.values()):
            connection.end()

    # What connections say

    def ended(self, connection: Connection, unsent: list[str]) -> None:
        """It carries nothing any more; `unsent` are the refs of what still waited for it."""
        self._conns.pop(connection.flow.conn, None)
        if connection.key is not None:
            self._ours.pop(connection.key, None)
        if not self._running:
            return
        # The loss first: who is told that a Send failed may send to the same peer anew, by another connection.
        self.user.lost(connection.flow)
        for ref in unsent:
            self.user.failed(ref)

    def gone(self, connection: Connection) -> None:
        """Its descriptor is free."""
        if connection.key is not None:
            self._opened -= 1
            table = self._peers
        else:
            self._came -= 1
            table = self._sources
        left = table[connection.source] - 1
        if left:
            table[connection.source] = left
        else:
            del table[connection.source]

    def _new(
        self,
        flow: Flow,
        key: Key | None,
        own: socket.socket,
        make: Callable[[Connection, socket.socket], Coroutine[Any, Any, None]],
    ) -> Connection:
        self._last += 1
        source = source_of(flow.host)
        connection = Connection(self, flow._replace(conn=self._last), key, source, own)
        self._conns[self._last] = connection
        if key is not None:
            self._opened += 1
            table = self._peers
        else:
            self._came += 1
            table = self._sources
        table[source] = table.get(source, 0) + 1
        task = connection.making = self.loop.create_task(make(connection, own))
        self._making.add(task)
        task.add_done_callback(lambda task: self._made(connection, task))
        return connection

    def _made(self, connection: Connection, task: asyncio.Task[None]) -> None:
        """Or not: then nobody else cleans up."""
        self._making.discard(task)
        connection.making = None
        if not connection.made:
            if connection.own is not None:
                connection.own.close()
            connection.end()
            self.gone(connection)

    # In

    def _accept(self, listening: Listening) -> None:
        for _ in range(ACCEPTED):
            try:
                accepted, address = listening.socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno not in NO_ROOM:
                    continue  # it went before we got to it
                self._tell("accept_failed", listening.host, _reason(error))
                self.loop.remove_reader(listening.socket.fileno())
                self.loop.call_later(ACCEPT_AGAIN_S, self._accept_again, listening)
                return
            self._take_in(listening, accepted, address[0], address[1])

    def _accept_again(self, listening: Listening) -> None:
        if listening.listener in self._listening:
            self.loop.add_reader(listening.socket.fileno(), self._accept, listening)

    def _take_in(self, listening: Listening, accepted: socket.socket, host: str, port: int) -> None:
        too_many = ""
        if self._came >= self.limits.connections:
            too_many = "connections_full"
        elif self._sources.get(source_of(host), 0) >= self.limits.per_source:
            too_many = "connections_of_source"
        if too_many:
            accepted.close()
            self.user.counted(too_many)
        else:
            self._new(Flow(listening.transport, host, port, listening.listener), None, accepted, self._greet)

    async def _greet(self, connection: Connection, accepted: socket.socket) -> None:
        context = self._tls.server if connection.flow.transport == "TLS" and self._tls is not None else None
        try:
            _prepare(accepted)
            connection.own = None
            await self.loop.connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=context,
                ssl_handshake_timeout=self.limits.handshake if context is not None else None,
            )
        except (OSError, ValueError) as error:
            self.user.counted("tls_handshake" if context is not None else "accept_failed")
            self._tell("connection_refused", connection.flow.host, _reason(error), connection.flow)

    # Out

    def _open(self, flow: Flow, key: Key) -> Connection | None:
        if self._opened >= self.limits.ours or self._peers.get(source_of(flow.host), 0) >= self.limits.per_peer:
            self.user.counted("connections_of_ours")
            return None
        if flow.transport == "TLS" and self._tls is None:
            return None
        try:
            own = socket.socket(socket.AF_INET6 if ":" in flow.host else socket.AF_INET, socket.SOCK_STREAM)
        except OSError as error:
            self._tell("connect_failed", flow.host, _reason(error), flow)
            return None
        connection = self._ours[key] = self._new(flow, key, own, self._connect)
        return connection

    async def _connect(self, connection: Connection, own: socket.socket) -> None:
        flow = connection.flow
        try:
            async with asyncio.timeout(self.limits.connect):
                _prepare(own)
                listening = self._listening.get(flow.listener)
                if listening is not None and listening.socket.family == own.family:
                    own.bind((listening.host, 0))  # a gateway may know us by our address
                await self.loop.sock_connect(own, (flow.host, flow.port))
                context = self._tls.client if flow.transport == "TLS" and self._tls is not None else None
                connection.own = None
                await self.loop.create_connection(
                    lambda: connection,
                    sock=own,
                    ssl=context,
                    server_hostname=(flow.name or flow.host) if context is not None else None,
                )
        except (OSError, ValueError) as error:
            self.user.counted("connect_failed")
            self._tell("connect_failed", flow.host, _reason(error), flow)

    def _tell(self, event: str, host: str, reason: str, flow: Flow | None = None) -> None:
        """One line for an operator, and not another of the same for a while: whoever knocks again and again."""
        now = self.loop.time()
        if len(self._told) >= MOST_TOLD:
            self._told.clear()
        told = self._told.get((event, host, reason))
        if told is None or now - told >= TOLD_AGAIN_S:
            self._told[event, host, reason] = now
            where = {} if flow is None else {"transport": flow.transport, "port": flow.port, "name": flow.name}
            self._log.warning(event, host=host, reason=reason, **where)


def _room() -> int:
    """How many connections the process has descriptors for, whose limit is raised as far as we need and are allowed."""
    wanted = MOST + SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return MOST
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(soft - SPARE, soft // 2)


def _prepare(one: socket.socket) -> None:
    one.setblocking(False)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in OPTIONS:
        one.setsockopt(socket.IPPROTO_TCP, option, value)


def _reason(error: Exception) -> str:
    """What happened, in a few words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "TLS error").lower().replace("_", " ")
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
