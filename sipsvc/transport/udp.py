"""A UDP listener on a plain non-blocking socket: up to 64 packets a wake-up cost a tenth of a task each."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress

BATCH = 64
RECEIVE_BUFFER = 4 * 1024 * 1024
# What waits for a full socket buffer; beyond it datagrams are lost, as a network would lose them.
MAX_QUEUED = 4_096
MAX_DATAGRAM = 65_535
# Linux's SO_RCVBUFFORCE, which the socket module does not name: beyond rmem_max, for those who may.
SO_RCVBUFFORCE = 33


class UdpListener:
    """`receive(data, address)` is called for each datagram, `wake_up_done()` once behind each batch."""

    def __init__(self, host: str, port: int) -> None:
        """Binds. Raises OSError when the address is not ours or taken."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            with suppress(PermissionError):  # then rmem_max bounds it
                self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
            if family == socket.AF_INET6:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # what a listener reaches is one
            self._socket.bind((host, port))
        except OSError:
            self._socket.close()
            raise
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queue: deque[tuple[bytes, tuple[str, int]]] = deque()
        self.dropped = 0

    def start(
        self,
        loop: asyncio.AbstractEventLoop,
        receive: Callable[[bytes, str, int], None],
        wake_up_done: Callable[[], None],
    ) -> None:
        recvfrom = self._socket.recvfrom

        def readable() -> None:
            try:
                for _ in range(BATCH):
                    data, address = recvfrom(MAX_DATAGRAM)
                    receive(data, address[0], address[1])
            except OSError:
                # Nothing more to read, or a pending ICMP error, which is reported here once.
                wake_up_done()
            else:
                wake_up_done()

        self._loop = loop
        loop.add_reader(self._socket.fileno(), readable)

    def send(self, data: bytes, host: str, port: int) -> bool:
        """False when the datagram can never leave: no route, too large, forbidden."""
        if self._queue:
            return self._wait(data, host, port)
        try:
            self._socket.sendto(data, (host, port))
        except (BlockingIOError, InterruptedError):
            return self._wait(data, host, port)
        except OSError:
            return False
        return True

    def close(self) -> None:
        if self._loop is not None:
            self._loop.remove_reader(self._socket.fileno())
            if self._queue:
                self._loop.remove_writer(self._socket.fileno())
        self._socket.close()

    def _wait(self, data: bytes, host: str, port: int) -> bool:
        if len(self._queue) >= MAX_QUEUED:
            self.dropped += 1
            return True
        if not self._queue and self._loop is not None:
            self._loop.add_writer(self._socket.fileno(), self._writable)
        self._queue.append((data, (host, port)))
        return True

    def _writable(self) -> None:
        while self._queue:
            data, address = self._queue[0]
            try:
                self._socket.sendto(data, address)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self.dropped += 1
            self._queue.popleft()
        if self._loop is not None:
            self._loop.remove_writer(self._socket.fileno())
