"""Price packages on their way to the worker: free prefixes follow the rows of the list, allowances what was used."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Engine

from sipsvc.directory import Directory
from sipsvc.feed import source as source_room
from sipsvc.feed.intake import Spent
from sipsvc.store import allowances, catalogue, cdrs, prices, rates
from sipsvc.store.bundle import load_bundle
from sipsvc.store.changes import LOCAL, Changes, utc_now
from sipsvc.store.database import writing
from sipsvc.store.models import AllowanceUsed, PriceList, PricePackage
from sipsvc.store.pricefile import Row
from tests.feed.test_source import Pair, Running, same
from tests.store.conftest import engine, write_bundle
from tests.store.test_packages import FULL, PRICES, ended

__all__ = ["engine", "write_bundle"]


@pytest.fixture
def both(engine: Engine, write_bundle: Callable[..., Path], tmp_path: Path) -> Pair:
    with writing(engine) as session:
        catalogue.replace(session, load_bundle(write_bundle(FULL, PRICES)))
    return Pair(engine, tmp_path / "tables")


def british(*prefixes: str) -> list[Row]:
    return [Row(prefix, "", "UK", Decimal("0.01"), Decimal(0), 1, 1, "GB") for prefix in prefixes]


def french(*prefixes: str) -> list[Row]:
    return [row._replace(country="FR") for row in british(*prefixes)]


def put(engine: Engine, rows: list[Row], *, full: bool = False) -> None:
    """As an import does."""
    with writing(engine) as session:
        changes, retail = Changes(session, LOCAL), session.get_one(PriceList, "retail")
        rates.apply(changes, retail, rates.compare(session, retail, rows, full=full), at=changes.at)
        changes.rows_changed(retail, "rows")
    time.sleep(0.002)  # a row holds from the change's instant on


@pytest.mark.rule("PP-4", "PP-5", "law 3")
def test_free_prefixes_come_with_the_rows_that_make_them(both: Pair) -> None:
    def free(book: Directory) -> list[str]:
        return [prefix for prefix in ("44", "447", "441534", "4420", "33") if book.packages["national"].covers(prefix)]

    assert free(both.all()) == ["44", "447", "441534", "4420"], "no other country's row begins so"
    put(both.engine, [*british("44", "441534"), *french("447", "33", "4420")], full=True)
    book = both.changes()
    same(book, both.engine)
    assert free(book) == ["44", "441534"]
    put(both.engine, french("44"))
    assert free(both.changes()) == ["441534"]
    put(both.engine, british("4420"), full=True)
    assert free(both.changes()) == ["4420"]
    with writing(both.engine) as session:
        retail = session.get_one(PriceList, "retail")
        prices.end_price(Changes(session, LOCAL), retail, "4420", "", None)
    time.sleep(0.002)
    book = both.changes()
    same(book, both.engine)
    assert (free(book), book.packages["usual"].free) == ([], None)
    with writing(both.engine) as session:
        changes = Changes(session, LOCAL)
        changes.update(session.get_one(PricePackage, "national"), {"kind": "unlimited_international", "country": ""})
        changes.delete(session.get_one(PricePackage, "world"))
    book = both.changes()
    same(book, both.engine)
    assert (book.packages["national"].free, sorted(book.packages)) == (None, ["national", "usual"])


@pytest.mark.rule("PP-4", "law 3")
def test_a_price_that_makes_nothing_else_free_leaves_packages_alone(
    both: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    both.all()
    before = both.intake.directory.packages
    put(both.engine, [*british("4477"), *french("336")])
    book = both.changes()
    same(book, both.engine)
    assert book.packages is before
    # With many changes it is taken for granted.
    monkeypatch.setattr(source_room, "MOST_OVERLAID", 2)
    put(both.engine, british("44771", "44772", "44773"))
    book = both.changes()
    assert book.packages == before and book.packages is not before


@pytest.mark.rule("PP-2")
def test_a_worker_that_begins_is_told_what_accounts_used_of_their_allowances(both: Pair) -> None:
    month = allowances.month_of(utc_now())
    with writing(both.engine) as session:
        for number in range(2 * source_room.ITEMS):
            session.add(AllowanceUsed(trunk=f"t{number}", month=month, seconds=number))
        session.add(AllowanceUsed(trunk="t0", month="2026-01", seconds=9))
        session.flush()
        cdrs.upsert(session, [ended(1, month=month)])
        cdrs.set_position(session, "cdr-00000002.log", 77)
    both.all()
    spent = both.intake.spent
    assert spent is not None
    assert sorted(spent.used) == sorted(
        (f"t{number}", month, 31 if number == 1 else number) for number in range(2 * source_room.ITEMS)
    )
    assert spent == Spent([], "cdr-00000002.log", 77, spent.charged, spent.used)
    with writing(both.engine) as session:
        changes = Changes(session, LOCAL)
        for package in ("national", "world"):
            changes.delete(session.get_one(PricePackage, package))
    without = Pair(both.engine, both.images.folder)
    without.all()
    assert without.intake.spent == spent, "a package may come back"


@pytest.mark.rule("PP-4", "law 3")
def test_an_import_is_free_in_a_running_worker(both: Pair, tmp_path: Path) -> None:
    running = Running(both.engine, tmp_path / "tables")
    try:
        running.until(lambda book: bool(book.packages))
        put(both.engine, [*french("44"), *british("331", "441481")])
        book = running.until(lambda book: book.packages["national"].covers("331"))
        assert [book.packages["national"].covers(prefix) for prefix in ("44", "441481", "33")] == [False, True, False]
        found = book.pricelists["retail"].rows.find("331123456", "", time.time_ns() // 1_000_000)
        assert found is not None and found.prefix == "331"
    finally:
        running.stop()
