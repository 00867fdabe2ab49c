"""When a gateway may be used: weekly windows by the clocks of a place (SIP-28).

A place's clock is a table of its offsets, made where files may be read; here nothing is looked up but that.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

WEEK = 7 * 24 * 60
# 1970-01-01, where UTC begins to be counted, was a Thursday; weeks are counted from Monday.
THURSDAY = 3 * 24 * 60


@dataclass(frozen=True, slots=True)
class Window:
    """Some hours of some days, by the clocks of one time zone.

    `text` is how it was written. `spans` are minutes of the week from Monday 0:00, from and until before; an end may
    lie in the next week. `since` (UTC ms, rising) and `offsets` (ms east of UTC) are the zone's: `offsets[n]` holds
    from `since[n]`, the first of them before that too, the last for good.
    """

    text: str
    spans: tuple[tuple[int, int], ...]
    since: tuple[int, ...]
    offsets: tuple[int, ...]

    def holds(self, utc: int) -> bool:
        """Whether the instant `utc` (ms) lies in it. An hour that a clock shows twice counts both times."""
        at = max(0, bisect_right(self.since, utc) - 1)
        minute = ((utc + self.offsets[at]) // 60_000 + THURSDAY) % WEEK
        return any(begin <= minute < end or begin <= minute + WEEK < end for begin, end in self.spans)


def window_of(fields: Mapping[str, Any]) -> Window:
    """A window of plain values, as the feed sends it. Raises KeyError or TypeError."""
    spans = tuple((int(begin), int(end)) for begin, end in fields["spans"])
    return Window(fields["text"], spans, tuple(fields["since"]), tuple(fields["offsets"]))
