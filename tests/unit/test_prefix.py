"""Longest prefix in force, then longest origin; never a shorter prefix instead (DOMAIN, longest match)."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipsvc.directory import FOREVER, Image, PrefixTable, PriceRow
from sipsvc.directory.image import HEADER, ImageError, compile_image, is_whole
from sipsvc.directory.prefix import cells


def row(
    prefix: str, origin: str = "", rate: str = "0.01", number: int = 0, since: int = 0, until: int = FOREVER
) -> PriceRow:
    name = f"{prefix} from {origin or 'anywhere'}"
    return PriceRow(number, prefix, name, Decimal(rate), Decimal(0), 60, 60, origin, since, until)


def brute_force(rows: list[PriceRow], number: str, caller: str, at: int = 0) -> PriceRow | None:
    """The rule in the slowest words: of the rows in force, the longest prefix, and in it the longest origin."""
    fits = [r for r in rows if number[: len(r.prefix)] == r.prefix and r.valid_from <= at < r.valid_to]
    if not fits:
        return None
    longest = max(len(r.prefix) for r in fits)
    candidates = [r for r in fits if len(r.prefix) == longest and caller[: len(r.origin)] == r.origin]
    return max(candidates, key=lambda r: len(r.origin), default=None)


def image(rows: list[PriceRow]) -> Image:
    return Image(compile_image(map(cells, rows)))


UK = row("44", rate="0.01")
UK_MOBILE = row("447", rate="0.10")
UK_MOBILE_FROM_UK = row("447", "44", rate="0.02")
UK_MOBILE_FROM_LONDON = row("447", "4420", rate="0.015")
JERSEY_FROM_UK = row("4477", "44", rate="0.05")
ROWS = [UK, UK_MOBILE, UK_MOBILE_FROM_UK, UK_MOBILE_FROM_LONDON, JERSEY_FROM_UK]
TABLE = PrefixTable(ROWS)


@pytest.mark.rule("SIP-28")
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
        # As long as numbers get, and longer.
        ("447400123456789012", "", UK_MOBILE),
        ("4474001234567890123456", "", UK_MOBILE),
    ],
)
def test_longest_match(number: str, caller: str, found: PriceRow | None) -> None:
    assert TABLE.find(number, caller, 0) == found


def test_order_of_rows_does_not_matter() -> None:
    backwards = PrefixTable(ROWS[::-1])
    for number in ("44", "447400123456", "447797123456"):
        for caller in ("", "441612345678", "442071838750", "33123456789"):
            assert backwards.find(number, caller, 0) == TABLE.find(number, caller, 0)


@pytest.mark.parametrize(
    ("number", "found"),
    [("1", None), ("10", None), ("100", "100"), ("1000", "100"), ("9", "9"), ("99", "9"), ("0", None), ("00", "00")],
)
def test_a_number_is_not_longer_than_it_is(number: str, found: str | None) -> None:
    """Left-aligned with zeros, 10 lies in the interval of 100; it has not that prefix all the same."""
    got = PrefixTable([row("100"), row("9"), row("00")]).find(number, "", 0)
    assert (got and got.prefix) == found


def test_one_row_per_prefix_origin_and_instant() -> None:
    with pytest.raises(ValueError, match="prefix 44 origin any stands twice"):
        PrefixTable([UK, row("44", rate="0.02")])
    with pytest.raises(ValueError, match="prefix 447 origin 44 stands twice"):
        PrefixTable([UK_MOBILE_FROM_UK, UK_MOBILE, row("447", "44", rate="0.5")])
    with pytest.raises(ValueError, match="prefix 44 origin any stands twice"):
        PrefixTable([row("44", until=10), row("44", since=9)])
    assert PrefixTable([row("44", until=10), row("44", since=10)]).size == 2


@pytest.mark.parametrize("prefix", ["", "1" * 19, "4x", "+44", "٤٤"])
def test_a_prefix_is_digits(prefix: str) -> None:
    with pytest.raises(ValueError, match="is not 1 to 18 digits"):
        PrefixTable([row(prefix)])


def test_money_is_millionths() -> None:
    with pytest.raises(ValueError, match="more than 6 decimal places"):
        PrefixTable([row("44", rate="0.0000001")])


def test_a_price_is_in_force_from_its_first_instant_until_before_its_last() -> None:
    """A prefix with nothing in force is not there; the shorter one serves."""
    table = PrefixTable([row("44", number=1), row("447", since=10, until=20, number=2), row("447", since=25, number=3)])
    found = {at: table.find("447400123456", "", at) for at in (9, 10, 19, 20, 24, 25)}
    assert {at: one and one.id for at, one in found.items()} == {9: 1, 10: 2, 19: 2, 20: 1, 24: 1, 25: 3}


def test_rows_never_in_force_are_left_out() -> None:
    assert PrefixTable([UK, row("44", since=5, until=5), row("447", since=5, until=4)]).size == 1


def test_size_counts_rows_and_an_empty_table_finds_nothing() -> None:
    assert TABLE.size == 5
    empty = PrefixTable()
    assert empty.size == 0
    assert empty.find("442071838750", "33123456789", 0) is None


def test_what_changed_stands_in_the_place_of_whole_prefixes() -> None:
    dearer, new = row("44", rate="0.5"), row("4420", rate="0.7")
    table = TABLE.changed({"44": (dearer,), "447": ()}).changed({"4420": (new,)})
    assert table.find("442071838750", "", 0) == new
    assert table.find("441612345678", "", 0) == dearer
    assert table.find("447400123456", "", 0) == dearer
    assert table.find("447797123456", "44", 0) == JERSEY_FROM_UK
    assert table.size == 3
    assert TABLE.find("442071838750", "", 0) == UK


def test_an_image_is_whole_or_none() -> None:
    data = compile_image(map(cells, ROWS))
    assert is_whole(data)
    assert not is_whole(data[:-1] + bytes([data[-1] ^ 1]))
    for broken in (b"", data[: HEADER.size - 1], data[:-1], data + b"\0", b"x" + data[1:]):
        assert not is_whole(broken)
        with pytest.raises(ImageError):
            Image(broken)


def test_a_row_comes_back_as_it_went_in() -> None:
    full = PriceRow(7, "49", "Österreich", Decimal("12345.678901"), Decimal("0.000001"), 30, 6, "1", 5, 6)
    assert PrefixTable([full, UK]).find("4912", "1", 5) == full


# Three digits only, so that prefixes, origins and numbers meet often; 0 is where left-aligned numbers meet.
prefixes = st.text("012", min_size=1, max_size=4)
origins = st.text("012", max_size=3)
spans = st.sampled_from([(0, FOREVER), (0, 5), (5, FOREVER), (3, 7), (5, 5)])


@st.composite
def tables(draw: st.DrawFn) -> list[PriceRow]:
    """Rows without two of one prefix and origin at one time."""
    rows: list[PriceRow] = []
    for number, (prefix, origin, (since, until)) in enumerate(
        draw(st.lists(st.tuples(prefixes, origins, spans), max_size=30))
    ):
        others = [one for one in rows if (one.prefix, one.origin) == (prefix, origin)]
        if all(until <= one.valid_from or one.valid_to <= since for one in others):
            rows.append(row(prefix, origin, number=number, since=since, until=until))
    return rows


numbers = st.text("012", max_size=7)
instants = st.sampled_from([0, 3, 5, 7])


@pytest.mark.rule("SIP-28")
@given(tables(), numbers, st.text("012", max_size=6), instants)
def test_agrees_with_brute_force(rows: list[PriceRow], number: str, caller: str, at: int) -> None:
    assert PrefixTable(rows).find(number, caller, at) == brute_force(rows, number, caller, at)


@given(tables(), tables(), st.sets(prefixes, max_size=4), st.lists(st.tuples(numbers, origins, instants), max_size=8))
def test_an_overlay_agrees_with_a_table_compiled_anew(
    old: list[PriceRow], new: list[PriceRow], gone: set[str], asked: list[tuple[str, str, int]]
) -> None:
    overlay: dict[str, tuple[PriceRow, ...]] = dict.fromkeys(gone, ())
    for one in new:
        overlay[one.prefix] = (*overlay.get(one.prefix, ()), one)
    left = [one for one in old if one.prefix not in overlay] + new
    table = PrefixTable.opened(image(old), overlay)
    assert table.size == sum(1 for one in left if one in new or one.valid_from < one.valid_to)
    for number, caller, at in asked:
        assert table.find(number, caller, at) == brute_force(left, number, caller, at)


@given(tables())
def test_every_row_is_found_by_its_own_prefix_and_origin(rows: list[PriceRow]) -> None:
    table = PrefixTable(rows)
    for each in rows:
        if each.valid_from < each.valid_to:
            assert table.find(each.prefix, each.origin, each.valid_from) == each
