"""The real feed in whole: 709 routes, 16,810 prefixes, and every number resolves as DOMAIN's longest match says."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from functools import cache
from pathlib import Path
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


@cache
def feed() -> bytes:
    """The file is not ours to keep: it lies in a folder `shared` beside the repository or above."""
    found = next((above / NAME for above in Path(__file__).parents if (above / NAME).is_file()), None)
    assert found, f"the real feed, {NAME}, is not beside the repository"
    return found.read_bytes()


class Route(NamedTuple):
    """A line of the feed, read by nothing of ours."""

    name: str
    prefixes: list[str]
    origins: list[str]
    rate: Decimal
    fee: Decimal


@cache
def routes() -> list[Route]:
    return [
        Route(
            line["name"].strip(),
            line["prefixes"].split(),
            line["origin_prefixes"].split(),
            Decimal(line["rate_per_min"]),
            Decimal(line["connection_fee"]),
        )
        for line in csv.DictReader(io.StringIO(feed().decode(), newline=""))
    ]


def naive(number: str, caller: str) -> tuple[str, Decimal] | None:
    """Name and rate by trying every route: the longest prefix of any, then of its routes the longest origin."""
    longest = max((one for route in routes() for one in route.prefixes if number.startswith(one)), key=len, default="")
    best: tuple[int, Route] | None = None
    for route in routes():
        if longest not in route.prefixes:
            continue
        fits = [len(origin) for origin in route.origins or [""] if caller.startswith(origin)]
        if fits and (best is None or max(fits) > best[0]):
            best = (max(fits), route)
    return None if best is None else (best[1].name, best[1].rate)


def test_the_feed_is_what_it_was() -> None:
    assert len(routes()) == 709
    assert len({prefix for route in routes() for prefix in route.prefixes}) == 16_810
    assert sum(1 for route in routes() if route.origins) == 116


@pytest.mark.rule("TG-7")
def test_the_real_feed_is_stored_whole(engine: Engine) -> None:
    import_id = applied(engine, Gateway, "alpha", feed())
    item = state(engine, import_id)
    assert (item.status, item.rejected) == ("applied", 0)
    wanted = {
        (prefix, origin): (route.name, route.rate, route.fee)
        for route in routes()
        for prefix in route.prefixes
        for origin in route.origins or [""]
    }
    with Session(engine) as session:
        rows = session.scalars(select(CoverageRow).where(CoverageRow.gateway == "alpha")).all()
        stored = {(row.prefix, row.origin): (row.name, row.rate, row.fee) for row in rows}
    assert len(rows) == len(stored) == item.rows
    assert stored == wanted
    assert len({prefix for prefix, _ in stored}) == 16_810
    # And from the rows as they are stored, through the table that calls are decided by.
    table = PrefixTable(
        DirectoryRow(row.id, row.prefix, row.name, row.rate, row.fee, row.initial, row.increment, row.origin)
        for row in rows
    )

    @settings(max_examples=200)
    @given(calls())
    def check(call: tuple[str, str]) -> None:
        found = table.find(*call, 0)
        assert (None if found is None else (found.name, found.rate)) == naive(*call)

    check()


def calls() -> st.SearchStrategy[tuple[str, str]]:
    """Numbers at and just beside the feed's prefixes; callers at and beside its origins."""
    by_origin = [route for route in routes() if route.origins]
    prefixes = st.sampled_from(sorted({prefix for route in routes() for prefix in route.prefixes}))
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


def test_reading_it_rejects_nothing() -> None:
    found = read(feed(), Gateway(id="x"), lambda _: None)
    assert not found.rejected
    assert len(found.rows) == sum(len(route.prefixes) * max(1, len(route.origins)) for route in routes())
