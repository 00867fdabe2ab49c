"""Opening, migrating up and down, and what SQLite is told."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect, select, text
from sqlalchemy.orm import Session

from sipsvc.errors import ConfigError
from sipsvc.store import catalogue, database, tokens
from sipsvc.store.changes import LOCAL, Changes
from sipsvc.store.database import downgrade, migrate, one_state, open_database, writing
from sipsvc.store.models import Base, DeliveryPosition, PriceRow
from sipsvc.store.types import EPOCH
from tests.directories import load_directory


def test_models_and_migrations_agree(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_up_down_up(url: str) -> None:
    migrate(url)
    migrate(url)
    engine = open_database(url)
    assert set(inspect(engine).get_table_names()) == set(Base.metadata.tables) | {"alembic_version"}
    downgrade(url, "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]
    migrate(url)
    assert "cdr" in inspect(engine).get_table_names()
    engine.dispose()


FIRST = """
INSERT INTO catalogue VALUES (1, 7, 1795389785130);
INSERT INTO platform_settings VALUES (1, 'here', 300, 500, 4000, 5000, 14400, 20);
INSERT INTO partner VALUES ('demo', 'Demo');
INSERT INTO pricelist VALUES ('retail', 'Retail', 'USD', 60, 60, 10000, NULL, 'cheapest');
INSERT INTO price_row (pricelist_id, prefix, origin, name, rate, fee, initial, increment)
    VALUES ('retail', '44', '', 'UK', 12345, 0, 60, 60);
INSERT INTO gateway VALUES ('alpha', 'Alpha', '192.0.2.1', 5060, 'USD', 100, true, false, false, false, '', '["from"]',
    '', true, '[503]', 4000, 185);
INSERT INTO rewrite VALUES ('alpha', 0, '^44', '0'), ('alpha', 1, '^33', '00');
INSERT INTO customer VALUES ('acme', 'Acme', 'demo', 'active', 'retail', false, 30, '["00"]', '0', '44',
    'international', '["4420*"]', '442079460000', 'default');
