"""What the engine asks of the rim, and the two small values that go in with every input.

Tuples, because one is made for every datagram: they are immutable, slotted and cheap.
"""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import Any, NamedTuple

# Where a peer listens whose port nobody named (RFC 3261 §19.1.2).
PORTS = {"UDP": 5060, "TCP": 5060, "TLS": 5061}


class Now(NamedTuple):
    """The clock, handed in. `mono` is monotonic nanoseconds, `utc` is milliseconds since 1970 UTC."""

    mono: int
    utc: int


class Listener(NamedTuple):
    """One of ours as others are told of it: transport (`UDP`, `TCP`, `TLS`), advertised host and port.

    `ipv6` tells which family it is bound to, and so whom it can reach.
    """

    transport: str
    host: str
    port: int
    ipv6: bool = False


class Flow(NamedTuple):
    """Where a packet came from or goes to: transport, peer host (an address) and port, our listener's index.

    `conn` numbers a stream's connection and is never used again; 0 is a datagram, or any connection to that peer.
    `name` is whom a TLS peer has to prove to be (RFC 5922 §7): the host as configured, "" for `host` itself.
    `certificate` is what a TLS peer that came to us has shown: its SHA-256 in lower-case hex, "" for none.
    """

    transport: str
    host: str
    port: int
    listener: int = 0
    conn: int = 0
    name: str = ""
    certificate: str = ""


def written(host: str) -> str:
    """A host as URIs and `host:port` have it: an IPv6 address in brackets (RFC 3261 §25.1)."""
    return f"[{host}]" if ":" in host else host


def address_text(transport: str, host: str, port: int) -> str:
    """As records and ladders have it: `udp:203.0.113.1:5060`."""
    return f"{transport.lower()}:{written(host)}:{port}"


def source_of(host: str) -> str:
    """Who counts as one: an IPv4 address, or the /64 that an IPv6 host has to itself."""
    return host if ":" not in host else IPv6Address(host.partition("%")[0]).packed[:8].hex()


class Target(NamedTuple):
    """An address to send to, as RFC 3263 found it; `host` is an IP literal without brackets."""

    transport: str
    host: str
    port: int


class Send(NamedTuple):
    """Send `data` to `flow`. If it fails at once, tell `Engine.send_failed(ref)`; "" wants no word."""

    data: bytes
    flow: Flow
    ref: str = ""


class WriteCdr(NamedTuple):
    """Append `record` to the local log before any Send that follows it (law 8).

    `seq` rises by one each; when `wait` is set, `Engine.durable(seq)` is owed once it is on disk.
    """

    record: dict[str, Any]
    seq: int
    wait: bool = False


class Close(NamedTuple):
    """End the connection of `flow` once what was to be sent on it is written."""

    flow: Flow


class Resolve(NamedTuple):
    """Look up where `host` is reached over `transport` (RFC 3263); port 0 leaves the port to the answer.

    `Engine.resolved(ref, targets)` is owed, with targets in the order of trial and none when the look-up failed.
    """

    ref: str
    host: str
    port: int
    transport: str


class Notice(NamedTuple):
    """Something that whoever runs this wants to hear of: a line in the log, `event` with its fields."""

    event: str
    fields: dict[str, Any]


Effect = Send | WriteCdr | Close | Resolve | Notice
