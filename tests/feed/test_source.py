"""What the feed sends makes, in the worker, the directory that the database holds: at first, and after each change."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from sipsvc.directory import Directory
from sipsvc.directory.draft import MADE, TABLES
from sipsvc.feed import source as source_room
from sipsvc.feed.compiler import Compiler, compile_rows
from sipsvc.feed.images import Images, Key
from sipsvc.feed.intake import Intake, Spent
from sipsvc.feed.line import Line, LineClosed, pair
from sipsvc.feed.process import Feed
from sipsvc.feed.source import Source
from sipsvc.store import catalogue, cdrs, rates
from sipsvc.store.bundle import load_bundle
from sipsvc.store.changes import HANG_UP, LOCAL, Changes, utc_now
from sipsvc.store.database import one_state, writing
from sipsvc.store.models import Block, Customer, Gateway, PlatformSettings, PriceList, ShortCode, Trunk
from sipsvc.store.pricefile import Row
from tests.cdr import records
from tests.directories import load_directory
from tests.store.conftest import engine, write_bundle

__all__ = ["engine", "write_bundle"]

NUMBERS = ("442079460000", "447400123456", "33123456789", "61234567890")


class HereCompiler(Compiler):
    """Compiles in this process, when it is told to: what a process of its own would do later."""

    def __init__(self, engine: Engine, images: Images) -> None:
        super().__init__(None)
        self._engine, self._folder, self._asked = engine, images, list[Key]()

    def want(self, key: Key) -> None:
        if key not in self._asked:
            self._asked.append(key)

    @property
    def wanted(self) -> list[Key]:
        return list(self._asked)

    def run(self, keys: list[Key], wait: Callable[[], object]) -> None:
        for key in keys:
            self._compile(key)

    def done(self) -> Key | None:
        if not self._asked:
            return None
        key = self._asked.pop()
        self._compile(key)
        return key

    def _compile(self, key: Key) -> None:
        with one_state(self._engine) as connection:
            compile_rows(connection, self._folder, key)


class Pair:
    """A source and an intake with nothing between them but the messages."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.images = Images(folder)
        self.compiler = HereCompiler(engine, self.images)
        self.source = Source(engine, self.images, self.compiler)
        self.intake = Intake(folder)
        self.sent = 0

    def all(self) -> Directory:
        for message in self.source.everything():
            self.intake._apply(message)
        return self._commit()

    def changes(self) -> Directory:
        self.sent = 0
        for message in self.source.changes():
            self.sent += 1
            self.intake._apply(message)
        return self._commit()

    def _commit(self) -> Directory:
        book = self.intake._builder.commit(self.source.version)
        self.images.keep(self.source.used, only=False)
        return book


def same(book: Directory, engine: Engine) -> None:
    """As the whole catalogue loaded anew, rows by what they answer."""
    right = load_directory(engine)
    assert book.version == right.version
    assert book.platform == right.platform
    for name in (*TABLES.values(), *MADE):
        if name not in ("gateways", "gateways_of", "limited_of", "pricelists"):
            assert getattr(book, name) == getattr(right, name), name
    assert list(book.gateways) != [] and sorted(book.gateways) == sorted(right.gateways)
    at = time.time_ns() // 1_000_000
    for key, gateway in right.gateways.items():
        mine = book.gateways[key]
        assert (mine.host, mine.rewrites, mine.coverage.size) == (gateway.host, gateway.rewrites, gateway.coverage.size)
        assert (mine.max_channels, mine.weight, mine.schedule) == (
            gateway.max_channels,
            gateway.weight,
            gateway.schedule,
        )
        for number in NUMBERS:
            assert mine.coverage.find(number, "33", at) == gateway.coverage.find(number, "33", at)
    for key, pricelist in right.pricelists.items():
        found = book.pricelists[key]
        assert (found.minimum, found.expensive_at) == (pricelist.minimum, pricelist.expensive_at)
        for number in NUMBERS:
            assert found.rows.find(number, "", at) == pricelist.rows.find(number, "", at)
    for made in ("gateways_of", "limited_of"):
        ours, theirs = (
            {partner: [one.id for one in listed] for partner, listed in getattr(one, made).items()}
            for one in (book, right)
        )
        assert ours == theirs, made


@pytest.fixture
def both(engine: Engine, write_bundle: Callable[..., Path], tmp_path: Path) -> Pair:
    with writing(engine) as session:
        catalogue.replace(session, load_bundle(write_bundle()))
    return Pair(engine, tmp_path / "tables")


