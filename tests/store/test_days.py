"""Days and months by a zone's own clock: no instant is in two of them, and none in none (IP-5)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipsvc.store.days import DAY, day, days, midnight, month, month_at
from sipsvc.store.types import to_ms

ZONES = st.sampled_from(sorted(available_timezones() - {"localtime", "Factory"})).map(ZoneInfo)
DATES = st.dates(date(1971, 1, 1), date(2037, 12, 31))
HOUR = timedelta(hours=1)


@pytest.mark.rule("IP-5")
@given(ZONES, DATES)
def test_a_day_begins_with_the_first_instant_that_shows_it(zone: ZoneInfo, of: date) -> None:
    begin = midnight(of, zone)
    wanted = datetime(of.year, of.month, of.day)
    assert begin.astimezone(zone).replace(tzinfo=None) >= wanted
    assert (begin - timedelta(milliseconds=1)).astimezone(zone).replace(tzinfo=None) < wanted


@pytest.mark.rule("IP-5")
@given(ZONES, DATES)
def test_the_days_of_a_month_follow_each_other_and_make_it(zone: ZoneInfo, of: date) -> None:
    first = of.replace(day=1)
    whole = month(first, zone)
    last = (first + 31 * DAY).replace(day=1) - DAY
    spans = [span for _, span in days(first, last, zone)]
    assert (spans[0].begin, spans[-1].end) == whole
    assert all(one.end == other.begin for one, other in pairwise(spans))
    assert all(one.begin <= one.end for one in spans)
    assert day(first, zone) == spans[0]


# Zone, day, hours it has, and the UTC instant it begins.
CASES = [
    ("Europe/Berlin", date(2026, 3, 29), 23, datetime(2026, 3, 28, 23, tzinfo=UTC)),
    ("Europe/Berlin", date(2026, 10, 25), 25, datetime(2026, 10, 24, 22, tzinfo=UTC)),
    ("Africa/Cairo", date(2024, 4, 26), 23, datetime(2024, 4, 25, 22, tzinfo=UTC)),  # midnight itself is skipped
    ("America/Havana", date(2024, 11, 3), 25, datetime(2024, 11, 3, 4, tzinfo=UTC)),  # midnight comes twice
    ("Pacific/Apia", date(2011, 12, 30), 0, datetime(2011, 12, 30, 10, tzinfo=UTC)),  # there was no such day
    ("Australia/Lord_Howe", date(2026, 10, 4), 23.5, datetime(2026, 10, 3, 13, 30, tzinfo=UTC)),
]


@pytest.mark.rule("IP-5")
@pytest.mark.parametrize(("zone", "of", "hours", "begin"), CASES)
def test_days_when_the_clocks_change(zone: str, of: date, hours: float, begin: datetime) -> None:
    span = day(of, ZoneInfo(zone))
    assert (span.begin, span.end - span.begin) == (begin, hours * HOUR)


@pytest.mark.rule("PP-2")
@given(ZONES, DATES, st.integers(-DAY // HOUR * 3_600_000, DAY // HOUR * 3_600_000))
def test_every_instant_is_in_one_month_of_a_zone(zone: ZoneInfo, of: date, away_ms: int) -> None:
    """Those near its first and last instants above all."""
    utc = to_ms(midnight(of.replace(day=1), zone)) + away_ms
    name, begin, end = month_at(zone.key, utc)
    assert begin <= utc < end
    assert month_at(zone.key, begin) == month_at(zone.key, end - 1) == (name, begin, end)
    assert month_at(zone.key, end)[1] == end
    assert month_at(zone.key, end)[0] > name > month_at(zone.key, begin - 1)[0]


@pytest.mark.rule("PP-2")
@pytest.mark.parametrize("name", ["Mars/Olympus", "../passwd", ""])
def test_a_zone_that_is_not_known_here_counts_as_utc(name: str) -> None:
    assert month_at(name, 1_770_000_000_000) == month_at("UTC", 1_770_000_000_000)
