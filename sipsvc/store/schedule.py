"""A gateway's schedule as it is written, and as the directory has it, with its zone's offsets: a call reads no file.

`mon-fri 08:00-20:00 Europe/Berlin`: days from Monday, one, several with commas, or from one to another; hours by that
place's clocks, until before the second; one that is not later than the first is the next day's.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from sipsvc.store.types import to_ms

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WINDOW = re.compile(r"([a-z]{3}(?:[-,][a-z]{3})*) ([0-9]{2}:[0-9]{2})-([0-9]{2}:[0-9]{2}) (\S{1,64})")
MINUTES_A_DAY = 24 * 60
# The years before and after this one whose clock changes are known. Beyond them the clocks stand as at the end.
YEARS_BACK, YEARS_AHEAD = 2, 10
# No two changes of a zone's clocks are nearer than Ramadan's.
STEP = timedelta(days=7)


def time_zone(value: str) -> str:
    """An IANA time zone's name. Raises ValueError with why."""
    # Only what is in the list may reach ZoneInfo, which would open any file by its name.
    if value not in available_timezones():
        raise ValueError("is no time zone of the IANA database, such as Europe/Berlin")
    return ZoneInfo(value).key


def window(text: str) -> str:
    """One window, as it is kept. Raises ValueError with why it is none."""
    *_, zone = _parts(text)
    time_zone(zone)
    return text


def compiled(text: str, year: int) -> dict[str, Any]:
    """A window as the directory takes it (`directory.schedule`), `year` being the one we are in."""
    days, begin, end, zone = _parts(text)
    length = (end - begin) % MINUTES_A_DAY or MINUTES_A_DAY
    spans = [[day * MINUTES_A_DAY + begin, day * MINUTES_A_DAY + begin + length] for day in days]
    since, offsets = _clock(zone, year)
    return {"text": text, "spans": spans, "since": list(since), "offsets": list(offsets)}


def _parts(text: str) -> tuple[list[int], int, int, str]:
    """Days from 0, the first and the last minute of the day, and the zone."""
    found = WINDOW.fullmatch(text)
    if found is None:
        raise ValueError("must be days, hours and a time zone, such as mon-fri 08:00-20:00 Europe/Berlin")
    days, begin, end, zone = found.groups()
    chosen: set[int] = set()
    for part in days.split(","):
        names = part.split("-")
        if len(names) > 2 or not set(names) <= set(DAYS):
            raise ValueError(f"has days that are none: {part}; they are {' '.join(DAYS)}")
        first, last = DAYS.index(names[0]), DAYS.index(names[-1])
        chosen.update(day % 7 for day in range(first, first + (last - first) % 7 + 1))
    return sorted(chosen), _minute(begin, latest=MINUTES_A_DAY - 1), _minute(end, latest=MINUTES_A_DAY), zone


def _minute(text: str, latest: int) -> int:
    hours, minutes = int(text[:2]), int(text[3:])
    if minutes > 59 or hours * 60 + minutes > latest:
        raise ValueError(f"has an hour that is none: {text}")
    return hours * 60 + minutes


@lru_cache(maxsize=1_000)
def _clock(zone: str, year: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """When (UTC ms) each offset (ms) of a zone begins."""
    place = ZoneInfo(zone)

    def offset(at: datetime) -> int:
        east = at.astimezone(place).utcoffset()
        assert east is not None
        return east // timedelta(milliseconds=1)

    at, end = datetime(year - YEARS_BACK, 1, 1, tzinfo=UTC), datetime(year + YEARS_AHEAD + 1, 1, 1, tzinfo=UTC)
    since, offsets = [to_ms(at)], [offset(at)]
    while at < end:
        before, at = at, at + STEP
        if offset(at) == offsets[-1]:
            continue
        late = at
        while late - before > timedelta(seconds=1):
            middle = before + (late - before) // 2
            middle -= timedelta(microseconds=middle.microsecond)
            if middle == before:
                break
            before, late = (middle, late) if offset(middle) == offsets[-1] else (before, middle)
        since.append(to_ms(late))
        offsets.append(offset(at))
    return tuple(since), tuple(offsets)
