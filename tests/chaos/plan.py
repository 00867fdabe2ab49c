"""What happens when in a run, by its length: kills spread over it, some of them when it hurts."""

from __future__ import annotations

from typing import NamedTuple

# Of the length of the run: in five minutes one without a database, and 20 s without room for the log.
AWAY = (0.30, 0.50)
FULL = (0.62, 0.62 + 20 / 300)
# The third comes while what waited is being delivered, the fourth while the log has no room.
KILLS = (0.10, 0.22, 0.503, 0.66, 0.88)
# A short run is killed less often, for each kill takes seconds.
SHORT_S = 120
SHORT_KILLS = (0.15, 0.503, 0.67)


class Event(NamedTuple):
    """At `at_s` seconds of the run this is done: `kill`, `stop`, `start` (the database), `fill`, `free` (the disk)."""

    at_s: float
    what: str


def plan(seconds: float) -> list[Event]:
    """In order."""
    kills = KILLS if seconds >= SHORT_S else SHORT_KILLS
    events = [Event(part * seconds, "kill") for part in kills]
    for (begin, end), names in ((AWAY, ("stop", "start")), (FULL, ("fill", "free"))):
        events += [Event(begin * seconds, names[0]), Event(end * seconds, names[1])]
    return sorted(events)
