"""The socket between the feed and the SIP worker: JSON messages in packets, so that no wake-up reads much at once.

From the feed: `{"begin": full}`, `{"put": kind, "items": […]}`, `{"drop": kind, "ids": […]}`,
`{"table": kind, "id": …, "image": file or None, "overlay": {prefix: [row, …]}}`, `{"hangup": [cdr_id, …]}`,
`{"spent": [[customer, currency, ms, amount], …], "upto": [segment, offset]}`,
`{"charged": [[customer, currency, amount], …], "upto": [segment, offset]}`,
`{"used": [[trunk, month, seconds], …], "upto": [segment, offset]}`,
`{"commit": version, "since": ms}`.
From the worker: `{"start": true}` once, and `{"live": version}` or `{"refused": version, "reason": …}` to each commit.
"""

from __future__ import annotations

import socket
from typing import Any

import orjson

# A datagram socket takes some 200 kB at once; one wake-up is not to read all of that.
PACKET = 60_000
ROOM = 4 * PACKET
MORE, LAST = b"\x01", b"\x00"

Message = dict[str, Any]


class LineClosed(Exception):
    """The other side is gone."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Two ends that keep the limits of packets."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def packets(message: Message) -> list[bytes]:
    """A message as it is sent; a packet begins with whether more follow."""
    data = orjson.dumps(message)
    pieces = [data[at : at + PACKET] for at in range(0, len(data), PACKET)]
    return [*(MORE + piece for piece in pieces[:-1]), LAST + pieces[-1]]


class Joiner:
    """Packets back to messages."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def add(self, packet: bytes) -> Message | None:
        """The message that `packet` completes, None while more is to come."""
        self._pieces.append(packet[1:])
        if packet[:1] == MORE:
            return None
        data, self._pieces = b"".join(self._pieces), []
        message: Message = orjson.loads(data)
        return message


class Line:
    """The feed's end: sends and receives, and waits for the other side as long as it takes."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._joiner = Joiner()

    def send(self, message: Message) -> None:
        """Raises LineClosed."""
        try:
            for packet in packets(message):
                self._end.send(packet)
        except OSError as error:
            raise LineClosed from error

    def receive(self, seconds: float | None = None) -> Message | None:
        """The next message, None when none came in `seconds`. Raises LineClosed."""
        self._end.settimeout(seconds)
        try:
            while True:
                packet = self._end.recv(ROOM)
                if not packet:
                    raise LineClosed
                message = self._joiner.add(packet)
                if message is not None:
                    return message
        except TimeoutError:
            return None
        except OSError as error:
            raise LineClosed from error
        finally:
            self._end.settimeout(None)
