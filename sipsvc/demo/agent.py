"""The smallest SIP user agent the demo needs: messages, digest and one UDP socket (RFC 3261, RFC 7616)."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

import asyncio_dgram

T1 = 0.5
"""RFC 3261 §17.1.1.1: seconds."""
T2 = 4.0
USER_AGENT = "sipsvc-demo"

COMPACT = {
    "i": "call-id",
    "m": "contact",
    "e": "content-encoding",
    "l": "content-length",
    "c": "content-type",
    "f": "from",
    "s": "subject",
    "k": "supported",
    "t": "to",
    "v": "via",
}
ALGORITHMS: dict[str, Callable[[bytes], str]] = {
    "MD5": lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest(),
    "SHA-256": lambda data: hashlib.sha256(data).hexdigest(),
}
PARAMETER = re.compile(r'([A-Za-z0-9-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^,\s]+)')
SDP = (
    "v=0\r\no=demo 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
    "m=audio 40000 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
)

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Message:
    """A request or response: its first line, its header fields in order, its body."""

    start: str
    fields: tuple[tuple[str, str], ...]
    body: str = ""

    @property
    def status(self) -> int:
        """The status code; 0 for a request."""
        return int(self.start.split(" ", 2)[1]) if self.start.startswith("SIP/2.0 ") else 0

    @property
    def method(self) -> str:
        """The method of the transaction, for responses too (from CSeq)."""
        return self.get("cseq").rpartition(" ")[2] if self.status else self.start.partition(" ")[0]

    @property
    def uri(self) -> str:
        """The Request-URI; "" for a response."""
        return "" if self.status else self.start.split(" ")[1]

    @property
    def cseq(self) -> int:
        return int(self.get("cseq").split(" ")[0])

    @property
    def branch(self) -> str:
        found = re.search(r";\s*branch=([^;,\s]+)", self.get("via"))
        return found[1] if found else ""

    def get(self, name: str) -> str:
        """The first value of a header, "" where there is none."""
        return next(iter(self.all(name)), "")

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def addresses(self, name: str) -> list[str]:
        """The `<…>` entries of Route, Record-Route or Contact, in order, brackets included."""
        found = [one for value in self.all(name) for one in re.findall(r"<[^>]*>[^,]*", value)]
        return found or [f"<{value.split(';')[0].strip()}>" for value in self.all(name)]

    def encode(self) -> bytes:
        body = self.body.encode()
        lines = [self.start, *(f"{name}: {value}" for name, value in self.fields), f"Content-Length: {len(body)}"]
        return "\r\n".join([*lines, "", ""]).encode() + body


def parse(data: bytes) -> Message:
    """Read one datagram. Raises ValueError where it is no SIP message."""
    head, _, body = data.decode("utf-8", "replace").partition("\r\n\r\n")
    start, *lines = re.sub(r"\r\n[ \t]+", " ", head).split("\r\n")
    fields = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError(f"header line without a colon: {line!r}")
        name = COMPACT.get(name.strip().lower(), name.strip())
        if name.lower() != "content-length":
            fields.append((name, value.strip()))
    message = Message(start, tuple(fields), body)
    if not (start.startswith("SIP/2.0 ") or start.endswith(" SIP/2.0")) or not message.get("cseq"):
        raise ValueError(f"not a SIP message: {start!r}")
    return message


def tag(field: str) -> str:
    """The tag parameter of a From or To value."""
    found = re.search(r";\s*tag=([^;,\s]+)", field.rpartition(">")[2] or field)
    return found[1] if found else ""


def new_branch() -> str:
    return "z9hG4bK" + secrets.token_hex(8)


def respond(
    request: Message,
    status: int,
    reason: str,
    *,
    to_tag: str = "",
    fields: Iterable[tuple[str, str]] = (),
    body: str = "",
) -> Message:
    """A response to `request` (RFC 3261 §8.2.6)."""
    to = request.get("to")
    kept = [(name, value) for name, value in request.fields if name.lower() in ("via", "record-route")]
    return Message(
        f"SIP/2.0 {status} {reason}",
        (
            *kept,
            ("From", request.get("from")),
            ("To", to if tag(to) or not to_tag else f"{to};tag={to_tag}"),
            ("Call-ID", request.get("call-id")),
            ("CSeq", request.get("cseq")),
            *fields,
        ),
        body,
    )


def digest(challenge: str, *, method: str, uri: str, username: str, password: str, cnonce: str = "") -> str:
    """The credentials that answer one challenge, with qop=auth (RFC 7616 §3.4). Raises ValueError."""
    given = {key.lower(): value.strip('"') for key, value in PARAMETER.findall(challenge)}
    name = given.get("algorithm", "MD5")
    if name.upper() not in ALGORITHMS:
        raise ValueError(f"the challenge asks for algorithm {name}, the demo knows {', '.join(ALGORITHMS)}")
    if "auth" not in [part.strip() for part in given.get("qop", "").split(",")]:
        raise ValueError("the challenge does not offer qop=auth")
    hashed, cnonce = ALGORITHMS[name.upper()], cnonce or secrets.token_hex(8)
    ha1 = hashed(f"{username}:{given['realm']}:{password}".encode())
    ha2 = hashed(f"{method}:{uri}".encode())
    answer = hashed(f"{ha1}:{given['nonce']}:00000001:{cnonce}:auth:{ha2}".encode())
    opaque = f', opaque="{given["opaque"]}"' if "opaque" in given else ""
    return (
        f'Digest username="{username}", realm="{given["realm"]}", nonce="{given["nonce"]}", uri="{uri}", '
        f'response="{answer}", algorithm={name}, qop=auth, nc=00000001, cnonce="{cnonce}"{opaque}'
    )


@dataclass(frozen=True, slots=True)
class Seen:
    """One message at one agent. `at` is seconds of the monotonic clock."""

    at: float
    who: str
    sent: bool
    message: Message


Log = deque[Seen]


def new_log() -> Log:
    """Bounded, so that a gateway may run for days."""
    return deque(maxlen=10_000)


class Endpoint:
    """A UDP socket that hands over parsed messages and notes all it saw in `log`."""

    def __init__(self, stream: asyncio_dgram.aio.DatagramServer, who: str, log: Log) -> None:
        self.stream = stream
        self.who = who
        self.log = log
        self.host, self.port = stream.sockname[:2]

    @classmethod
    async def bind(cls, host: str, port: int, who: str, log: Log) -> Endpoint:
        """Raises OSError when the port is taken."""
        return cls(await asyncio_dgram.bind((host, port)), who, log)

    async def send(self, message: Message, to: Address) -> None:
        self.log.append(Seen(time.monotonic(), self.who, True, message))
        await self.stream.send(message.encode(), to)

    async def receive(self) -> tuple[Message, Address]:
        """The next message. Keepalives and what is no SIP are passed over; a refused port is no news here."""
        while True:
            try:
                data, peer = await self.stream.recv()
                host, port = cast(Address, peer)[:2]
                message = parse(data)
            except (ValueError, ConnectionRefusedError):
                continue
            self.log.append(Seen(time.monotonic(), self.who, False, message))
            return message, (host, port)

    def close(self) -> None:
        self.stream.close()
