"""Column types that keep money and instants exact on SQLite and PostgreSQL alike (DOMAIN, types)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from typing import Any
from weakref import WeakKeyDictionary

import orjson
from sqlalchemy import BigInteger, Dialect, Text
from sqlalchemy.types import TypeDecorator

from sipsvc.errors import ConfigError
from sipsvc.observe import get_logger
from sipsvc.vault import Unreadable, Vault

SCALE = 6
# The default context would round what it moves to 28 digits; this one keeps any amount as it is.
WIDE = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
# What seals for each open database; what was opened without it sees no secrets (`database.open_database`).
VAULTS: WeakKeyDictionary[Dialect, Vault] = WeakKeyDictionary()


def to_scaled(value: Decimal) -> int:
    """Millionths. Raises TypeError for anything but Decimal, ValueError where it would not be exact."""
    if not isinstance(value, Decimal):
        raise TypeError(f"money is Decimal, not {type(value).__name__}: {value!r}")
    if not value.is_finite():
        raise ValueError(f"{value} is not an amount of money")
    if not value:
        return 0
    if value.adjusted() > 12:
        raise ValueError(f"{value} is too large to store")
    shifted = value.scaleb(SCALE, WIDE)
    number = int(shifted)
    if number != shifted or number.bit_length() > 63:
        raise ValueError(f"{value} is too large to store or has more than {SCALE} decimal places")
    return number


def from_scaled(value: int) -> Decimal:
    """Millionths as a Decimal with six places."""
    return Decimal(value).scaleb(-SCALE, WIDE)


def from_ms(value: int) -> datetime:
    """Milliseconds since 1970 UTC as an aware datetime, without a float on the way."""
    return EPOCH + timedelta(milliseconds=value)


def to_ms(value: datetime) -> int:
    """An aware datetime as milliseconds since 1970 UTC. Raises ValueError for a naive one."""
    if value.tzinfo is None:
        raise ValueError(f"{value!r} has no time zone")
    return (value - EPOCH) // MILLISECOND


def instant(value: datetime) -> str:
    """An aware datetime as RFC 3339 with milliseconds: `2026-11-22T23:23:05.120Z`."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Money(TypeDecorator[Decimal]):
    """Decimal with six places, kept as an integer of millionths: SQLite would make NUMERIC a float."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> int | None:
        return None if value is None else to_scaled(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> Decimal | None:
        return None if value is None else from_scaled(value)


class UtcMs(TypeDecorator[datetime]):
    """An aware datetime, kept as integer milliseconds since 1970 UTC."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else to_ms(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else from_ms(value)


class SafeText(TypeDecorator[str]):
    """Unbounded text. NUL, which PostgreSQL refuses, becomes U+FFFD: better a mark than a lost CDR."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return value.replace("\0", "\ufffd") if value and "\0" in value else value


class JsonText(TypeDecorator[Any]):
    """Any JSON value as text. None is SQL NULL."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else orjson.dumps(value).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else orjson.loads(value)


class Sealed(TypeDecorator[str]):
    """A secret that must be told again, kept as what only the vault's key opens; `purpose` says what it is.

    What cannot be opened reads as "" and is logged: a lost key costs the passwords, not the calls.
    """

    impl = Text
    cache_ok = True

    def __init__(self, purpose: str) -> None:
        super().__init__()
        self.purpose = purpose

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if not value:
            return value
        vault = VAULTS.get(dialect)
        if vault is None:
            raise ValueError("a secret is not stored without the key that seals it")
        return vault.seal(value, self.purpose)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        vault = VAULTS.get(dialect)
        if not value or vault is None:
            return "" if value else value
        try:
            return vault.open(value, self.purpose)
        except (Unreadable, ConfigError) as error:
            get_logger("store").error("secret_unreadable", secret=self.purpose, reason=str(error))
            return ""
