"""The ledger: calls are charged once however often they are delivered, nothing posted changes, and it all adds up."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, func, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from sipsvc.errors import ConfigError
from sipsvc.rating import text as money
from sipsvc.store import audit, catalogue, cdrs, ledger
from sipsvc.store.bundle import load_bundle
from sipsvc.store.changes import LOCAL, Changes, entries
from sipsvc.store.database import migrate, one_state, open_database, writing
from sipsvc.store.models import Cdr, Customer, LedgerAccount, LedgerPosting, PriceRow
from sipsvc.store.rerate import rerate
from sipsvc.store.types import EPOCH, from_ms
from tests.databases import migrated_copy
from tests.directories import load_directory
from tests.store.conftest import BUNDLE
from tests.store.tenants import add_customer, add_pricelist
from tests.store.test_cdrs import T0, answer, end, merge, priced, refused, start

LAW = pytest.mark.rule("law 8")
_numbers = count()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One database for all examples of a property: each adds calls of its own, and the whole must add up after each."""
    made = open_database(migrated_copy(request.param, request, tmp_path_factory.mktemp("ledger")))
    with writing(made) as session:
        changes = Changes(session, LOCAL)
        for name, owner in (("acme", "north"), ("bolt", "north"), ("cole", "south")):
            add_customer(changes, name, owner)
    yield made
    made.dispose()


def faults(engine: Engine) -> list[str]:
    with one_state(engine) as connection, Session(connection) as session:
        return audit.faults(session)


def deliver(engine: Engine, *rows: cdrs.Row) -> None:
    with Session(engine) as session, session.begin():
        cdrs.upsert(session, rows)


def call(cdr_id: str, amount: str = "0.012000", *, customer: str = "acme", at: int = T0, **more: Any) -> cdrs.Row:
    """A call that ended 61 s after `at`, having cost `amount`."""
    currency = more.pop("currency", "USD")
    sell = priced("0.012000", 60, amount) | {"currency": currency}
    whole = {"customer": customer, "partner": more.pop("partner", "north"), "sell": sell}
    return merge(start(cdr_id, at) | whole, answer(cdr_id, at), end(cdr_id, at) | whole | more)


def pay(engine: Engine, customer: str, amount: str, kind: str = "payment", reference: str = "", **more: Any) -> bool:
    """Whether it was new."""
    with writing(engine) as session:
        changes = Changes(session, LOCAL)
        row = session.get_one(Customer, customer)
        source = ledger.PAYMENT, reference or f"own-{next(_numbers)}"
        _, new = ledger.post(
            changes, row, kind=kind, source=source, amount=Decimal(amount), against="payments:north",
            gives=kind != "debit", covered=True, **more,
        )  # fmt: skip
        return new


def account(engine: Engine, customer: str = "acme", currency: str = "USD") -> ledger.Account:
    with Session(engine) as session:
        return ledger.account_of(session, customer, currency)


def postings(engine: Engine) -> list[tuple[str, str, str, str]]:
    with Session(engine) as session:
        found = session.scalars(select(LedgerPosting).order_by(LedgerPosting.kind, LedgerPosting.source_id))
        return [(row.kind, row.debit, row.credit, money(row.amount)) for row in found]


def with_acme(engine: Engine, **values: Any) -> None:
    with writing(engine) as session:
        add_customer(Changes(session, LOCAL), "acme", "north", **values)


def put_row(changes: Changes, pricelist: str, rate: str, since: datetime | None, until: datetime | None = None) -> None:
    changes.session.add(PriceRow(
        pricelist=pricelist, prefix="44", origin="", name="UK", country="", kind="", rate=Decimal(rate), fee=Decimal(0),
        initial=1, increment=1, valid_from=since, valid_to=until, changed=changes.directory, opened_by=None,
        closed_by=None, source_row=None, markup=None,
    ))  # fmt: skip
    changes.session.flush()


