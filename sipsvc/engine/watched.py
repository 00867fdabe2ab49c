"""The calls as somebody sees them who watches: those there are, and the last that ended with their ladders (SIP-38)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from sipsvc.ladder import Ladder
from sipsvc.proxy import Call, Core, Phase

# Of calls that ended so many are kept, in about so many bytes.
MOST = 2_000
MOST_BYTES = 16 * 1024 * 1024
# What one weighs, as measured: itself, and a message or a row of its trace.
_CALL_BYTES, _MESSAGE_BYTES, _ROW_BYTES = 800, 330, 200
STATES = {Phase.SETUP: "setup", Phase.UP: "up", Phase.OVER: "ended"}


class Watched(NamedTuple):
    """A call, live or over. Instants are UTC milliseconds; `state` is `setup`, `up` or `ended`.

    `code` and `status` are how it ended, or "" and 0. `trace` is empty of a call that a restart brought back.
    """

    cdr_id: str
    call_id: str
    customer: str
    dialled: str
    e164: str
    gateway: str
    state: str
    invite_at: int
    answer_at: int | None
    end_at: int | None
    status: int
    code: str
    trace: tuple[tuple[Any, ...], ...]
    ladder: Ladder


def watched(call: Call) -> Watched:
    """The call as it is now; its ladder goes on growing."""
    decision = call.decision
    last = call.winner or (call.tried[-1] if call.tried else None)
    over = call.phase is Phase.OVER
    return Watched(
        call.cdr_id,
        call.call_id,
        call.who.customer,
        call.dialled,
        decision.e164 if decision is not None else "",
        last.gateway if last is not None else "",
        STATES[call.phase],
        call.invite_at,
        call.answer_at,
        call.end_at if over else None,
        call.status if over else 0,
        call.code if over else "",
        decision.trace if decision is not None else (),
        call.ladder,
    )


class Finished:
    """The last calls that ended, oldest first; what comes first by `most` or `most_bytes` pushes the oldest out."""

    def __init__(self, most: int = MOST, most_bytes: int = MOST_BYTES) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._calls: dict[str, tuple[Watched, int]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, call: Call) -> None:
        rows = len(call.decision.trace) if call.decision is not None else 0
        weight = _CALL_BYTES + len(call.ladder) * _MESSAGE_BYTES + rows * _ROW_BYTES
        calls = self._calls
        calls[call.cdr_id] = watched(call), weight
        self._bytes += weight
        while len(calls) > self._most or self._bytes > self._most_bytes:
            self._bytes -= calls.pop(next(iter(calls)))[1]

    def get(self, cdr_id: str) -> Watched | None:
        found = self._calls.get(cdr_id)
        return found[0] if found is not None else None

    def __iter__(self) -> Iterator[Watched]:
        return (one for one, _ in self._calls.values())


def find(core: Core, finished: Finished, key: str) -> list[Watched]:
    """The calls whose `cdr_id` or Call-ID this is; several INVITEs may share a Call-ID.

    The one with that id first, which no caller takes the place of by its choice of a Call-ID; then the live ones.
    """
    live = [
        watched(call)
        for call in core.calls.values()
        if key in (call.cdr_id, call.call_id) and call.phase is not Phase.OVER
    ]
    one = finished.get(key)
    found = live + ([one] if one is not None else [one for one in finished if one.call_id == key])
    return sorted(found, key=lambda one: one.cdr_id != key)
