"""When a gateway may be used: windows as they are written, by the clocks of their place (SIP-28)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipsvc.directory.schedule import Window, window_of
from sipsvc.store.schedule import DAYS, compiled, window
from sipsvc.store.types import to_ms

YEAR = 2026
# Summer time both ways, none at all, half hours, a day that was skipped, and clocks that change four times a year.
ZONES = (
    "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC", "Pacific/Apia",
    "Africa/Casablanca", "America/St_Johns",
)  # fmt: skip


def made(text: str) -> Window:
    return window_of(compiled(window(text), YEAR))


def utc(text: str) -> int:
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=UTC))


BERLIN = "mon-fri 08:00-20:00 Europe/Berlin"
INSTANTS = [
    # A Monday in winter, when Berlin is an hour ahead, and one in summer, when it is two.
    (BERLIN, "2026-01-05T06:59:59.999", False),
    (BERLIN, "2026-01-05T07:00:00", True),
    (BERLIN, "2026-01-05T18:59:59.999", True),
    (BERLIN, "2026-01-05T19:00:00", False),
    (BERLIN, "2026-07-06T05:59:59.999", False),
    (BERLIN, "2026-07-06T06:00:00", True),
    (BERLIN, "2026-07-06T18:00:00", False),
    (BERLIN, "2026-07-11T10:00:00", False),
    # On 2026-03-29 the clocks went from 2:00 to 3:00: that hour never was. On 2026-10-25 2:00 to 3:00 came twice.
    ("sun 01:30-02:30 Europe/Berlin", "2026-03-29T00:30:00", True),
    ("sun 01:30-02:30 Europe/Berlin", "2026-03-29T00:59:59.999", True),
    ("sun 01:30-02:30 Europe/Berlin", "2026-03-29T01:00:00", False),
    ("sun 01:30-02:30 Europe/Berlin", "2026-10-25T00:10:00", True),
    ("sun 01:30-02:30 Europe/Berlin", "2026-10-25T00:45:00", False),
    ("sun 01:30-02:30 Europe/Berlin", "2026-10-25T01:10:00", True),
    # Over midnight it is the day on which it begins; at the week's end too.
    ("sat,sun 22:00-06:00 UTC", "2026-01-05T05:59:59.999", True),
    ("sat,sun 22:00-06:00 UTC", "2026-01-05T06:00:00", False),
    ("sat,sun 22:00-06:00 UTC", "2026-01-05T22:00:00", False),
    ("fri-mon 00:00-24:00 UTC", "2026-01-06T00:00:00", False),
    ("fri-mon 00:00-24:00 UTC", "2026-01-05T23:59:59.999", True),
    ("tue 08:00-08:00 UTC", "2026-01-07T07:59:00", True),
    ("tue 08:00-08:00 UTC", "2026-01-07T08:00:00", False),
]


@pytest.mark.rule("SIP-28", "SIP-29")
@pytest.mark.parametrize(("text", "at", "there"), INSTANTS)
def test_an_instant_lies_in_a_window(text: str, at: str, there: bool) -> None:
    assert made(text).holds(utc(at)) is there


@pytest.mark.rule("SIP-28")
@given(
    zone=st.sampled_from(ZONES),
    at=st.datetimes(datetime(YEAR - 2, 1, 2), datetime(YEAR + 10, 12, 30)),
    days=st.sets(st.integers(0, 6), min_size=1),
    begin=st.integers(0, 1439),
    length=st.integers(1, 1440),
)
def test_it_is_what_the_clocks_there_show(zone: str, at: datetime, days: set[int], begin: int, length: int) -> None:
    end = (begin + length) % 1440
    hours = f"{begin // 60:02d}:{begin % 60:02d}-{end // 60:02d}:{end % 60:02d}"
    found = made(f"{','.join(DAYS[day] for day in sorted(days))} {hours} {zone}")
    # Whole minutes: older zones' offsets have seconds, none of these' have in these years.
    at = at.replace(second=0, microsecond=0, tzinfo=UTC)
    local = at.astimezone(ZoneInfo(zone))
    minute = local.hour * 60 + local.minute
    wanted = any(
        (local.weekday() - back) % 7 in days and begin <= minute + back * 1440 < begin + length for back in (0, 1)
    )
    assert found.holds(to_ms(at)) is wanted


@pytest.mark.rule("SIP-28")
@pytest.mark.parametrize("zone", ZONES)
def test_clocks_change_at_the_very_second(zone: str) -> None:
    found = compiled(f"mon 00:00-01:00 {zone}", YEAR)
    place = ZoneInfo(zone)
    for since, offset in list(zip(found["since"], found["offsets"], strict=True))[1:]:
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=since)
        assert at.astimezone(place).utcoffset() == timedelta(milliseconds=offset)
        assert (at - timedelta(seconds=1)).astimezone(place).utcoffset() != timedelta(milliseconds=offset)


@pytest.mark.rule("SIP-28")
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "must be days, hours and a time zone"),
        ("mon-fri 08:00-20:00", "must be days, hours and a time zone"),
        ("mon-fri 8:00-20:00 UTC", "must be days, hours and a time zone"),
        ("Mon 08:00-20:00 UTC", "must be days, hours and a time zone"),
        ("mon  08:00-20:00 UTC", "must be days, hours and a time zone"),
        ("day 08:00-20:00 UTC", "has days that are none: day"),
        ("mon-tue-wed 08:00-20:00 UTC", "has days that are none: mon-tue-wed"),
        ("mon 08:60-20:00 UTC", "has an hour that is none: 08:60"),
        ("mon 24:00-20:00 UTC", "has an hour that is none: 24:00"),
        ("mon 08:00-24:01 UTC", "has an hour that is none: 24:01"),
        ("mon 08:00-20:00 Mars/Olympus", "is no time zone of the IANA database"),
        ("mon 08:00-20:00 ../../etc/passwd", "is no time zone of the IANA database"),
    ],
)
def test_what_is_no_window(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        window(text)