@LAW
def test_a_call_is_charged_and_costs_once(engine: Engine) -> None:
    with_acme(engine)
    rows = [call("c1"), call("c2", "0.000000"), merge(start("c3"), None, refused("c3"))]
    for _ in range(3):
        deliver(engine, *rows, merge(start("c4"), answer("c4"), None))
    assert postings(engine) == [
        ("charge", "customer:acme", "revenue:north", "0.012000"),
        ("cost", "cost:north", "carrier:alpha", "0.005900"),
        ("cost", "cost:north", "carrier:alpha", "0.005900"),
    ]
    assert account(engine) == ("USD", Decimal("-0.012"), Decimal("0.012"))
    with Session(engine) as session:
        assert session.get_one(Customer, "acme").funds == 0
        whose = session.execute(select(LedgerPosting.kind, LedgerPosting.customer).distinct()).all()
        assert sorted(whose, key=str) == [("charge", "acme"), ("cost", None)], (
            "what a call costs us is no customer's to see"
        )
        assert session.execute(select(LedgerPosting.at).limit(1)).scalar_one() == from_ms(T0 + 61_000)
    assert faults(engine) == []


@pytest.mark.parametrize("statement", [
    update(LedgerPosting).values(amount=Decimal(1)), delete(LedgerPosting),
    update(LedgerPosting).values(memo="").where(LedgerPosting.kind == "charge"),
])  # fmt: skip
def test_what_was_posted_is_never_changed_or_deleted(engine: Engine, statement: Any) -> None:
    deliver(engine, call("c1"))
    before = postings(engine)
    with pytest.raises(DBAPIError, match="never changed or deleted"), Session(engine) as session, session.begin():
        session.execute(statement)
    if engine.dialect.name == "postgresql":
        with pytest.raises(DBAPIError, match="never changed or deleted"), engine.begin() as connection:
            connection.execute(text("TRUNCATE ledger_posting"))
    assert postings(engine) == before


AMOUNTS = st.one_of(st.just(0), st.integers(1, 10**9), st.just(9 * 10**18)).map(lambda n: Decimal(n).scaleb(-6))
CALLS = st.lists(
    st.tuples(st.sampled_from(["acme", "bolt", "cole", "gone", ""]), st.sampled_from(["USD", "EUR"]), AMOUNTS),
    min_size=1,
    max_size=6,
)


@LAW
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(made=CALLS, seed=st.integers(0, 2**32))
def test_charges_equal_calls_in_any_order_batch_and_number(shared: Engine, made: list[Any], seed: int) -> None:
    """Each record any number of times, open rows behind ended ones, in batches of any size: one charge a call."""
    draw, run = random.Random(seed), next(_numbers)
    rows = []
    for number, (customer, currency, amount) in enumerate(made):
        cdr_id, owner = f"{run}-{number}", "south" if customer == "cole" else "north"
        ended = call(cdr_id, money(amount), customer=customer, currency=currency, partner=owner)
        rows += [ended] * draw.randrange(1, 4) + [merge(start(cdr_id), answer(cdr_id), None)] * draw.randrange(2)
    draw.shuffle(rows)
    while rows:
        size = draw.randrange(1, 5)
        deliver(shared, *rows[:size])
        rows = rows[size:]
    with Session(shared) as session:
        mine = LedgerPosting.source_id.startswith(f"{run}-")
        charged = session.scalars(select(LedgerPosting).where(mine, LedgerPosting.kind == "charge")).all()
    assert sorted((row.customer, row.currency, row.amount) for row in charged) == sorted(one for one in made if one[2])
    assert faults(shared) == []


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(st.integers(0, 5), min_size=1, max_size=12), seed=st.integers(0, 2**32))
def test_it_adds_up_whatever_is_done(shared: Engine, steps: list[int], seed: int) -> None:
    """Calls, payments, debits, references that come again and re-ratings, in any order."""
    draw, run = random.Random(seed), next(_numbers)
    done = []
    with writing(shared) as session:
        changes = Changes(session, LOCAL)
        if session.execute(select(PriceRow.id).limit(1)).first() is None:
            edges = (EPOCH, from_ms(T0), from_ms(T0 + 10_000), None)
            for rate, since, until in zip(("0.02", "0.03", "0"), edges, edges[1:], strict=False):
                put_row(changes, "north", rate, since, until)
    for number, step in enumerate(steps):
        amount = f"{draw.randrange(1, 10**7)}.{draw.randrange(10**6):06}"
        if step in (0, 1):
            cdr_id = f"{run}-{number}"
            deliver(shared, call(cdr_id, draw.choice(["0.012000", amount, "0.000000"])))
            done.append(cdr_id)
        elif step == 2 and done:
            with writing(shared) as session:
                at = draw.choice([None, EPOCH, from_ms(T0 + 20_000)])
                rerate(Changes(session, LOCAL), session.get_one(Cdr, draw.choice(done)), at)
        elif step == 3:
            pay(shared, "acme", amount, "debit")
        else:
            for _ in range(2):
                pay(shared, "acme", amount, draw.choice(["payment", "credit"]), f"{run}-{number}")
    assert faults(shared) == []


