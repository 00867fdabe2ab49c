"""Days and months of a time zone as instants: each begins where the one before ends, whatever clocks do (IP-5)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sipsvc.store.types import to_ms

DAY = timedelta(days=1)
# Instants near the ends of what datetime can hold have no local time everywhere.
FIRST_YEAR, LAST_YEAR = 1970, 9998


class Span(NamedTuple):
    """From `begin` until before `end`, both UTC."""

    begin: datetime
    end: datetime


def day(of: date, zone: ZoneInfo) -> Span:
    """A local day: 23 to 25 hours as a rule, and none at all where a zone left one out."""
    return Span(midnight(of, zone), midnight(of + DAY, zone))


def days(first: date, last: date, zone: ZoneInfo) -> Iterator[tuple[date, Span]]:
    """Every day from `first` to `last`, both included."""
    begin = midnight(first, zone)
    while first <= last:
        end = midnight(first + DAY, zone)
        yield first, Span(begin, end)
        first, begin = first + DAY, end


def month(first: date, zone: ZoneInfo) -> Span:
    """The local month that begins with `first`."""
    return Span(midnight(first, zone), midnight((first + 31 * DAY).replace(day=1), zone))


def month_at(zone: str, utc: int) -> tuple[str, int, int]:
    """The local month that the instant `utc` is in: its name, such as `2026-11`, when it begins and the next one does.

    Instants are UTC milliseconds. A zone that this machine does not know counts as UTC.
    """
    there = _zone(zone)
    first = datetime.fromtimestamp(utc // 1000, there).date().replace(day=1)
    span = month(first, there)
    if to_ms(span.end) <= utc:
        # Clocks went back over midnight, and the last day of a month was shown once more.
        first = (first + 31 * DAY).replace(day=1)
        span = month(first, there)
    return f"{first:%Y-%m}", to_ms(span.begin), to_ms(span.end)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


def midnight(of: date, zone: ZoneInfo) -> datetime:
    """The first instant of a local day.

    Where clocks go back over midnight, that is the first time they show it; where they skip it, the instant they skip.
    """
    local = datetime.combine(of, time(0))
    found = local.replace(tzinfo=zone).astimezone(UTC)
    if _wall(found, zone) == local:
        return found
    # There is no such time: the clocks jump somewhere between what the two offsets make of it.
    early = local.replace(tzinfo=zone, fold=1).astimezone(UTC)
    low, high = 0, (found - early) // timedelta(milliseconds=1)
    while low < high:
        middle = (low + high) // 2
        if _wall(early + timedelta(milliseconds=middle), zone) < local:
            low = middle + 1
        else:
            high = middle
    return early + timedelta(milliseconds=low)


def _wall(at: datetime, zone: ZoneInfo) -> datetime:
    return at.astimezone(zone).replace(tzinfo=None)
