"""Price packages and web products: from a bundle to the directory, what is free by them, and what was used of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from sipsvc.directory import Package
from sipsvc.errors import ConfigError
from sipsvc.store import allowances, catalogue, cdrs, packages, prices, rates
from sipsvc.store.bundle import load_bundle
from sipsvc.store.changes import LOCAL, Changes
from sipsvc.store.database import downgrade, migrate, open_database, writing
from sipsvc.store.models import AllowanceUsed, Customer, History, PriceList, PricePackage, Token, WebProduct
from sipsvc.store.pricefile import Row
from sipsvc.store.snapshot import for_call
from tests.cdr import records
from tests.directories import load_directory

from .conftest import BUNDLE

Write = Callable[..., Path]
PRICES = (
    "prefix,name,rate,country\n44,United Kingdom,0.012,GB\n447,UK mobile,0.024,GB\n33,France,0.01,FR\n1,America,0.02,\n"
)
OFFERS = """
[[product]]
id = "voice"
name = "Harbour Voice"
type = "business_voip"
currencies = ["USD", "EUR"]

[[package]]
id = "national"
name = "Unlimited UK"
kind = "unlimited_domestic"
pricelist = "retail"
country = "GB"
minutes = 100
currencies = ["EUR", "USD", "GBP"]
products = ["voice"]

[[package]]
id = "world"
name = "Unlimited world"
kind = "unlimited_international"
pricelist = "retail"
currencies = ["USD"]
customer = "harbour"

