"""Longest prefix, then longest origin; never a shorter prefix instead (DOMAIN, longest match)."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipsvc.directory import PrefixTable, PriceRow


def row(prefix: str, origin: str = "", rate: str = "0.01", number: int = 0) -> PriceRow:
    return PriceRow(number, prefix, f"{prefix} from {origin or 'anywhere'}", Decimal(rate), Decimal(0), 60, 60, origin)


def brute_force(rows: list[PriceRow], number: str, caller: str) -> PriceRow | None:
    """The rule in the slowest words: among the rows of the longest prefix, the longest matching origin."""
    fits = [r for r in rows if number[: len(r.prefix)] == r.prefix]
    if not fits:
        return None
    longest = max(len(r.prefix) for r in fits)
    candidates = [r for r in fits if len(r.prefix) == longest and caller[: len(r.origin)] == r.origin]
    return max(candidates, key=lambda r: len(r.origin), default=None)


UK = row("44", rate="0.01")
UK_MOBILE = row("447", rate="0.10")
UK_MOBILE_FROM_UK = row("447", "44", rate="0.02")
UK_MOBILE_FROM_LONDON = row("447", "4420", rate="0.015")
JERSEY_FROM_UK = row("4477", "44", rate="0.05")
TABLE = PrefixTable([UK, UK_MOBILE, UK_MOBILE_FROM_UK, UK_MOBILE_FROM_LONDON, JERSEY_FROM_UK])


@pytest.mark.parametrize(
    ("number", "caller", "found"),
    [
        ("442071838750", "33123456789", UK),
        ("44", "33123456789", UK),
        ("4", "33123456789", None),
        ("", "", None),
        ("33123456789", "442071838750", None),
        # The dearer, longer prefix: never the cheapest of several lengths.
        ("447400123456", "33123456789", UK_MOBILE),
        ("447400123456", "", UK_MOBILE),
        # Of equal prefixes, the longest origin.
        ("447400123456", "441612345678", UK_MOBILE_FROM_UK),
        ("447400123456", "442071838750", UK_MOBILE_FROM_LONDON),
        # An origin is matched whole: "4420" is not met by a caller "442".
        ("447400123456", "442", UK_MOBILE_FROM_UK),
        # Only rows for other origins: no route, although 447 and 44 would fit.
        ("447797123456", "441612345678", JERSEY_FROM_UK),
        ("447797123456", "33123456789", None),
        ("447797123456", "", None),
    ],
)
def test_longest_match(number: str, caller: str, found: PriceRow | None) -> None:
    assert TABLE.find(number, caller) is found


def test_order_of_rows_does_not_matter() -> None:
    backwards = PrefixTable([JERSEY_FROM_UK, UK_MOBILE_FROM_LONDON, UK_MOBILE_FROM_UK, UK_MOBILE, UK])
    for number in ("44", "447400123456", "447797123456"):
        for caller in ("", "441612345678", "442071838750", "33123456789"):
            assert backwards.find(number, caller) is TABLE.find(number, caller)


def test_one_row_per_prefix_and_origin() -> None:
    with pytest.raises(ValueError, match="prefix 44 origin any stands twice"):
        PrefixTable([UK, row("44", rate="0.02")])
    with pytest.raises(ValueError, match="prefix 447 origin 44 stands twice"):
        PrefixTable([UK_MOBILE_FROM_UK, UK_MOBILE, row("447", "44", rate="0.5")])


def test_size_counts_rows_and_an_empty_table_finds_nothing() -> None:
    assert TABLE.size == 5
    empty = PrefixTable([])
    assert empty.size == 0
    assert empty.find("442071838750", "33123456789") is None


# Three digits only, so that prefixes, origins and numbers meet often.
short = st.text("123", max_size=4)
keys = st.lists(st.tuples(st.text("123", min_size=1, max_size=4), short), unique=True, max_size=30)


@given(keys, st.text("123", max_size=7), st.text("123", max_size=6))
def test_agrees_with_brute_force(pairs: list[tuple[str, str]], number: str, caller: str) -> None:
    rows = [row(prefix, origin, number=at) for at, (prefix, origin) in enumerate(pairs)]
    assert PrefixTable(rows).find(number, caller) is brute_force(rows, number, caller)


@given(keys)
def test_every_row_is_found_by_its_own_prefix_and_origin(pairs: list[tuple[str, str]]) -> None:
    rows = [row(prefix, origin, number=at) for at, (prefix, origin) in enumerate(pairs)]
    table = PrefixTable(rows)
    assert table.size == len(rows)
    for each in rows:
        assert table.find(each.prefix, each.origin) is each
