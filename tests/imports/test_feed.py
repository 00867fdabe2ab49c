"""A carrier's whole feed: every row is stored, and every number resolves as DOMAIN's longest match says.

One feed is made here. A real one of 709 routes is tried as well where it lies beside the repository: it is not ours
to keep.
"""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from functools import cache
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from sipsvc.directory import PrefixTable
from sipsvc.directory import PriceRow as DirectoryRow
from sipsvc.imports.reading import read
from sipsvc.store.models import CoverageRow, Gateway
from tests.imports.world import applied, state

NAME = Path("shared", "data", "termination_routes_usd.csv")


def made() -> bytes:
    """Sixty routes of up to forty prefixes in a row, nested and by origin, as carriers write them."""
    draw = Random(7)
    lines = [list(HEADER)]
    left = [*map(str, range(2, 10)), *(str(number) for number in range(20, 9_999) if draw.random() < 0.1)]
    draw.shuffle(left)
    for number in range(60):
        prefixes = sorted(left.pop() for _ in range(draw.choice((1, 2, 12, 40))))
        rate = Decimal(draw.randrange(2, 900_000, 2)).scaleb(-6)
        name = f'Place {number}, "{draw.choice(("Mobile", "Special", "Landline"))}"'
        lines.append([name, "XX", draw.choice("LMO"), " ".join(prefixes), "", str(rate), "0"])
        if number % 4 == 0:
            lines.append([f"{name} EEA", "XX", "L", " ".join(prefixes), "33 331 44", str(rate / 2), "0.01"])
    file = io.StringIO(newline="")
    csv.writer(file).writerows(lines)
    return file.getvalue().encode()


def real() -> dict[str, bytes]:
    found = [above / NAME for above in Path(__file__).parents if (above / NAME).is_file()]
    return {"real": found[0].read_bytes()} if found else {}


HEADER = ("name", "country", "type", "prefixes", "origin_prefixes", "rate_per_min", "connection_fee")
FEEDS = {"made": made(), **real()}
COUNTS = {"made": (75, 861, 15), "real": (709, 16_810, 116)}
"""Routes, distinct prefixes, routes priced by the caller's origin."""


class Route(NamedTuple):
    """A line of the feed, read by nothing of ours."""

    name: str
    prefixes: list[str]
    origins: list[str]
    rate: Decimal
    fee: Decimal


@cache
def routes(feed: str) -> list[Route]:
    return [
        Route(
            line["name"].strip(),
            line["prefixes"].split(),
            line["origin_prefixes"].split(),
            Decimal(line["rate_per_min"]),
            Decimal(line["connection_fee"]),
        )
        for line in csv.DictReader(io.StringIO(FEEDS[feed].decode(), newline=""))
    ]


def naive(feed: str, number: str, caller: str) -> tuple[str, Decimal] | None:
    """Name and rate by trying every route: the longest prefix of any, then of its routes the longest origin."""
    prefixes = (one for route in routes(feed) for one in route.prefixes)
    longest = max((one for one in prefixes if number.startswith(one)), key=len, default="")
    best: tuple[int, Route] | None = None
    for route in routes(feed):
        if longest not in route.prefixes:
            continue
        fits = [len(origin) for origin in route.origins or [""] if caller.startswith(origin)]
        if fits and (best is None or max(fits) > best[0]):
            best = (max(fits), route)
    return None if best is None else (best[1].name, best[1].rate)


@pytest.mark.parametrize("feed", FEEDS)
def test_the_feed_is_what_it_was(feed: str) -> None:
    prefixes = {prefix for route in routes(feed) for prefix in route.prefixes}
    by_origin = sum(1 for route in routes(feed) if route.origins)
    assert (len(routes(feed)), len(prefixes), by_origin) == COUNTS[feed]


@pytest.mark.rule("TG-7")
@pytest.mark.parametrize("feed", FEEDS)
def test_a_feed_is_stored_whole(engine: Engine, feed: str) -> None:
    import_id = applied(engine, Gateway, "alpha", FEEDS[feed])
    item = state(engine, import_id)
    assert (item.status, item.rejected) == ("applied", 0)
    wanted = {
        (prefix, origin): (route.name, route.rate, route.fee)
        for route in routes(feed)
        for prefix in route.prefixes
        for origin in route.origins or [""]
    }
    with Session(engine) as session:
        rows = session.scalars(select(CoverageRow).where(CoverageRow.gateway == "alpha")).all()
        stored = {(row.prefix, row.origin): (row.name, row.rate, row.fee) for row in rows}
    assert len(rows) == len(stored) == item.rows
    assert stored == wanted
    assert len({prefix for prefix, _ in stored}) == COUNTS[feed][1]
    # And from the rows as they are stored, through the table that calls are decided by.
    table = PrefixTable(
        DirectoryRow(row.id, row.prefix, row.name, row.rate, row.fee, row.initial, row.increment, row.origin)
        for row in rows
    )

    @settings(max_examples=200)
    @given(calls(feed))
    def check(call: tuple[str, str]) -> None:
        found = table.find(*call, 0)
        assert (None if found is None else (found.name, found.rate)) == naive(feed, *call)

    check()


def calls(feed: str) -> st.SearchStrategy[tuple[str, str]]:
    """Numbers at and just beside the feed's prefixes; callers at and beside its origins."""
    by_origin = [route for route in routes(feed) if route.origins]
    prefixes = st.sampled_from(sorted({prefix for route in routes(feed) for prefix in route.prefixes}))
    priced_by_origin = st.sampled_from(sorted({prefix for route in by_origin for prefix in route.prefixes}))
    origins = st.sampled_from(sorted({origin for route in by_origin for origin in route.origins}))
    tail = st.text("0123456789", max_size=6)
    numbers = st.one_of(
        st.builds(str.__add__, prefixes, tail),
        st.builds(str.__add__, priced_by_origin, tail),
        st.builds(lambda prefix, more: prefix[:-1] + more, prefixes, tail),
        st.from_regex(r"[1-9][0-9]{3,14}", fullmatch=True),
    )
    callers = st.one_of(st.just(""), st.builds(str.__add__, origins, tail), origins.map(lambda origin: origin[:-1]))
    return st.tuples(numbers.filter(bool), callers)


@pytest.mark.parametrize("feed", FEEDS)
def test_reading_it_rejects_nothing(feed: str) -> None:
    found = read(FEEDS[feed], Gateway(id="x"), lambda _: None)
    assert not found.rejected
    assert len(found.rows) == sum(len(route.prefixes) * max(1, len(route.origins)) for route in routes(feed))