def price(prefix: str, rate: str) -> Row:
    return Row(prefix, "", f"to {prefix}", Decimal(rate), Decimal(0), 60, 60)


def put_prices(changes: Changes, rows: list[Row]) -> None:
    pricelist = changes.session.get_one(PriceList, "retail")
    difference = rates.compare(changes.session, pricelist, rows, full=False)
    rates.apply(changes, pricelist, difference, at=changes.at)
    changes.rows_changed(pricelist, "some")


def suspend(changes: Changes) -> None:
    changes.update(changes.session.get_one(Customer, "acme"), {"status": "suspended"})


def move(changes: Changes) -> None:
    changes.update(changes.session.get_one(Gateway, "alpha"), {"host": "203.0.113.99"})


def drop_trunk(changes: Changes) -> None:
    for trunk in changes.session.query(Trunk):
        changes.delete(trunk)


def block_and_unblock(changes: Changes) -> None:
    for block in changes.session.query(Block):
        changes.delete(block)
    for customer, prefix, action in ((None, "88", "block"), ("acme", "8816", "allow")):
        whose = {"partner": customer and "partner", "customer": customer}
        lift = {"liftable": customer is None, "lift_expensive": customer is not None}
        changes.create(Block(id="", **whose, prefix=prefix, reason="satellite", action=action, **lift))


def give_codes(changes: Changes) -> None:
    for customer, code, gateways in ((None, "112", ["alpha", "beta"]), ("acme", "*98", [])):
        number, emergency = "" if gateways else "442079460098", bool(gateways)
        changes.create(
            ShortCode(
                id="", partner="partner", customer=customer, code=code, name="a code", number=number,
                gateways=gateways, dial="", emergency=emergency,
            )
        )  # fmt: skip


def reprice(changes: Changes) -> None:
    put_prices(changes, [price("44", "0.9"), price("61", "0.2")])


def realm(changes: Changes) -> None:
    changes.session.get_one(PlatformSettings, 1).max_call_s = 77


def close_prices(changes: Changes) -> None:
    pricelist = changes.session.get_one(PriceList, "retail")
    difference = rates.compare(changes.session, pricelist, [price("44", "0.1")], full=True)
    rates.apply(changes, pricelist, difference, at=changes.at)
    changes.rows_changed(pricelist, "one left")


def limit(changes: Changes) -> None:
    schedule = ["mon-fri 08:00-20:00 Europe/Berlin"]
    limits = {"max_channels": 3, "max_cps": 2, "weight": 5, "schedule": schedule}
    changes.update(changes.session.get_one(Gateway, "beta"), limits)
    changes.session.get_one(PlatformSettings, 1).rates = {"USD": "1", "EUR": "1.0835"}


def spends(changes: Changes) -> None:
    limits = {"max_cps": 2, "busy_status": 503, "spend_cap_day": Decimal("20.5"), "spend_alert_hour": Decimal(0)}
    changes.update(changes.session.get_one(Customer, "acme"), limits)
    pricelist = changes.session.get_one(PriceList, "retail")
    changes.update(pricelist, {"strategy": "weight", "expected_s": 90, "allow_loss": True})


def remove(changes: Changes) -> None:
    catalogue.remove_gateway(changes, changes.session.get_one(Gateway, "beta"))


@pytest.mark.rule("law 3")
@pytest.mark.parametrize(
    "change",
    [suspend, move, drop_trunk, block_and_unblock, give_codes, reprice, realm, close_prices, limit, spends, remove],
    ids=lambda one: one.__name__,
)  # fmt: skip
def test_a_change_makes_the_same_directory_as_loading_anew(both: Pair, change: Callable[[Changes], None]) -> None:
    before = both.all()
    same(before, both.engine)
    with writing(both.engine) as session:
        change(Changes(session, LOCAL))
    time.sleep(0.002)  # a price holds from the change's instant on
    after = both.changes()
    same(after, both.engine)
    assert after is not before
    assert both.sent <= 4


