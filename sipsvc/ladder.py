"""The ladder of a call: what came and went, kept as cheaply as can be and read only when somebody asks (SIP-38)."""

from __future__ import annotations

from typing import Any, NamedTuple

from sipsvc.effects import Flow, Now, address_text
from sipsvc.message import Message

# Of what we sent so many bytes are kept: the start line, or as much of it.
HEAD = 120
# A call keeps its first messages and its last; what was between is dropped by the block.
MOST, FIRST, BLOCK = 256, 128, 64
# A message of so many bytes has its texts cut, for they may be most of it.
LARGE = 4_096
_WIDTH = 6
_FULL = MOST * _WIDTH


class Rung(NamedTuple):
    """One message. `at` is UTC milliseconds; `what` is the start line, a response's without its version.

    `peer` is written as a listener is, `udp:192.0.2.1:5060`; `method` is a response's CSeq's; `size` in bytes.
    """

    at: int
    sent: bool
    peer: str
    what: str
    method: str
    size: int


class Ladder:
    """Made for every call, and one entry for every message of it, so both have to cost next to nothing.

    `missing` is how many messages behind the first `FIRST` were dropped.
    """

    __slots__ = ("_entries", "missing")

    def __init__(self) -> None:
        # Flat, six places a message, and nothing in them that is not kept anyway: what the collector has to walk would
        # cost more than all the rest.
        self._entries: list[Any] = []
        self.missing = 0

    def __len__(self) -> int:
        return len(self._entries) // _WIDTH

    def came(self, message: Message, flow: Flow, now: Now) -> None:
        entries = self._entries
        if message.size < LARGE:
            entries += (now.utc, flow, message.method, message.status, message.reason or message.uri, message.size)
        else:
            what = (message.reason or message.uri)[:HEAD]
            entries += (now.utc, flow, message.method[:HEAD], message.status, what, message.size)
        if len(entries) >= _FULL:
            self._cut()

    def went(self, data: bytes, method: str, flow: Flow, now: Now) -> None:
        """`method` is that of a response's CSeq, "" of a request, whose start line says it."""
        entries = self._entries
        entries += (now.utc, flow, method, 0, data[:HEAD], -len(data))
        if len(entries) >= _FULL:
            self._cut()

    def rungs(self) -> list[Rung]:
        """In the order of their coming and going."""
        entries = self._entries
        return [_rung(*entries[at : at + _WIDTH]) for at in range(0, len(entries), _WIDTH)]

    def _cut(self) -> None:
        del self._entries[FIRST * _WIDTH : (FIRST + BLOCK) * _WIDTH]
        self.missing += BLOCK


def _rung(utc: int, flow: Flow, method: str, status: int, what: str | bytes, size: int) -> Rung:
    peer = address_text(flow.transport, flow.host, flow.port)
    if isinstance(what, bytes):
        line = what.partition(b"\r\n")[0].decode("utf-8", "replace").removeprefix("SIP/2.0 ")
        return Rung(utc, True, peer, line.removesuffix(" SIP/2.0"), method or line.partition(" ")[0], -size)
    # A view of the wire in Latin-1, as the parser gives it.
    told = what if what.isascii() else what.encode("latin-1", "replace").decode("utf-8", "replace")
    return Rung(utc, False, peer, f"{status} {told}" if status else f"{method} {told}", method, size)
