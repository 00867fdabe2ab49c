"""What an import would change is said before it does: each class of changes, exactly, and in a file."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from sipsvc.directory import PrefixTable
from sipsvc.directory import PriceRow as DirectoryRow
from sipsvc.imports import files
from sipsvc.imports.minutes import Minutes, losses
from sipsvc.rating import charge
from sipsvc.store.changes import Changes
from sipsvc.store.database import writing
from sipsvc.store.models import Gateway, PriceList
from sipsvc.store.pricefile import Row
from tests.imports.world import SOMEBODY, add_pricelist, applied, state, upload

HEAD = "prefix,name,rate,fee,initial,increment,origin\n"
BEFORE = HEAD + "1,A,0.10,0,60,60,\n2,B,0.10,0,60,60,\n3,C,0.10,0,60,60,\n4,D,0.10,0,60,60,\n5,E,0.10,0,60,60,\n"


def counts(engine: Engine, import_id: str) -> dict[str, int]:
    """Those that are not 0."""
    return {name: count for name, count in state(engine, import_id).preview["counts"].items() if count}


def changes_file(engine: Engine, import_id: str) -> list[dict[str, str]]:
    with Session(engine) as session:
        packed = files.load(session, import_id, files.CHANGES)
    assert packed is not None
    return list(csv.DictReader(io.StringIO(files.unpack(packed).decode(), newline="")))


@pytest.mark.rule("TG-7")
def test_each_class_of_changes(engine: Engine) -> None:
    applied(engine, Gateway, "alpha", BEFORE)
    after = HEAD + (
        "1,A,0.10,0,60,60,\n"  # the same
        "2,B,0.11,0,60,60,\n"  # dearer
        "3,C,0.10,0,1,1,\n"  # the same for a minute, in other increments
        "4,D,0.09,0.005,60,60,\n"  # cheaper, though it has a fee now
        "6,F,0.20,0,60,60,\n6,F from France,0.20,0,60,60,33\n"  # new, and 5 is gone
    )
    import_id = upload(engine, Gateway, "alpha", after)
    assert counts(engine, import_id) == {"new": 2, "dearer": 1, "cheaper": 1, "other": 1, "gone": 1, "same": 1}
    lines = [(line["what"], line["prefix"], line["origin"]) for line in changes_file(engine, import_id)]
    assert lines == [
        ("new", "6", ""),
        ("new", "6", "33"),
        ("dearer", "2", ""),
        ("other", "3", ""),
        ("cheaper", "4", ""),
        ("gone", "5", ""),
    ]
    dearer = next(line for line in changes_file(engine, import_id) if line["what"] == "dearer")
    assert (dearer["name"], dearer["old_rate"], dearer["new_rate"]) == ("B", "0.100000", "0.110000")
    partial = upload(engine, Gateway, "alpha", after, mode="partial")
    assert "gone" not in counts(engine, partial)


def test_a_fee_makes_a_destination_dearer(engine: Engine) -> None:
    applied(engine, Gateway, "alpha", HEAD + "1,A,0.10,0,60,60,\n2,B,0.10,0,60,60,\n")
    import_id = upload(engine, Gateway, "alpha", HEAD + "1,A,0.10,0.01,60,60,\n2,B,0.10,0,90,90,\n")
    assert counts(engine, import_id) == {"dearer": 2}


def test_totals_are_whole_where_samples_are_few(engine: Engine) -> None:
    lines = "".join(f"{number},x,0.1,0,1,1,\n" for number in range(1000, 1100))
    import_id = upload(engine, Gateway, "alpha", HEAD + lines)
    preview = state(engine, import_id).preview
    assert preview["counts"]["new"] == 100
    assert [sample["prefix"] for sample in preview["samples"]["new"]] == [str(number) for number in range(1000, 1020)]
    assert len(changes_file(engine, import_id)) == 100


def test_no_cell_is_a_formula(engine: Engine) -> None:
    import_id = upload(engine, Gateway, "alpha", "prefix,name,rate\n1,=1+1,0.1\n")
    assert changes_file(engine, import_id)[0]["name"] == "'=1+1"


@pytest.mark.rule("TP-4")
def test_newly_expensive_at_the_threshold(engine: Engine) -> None:
    applied(engine, PriceList, "retail", HEAD + "1,A,0.49,0,60,60,\n2,B,0.60,0,60,60,\n3,C,0.1,0,60,60,\n")
    after = HEAD + (
        "1,A,0.499999,0,60,60,\n"
        "2,B,0.70,0,60,60,\n"  # was expensive before
        "3,C,0.40,0.10,60,60,\n"  # with its fee
        "4,D,0.30,0,120,60,\n"  # two minutes at least
        "5,E,0.49,0,60,60,\n"
    )
    import_id = upload(engine, PriceList, "retail", after)
    told = [line["prefix"] for line in changes_file(engine, import_id) if line["what"] == "newly_expensive"]
    assert sorted(told) == ["3", "4"]


def below(engine: Engine, import_id: str) -> list[tuple[str, str, str, str, str]]:
    lines = [line for line in changes_file(engine, import_id) if line["what"] == "below_cost"]
    return [(line["prefix"], line["origin"], line["against"], line["sell"], line["cost"]) for line in lines]


def test_coverage_that_puts_a_list_below_cost(engine: Engine) -> None:
    with writing(engine) as session:
        changes = Changes(session, SOMEBODY)
        add_pricelist(changes, "euro", currency="EUR")
        add_pricelist(changes, "foreign", partner="other")
        add_pricelist(changes, "with-minimum", minimum=Decimal("0.05"))
    sold = HEAD + "44,UK,0.02,0,60,60,\n33,FR,0.02,0,60,60,\n"
    for name in ("retail", "euro", "foreign", "with-minimum"):
        applied(engine, PriceList, name, sold)
    applied(engine, Gateway, "alpha", HEAD + "44,UK,0.01,0,1,1,\n33,FR,0.03,0,1,1,\n")
    after = HEAD + (
        "44,UK,0.02,0,1,1,\n"  # at cost, not below
        "447,UK Mobile,0.03,0,1,1,\n"  # its calls are sold as 44
        "448,UK from France,0.01,0.02,1,1,33\n"  # by its fee, for callers from France
        "33,FR,0.04,0,1,1,\n"  # was below cost before
    )
    import_id = upload(engine, Gateway, "alpha", after)
    assert below(engine, import_id) == [
        ("447", "", "retail", "0.020000", "0.030000"),
        ("448", "33", "retail", "0.020000", "0.030000"),
    ]
    assert counts(engine, import_id)["below_cost"] == 2


def test_coverage_that_goes_leaves_a_dearer_one(engine: Engine) -> None:
    applied(engine, PriceList, "retail", HEAD + "44,UK,0.02,0,60,60,\n4479,UK Mobile,0.02,0,60,60,\n")
    applied(engine, Gateway, "alpha", HEAD + "44,UK,0.01,0,1,1,\n4,World,0.5,0,1,1,\n")
    import_id = upload(engine, Gateway, "alpha", HEAD + "4,World,0.5,0,1,1,\n")
    assert [line[:2] for line in below(engine, import_id)] == [("44", ""), ("4479", "")]


def test_a_list_below_the_cheapest_cost(engine: Engine) -> None:
    applied(engine, Gateway, "alpha", HEAD + "44,UK,0.03,0,1,1,\n447,Mobile,0.09,0,1,1,\n")
    applied(engine, Gateway, "beta", HEAD + "44,UK,0.02,0,1,1,\n")
    applied(engine, Gateway, "gamma", HEAD + "44,UK,0.90,0,1,1,\n")
    import_id = upload(engine, PriceList, "retail", HEAD + "44,UK,0.025,0,60,60,\n")
    assert below(engine, import_id) == []
    import_id = upload(engine, PriceList, "retail", HEAD + "44,UK,0.019,0,60,60,\n")
    assert below(engine, import_id) == [
        ("44", "", "retail", "0.019000", "0.020000"),
    ]


# -- the same by brute force --

ORIGINS = st.sampled_from(["", "", "3", "33"])
PREFIXES = st.text("12", min_size=1, max_size=4)
TABLES = st.dictionaries(st.tuples(PREFIXES, ORIGINS), st.integers(0, 3), max_size=8)
Table = dict[tuple[str, str], int]


def rows_of(table: Table) -> list[Row]:
    return [Row(prefix, origin, "x", Decimal(rate), Decimal(0), 1, 1) for (prefix, origin), rate in table.items()]


def minutes(table: Table) -> Minutes:
    made = Minutes()
    made.extend(rows_of(table))
    return made.ready()


def directory(table: Table) -> PrefixTable:
    return PrefixTable(
        DirectoryRow(at, prefix, "x", Decimal(rate), Decimal(0), 1, 1, origin)
        for at, ((prefix, origin), rate) in enumerate(table.items())
    )


# A third digit, for no prefix is wholly covered by two longer ones.
NUMBERS = ["".join(digits) for digits in product("123", repeat=5)]
CALLERS = ["", "1", "31", "331"]


@given(TABLES)
def test_minutes_match_as_the_directory_does(table: Table) -> None:
    ours, theirs = minutes(table), directory(table)
    for number in NUMBERS:
        for caller in CALLERS:
            place, wanted = ours.at(number), theirs.find(number, caller, 0)
            found = None if place is None else place.find(caller)
            if wanted is None:
                assert found is None
            else:
                assert found == (wanted.prefix, wanted.origin, charge(60_000, wanted).amount)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(TABLES, TABLES, TABLES)
def test_no_number_becomes_a_loss_untold(sells: Table, before: Table, after: Table) -> None:
    """Every number that is sold below cost after a change of costs, and was not before, is told of, and no other."""
    sold, old, new = directory(sells), directory(before), directory(after)
    touched = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    made = minutes(sells)
    found = losses((made, made), ([minutes(before)], [minutes(after)]), touched, told_again=frozenset())
    told = {(sell[:2], cost[:2]) for sell, cost in found}
    wanted = set()
    for number in NUMBERS:
        for caller in CALLERS:
            sell, was, cost = (table.find(number, caller, 0) for table in (sold, old, new))
            if sell is None or cost is None or sell.rate >= cost.rate or (was is not None and sell.rate < was.rate):
                continue
            wanted.add(((sell.prefix, sell.origin), (cost.prefix, cost.origin)))
    assert told == wanted
