"""A load replaces everything or nothing, and the snapshot is what was loaded."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from sipsvc.errors import ConfigError
from sipsvc.store import catalogue
from sipsvc.store.bundle import Bundle, load_bundle
from sipsvc.store.changes import LOCAL, Changes, utc_now
from sipsvc.store.database import writing
from sipsvc.store.models import PriceList, PriceRow
from sipsvc.store.prices import set_price, values_of, versions
from sipsvc.store.rates import TooEarly
from sipsvc.store.types import to_ms
from tests.directories import load_directory

from .conftest import BUNDLE

Write = Callable[..., Path]
SAME_PARTNER = BUNDLE.replace('name = "Partner"', 'id = "demo-telecom"\nname = "Partner"')
DEMO = Path(__file__).parents[2] / "config" / "demo" / "demo.toml"


def load(engine: Engine, bundle: Bundle) -> int:
    with writing(engine) as session:
        return catalogue.replace(session, bundle)


def test_without_a_catalogue(engine: Engine) -> None:
    with pytest.raises(ConfigError, match="load a bundle first"):
        load_directory(engine)
    with Session(engine) as session:
        assert catalogue.version(session) == 0


@pytest.mark.rule("TG-2")
def test_the_snapshot_is_the_bundle(engine: Engine) -> None:
    bundle = load_bundle(DEMO)
    assert load(engine, bundle) == 1
    directory = load_directory(engine)
    assert directory.version == 1
    assert directory.platform.realm == bundle.platform.realm
    assert directory.platform.nonce_lifetime_ms == 300_000
    assert directory.platform.timing.max_call_ms == 14_400_000
    assert list(directory.customers) == ["acme", "harbour"]
    for wanted in bundle.customers:
        customer = directory.customers[wanted.id]
        assert (customer.name, customer.status, customer.pricelist) == (wanted.name, wanted.status, wanted.pricelist)
        assert (customer.partner, customer.max_channels) == ("demo-telecom", wanted.max_channels)
        plan, callers = wanted.dial_plan.model_dump(), wanted.caller_ids.model_dump()
        assert dataclasses.asdict(customer.dial_plan) == plan | {"international": tuple(plan["international"])}
        assert dataclasses.asdict(customer.caller_ids) == callers | {"allowed": tuple(callers["allowed"])}
    assert [
        dataclasses.asdict(trunk) | {"algorithms": list(trunk.algorithms)} for trunk in directory.trunks.values()
    ] == [
        {"customer" if name == "customer_id" else name: value for name, value in trunk._asdict().items()}
        | {"enabled": True}
        for trunk in bundle.trunks
    ]
    for sold in bundle.gateways:
        gateway = directory.gateways[sold.id]
        same = sold.model_dump(include={"name", "host", "port", "currency", "priority", "enabled", "trusted"})
        same |= sold.model_dump(include={"remote_party_id", "p_asserted_identity", "caller_prefix", "uri_prefix"})
        same |= sold.model_dump(include={"transport", "tcp_if_large", "plus_in_caller", "diversion"})
        same |= sold.model_dump(include={"max_channels", "max_cps", "weight", "ping_interval_s", "down_after"})
        same |= sold.model_dump(include={"up_after", "registration", "registration_expires_s"})
        assert {key: getattr(gateway, key) for key in same} == same
        assert gateway.caller_prefix_in == frozenset(sold.caller_prefix_in)
        assert gateway.hunt_codes == frozenset(sold.hunt_codes)
        assert gateway.ring_timeout_ms == sold.ring_timeout_s * 1000
        assert [(r.pattern, r.replacement) for r in gateway.rewrites] == [
            (r.pattern, r.replacement) for r in sold.rewrite
        ]
        assert gateway.coverage.size == len(bundle.coverage[sold.id])
        for row in bundle.coverage[sold.id]:
            found = gateway.coverage.find(row.prefix, row.origin, 0)
            assert found is not None
            assert (found.rate, found.fee, found.initial, found.increment, found.origin) == (
                row.rate, row.fee, row.initial, row.increment, row.origin,
            )  # fmt: skip
    retail = directory.pricelists["retail"]
    assert (retail.minimum, retail.expensive_at, retail.strategy) == (Decimal("0.01"), Decimal("0.50"), "cheapest")
    for row in bundle.prices["retail"]:
        found = retail.rows.find(row.prefix, "", 0)
        assert found is not None
        assert (found.name, str(found.rate)) == (row.name, f"{row.rate:.6f}")
    assert {b.prefix: b.reason for b in directory.blocks.values()} == {"1900": "premium rate in North America"}
    rewrite = directory.gateways["beta"].rewrites[0]
    assert rewrite.regex.sub(rewrite.replacement, "442079460000") == "00442079460000"


def test_no_threshold_is_none(engine: Engine, write_bundle: Write) -> None:
    load(engine, load_bundle(write_bundle(BUNDLE.replace('name = "Retail"', 'name = "Retail"\nexpensive_at = ""'))))
    assert load_directory(engine).pricelists["retail"].expensive_at is None


def test_a_load_replaces_everything(engine: Engine, write_bundle: Write) -> None:
    load(engine, load_bundle(DEMO))
    before = {row.prefix: ((row.name, row.rate), row.id) for row in _prices(engine)}
    assert load(engine, load_bundle(write_bundle(SAME_PARTNER))) == 2
    directory = load_directory(engine)
    assert directory.version == 2
    assert directory.platform.realm == "here"
    assert directory.gateways["alpha"].host == "198.51.100.1"
    now, rows = to_ms(utc_now()), directory.pricelists["retail"].rows
    found = [rows.find(number, "", now) for number in ("442079460000", "447700900000", "20223456789")]
    assert [row.prefix if row else None for row in found] == ["44", "447", None]
    # What is over stays to be read as of its time.
    egypt = rows.find("20223456789", "", now - 60_000)
    assert egypt is not None and egypt.valid_to <= now
    # A CDR names its price row: a price that stays keeps its number, and no number ever means another price.
    for row in _prices(engine):
        says, number = before[row.prefix]
        assert (number == row.id) == (says == (row.name, row.rate))
    with Session(engine) as session:
        assert catalogue.version(session) == 2


def _prices(engine: Engine) -> list[PriceRow]:
    with Session(engine) as session:
        return list(session.scalars(select(PriceRow).where(PriceRow.valid_to.is_(None))))


@pytest.mark.parametrize("table", ["platform_settings", "customer", "trunk", "price_row", "coverage_row"])
def test_a_load_that_breaks_changes_nothing(engine: Engine, write_bundle: Write, table: str) -> None:
    load(engine, load_bundle(DEMO))
    before = load_directory(engine)

    def break_off(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.startswith((f"INSERT INTO {table} ", f"UPDATE {table} ")):
            raise KeyboardInterrupt

    event.listen(engine, "before_cursor_execute", break_off)
    with pytest.raises(KeyboardInterrupt):
        load(engine, load_bundle(write_bundle(SAME_PARTNER)))
    event.remove(engine, "before_cursor_execute", break_off)
    after = load_directory(engine)
    assert after.version == before.version == 1
    assert after.customers == before.customers
    assert after.trunks == before.trunks
    assert after.pricelists["retail"].rows.size == before.pricelists["retail"].rows.size


def test_the_database_refuses_what_points_nowhere(engine: Engine, write_bundle: Write) -> None:
    bundle = load_bundle(write_bundle())
    with pytest.raises(IntegrityError):
        load(engine, dataclasses.replace(bundle, pricelists=[], prices={}))


def test_two_hundred_thousand_prices(engine: Engine, write_bundle: Write) -> None:
    lines = ["prefix,name,rate"] + [f"{n},Place {n % 700},0.{n % 900:06d}" for n in range(100_000, 300_000)]
    load(engine, load_bundle(write_bundle(prices="\n".join(lines))))
    rows = load_directory(engine).pricelists["retail"].rows
    assert rows.size == 200_000
    first, second = rows.find("100000999", "", 0), rows.find("100700999", "", 0)
    assert first is not None and second is not None
    assert (first.prefix, first.rate) == ("100000", Decimal("0.000100"))


def test_a_load_does_not_pass_over_prices_that_begin_later(engine: Engine, write_bundle: Write) -> None:
    """It says so: what it ended now would begin after its end."""
    load(engine, load_bundle(write_bundle()))
    tomorrow = utc_now() + timedelta(days=1)
    with writing(engine) as session:
        changes = Changes(session, LOCAL)
        owner = session.get_one(PriceList, "retail")
        set_price(changes, owner, "44", "", values_of(versions(session, owner, "44", "")[0]) | {"name": "GB"}, tomorrow)
    before = _prices(engine)
    with pytest.raises(TooEarly, match="begin or end at"):
        load(engine, load_bundle(write_bundle(prices="prefix,name,rate\n33,France,0.01\n")))
    assert [(row.id, row.valid_to) for row in _prices(engine)] == [(row.id, row.valid_to) for row in before]
