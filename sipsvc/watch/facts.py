"""What the worker hands in, so that it can be watched without anybody knowing its sockets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sipsvc import __version__
from sipsvc.cdr.keeper import Keeper
from sipsvc.cdr.segments import undelivered
from sipsvc.effects import Now
from sipsvc.engine import Engine
from sipsvc.watch.figures import Figures


@dataclass(slots=True)
class Facts:
    """`folder` is the log's. `began` and `directory_at` are monotonic nanoseconds, `late()` the worst lateness lately.

    `keeper` has the log's figures, `hang_up(cdr_id)` says whether there was such a call, `drain(True)`
    closes the door to new calls and `drain(False)` opens it; it answers "" or why not. `feed()` tells whether changes
    of the catalogue can reach us.
    """

    engine: Engine
    folder: Path
    now: Callable[[], Now]
    began: int
    late: Callable[[], int]
    keeper: Keeper
    connections: Callable[[], int]
    hang_up: Callable[[str], bool]
    drain: Callable[[bool], str]
    feed: Callable[[], bool]
    figures: Figures = field(default_factory=Figures)
    directory_at: int = 0
    bound: bool = False

    def unready(self) -> list[str]:
        """Why no new call can be taken; empty when one can."""
        reasons = []
        if not self.bound:
            reasons.append("the SIP sockets are not listened on")
        if self.engine.admission.directory.version == 0:
            reasons.append("no directory is live")
        if self.engine.log_full or self.keeper.waiting:
            reasons.append("the log of calls takes no records")
        if self.engine.draining:
            reasons.append("draining: no new calls are taken")
        return reasons

    def status(self) -> dict[str, Any]:
        """Everything that can be told in numbers, as JSON values. Times are in seconds."""
        engine, now = self.engine, self.now()
        waiting, segments = undelivered(self.folder)
        keeper, room = self.keeper, self.keeper.room
        return {
            "version": __version__,
            "uptime_s": _seconds(now.mono - self.began),
            "ready": not self.unready(),
            "unready": self.unready(),
            "live_calls": engine.live_calls,
            "calls_in_setup": engine.core.in_setup,
            "draining": engine.draining,
            "directory": {
                "version": engine.admission.directory.version,
                "age_s": _seconds(now.mono - self.directory_at),
                "feed": self.feed(),
            },
            "log": {
                "full": engine.log_full,
                "why": keeper.why,
                "unwritten_records": keeper.waiting,
                "unrecorded_calls": keeper.unrecorded,
                "undelivered_bytes": waiting,
                "segments": segments,
                "bytes": room.used,
                "most_bytes": keeper.bound.limit,
                "free_bytes": room.free,
                "rejected_calls": room.rejected,
            },
            "outputs": room.outputs,
            "gateways": engine.gateway_health(),
            "transactions": engine.leftovers()["transactions"],
            "retransmitted": engine.retransmitted,
            "connections": self.connections(),
            "loop_late_s": _seconds(self.late()),
            "ladders_kept": len(engine.finished),
            "calls": dict(self.figures.calls),
            "attempts": [[*key, count] for key, count in self.figures.attempts.items()],
            "turned_away": dict(engine.counters),
        }


def _seconds(nanoseconds: int) -> float:
    return round(nanoseconds / 1e9, 3)
