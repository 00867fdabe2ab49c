"""Counts over calls, added to when a call is decided and when it ends; what they are called is told when asked for."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

# Upper bounds in milliseconds; above the last there is no bound. Ringing takes its time, deciding should not.
QUICK_MS = (1, 2, 5, 10, 20, 50, 100, 250, 500, 1_000, 4_000)
SLOW_MS = (50, 100, 250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 30_000, 60_000, 180_000)
# Gateways, or codes, that are told apart; a name is one of ours, but nobody shall count on that for memory.
MOST_NAMES = 1_000
OTHERS = "others"
OUTCOMES = {2: "2xx", 3: "3xx", 4: "4xx", 5: "5xx", 6: "6xx"}


class Spread:
    """How many values fell below each bound. `counts` has one place more than `bounds`; `total` is their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[int, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0

    def add(self, ms: int) -> None:
        self.counts[bisect_left(self.bounds, ms)] += 1
        self.total += ms


class Figures:
    """`calls` by code; `attempts` by gateway and outcome: `2xx` to `6xx`, or `none` where nothing came.

    `stages` of a call, in milliseconds: `decision` from its INVITE to what went out for it, `progress` from there
    to the first of 101 to 199, `answer` from there to the 2xx.
    """

    __slots__ = ("attempts", "calls", "stages")

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}
        self.attempts: dict[tuple[str, str], int] = {}
        self.stages = {"decision": Spread(QUICK_MS), "progress": Spread(SLOW_MS), "answer": Spread(SLOW_MS)}

    def decided(self, start: dict[str, Any], utc_ms: int) -> None:
        """The `start` record of a call goes into the log at this moment, and what is sent for it right after."""
        self.stages["decision"].add(max(0, utc_ms - start["invite_at"]))

    def ended(self, record: dict[str, Any]) -> None:
        """The `end` record of a call."""
        code = record["code"]
        if code not in self.calls and len(self.calls) >= MOST_NAMES:
            code = OTHERS
        self.calls[code] = self.calls.get(code, 0) + 1
        attempts = record["attempts"]
        for attempt in attempts:
            key = attempt["gateway"], OUTCOMES.get(attempt["status"] // 100, "none")
            if key not in self.attempts and len(self.attempts) >= MOST_NAMES:
                key = OTHERS, key[1]
            self.attempts[key] = self.attempts.get(key, 0) + 1
        if attempts and not record["recovered"]:
            began = attempts[0]["started_at"]
            if record["progress_at"] is not None:
                self.stages["progress"].add(max(0, record["progress_at"] - began))
            if record["answer_at"] is not None:
                self.stages["answer"].add(max(0, record["answer_at"] - began))