@pytest.mark.rule("SIP-27")
def test_a_worker_that_begins_is_told_what_was_spent_today(both: Pair) -> None:
    both.all()
    assert both.intake.spent == Spent([], "", 0), "nothing was spent, and all of the log is still to come"
    begin = Pair(both.engine, both.images.folder)
    with writing(both.engine) as session:
        spends(Changes(session, LOCAL))
    day = utc_now().replace(hour=0, minute=0, second=0, microsecond=0)
    midnight = (day - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    # Of today, by the hour in which they ended; of yesterday; another's; one that goes on; one that nobody answered.
    calls = [
        ("acme", midnight, "0.10"), ("acme", midnight + 3_599_999, "0.20"), ("acme", midnight - 1, "9"),
        ("other", midnight, "9"), ("acme", None, "9"), ("acme", midnight, None),
    ]  # fmt: skip
    with writing(both.engine) as session:
        rows = []
        for number, (customer, ended, amount) in enumerate(calls):
            sell = records.priced("0.02", 60, amount or "0.000000")
            answered = (ended or midnight) - 100_000 if amount else None
            first = records.start(number, customer=customer, invite_at=midnight - 200_000)
            up = records.answer(number, answer_at=answered, sell=sell)
            over = None if ended is None else records.end(number, end_at=ended, answer_at=answered, sell=sell)
            rows.append(cdrs.merge(first, up if amount else None, over))
        cdrs.upsert(session, rows)
        cdrs.set_position(session, "cdr-00000002.log", 77)
    begin.all()
    charged = ("acme", "USD", "9.300000"), ("other", "USD", "9.000000")
    assert begin.intake.spent == Spent([("acme", "USD", midnight, "0.300000")], "cdr-00000002.log", 77, charged=charged)


@pytest.mark.rule("law 3")
def test_one_row_of_a_list_is_an_overlay_and_many_are_compiled(both: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_room, "MOST_OVERLAID", 10)
    both.all()
    first = both.source.used["pricelist", "retail"]
    for turn in range(3):
        with writing(both.engine) as session:
            put_prices(Changes(session, LOCAL), [price("44", f"0.1{turn}")])
        same(both.changes(), both.engine)
        assert both.source.used["pricelist", "retail"] == first
    with writing(both.engine) as session:
        put_prices(Changes(session, LOCAL), [price(f"49{number}", "0.3") for number in range(20)])
    same(both.changes(), both.engine)
    assert both.source.used["pricelist", "retail"] > first


@pytest.mark.rule("law 3")
def test_a_big_import_is_compiled_aside_and_other_changes_go_on(both: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_room, "MOST_OVERLAID", 10)
    monkeypatch.setattr(source_room, "MOST_INLINE", 15)
    before = both.all()
    at = time.time_ns() // 1_000_000
    with writing(both.engine) as session:
        put_prices(Changes(session, LOCAL), [price(f"49{number}", "0.3") for number in range(20)])
    pending = both.changes()
    assert both.compiler.wanted == [("pricelist", "retail")]
    assert pending.pricelists["retail"].rows is before.pricelists["retail"].rows
    with writing(both.engine) as session:
        suspend(Changes(session, LOCAL))
    edited = both.changes()
    assert edited.customers["acme"].status == "suspended"
    assert edited.pricelists["retail"].rows.find("4912", "", at + 60_000) is None
    assert both.compiler.done() == ("pricelist", "retail")
    same(both.changes(), both.engine)


def test_images_of_before_a_restart_are_used_again(both: Pair, tmp_path: Path) -> None:
    both.all()
    with writing(both.engine) as session:
        reprice(Changes(session, LOCAL))
    stamps = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "tables").iterdir()}
    again = Pair(both.engine, tmp_path / "tables")
    time.sleep(0.002)
    same(again.all(), both.engine)
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "tables").iterdir()} == stamps


