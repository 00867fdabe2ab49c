"""Money and instants come back exactly as they went in (DOMAIN, types)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, Engine, Integer, MetaData, Table, create_engine, insert, select

from sipsvc.store.types import JsonText, Money, SafeText, UtcMs, from_ms, from_scaled, to_ms, to_scaled

METADATA = MetaData()
THINGS = Table(
    "things",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("money", Money()),
    Column("at", UtcMs()),
    Column("text", SafeText()),
    Column("json", JsonText()),
)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Any:
    engine = create_engine(f"sqlite:///{tmp_path_factory.mktemp('types') / 'types.db'}")
    METADATA.create_all(engine)
    yield engine
    engine.dispose()


def stored(engine: Engine, **values: object) -> Any:
    """The values after a trip to the file and back."""
    with engine.begin() as connection:
        key = connection.execute(insert(THINGS).values(**values)).inserted_primary_key
        assert key is not None
        return connection.execute(select(THINGS).where(THINGS.c.id == key[0])).one()


AMOUNTS = st.decimals(min_value=-(10**12), max_value=10**12, places=6, allow_nan=False, allow_infinity=False)


@given(AMOUNTS)
def test_money_survives_scaling(amount: Decimal) -> None:
    assert from_scaled(to_scaled(amount)) == amount
    assert from_scaled(to_scaled(amount)).as_tuple().exponent == -6


@given(st.integers(min_value=-(2**63) + 1, max_value=2**63 - 1))
def test_every_stored_integer_is_an_amount(number: int) -> None:
    assert to_scaled(from_scaled(number)) == number


@pytest.mark.parametrize(
    "text",
    ["123456789012.123457", "0.000001", "-0.000001", "0", "-0", "1E+3", "0.010000000", "9223372036854.775807"],
)
def test_money_survives_the_database(database: Engine, text: str) -> None:
    """123456789012.123457 is what a float would make ...123459 of."""
    back = stored(database, money=Decimal(text)).money
    assert back == Decimal(text)
    assert back.as_tuple().exponent == -6


@pytest.mark.parametrize(
    ("value", "error", "why"),
    [
        (0.1, TypeError, "not float"),
        (1, TypeError, "not int"),
        ("1", TypeError, "not str"),
        (Decimal("0.0000001"), ValueError, "6 decimal places"),
        (Decimal("NaN"), ValueError, "not an amount"),
        (Decimal("Infinity"), ValueError, "not an amount"),
        (Decimal("9223372036854.775808"), ValueError, "too large"),
        (Decimal("1E+999999"), ValueError, "too large"),
        (Decimal("1E-999999"), ValueError, "6 decimal places"),
    ],
)
def test_what_is_no_money_is_refused(value: Any, error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        to_scaled(value)


@given(st.integers(min_value=-62_000_000_000_000, max_value=253_000_000_000_000))
def test_instants_survive(ms: int) -> None:
    assert to_ms(from_ms(ms)) == ms


def test_instants_in_the_database(database: Engine) -> None:
    at = datetime(2026, 3, 29, 3, 0, 0, 123_000, tzinfo=timezone(timedelta(hours=2)))
    back = stored(database, at=at).at
    assert back == at
    assert back.tzinfo is UTC
    with pytest.raises(ValueError, match="no time zone"):
        to_ms(at.replace(tzinfo=None))


def test_text_and_json(database: Engine) -> None:
    row = stored(database, text="a\0b", json={"a": ["x\0y", None, 1]})
    assert row.text == "a\ufffdb"
    assert row.json == {"a": ["x\0y", None, 1]}
    assert stored(database, text="x" * 100_000).text == "x" * 100_000
    assert stored(database, json=None, text=None, money=None, at=None)[1:] == (None, None, None, None)