INSERT INTO trunk VALUES ('pbx', 'acme', '', 0, 'acme', '0123456789abcdef0123456789abcdef');
INSERT INTO block VALUES ('1900', 'premium');
INSERT INTO api_token (role, sha256, created_at) VALUES ('platform_admin', 'cafe', 1795389785130);
"""
TABLES = (
    "catalogue", "partner", "pricelist", "price_row", "gateway", "rewrite", "customer", "trunk", "block", "api_token",
)  # fmt: skip


def test_what_was_there_survives_the_way_up_and_down(url: str) -> None:
    migrate(url, "0001")
    engine = open_database(url)

    def kept() -> dict[str, list[dict[str, object]]]:
        found: dict[str, list[dict[str, object]]] = {}
        with engine.connect() as connection:
            for name in TABLES:
                rows = connection.execute(text(f"SELECT * FROM {name}")).mappings()
                found[name] = sorted(({k: _loaded(v) for k, v in row.items()} for row in rows), key=str)
        return found

    with engine.begin() as connection:
        for statement in FIRST.split(";"):
            if statement.strip():
                connection.exec_driver_sql(statement)
    before = kept()
    migrate(url)
    directory = load_directory(engine)
    customer, gateway = directory.customers["acme"], directory.gateways["alpha"]
    assert (customer.partner, customer.dial_plan.national, customer.caller_ids.allowed) == ("demo", "0", ("4420*",))
    assert [(rule.pattern, rule.replacement) for rule in gateway.rewrites] == [("^44", "0"), ("^33", "00")]
    trunk = directory.trunks["pbx"]
    # A hash there is for MD5 only, so nothing else is offered before a bundle says so.
    assert (directory.platform.digest, trunk.ha1("MD5"), trunk.ha1("SHA-256")) == (("MD5",), "0123456789abcdef" * 2, "")
    assert (trunk.algorithms, trunk.tech_prefix, trunk.certificate) == ((), "", "")
    with Session(engine) as session:
        assert tokens.has_admin(session, datetime(2027, 1, 1, tzinfo=UTC))
        (price,) = session.scalars(select(PriceRow))
        assert (str(price.rate), price.valid_from, price.valid_to) == ("0.012345", EPOCH, None)
    downgrade(url, "0001")
    assert kept() == before
    engine.dispose()


OLD_CALL = (
    "INSERT INTO cdr (cdr_id, state, call_id, partner, customer, customer_name, trunk, auth, source, dialled, e164, "
    "caller, caller_shown, invite_at, answer_at, status, reason, code, hangup_by, recovered, gateway, gateway_name, "
    "sent_to, directory, attempts, trace, live, sell, sell_currency, buy_currency) VALUES (:id, :state, '', 'demo', "
    "'acme', '', '', '', '', '', '', '', '', 1000, :answer, 200, '', '', '', false, '', '', '', 1, '[]', '[]', '{}', "
    ":sell, '', '')"
)


@pytest.mark.rule("IP-5")
def test_calls_of_before_are_counted_too(url: str) -> None:
    migrate(url, "0002")
    engine = open_database(url)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO partner VALUES ('demo', 'Demo', '', 'UTC', 1, 0, 0)"))
        connection.execute(text(
            "INSERT INTO pricelist (id, name, currency, initial, increment, minimum, strategy, min_rate, rows_version, "
            "partner_id, version, created_at, updated_at) "
            "VALUES ('retail', '', 'USD', 1, 1, 0, 'cheapest', 0, 1, 'demo', 1, 0, 0)"
        ))  # fmt: skip
        connection.execute(text(
            "INSERT INTO price_row (id, pricelist_id, prefix, origin, name, rate, fee, initial, increment, country, "
            "kind, valid_from, changed) VALUES (7, 'retail', '44', '', 'UK', 1, 0, 1, 1, '', '', 0, 1)"
        ))  # fmt: skip
        for id_, state, answer, sell in (
            ("over", "ended", 2000, '{"row": 7, "prefix": "44"}'),
            ("gone", "ended", 2000, '{"row": 8, "prefix": "33"}'),
            ("no", "ended", None, None),
            ("up", "answered", 2000, '{"row": 7, "prefix": "44"}'),
        ):
            values = {"id": id_, "state": state, "answer": answer, "sell": sell}
            connection.execute(text(OLD_CALL), values)
    migrate(url)
    with engine.connect() as connection:
        found = connection.execute(
            text("SELECT cdr_id, sell_prefix, sell_name, answered, counted_at FROM cdr ORDER BY cdr_id")
        )
        assert [(*row[:3], bool(row[3]), row[4]) for row in found] == [
            ("gone", "33", "", True, 2000), ("no", "", "", False, 1000), ("over", "44", "UK", True, 2000),
            ("up", "44", "UK", True, None),
        ]  # fmt: skip
    downgrade(url, "0002")
    migrate(url)
    engine.dispose()


def _loaded(value: object) -> object:
    """JSON is the same whatever its white space."""
    return json.loads(value) if isinstance(value, str) and value.startswith("[") else value


def test_sqlite_is_told(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'sipsvc.db'}")
    with engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1
        assert connection.execute(text("PRAGMA busy_timeout")).scalar() == database.BUSY_TIMEOUT_MS
    engine.dispose()


def test_reads_see_one_state(engine: Engine) -> None:
    insert = text("INSERT INTO delivery_position VALUES (1, 'x', 0, 0)")
    count = text("SELECT count(*) FROM delivery_position")
    with one_state(engine) as reader:
        assert reader.execute(count).scalar() == 0
        with engine.begin() as writer:
            writer.execute(insert)
        assert reader.execute(count).scalar() == 0
    with one_state(engine) as reader:
        assert reader.execute(count).scalar() == 1


def test_changes_come_one_after_the_other(engine: Engine) -> None:
    """Four at once that read before they write: no version is lost, and none is refused."""
    seen: list[int] = []

    def change() -> None:
        with writing(engine) as session:
            catalogue.version(session)
            seen.append(Changes(session, LOCAL).directory)

    change()
    threads = [threading.Thread(target=change) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == [1, 2, 3, 4, 5]


def test_a_writer_that_fails_writes_nothing(engine: Engine) -> None:
    def fail() -> None:
        with writing(engine) as session:
            session.add(DeliveryPosition(id=1, segment="", offset=1))
            session.flush()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    with Session(engine) as session:
        assert session.get(DeliveryPosition, 1) is None


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("nonsense", "not a database URL"),
        ("mysql://u:geheim@h/d", "only sqlite and postgresql"),
        ("postgresql+nodriver://u:geheim@h/d", "no driver"),
        ("sqlite+nodriver:///x", "no driver"),
        ("sqlite:////dev/null/x/y.db", "folder cannot be made"),
    ],
)
def test_a_url_that_cannot_be_used(url: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        open_database(url)
    assert caught.value.faults[0][0] == "data.database"
    assert "geheim" not in str(caught.value)
