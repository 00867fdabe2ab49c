"""A stream cut into messages by their Content-Length (RFC 3261 §18.3, SIP-4), whatever pieces it comes in."""

from __future__ import annotations

import re

from sipsvc.errors import SipError
from sipsvc.message.grammar import MAX_DATAGRAM, MAX_HEADERS

# The same bound as on UDP, headers and body together (SIP-3).
MAX_MESSAGE = MAX_DATAGRAM
PING = b"\r\n\r\n"
_HEAD_END = b"\r\n\r\n"
_GAP = re.compile(rb"[\r\n]*+")
_LENGTH = re.compile(rb"\r\n(?:content-length|l)[ \t]*+:([^\r\n]*+(?:\r\n[ \t][^\r\n]*+)*+)", re.IGNORECASE)


class Framer:
    """One stream's framing. No byte is looked at twice, and never more than a message and what came last is kept.

    Once `fault` is set nobody can tell where the next message begins: `head` is what can be answered of the message
    at fault ("" nothing), and the stream is to be closed.
    """

    __slots__ = ("_buffer", "_gap", "_looked", "_size", "fault", "head")

    def __init__(self) -> None:
        self.fault: SipError | None = None
        self.head = b""
        self._buffer = bytearray()
        # The end of the line ends between two messages: half a ping, perhaps.
        self._gap = b""
        # Of the message in the buffer: how far the end of its head was looked for, and its size once that is known.
        self._looked = 0
        self._size = 0

    @property
    def inside(self) -> bool:
        """Whether a message has begun and is not whole."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that `data` makes whole, in order; `PING` stands for the keepalives in it (RFC 5626 §3.5.1).

        However many keepalives are in one piece of data, they are one: whoever floods us is not flooded back.
        """
        if self.fault is not None:
            return []
        if self._buffer:
            self._buffer += data
        out: list[bytes] = []
        text: bytes | bytearray = self._buffer or data
        at, end = 0, len(text)
        pinged = False
        while at < end:
            if not self._size:
                if not self._looked and text[at] in b"\r\n":
                    begin = _GAP.match(text, at).end()  # type: ignore[union-attr]  # it matches everywhere
                    if self._pinged(bytes(text[at:begin])) and not pinged:
                        pinged = True
                        out.append(PING)
                    at = begin
                    continue
                self._gap = b""
                blank = text.find(_HEAD_END, at + max(0, self._looked - 3))
                if blank < 0 or blank + 4 - at > MAX_MESSAGE:
                    self._looked = end - at
                    if self._looked > MAX_MESSAGE:
                        whole_lines = bytes(text[at : at + MAX_MESSAGE]).rpartition(b"\r\n")[0]
                        return self._broken(_too_large(), whole_lines and whole_lines + _HEAD_END, out)
                    break
                head = bytes(text[at : blank + 4])
                try:
                    self._size = len(head) + _body_length(head)
                except SipError as fault:
                    return self._broken(fault, head, out)
            if end - at < self._size:
                break
            out.append(bytes(text[at : at + self._size]))
            at += self._size
            self._looked = self._size = 0
        if text is self._buffer:
            del self._buffer[:at]
        elif at < end:
            self._buffer += data[at:]
        return out

    def _pinged(self, line_ends: bytes) -> bool:
        """Whether these complete a double CRLF."""
        before = self._gap + line_ends
        rest = before.replace(PING, b"")
        self._gap = rest[-3:]
        return len(rest) < len(before)

    def _broken(self, fault: SipError, head: bytes, out: list[bytes]) -> list[bytes]:
        self.fault, self.head = fault, head
        self._buffer = bytearray()
        return out


def _too_large() -> SipError:
    return SipError(513, "Message Too Large", "too_large")


def _body_length(head: bytes) -> int:
    """Bytes behind `head` that belong to its message. Raises SipError 400 and 513."""
    lines = head.count(b"\r\n") - 2
    if lines > MAX_HEADERS and lines - head.count(b"\r\n ") - head.count(b"\r\n\t") > MAX_HEADERS:
        raise _too_large()
    values = _LENGTH.findall(head)
    if not values:
        if head[:4].upper() == b"SIP/":
            return 0
        # §20.14: on a stream it must be there; without it nobody knows whether a body follows.
        raise SipError(400, "No Content-Length header")
    lengths = set()
    for value in values:
        digits = value.strip(b" \t\r\n")
        if not digits.isdigit():
            raise SipError(400, "Bad Content-Length header")
        if len(digits) > 9:
            raise _too_large()
        lengths.add(int(digits))
    if len(lengths) > 1:
        raise SipError(400, "Content-Length headers contradict each other")
    length = lengths.pop()
    if len(head) + length > MAX_MESSAGE:
        raise _too_large()
    return length