def test_an_account_of_more_than_a_column_holds(engine: Engine) -> None:
    """Nobody's calls are lost because all that were ever sold together do not fit into 64 bits."""
    most = "9000000000000.999999"
    deliver(engine, *(call(f"c{n}", most) for n in range(4)))
    assert account(engine).charged == 4 * Decimal(most)
    assert faults(engine) == []


def test_payments_at_once_lose_none(engine: Engine) -> None:
    """From several sides, while calls are delivered: every one is in balance and funds."""
    with_acme(engine)
    failed: list[BaseException] = []

    def run(work: Any) -> None:
        try:
            work()
        except BaseException as error:
            failed.append(error)

    def payer(name: str) -> Any:
        return lambda: [pay(engine, "acme", "1.000001", "payment", f"{name}-{n % 8}") for n in range(10)]

    def caller(name: str) -> Any:
        return lambda: [deliver(engine, *(call(f"{name}-{n}-{m}", "0.01") for m in range(5))) for n in range(6)]

    threads = [threading.Thread(target=run, args=(work,)) for work in (*map(payer, "abcd"), caller("x"), caller("y"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert account(engine) == ("USD", 32 * Decimal("1.000001") - 60 * Decimal("0.01"), 60 * Decimal("0.01"))
    with Session(engine) as session:
        assert session.get_one(Customer, "acme").funds == 32 * Decimal("1.000001")
        assert len([one for one in entries(session, "customer", "acme") if one.action == "payment"]) == 32
    assert faults(engine) == []


@pytest.mark.parametrize(
    ("values", "most"),
    [
        ({"prepaid": True}, "10.000000"),
        ({"credit_limit": Decimal("2.5")}, "12.500000"),
        ({"prepaid": True, "credit_limit": Decimal("0.000001")}, "10.000001"),
        ({}, None),
    ],
)
def test_a_debit_takes_no_more_than_is_there(engine: Engine, values: dict[str, Any], most: str | None) -> None:
    with_acme(engine, **values)
    pay(engine, "acme", "10.25")
    deliver(engine, call("c1", "0.250000"))
    if most is None:
        assert pay(engine, "acme", "1000", "debit")
        assert account(engine).balance == -990
        return
    with pytest.raises(ledger.Overdrawn) as caught:
        pay(engine, "acme", str(Decimal(most) + Decimal("0.000001")), "debit")
    assert caught.value.left == Decimal(most)
    assert (account(engine).balance, len(postings(engine))) == (10, 3)
    pay(engine, "acme", most, "debit")
    assert account(engine).balance + (values.get("credit_limit") or 0) == 0
    assert faults(engine) == []


def test_the_same_source_is_posted_once(engine: Engine) -> None:
    with_acme(engine)
    assert [pay(engine, "acme", "5", reference="wire 7") for _ in range(3)] == [True, False, False]
    assert pay(engine, "acme", "5", "credit", "wire 7"), "of another kind"
    with pytest.raises(ledger.Differs):
        pay(engine, "acme", "6", reference="wire 7")
    assert account(engine).balance == 10
    with Session(engine) as session:
        told = [(one.action, one.changes) for one in entries(session, "customer", "acme")[1:]]
    assert told == [
        ("payment", {"funds": ["0.000000", "5.000000"]}), ("credit", {"funds": ["5.000000", "10.000000"]}),
    ]  # fmt: skip


# -- what was there before, and what is wrong --


def test_calls_of_before_the_ledger_are_posted_too(url: str) -> None:
    migrate(url, "0011")
    engine = open_database(url)
    old = [call("c1"), call("c2", "9000000000000.5"), call("c3", "9000000000000.5"), call("c4", customer="bolt")]
    old += [merge(start("c5"), answer("c5"), None), merge(start("c6"), None, refused("c6"))]
    later = ("rating_version", "rated_before", "sequence")
    columns = [column for column in Cdr.__table__.columns if column.name not in later]
    with engine.begin() as connection:
        names = ", ".join(column.name for column in columns)
        for row in old:
            values = {
                column.name: bound(row[column.name]) if bound is not None else row[column.name]
                for column in columns
                for bound in [column.type.bind_processor(engine.dialect)]
            }
            marks = ", ".join(f":{column.name}" for column in columns)
            connection.execute(text(f"INSERT INTO cdr ({names}) VALUES ({marks})"), values)
    migrate(url)
    assert faults(engine) == []
    assert account(engine).charged == Decimal("18000000000001.012")
    deliver(engine, *old)
    with Session(engine) as session:
        assert session.execute(select(func.count()).select_from(LedgerPosting)).scalar_one() == 8
    assert faults(engine) == []
    engine.dispose()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (update(LedgerAccount).values(balance_units=LedgerAccount.balance_units + 1), "customer:acme has 1.988000 and"),
        (update(LedgerAccount).values(charged_millionths=0), "customer:acme has 0.988000 and 0.000000 USD"),
        (delete(LedgerAccount).where(LedgerAccount.account == "revenue:north"), "all accounts in USD together have"),
        (update(Cdr).values(sell_amount=Decimal(7)), "calls of customer acme cost 7.000000 USD"),
        (update(Customer).values(funds=Decimal(7)), "customer acme has funds of 7.000000 USD, its postings make 1.000"),
    ],
)
def test_the_check_finds_what_does_not_add_up(engine: Engine, change: Any, said: str) -> None:
    with_acme(engine)
    pay(engine, "acme", "1")
    deliver(engine, call("c1"))
    assert faults(engine) == []
    with Session(engine) as session, session.begin():
        session.execute(change)
    assert any(line.startswith(said) for line in faults(engine)), faults(engine)


def test_what_credit_there_is_goes_from_the_bundle_to_the_calls(engine: Engine, write_bundle: Any) -> None:
    said = 'id = "acme"\nprepaid = true\ncredit_limit = "1.5"\nlow_balance = "0.25"\ntime_zone = "Asia/Tokyo"'
    with writing(engine) as session:
        catalogue.replace(session, load_bundle(write_bundle(BUNDLE.replace('id = "acme"', said, 1))))
    pay(engine, "acme", "5")
    customers = load_directory(engine).customers
    acme, harbour = customers["acme"], customers["harbour"]
    assert (acme.prepaid, acme.credit_limit, acme.low_balance) == (True, Decimal("1.5"), Decimal("0.25"))
    assert (acme.zone, acme.funds, acme.metered) == ("Asia/Tokyo", 5, True)
    assert (harbour.zone, harbour.funds, harbour.metered) == ("UTC", 0, False)
    # A bundle has no say in what was paid.
    with writing(engine) as session:
        catalogue.replace(session, load_bundle(write_bundle(BUNDLE)))
    acme = load_directory(engine).customers["acme"]
    assert (acme.funds, acme.prepaid, acme.credit_limit) == (5, False, None)


def test_a_bundle_moves_no_account_with_a_balance(engine: Engine, write_bundle: Any) -> None:
    def load(bundle: str) -> None:
        with writing(engine) as session:
            catalogue.replace(session, load_bundle(write_bundle(bundle)))

    def funds() -> Decimal:
        with Session(engine) as session:
            return session.get_one(Customer, "acme").funds

    euro = BUNDLE.replace('name = "Retail"', 'name = "Retail"\ncurrency = "EUR"')
    load(BUNDLE)
    pay(engine, "acme", "5")
    # Nor one of a customer that it drops, for who has an account is closed, not deleted.
    acme, harbour = BUNDLE.index('[[customer]]\nid = "acme"'), BUNDLE.index('[[customer]]\nid = "harbour"')
    less = BUNDLE[acme:harbour]
    for moved in (euro, euro.replace(less, "")):
        with pytest.raises(ConfigError, match="account of customer acme has a balance in USD"):
            load(moved)
    assert (funds(), faults(engine)) == (5, [])
    deliver(engine, merge(start("c1"), answer("c1"), None))
    pay(engine, "acme", "5", "debit")
    with pytest.raises(ConfigError, match="account of customer acme has a call that is up"):
        load(euro)
    pay(engine, "acme", "5")
    deliver(engine, call("c1", "5.00"))
    assert (funds(), account(engine).balance) == (5, 0)
    load(euro)
    assert funds() == 0
    pay(engine, "acme", "3")
    assert (funds(), account(engine, "acme", "EUR").balance) == (3, 3)
    assert faults(engine) == []
    load(euro.replace(less, ""))
    with Session(engine) as session:
        assert session.get_one(Customer, "acme").status == "closed"
    with pytest.raises(ConfigError, match="account of customer acme has a balance in EUR"):
        load(BUNDLE.replace(less, ""))


def test_a_rerating_in_another_currency_takes_its_accounts_before_it_posts(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them in the one order: else it and who delivers calls wait for each other in a circle."""
    with writing(engine) as session:
        add_customer(Changes(session, LOCAL), "acme", "north")
        put_row(Changes(session, LOCAL), "north", "0.60", EPOCH)
    deliver(engine, call("c1", currency="EUR"), call("c2"))
    real, free = ledger.post, list[Any]()

    def post(*args: Any, **more: Any) -> Any:
        if engine.dialect.name == "postgresql":  # SQLite has one lock for all who write
            with Session(engine) as other:
                left = other.scalars(select(LedgerAccount).with_for_update(skip_locked=True))
                free.extend(one.account for one in left if one.account in ("customer:acme", "revenue:north"))
        return real(*args, **more)

    monkeypatch.setattr(ledger, "post", post)
    with writing(engine) as session:
        assert rerate(Changes(session, LOCAL), session.get_one(Cdr, "c1"))
    assert (free, faults(engine)) == ([], [])


def test_a_currency_is_left_with_nothing_in_it(engine: Engine) -> None:
    """Funds are those of the present currency; what is left in another one hinders nobody to change again."""
    with writing(engine) as session:
        changes = Changes(session, LOCAL)
        add_customer(changes, "acme", "north")
        add_pricelist(changes, "euro", "north", currency="EUR")
    deliver(engine, call("c1", currency="EUR"))
    pay(engine, "acme", "2")
    with Session(engine) as session:
        assert ledger.unsettled(session, ["acme", "nobody"], "USD") == "acme"
        assert ledger.unsettled(session, ["acme"], "EUR") == "acme"
        assert ledger.unsettled(session, ["acme", "nobody"], "GBP") == ""
        assert list(ledger.charged(session)) == [("acme", "EUR", Decimal("0.012"))]
        assert session.get_one(Customer, "acme").funds == 2


def test_charges_of_calls_that_are_kept_no_more_stay(engine: Engine) -> None:
    with_acme(engine)
    deliver(engine, call("c1"), call("c2"))
    with writing(engine) as session:
        session.execute(delete(Cdr).where(Cdr.cdr_id == "c1"))
    assert faults(engine) == []
    with Session(engine) as session:
        assert (audit.gone(session), audit.count(session)) == (1, 4)
    with writing(engine) as session:
        session.execute(update(Cdr).values(sell_amount=Decimal(7)))
    assert faults(engine) != []
