"""Blocks, allows and short codes of a bundle, files of blocks, and the migration that brought them."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from sipsvc.directory import Block, ShortCode
from sipsvc.errors import ConfigError
from sipsvc.store import blocks, catalogue
from sipsvc.store.blockfile import COLUMNS, MOST_ROWS, read_blocks
from sipsvc.store.bundle import load_bundle
from sipsvc.store.changes import LOCAL, Changes
from sipsvc.store.database import downgrade, migrate, open_database, writing
from sipsvc.store.models import Block as BlockRow
from sipsvc.store.models import History
from sipsvc.store.models import ShortCode as ShortCodeRow
from tests.directories import load_directory

from .conftest import BUNDLE

Write = Callable[..., Path]
SPECIAL = Path(__file__).parents[2] / "config" / "special-numbers.csv"
PARTNER = """
name = "Partner"
[[partner.block]]
prefix = "881"
reason = "satellite"
[[partner.shortcode]]
code = "112"
name = "Emergency"
gateways = ["beta", "alpha"]
dial = "0112"
emergency = true
"""
ACME = """
name = "Acme"
[[customer.block]]
prefix = "8816"
reason = "at sea"
action = "allow"
lift_expensive = true
[[customer.shortcode]]
code = "*98"
name = "Voice mail"
number = "442079460098"
"""
FULL = BUNDLE.replace('name = "Partner"', PARTNER).replace('name = "Acme"', ACME, 1).replace(
    'pricelist = "retail"\n[[customer.trunk]]\nid = "acme-pbx"', '[[customer.trunk]]\nid = "acme-pbx"'
).replace('id = "acme"\n', 'id = "acme"\npricelist = "retail"\n', 1)  # fmt: skip
LIST = '[[blocklist]]\nfile = "list.csv"\nliftable = true\n'


def load(engine: Engine, path: Path) -> None:
    with writing(engine) as session:
        catalogue.replace(session, load_bundle(path))


@pytest.mark.rule("SIP-25", "SIP-26")
def test_a_bundle_says_it_at_every_level(engine: Engine, write_bundle: Write) -> None:
    path = write_bundle(FULL + LIST)
    (path.parent / "list.csv").write_text("prefix,reason,kind\n1900,not this,premium\n979,premium,premium\n")
    load(engine, path)
    book = load_directory(engine)
    # What the bundle says itself stands before its list.
    assert book.blocked == {
        "": {
            "1900": Block("block-1900", "", "1900", "premium"),
            "979": Block("block-979", "", "979", "premium", liftable=True),
        },
        "partner": {"881": Block("block-p-partner-881", "partner", "881", "satellite")},
    }
    at_sea = Block("block-c-acme-8816", "partner", "8816", "at sea", "acme", "allow", lift_expensive=True)
    assert book.blocked_for == {"acme": {"8816": at_sea}}
    emergency = ShortCode(
        "code-p-partner-112", "partner", "112", "Emergency", gateways=("beta", "alpha"), dial="0112", emergency=True
    )
    assert book.codes == {"partner": {"112": emergency}}
    voice_mail = ShortCode("code-c-acme-s98", "partner", "*98", "Voice mail", "acme", number="442079460098")
    assert book.codes_for == {"acme": {"*98": voice_mail}}


@pytest.mark.rule("SIP-25", "SIP-26")
def test_the_same_bundle_changes_nothing_and_another_takes_its_place(engine: Engine, write_bundle: Write) -> None:
    load(engine, write_bundle(FULL))
    with Session(engine) as session:
        told = session.query(History).count()
    load(engine, write_bundle(FULL))
    with writing(engine) as session:
        assert session.query(History).count() == told
        changes = Changes(session, LOCAL)
        more = {"reason": "by hand", "action": "block", "liftable": False, "lift_expensive": False}
        changes.create(BlockRow(partner="partner", customer="harbour", prefix="44", **more))
    # A customer that goes takes what was said of it along.
    without = FULL[: FULL.index('[[customer]]\nid = "harbour"')] + FULL[FULL.index('[[gateway]]\nid = "alpha"') :]
    load(engine, write_bundle(without))
    book = load_directory(engine)
    assert (set(book.customers), set(book.blocked_for)) == ({"acme"}, {"acme"})
    load(engine, write_bundle(BUNDLE))
    with Session(engine) as session:
        assert [block.prefix for block in session.scalars(select(BlockRow))] == ["1900"]
        assert session.scalars(select(ShortCodeRow)).all() == []


FAULTS = [
    (FULL.replace('code = "112"', 'code = "1"'), "partner.shortcode[0].code", "2 to 6 of 0-9 * #"),
    (FULL.replace('"beta", "alpha"', '"beta", "gamma"'), "partner.shortcode[0].gateways", "no such gateway"),
    (FULL.replace('"beta", "alpha"', '"beta", "beta"'), "partner.shortcode[0].gateways", "names a gateway twice"),
    (FULL.replace('gateways = ["beta", "alpha"]', ""), "partner.shortcode[0]", "needs either number or gateways"),
    (FULL.replace('dial = "0112"', 'number = "44112"'), "partner.shortcode[0]", "has both"),
    (FULL.replace('number = "442079460098"', 'number = "44112"\nemergency = true'), "customer[0].shortcode[0]",
     "an emergency code needs gateways"),
    (FULL.replace('reason = "satellite"', 'reason = "x"\nliftable = true'), "partner.block[0].liftable",
     "goes with the platform's blocks"),
    (BUNDLE + 'lift_expensive = true\naction = "allow"\n', "block[0].lift_expensive", "goes with a partner's"),
    (BUNDLE + 'liftable = true\naction = "allow"\n', "block[0].liftable", "goes with a block"),
    (FULL.replace('action = "allow"', ""), "customer[0].block[0].lift_expensive", "goes with an allow"),
    (FULL.replace("[[partner.shortcode]]", '[[partner.block]]\nprefix = "881"\nreason = "x"\n[[partner.shortcode]]'),
     "partner.block[1].prefix", "already used by partner.block[0]"),
    (FULL.replace('[[customer.shortcode]]\n', '[[customer.shortcode]]\ncode = "*98"\nname = "x"\nnumber = "441"\n'
     '[[customer.shortcode]]\n'), "customer[0].shortcode[1].code", "already used by customer[0].shortcode[0]"),
    (FULL + LIST, "blocklist[0].file", "no such file beside the bundle"),
    (FULL + LIST + "kind = 1\n", "blocklist[0].kind", "unknown key"),
]  # fmt: skip


@pytest.mark.rule("SIP-25", "SIP-26")
@pytest.mark.parametrize(("toml", "where", "why"), FAULTS, ids=[f"{row[1]} {row[2][:20]}" for row in FAULTS])
def test_faults_are_named(write_bundle: Write, toml: str, where: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_bundle(write_bundle(toml))
    assert [fault[0] for fault in caught.value.faults] == [where]
    assert why in caught.value.faults[0][2]


def test_faults_of_a_list_say_row_and_column(write_bundle: Write) -> None:
    path = write_bundle(FULL + LIST)
    (path.parent / "list.csv").write_text("prefix,reason\n97x,premium\n")
    with pytest.raises(ConfigError) as caught:
        load_bundle(path)
    assert caught.value.faults == [("list.csv row 2 column prefix", "97x", "must be digits only, at least one")]


@pytest.mark.parametrize(
    ("content", "where", "why"),
    [
        (b"", "", "is empty; its first row must name the columns prefix, reason"),
        (b"\xff\xfe", "", "is not UTF-8"),
        (b"prefix,reason,prefix\n", "row 1 column 3", "stands twice"),
        (b"prefix,because\n", "row 1 column 2", "unknown column"),
        (b"prefix,kind\n", "row 1", "column reason is missing"),
        (b'prefix,reason\n97,"x\n', "row 2", "is not CSV"),
        (b"prefix,reason,action\n97,x,deny\n", "row 2 column action", "'block' or 'allow'"),
        (b"prefix,reason,action,liftable\n97,x,allow,true\n", "row 2 column liftable", "goes with a block"),
        (b"prefix,reason\n97,a\x00b\n", "row 2", ""),
    ],
)
def test_files_that_cannot_be_used(content: bytes, where: str, why: str) -> None:
    read = read_blocks(content, False, True)
    assert read.blocks == []
    assert read.faults[0][0].startswith(where)
    assert why in read.faults[0][2]


def test_a_file_as_spreadsheets_write_it() -> None:
    read = read_blocks('\ufeffReason,PREFIX\r\n"premium, dear", 979 \r\n\r\n,\r\n'.encode(), True, True)
    assert (read.faults, [(block.prefix, block.reason, block.liftable) for block in read.blocks]) == (
        [],
        [("979", "premium, dear", True)],
    )


KINDS = {"premium", "satellite", "shared_cost", "personal", "network", "other"}
# Ordinary numbers that lie close to what the list holds.
ORDINARY = (
    "442079460018", "447700900123", "447624123456", "4989123456", "4917012345678", "33123456789", "33800123456",
    "390612345678", "393331234567", "34912345678", "34612345678", "351211234567", "351912345678", "31201234567",
    "3292345678", "41791234567", "436641234567", "4512345678", "46701234567", "4799999999", "358401234567",
    "48601234567", "420601123456", "421901123456", "36201234567", "40721234567", "359881234567", "306912345678",
    "35796123456", "385911234567", "38640123456", "381601234567", "905301234567", "79161234567", "380501234567",
    "27821234567", "61412345678", "6498765432", "81312345678", "821012345678", "6591234567", "18005551234",
    "12125550123", "5511987654321",
)  # fmt: skip


@pytest.mark.rule("SIP-26")
def test_the_list_that_ships() -> None:
    read = read_blocks(SPECIAL.read_bytes(), False, True)
    assert read.faults == []
    rows = list(csv.DictReader(SPECIAL.read_text(encoding="utf-8").splitlines()))
    assert set(rows[0]) <= set(COLUMNS)
    assert len(rows) == len(read.blocks) > 100
    assert {row["kind"] for row in rows} == KINDS
    assert all(row["source"] and len(row["country"]) in (0, 2) for row in rows)
    # One prefix does not lie inside another: there would be no use for it.
    prefixes = {row["prefix"] for row in rows}
    assert [one for one in prefixes if any(one[:size] in prefixes for size in range(1, len(one)))] == []
    caught = Counter(number for number in ORDINARY for one in prefixes if number.startswith(one))
    assert caught == {}
    for number in ("870773112233", "8816312345", "88216123", "979123456789", "19005551234", "449061234567",
                   "448711234567", "4990012345678", "491805123456", "33899123456", "39899123456"):  # fmt: skip
        assert any(number.startswith(one) for one in prefixes), number


@pytest.mark.rule("SIP-26")
def test_the_way_down_keeps_what_was_there_before(url: str) -> None:
    migrate(url, "0005")
    engine = open_database(url)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO block (id, version, created_at, updated_at, prefix, reason) "
                                "VALUES ('b', 1, 0, 0, '979', 'premium')"))  # fmt: skip
    migrate(url)
    with writing(engine) as session:
        (row,) = session.scalars(select(BlockRow))
        assert (row.action, row.liftable, row.lift_expensive, row.customer) == ("block", False, False, None)
        allow = {"reason": "x", "action": "allow", "liftable": False, "lift_expensive": False}
        Changes(session, LOCAL).create(BlockRow(partner=None, customer=None, prefix="97912", **allow))
    downgrade(url, "0005")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT prefix FROM block")).scalars().all() == ["979"]
    engine.dispose()


@pytest.mark.rule("SIP-26", "SIP-38")
def test_what_the_operator_blocks_in_a_hurry_is_blocked_and_what_is_not_is_named(url: str) -> None:
    migrate(url)
    plain = {"partner": None, "customer": None, "reason": "x", "lift_expensive": False}
    engine = open_database(url)
    with writing(engine) as session:
        changes = Changes(session, LOCAL)
        changes.create(BlockRow(prefix="4479", action="allow", liftable=False, **plain))
        changes.create(BlockRow(prefix="447000", action="block", liftable=True, **plain))
        changes.create(BlockRow(prefix="447001", action="block", liftable=False, **plain))
    told = blocks.add(url, "4479", "fraud")
    assert (told["prefix"], told["open_still"]) == ("4479", [])
    assert blocks.add(url, "447", "fraud")["open_still"] == ["447000"]
    with pytest.raises(ConfigError, match="is blocked already"):
        blocks.add(url, "4479", "fraud again")
    with writing(engine) as session:
        kept = session.scalars(select(BlockRow).where(BlockRow.prefix == "4479")).one()
        assert (kept.action, kept.liftable, kept.reason) == ("block", False, "fraud")
    engine.dispose()


@pytest.mark.rule("SIP-26")
def test_a_file_of_too_many_blocks_is_refused_by_its_row() -> None:
    rows = "".join(f"{1_000_000 + number},x\n" for number in range(MOST_ROWS + 1))
    read = read_blocks(f"prefix,reason\n{rows}".encode(), False, True)
    assert read.faults == [("row 5002", None, "is one too many: a file holds up to 5000 entries")]
