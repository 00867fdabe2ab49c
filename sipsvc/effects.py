"""What the engine asks of the rim, and the two small values that go in with every input.

Tuples, because one is made for every datagram: they are immutable, slotted and cheap.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Now(NamedTuple):
    """The clock, handed in. `mono` is monotonic nanoseconds, `utc` is milliseconds since 1970 UTC."""

    mono: int
    utc: int


class Flow(NamedTuple):
    """Where a packet came from or goes to: transport (`UDP`), peer host and port, our listener's index."""

    transport: str
    host: str
    port: int
    listener: int = 0


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


Effect = Send | WriteCdr