[[package]]
id = "usual"
name = "As you go"
pricelist = "retail"
currencies = ["USD"]
default = true
"""
ABROAD = """
[[pricelist]]
id = "abroad"
name = "Abroad"
currency = "EUR"
rows = "prices.csv"
"""
FULL = BUNDLE.replace('name = "Acme"', 'name = "Acme"\nproduct = "voice"') + OFFERS


def load(engine: Engine, path: Path) -> None:
    with writing(engine) as session:
        catalogue.replace(session, load_bundle(path))


@pytest.fixture
def loaded(engine: Engine, write_bundle: Write) -> Engine:
    load(engine, write_bundle(FULL, PRICES))
    return engine


@pytest.mark.rule("PP-1", "PP-4", "PP-5", "PP-6", "WP-1", "WP-3")
def test_a_bundle_says_what_customers_are_sold(loaded: Engine) -> None:
    book = load_directory(loaded)
    free = frozenset({"4*"})
    domestic = Package(
        "national", "Unlimited UK", "partner", "unlimited_domestic", "retail", 100, free, products=("voice",)
    )
    world = Package("world", "Unlimited world", "partner", "unlimited_international", "retail", customer="harbour")
    usual = Package("usual", "As you go", "partner", "payg", "retail", default=True)
    assert book.packages == {"national": domestic, "world": world, "usual": usual}
    assert book.package_of(book.customers["acme"]) == domestic
    assert book.package_of(book.customers["harbour"]) == world
    with Session(loaded) as session:
        voice = session.get_one(WebProduct, "voice")
        assert (voice.name, voice.type, voice.currencies) == ("Harbour Voice", "business_voip", ["USD", "EUR"])


@pytest.mark.rule("PP-6")
@pytest.mark.parametrize("without", [(), ("world",), ("world", "national"), ("world", "national", "usual")])
def test_the_database_and_the_directory_give_a_customer_the_same_package(
    loaded: Engine, without: tuple[str, ...]
) -> None:
    with writing(loaded) as session:
        changes = Changes(session, LOCAL)
        for name in without:
            changes.delete(session.get_one(PricePackage, name))
    book = load_directory(loaded)
    with Session(loaded) as session:
        for customer in session.scalars(select(Customer)):
            found = packages.of_customer(session, customer)
            wanted = book.package_of(book.customers[customer.id])
            assert (found and found.id) == (wanted and wanted.id)


def test_the_same_bundle_changes_nothing_and_another_takes_its_place(loaded: Engine, write_bundle: Write) -> None:
    def told() -> int:
        with Session(loaded) as session:
            return session.query(History).count()

    before = told()
    load(loaded, write_bundle(FULL, PRICES))
    assert told() == before
    load(loaded, write_bundle(BUNDLE, PRICES))
    book = load_directory(loaded)
    assert (book.packages, book.customers["acme"].product) == ({}, "")
    with Session(loaded) as session:
        assert session.scalars(select(WebProduct)).all() == []


def test_a_web_product_that_a_closed_customer_came_by_stays(loaded: Engine, write_bundle: Write) -> None:
    with writing(loaded) as session:
        changes = Changes(session, LOCAL)
        changes.update(session.get_one(Customer, "harbour"), {"product": "voice"})
        theirs = {"partner": "partner", "customer": "harbour", "role": "customer_user", "scopes": ["*"]}
        changes.create(Token(name="theirs", sha256="x", expires_at=changes.at, revoked_at=None, **theirs))
    without = BUNDLE[: BUNDLE.index('[[customer]]\nid = "harbour"')] + BUNDLE[BUNDLE.index("[[gateway]]") :]
    load(loaded, write_bundle(without, PRICES))
    with Session(loaded) as session:
        assert session.get_one(Customer, "harbour").status == "closed"
        assert session.get(WebProduct, "voice") is not None


@pytest.mark.rule("PP-1", "PP-2", "PP-4", "PP-5", "PP-6", "WP-1")
@pytest.mark.parametrize(
    ("old", "new", "where", "why"),
    [
        ('name = "As you go"', 'name = " "', "package[2].name", "is empty"),
        ('type = "business_voip"', 'type = "pbx"', "product[0].type", "'business_voip'"),
        ('currencies = ["USD", "EUR"]', "currencies = []", "product[0].currencies", "at least 1"),
        ('["EUR", "USD", "GBP"]', '["USD"]', "package[0].currencies", "must hold EUR, which web product voice has"),
        (
            '["USD"]\ncustomer',
            '["EUR"]\ncustomer',
            "package[1].currencies",
            "must hold USD, the currency of the price list",
        ),
        ('name = "As you go"', 'name = "x"\nminutes = 5', "package[2].minutes", "not with payg"),
        ("minutes = 100", "minutes = -1", "package[0].minutes", "greater than or equal to 0"),
        ('country = "GB"', "", "package[0].country", "is needed with unlimited_domestic"),
        ('country = "GB"', 'country = "gb"', "package[0].country", "two capital letters"),
        ('country = "GB"', 'country = "DE"', "package[0].country", "of DE, only of FR, GB"),
        ('name = "As you go"', 'name = "x"\ncountry = "GB"', "package[2].country", "not with payg"),
        ('pricelist = "retail"\ncountry', 'pricelist = "none"\ncountry', "package[0].pricelist", "no such price list"),
        ('products = ["voice"]', 'products = ["video"]', "package[0].products", "no such web product"),
        ('products = ["voice"]', 'products = ["voice", "voice"]', "package[0].products", "twice"),
        ('customer = "harbour"', 'customer = "nobody"', "package[1].customer", "no such customer"),
        ('customer = "harbour"', 'customer = "harbour"\ndefault = true', "package[1].default", "for one"),
        ('products = ["voice"]', 'products = ["voice"]\ncustomer = "acme"', "package[0].products", "for one customer"),
        (
            '["USD"]\ndefault = true',
            '["USD", "EUR"]\nproducts = ["voice"]',
            "package[2].products",
            "that of package[0] already",
        ),
        ("default = true", 'customer = "harbour"', "package[2].customer", "that of package[1] already"),
        ('products = ["voice"]', "default = true", "package[2].default", "that of package[0] already"),
        ('id = "world"', 'id = "usual"', "package[2].id", "already used by package[1]"),
        ('product = "voice"', 'product = "video"', "customer[0].product", "no such web product"),
        ("[[product]]", ABROAD + "[[product]]", "customer[1].pricelist", "is in EUR, and the package of this customer"),
        ('id = "usual"', 'id = "usual"\ndids = 3', "package[2].dids", "unknown key"),
    ],
)
def test_faults_are_named(write_bundle: Write, old: str, new: str, where: str, why: str) -> None:
    assert old in FULL
    bent = FULL.replace(old, new, 1)
    if "abroad" in new:
        bent = bent.replace('name = "Harbour"\npricelist = "retail"', 'name = "Harbour"\npricelist = "abroad"')
    with pytest.raises(ConfigError) as caught:
        load_bundle(write_bundle(bent, PRICES))
    assert [fault[0] for fault in caught.value.faults] == [where]
    assert any(why in fault[2] for fault in caught.value.faults), caught.value.faults


@pytest.mark.rule("PP-4", "PP-5")
def test_what_is_free_follows_the_rows_in_force(loaded: Engine) -> None:
    with writing(loaded) as session:
        retail, changes = session.get_one(PriceList, "retail"), Changes(session, LOCAL)
        prices.end_price(changes, retail, "447", "", None)
        values = {"name": "Jersey", "country": "GB", "kind": "L", "rate": Decimal("0.1"), "fee": Decimal(0)}
        begin = changes.at + timedelta(days=1)
        prices.set_price(changes, retail, "441534", "", values | {"initial": 1, "increment": 1}, begin)
    national = load_directory(loaded).packages["national"]
    # Nothing else begins so, but for the row that ended: it may be in the tables still.
    assert national.free == {"44", "441*"}
    assert [prefix for prefix in ("44", "441534", "447", "33", "1") if national.covers(prefix)] == ["44", "441534"]
    with Session(loaded) as session:
        package = session.get_one(PricePackage, "national")
        assert packages.free_among(session, package, ["4", "44", "442"]) == ["44"]
        found = packages.free(session, package, None, 10)
        assert found == (2, 2, [("Jersey", 1), ("United Kingdom", 1)])
        assert packages.free(session, package, "Jersey", 10).some == [("United Kingdom", 1)]
        world, usual = (session.get_one(PricePackage, name) for name in ("world", "usual"))
        assert packages.free(session, world, None, 1) == (4, 4, [("America", 1)])
        assert packages.free(session, usual, None, 1) == (0, 0, [])
        assert packages.countries(session, "retail") == {"GB", "FR", ""}


@pytest.mark.rule("PP-4")
@given(st.dictionaries(st.text("12", min_size=1, max_size=5), st.booleans(), max_size=40))
def test_prefixes_put_together_say_the_same_of_each_row(rows: dict[str, bool]) -> None:
    found = packages.together(sorted((prefix, int(free)) for prefix, free in rows.items()))
    package = Package("p", "p", "p", "unlimited_domestic", "l", free=frozenset(found))
    assert {prefix: package.covers(prefix) for prefix in rows} == rows
    assert len(found) == len(set(found)) <= sum(rows.values())


@pytest.mark.rule("PP-4")
def test_a_country_of_many_prefixes_takes_few() -> None:
    american = [(f"1{area}{number}", int(area != 416)) for area in range(200, 1000) for number in range(100)]
    areas = ["12*", "13*", *(f"14{digit}*" for digit in "023456789"), *(f"1{digit}*" for digit in range(5, 10))]
    toronto = [f"141{digit}*" for digit in "012345789"]
    assert sorted(packages.together([("1", 1), *american])) == sorted(["1", *areas, *toronto])


@pytest.mark.rule("PP-4", "PP-6")
def test_one_customers_call_is_decided_by_its_package(loaded: Engine) -> None:
    with writing(loaded) as session:
        changes = Changes(session, LOCAL)
        retail = session.get_one(PriceList, "retail")
        same = {name: getattr(retail, name) for name in ("partner", "currency", "initial", "increment", "minimum")}
        same |= {name: getattr(retail, name) for name in ("expensive_at", "min_rate", "max_profit", "strategy")}
        changes.create(PriceList(id="own", name="own", expected_s=60, allow_loss=False, rows_version=0, **same))
        own = session.get_one(PriceList, "own")
        difference = rates.compare(
            session, own, [Row("44", "", "UK", Decimal("0.5"), Decimal(0), 1, 1, "GB")], full=True
        )
        rates.apply(changes, own, difference, at=changes.at)
        changes.rows_changed(own, "one row")
        changes.update(session.get_one(PricePackage, "national"), {"pricelist": "own"})
    with Session(loaded) as session:
        for customer, pricelist, free in (("acme", "own", {"44"}), ("harbour", "retail", None)):
            book = for_call(session, customer, lambda _customer, _codes: "447400123456")
            here = book.customers[customer]
            package = book.package_of(here)
            assert package is not None and package.free == free
            assert book.pricelist_of(here).id == pricelist
            assert set(book.customers) == {customer}
        book = for_call(session, "acme", lambda _customer, _codes: "447400123456")
        assert "world" not in book.packages, "another customer's is of no use"


def ended(number: int, **more: Any) -> dict[str, Any]:
    """A call that ended, of which an allowance paid for some."""
    sell = records.priced("0.020000", 60, "0.010000") | {"allowance": more.pop("allowance", 30)}
    end = records.end(number, number * 1000, sell=sell, granted_s=90, **{"month": "2026-11", **more})
    return cdrs.merge(records.start(number, trunk=f"t{number % 2}"), None, end)


def deliver(engine: Engine, rows: list[dict[str, Any]]) -> None:
    with writing(engine) as session:
        cdrs.upsert(session, rows)


def counted(engine: Engine) -> dict[tuple[str, str], int]:
    with Session(engine) as session:
        return {(row.trunk, row.month): row.seconds for row in session.scalars(select(AllowanceUsed))}


@pytest.mark.rule("PP-2", "law 8")
def test_a_call_uses_its_accounts_allowance_once_however_often_it_comes(engine: Engine) -> None:
    deliver(engine, [cdrs.merge(records.start(1, trunk="t1"), records.answer(1), None)])
    assert counted(engine) == {}, "it goes on"
    for _ in range(2):
        deliver(engine, [ended(1), ended(3), ended(2), ended(1), ended(4, allowance=0)])
    deliver(engine, [ended(2), ended(5, month="2026-12"), ended(7, allowance=7)])
    assert counted(engine) == {("t0", "2026-11"): 30, ("t1", "2026-11"): 67, ("t1", "2026-12"): 30}
    with Session(engine) as session:
        call = session.get_one(cdrs.Cdr, "cdr-000001")
        assert (call.allowance_s, call.granted_s, (call.sell or {})["month"]) == (30, 90, "2026-11")
        other = cdrs.merge(records.start(9), records.answer(9), records.end(9))
        assert not {"allowance", "granted_s", "month"} & set(other["sell"])


@pytest.mark.rule("PP-2")
def test_a_record_that_does_not_say_its_month_counts_in_that_of_its_answer(engine: Engine) -> None:
    row = ended(1, month=None)
    deliver(engine, [row])
    assert counted(engine) == {("t1", f"{row['answer_at']:%Y-%m}"): 30}


@pytest.mark.rule("PP-2")
def test_this_month_and_the_last_are_told_wherever_it_is(engine: Engine) -> None:
    with writing(engine) as session:
        for month in ("2025-12", "2026-09", "2026-10", "2026-11", "2026-12"):
            session.add(AllowanceUsed(trunk="t", month=month, seconds=2**40))

    def told(now: datetime) -> list[str]:
        with Session(engine) as session:
            found = list(allowances.used_since_last_month(session, now))
        assert {(trunk, seconds) for trunk, _, seconds in found} == {("t", 2**40)}
        return sorted(month for _, month, _ in found)

    assert told(datetime(2026, 11, 15, tzinfo=UTC)) == ["2026-10", "2026-11", "2026-12"]
    # Somewhere it is October still, and September is the month before.
    assert told(datetime(2026, 11, 1, 5, tzinfo=UTC)) == ["2026-09", "2026-10", "2026-11", "2026-12"]
    assert told(datetime(2027, 1, 20, tzinfo=UTC)) == ["2026-12"]


@pytest.mark.rule("PP-6")
def test_the_way_down_and_up_again_loses_packages_alone(url: str, write_bundle: Write) -> None:
    migrate(url)
    engine = open_database(url)
    load(engine, write_bundle(FULL, PRICES))
    downgrade(url, "0011")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT id FROM customer ORDER BY id")).scalars().all() == ["acme", "harbour"]
    migrate(url)
    book = load_directory(engine)
    assert (book.packages, [customer.product for customer in book.customers.values()]) == ({}, ["", ""])
    engine.dispose()
