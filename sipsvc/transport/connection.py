"""One TCP or TLS connection: framed on its way in, bounded on its way out, and closed when its peer stands still."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple, cast

from sipsvc.effects import Flow
from sipsvc.errors import SipError
from sipsvc.message.stream import PING, Framer

if TYPE_CHECKING:
    from sipsvc.transport.stream import Key, Streams

# Messages of one connection that are worked off before others have their turn.
BATCH = 64


class Limits(NamedTuple):
    """What one peer may take of us. Times are seconds, sizes bytes; each time-out closes the connection."""

    connections: int = 1_000
    """Of those who came to us."""
    per_source: int = 500
    """Of those who came from one IPv4 address, or from one IPv6 /64."""
    ours: int = 500
    """Opened by us; a crowd at the door leaves them free."""
    per_peer: int = 50
    """Of those, to one such address; whoever has us answer at many ports of its own leaves the others' free."""
    connect: float = 4.0
    """To be connected in, the TLS handshake included; as long as a gateway has for its first response."""
    handshake: float = 10.0
    unused: float = 30.0
    """Without any message since the beginning."""
    idle: float = 7_200.0
    """Without a byte: longer than calls are silent. Peers that are gone are found out by TCP's own keepalive."""
    stall: float = 10.0
    """From a message's first byte to its last."""
    stuck: float = 15.0
    """With more than `high_water` that the peer does not read."""
    close: float = 5.0
    high_water: int = 64 * 1024
    queue: int = 1024 * 1024
    """What waits to be written, or for the connection to be made; what is more is not sent."""


class StreamUser(NamedTuple):
    """Who is told what happens on connections."""

    received: Callable[[bytes, Flow], None]
    misframed: Callable[[bytes, SipError, Flow], None]
    """Nobody can tell where the next message begins; what can be answered of the last, why, and where."""
    wake_up_done: Callable[[], None]
    failed: Callable[[str], None]
    """The Send with that ref will not be sent."""
    lost: Callable[[Flow], None]
    """Told once of every connection, whether it was made or not, and nothing more comes behind it."""
    counted: Callable[[str], None]


class Connection(asyncio.Protocol):
    """`flow` names it. One of ours has a `key`, by which it is used again; `source` is who its peer counts as.

    Until it is made, what is sent waits.
    """

    __slots__ = ("_backlog", "_carried", "_framer", "_heard", "_over", "_pausing", "_queue", "_queued", "_reading",
                 "_stall", "_streams", "_stuck", "_transport", "_user", "_watch", "_working", "flow", "key", "made",
                 "making", "own", "source")  # fmt: skip

    def __init__(self, streams: Streams, flow: Flow, key: Key | None, source: str, own: socket.socket) -> None:
        self.flow = flow
        self.key = key
        self.source = source
        # Its socket, until the loop has taken that over; who makes a connection of it; whether that is done.
        self.own: socket.socket | None = own
        self.making: asyncio.Task[None] | None = None
        self.made = False
        self._streams = streams
        self._user = streams.user
        self._framer = Framer()
        self._transport: asyncio.Transport | None = None
        self._queue: list[tuple[bytes, str]] = []
        self._queued = 0
        self._backlog: deque[bytes] = deque()
        self._heard = 0.0
        self._carried = False
        self._working = False
        self._pausing = False
        self._reading = True
        self._over = False
        self._watch: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._stuck: asyncio.TimerHandle | None = None

    # What we want of it

    def send(self, data: bytes, ref: str) -> bool:
        """False when it can take no more, or is over."""
        if self._over:
            return False
        transport, most = self._transport, self._streams.limits.queue
        if transport is None:
            if self._queued + len(data) > most:
                return False
            self._queued += len(data)
            self._queue.append((data, ref))
            return True
        if transport.get_write_buffer_size() + len(data) > most:
            return False
        transport.write(data)
        return True

    def end(self, why: str = "", *, abort: bool = False) -> None:
        """Close it once what was sent is written, or with `abort` at once. `why` is counted."""
        if self._over:
            return
        self._over = True
        for timer in (self._watch, self._stall, self._stuck):
            if timer is not None:
                timer.cancel()
        self._backlog.clear()
        transport = self._transport
        if transport is None:
            if self.making is not None:
                self.making.cancel()
        elif abort:
            transport.abort()
        else:
            transport.close()
            # Its last words may never be read either.
            self._stuck = self._streams.loop.call_later(self._streams.limits.close, transport.abort)
        if why:
            self._user.counted(why)
        self._streams.ended(self, [ref for _, ref in self._queue if ref])
        self._queue.clear()

    # What the loop says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        made = self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self.made = True
        if self._over:
            made.abort()
            return
        shown = made.get_extra_info("ssl_object") if self.key is None and self.flow.transport == "TLS" else None
        certificate = shown.getpeercert(binary_form=True) if shown is not None else None
        if certificate:
            self.flow = self.flow._replace(certificate=sha256(certificate).hexdigest())
        limits, loop = self._streams.limits, self._streams.loop
        made.set_write_buffer_limits(high=limits.high_water)
        self._heard = loop.time()
        self._watch = loop.call_later(limits.unused, self._look)
        if self._queue:
            made.write(b"".join([data for data, _ in self._queue]))
            self._queue.clear()

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        limits, loop = self._streams.limits, self._streams.loop
        self._heard = loop.time()
        messages = self._framer.feed(data)
        if self._stall is not None and (messages or not self._framer.inside):
            self._stall.cancel()
            self._stall = None
        if self._framer.inside and self._stall is None:
            self._stall = loop.call_later(limits.stall, self._time_out, "stream_stalled")
        if messages:
            self._backlog.extend(messages)
            self._carried = self._carried or len(messages) > 1 or messages[0] != PING
        if not self._working and not self._pausing:
            self._work()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._over and self._stuck is not None:
            self._stuck.cancel()
        self.end()
        self._streams.gone(self)

    def pause_writing(self) -> None:
        """The peer does not read: what it asks for now would only wait."""
        self._pausing = True
        if not self._over:
            self._stuck = self._streams.loop.call_later(self._streams.limits.stuck, self._time_out, "stream_not_read")
            self._set_reading()

    def resume_writing(self) -> None:
        self._pausing = False
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None
        if not self._over and not self._working:
            self._work()

    def _work(self) -> None:
        """Work off what came, some at a time."""
        self._working = False
        if self._over or self._pausing:
            return
        for _ in range(min(BATCH, len(self._backlog))):
            self._user.received(self._backlog.popleft(), self.flow)
        fault = self._framer.fault
        if fault is not None and not self._backlog:
            self._user.misframed(self._framer.head, fault, self.flow)
        self._user.wake_up_done()
        if self._backlog and not self._over and not self._pausing:
            self._working = True
            self._streams.loop.call_soon(self._work)
        self._set_reading()

    def _set_reading(self) -> None:
        wanted = not self._pausing and not self._backlog
        if self._over or self._transport is None or wanted == self._reading:
            return
        self._reading = wanted
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _look(self) -> None:
        """Whether it has been silent for too long; if not, look again when it may have been."""
        limits, loop = self._streams.limits, self._streams.loop
        due = self._heard + (limits.idle if self._carried else limits.unused)
        if loop.time() >= due:
            self._time_out("stream_idle")
        else:
            self._watch = loop.call_at(due, self._look)

    def _time_out(self, why: str) -> None:
        self.end(why, abort=True)