class Running:
    """A feed in a thread and an intake on a loop, with the real line between them."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.books: list[Directory] = []
        self.ended: list[str] = []
        self.intake = Intake(folder)
        self.folder, self.engine = folder, engine
        self.loop = asyncio.new_event_loop()
        self.threads = [threading.Thread(target=self.loop.run_forever)]
        self.threads[0].start()
        self._on_loop(
            lambda: self.intake.start(self.loop, lambda book, items: self.books.append(book), self.ended.extend)
        )
        self.begin()

    def _on_loop(self, step: Callable[[], object]) -> None:
        done = threading.Event()
        self.loop.call_soon_threadsafe(lambda: (step(), done.set()))
        assert done.wait(10)

    def begin(self) -> None:
        """A new feed, in the place of the one there may have been."""
        ours, theirs = pair()
        self._on_loop(lambda: self.intake.attach(ours))

        def feed() -> None:
            images = Images(self.folder)
            line = Line(theirs)
            try:
                line.receive()
                Feed(line, self.engine, images, HereCompiler(self.engine, images)).run()
            except LineClosed:
                theirs.close()

        self.threads.append(threading.Thread(target=feed))
        self.threads[-1].start()

    def until(self, wanted: Callable[[Directory], bool]) -> Directory:
        """The latest directory, once it is so."""
        end = time.monotonic() + 20
        while not (self.books and wanted(self.books[-1])):
            assert time.monotonic() < end, f"{len(self.books)} directories, none as wanted"
            time.sleep(0.01)
        return self.books[-1]

    def stop(self) -> None:
        self._on_loop(self.intake.stop)
        self.loop.call_soon_threadsafe(self.loop.stop)
        for thread in self.threads:
            thread.join(20)
        self.loop.close()


@pytest.fixture
def running(both: Pair, tmp_path: Path) -> Iterator[Running]:
    made = Running(both.engine, tmp_path / "tables")
    yield made
    made.stop()


@pytest.mark.rule("law 3")
def test_changes_reach_a_worker_and_a_feed_that_comes_back_goes_on(running: Running) -> None:
    running.until(lambda book: book.version > 0)
    with writing(running.engine) as session:
        suspend(Changes(session, LOCAL))
    suspended = running.until(lambda book: book.customers["acme"].status == "suspended")
    running.begin()
    with writing(running.engine) as session:
        move(Changes(session, LOCAL))
    moved = running.until(lambda book: book.gateways["alpha"].host == "203.0.113.99")
    assert moved.customers["acme"] is suspended.customers["acme"]


@pytest.mark.rule("law 3")
def test_what_does_not_fit_is_refused_and_the_next_change_mends_it(running: Running) -> None:
    good = running.until(lambda book: book.version > 0)
    with running.engine.begin() as connection:
        connection.execute(text('UPDATE customer SET dial_plan = \'{"colour": "red"}\''))
        connection.execute(text("UPDATE catalogue SET version = version + 1"))
    with writing(running.engine) as session:
        suspend(Changes(session, LOCAL))
    time.sleep(0.7)
    assert running.books[-1].customers == good.customers
    plan = {"international": ["00"], "national": "", "country": "", "bare": "international"}
    with writing(running.engine) as session:
        changes = Changes(session, LOCAL)
        for customer in session.query(Customer):
            changes.update(customer, {"dial_plan": plan, "status": "active"})
    mended = running.until(lambda book: book.version > good.version)
    assert mended.customers["acme"].status == "active"


@pytest.mark.rule("law 3")
def test_a_database_that_is_away_changes_nothing(both: Pair, tmp_path: Path) -> None:
    made = Running(both.engine, tmp_path / "tables")
    try:
        before = made.until(lambda book: book.version > 0)
        with both.engine.begin() as connection:
            connection.execute(text("ALTER TABLE catalogue RENAME TO gone"))
        time.sleep(0.5)
        assert made.books[-1] is before
        with both.engine.begin() as connection:
            connection.execute(text("ALTER TABLE gone RENAME TO catalogue"))
        with writing(both.engine) as session:
            suspend(Changes(session, LOCAL))
        assert made.until(lambda book: book.customers["acme"].status == "suspended").version > before.version
    finally:
        made.stop()


def ask_to_end(engine: Engine, *calls: str, at: datetime | None = None) -> None:
    with writing(engine) as session:
        changes = Changes(session, LOCAL, at)
        for call in calls:
            changes.tell("cdr", call, 1, HANG_UP, {}, partner=None)


@pytest.mark.rule("SIP-19")
def test_calls_to_be_ended_reach_the_worker_once(running: Running) -> None:
    before = running.until(lambda book: book.version > 0)
    ask_to_end(running.engine, "call-1", "call-2")
    after = running.until(lambda book: book.version > before.version)
    assert sorted(running.ended) == ["call-1", "call-2"]
    assert after.customers is before.customers
    with writing(running.engine) as session:
        suspend(Changes(session, LOCAL))
    running.until(lambda book: book.version > after.version)
    assert sorted(running.ended) == ["call-1", "call-2"]


@pytest.mark.rule("SIP-19")
def test_a_feed_that_begins_passes_on_what_was_asked_for_lately(both: Pair) -> None:
    ask_to_end(both.engine, "old", at=utc_now() - timedelta(minutes=2))
    ask_to_end(both.engine, "new")
    assert [message["hangup"] for message in both.source.everything() if "hangup" in message] == [["new"]]
