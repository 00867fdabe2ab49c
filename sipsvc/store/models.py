"""The tables. A catalogue row's public id is the slug of the bundle; price rows have integers, never reused."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

from sqlalchemy import BigInteger, Boolean, ForeignKey, Index, Integer, MetaData, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from sipsvc.store.types import JsonText, Money, SafeText, UtcMs

# SQLite counts up only in a column that is INTEGER to the letter.
RowId = BigInteger().with_variant(Integer(), "sqlite")


class Base(DeclarativeBase):
    """Names every constraint, so that a migration can find it again on either database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar = {str: Text(), int: Integer(), bool: Boolean(), Decimal: Money(), datetime: UtcMs()}


class Catalogue(Base):
    """One row, id 1: the version of all that a load replaces, one higher each time."""

    __tablename__ = "catalogue"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    version: Mapped[int]
    loaded_at: Mapped[datetime]


class PlatformSettings(Base):
    """One row, id 1. Units are in the names."""

    __tablename__ = "platform_settings"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    realm: Mapped[str]
    nonce_lifetime_s: Mapped[int]
    t1_ms: Mapped[int]
    t2_ms: Mapped[int]
    t4_ms: Mapped[int]
    max_call_s: Mapped[int]
    durable_wait_ms: Mapped[int]


class Partner(Base):
    """Who resells."""

    __tablename__ = "partner"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]


class PriceList(Base):
    """Sell prices; `initial` and `increment` are seconds and what rows take that name none."""

    __tablename__ = "pricelist"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    currency: Mapped[str]
    initial: Mapped[int]
    increment: Mapped[int]
    minimum: Mapped[Decimal]
    expensive_at: Mapped[Decimal | None]
    strategy: Mapped[str]


class PriceRow(Base):
    """One sell price per minute. `origin` "" is any caller. Ids of rows that were replaced stay unused."""

    __tablename__ = "price_row"
    __table_args__ = (UniqueConstraint("pricelist_id", "prefix", "origin"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    pricelist_id: Mapped[str] = mapped_column(ForeignKey("pricelist.id"))
    prefix: Mapped[str]
    origin: Mapped[str]
    name: Mapped[str]
    rate: Mapped[Decimal]
    fee: Mapped[Decimal]
    initial: Mapped[int]
    increment: Mapped[int]


class Gateway(Base):
    """A carrier's gateway and what it asks for (TG-1..6)."""

    __tablename__ = "gateway"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    host: Mapped[str]
    port: Mapped[int]
    currency: Mapped[str]
    priority: Mapped[int]
    enabled: Mapped[bool]
    trusted: Mapped[bool]
    remote_party_id: Mapped[bool]
    p_asserted_identity: Mapped[bool]
    caller_prefix: Mapped[str]
    caller_prefix_in: Mapped[list[str]] = mapped_column(JsonText())
    uri_prefix: Mapped[str]
    uri_prefix_escaped: Mapped[bool]
    hunt_codes: Mapped[list[int]] = mapped_column(JsonText())
    provisional_timeout_ms: Mapped[int]
    ring_timeout_s: Mapped[int]

    rewrites: Mapped[list[Rewrite]] = relationship(lazy="selectin", order_by="Rewrite.position", viewonly=True)


class Rewrite(Base):
    """A rule on the digits sent, in order of `position` (SIP-30)."""

    __tablename__ = "rewrite"

    gateway_id: Mapped[str] = mapped_column(ForeignKey("gateway.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    pattern: Mapped[str]
    replacement: Mapped[str]


class CoverageRow(Base):
    """One buy price per minute, as `PriceRow`."""

    __tablename__ = "coverage_row"
    __table_args__ = (UniqueConstraint("gateway_id", "prefix", "origin"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    gateway_id: Mapped[str] = mapped_column(ForeignKey("gateway.id"))
    prefix: Mapped[str]
    origin: Mapped[str]
    name: Mapped[str]
    rate: Mapped[Decimal]
    fee: Mapped[Decimal]
    initial: Mapped[int]
    increment: Mapped[int]


class Customer(Base):
    """Who pays; the dial plan and caller IDs are parts of it."""

    __tablename__ = "customer"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    partner_id: Mapped[str] = mapped_column(ForeignKey("partner.id"))
    status: Mapped[str]
    pricelist_id: Mapped[str] = mapped_column(ForeignKey("pricelist.id"))
    allow_expensive: Mapped[bool]
    max_channels: Mapped[int]
    dial_international: Mapped[list[str]] = mapped_column(JsonText())
    dial_national: Mapped[str]
    dial_country: Mapped[str]
    dial_bare: Mapped[str]
    caller_allowed: Mapped[list[str]] = mapped_column(JsonText())
    caller_default: Mapped[str]
    caller_otherwise: Mapped[str]

    trunks: Mapped[list[Trunk]] = relationship(lazy="selectin", order_by="Trunk.id", viewonly=True)


class Trunk(Base):
    """How a customer's calls are known: an address or a username. `username` is NULL where it is an address."""

    __tablename__ = "trunk"
    __table_args__ = (UniqueConstraint("username"), Index(None, "customer_id"))

    id: Mapped[str] = mapped_column(primary_key=True)
    customer_id: Mapped[str] = mapped_column(ForeignKey("customer.id"))
    source: Mapped[str]
    port: Mapped[int]
    username: Mapped[str | None]
    ha1_md5: Mapped[str]


class Block(Base):
    """A blocked E.164 prefix and why (SIP-26)."""

    __tablename__ = "block"

    prefix: Mapped[str] = mapped_column(primary_key=True)
    reason: Mapped[str]


class Cdr(Base):
    """One call (law 8). Text is unbounded: a CDR is never lost to a column's width.

    `state` is `answered` (open) or `ended`. `billed_s` is the sell side's; amounts are None until the end,
    and where the call had no price.
    """

    __tablename__ = "cdr"
    __table_args__ = (
        Index(None, "invite_at", "cdr_id"),
        Index(None, "customer", "invite_at", "cdr_id"),
        Index(None, "call_id"),
    )

    cdr_id: Mapped[str] = mapped_column(SafeText(), primary_key=True)
    state: Mapped[str]
    call_id: Mapped[str] = mapped_column(SafeText())
    customer: Mapped[str] = mapped_column(SafeText())
    customer_name: Mapped[str] = mapped_column(SafeText())
    trunk: Mapped[str] = mapped_column(SafeText())
    auth: Mapped[str] = mapped_column(SafeText())
    source: Mapped[str] = mapped_column(SafeText())
    dialled: Mapped[str] = mapped_column(SafeText())
    e164: Mapped[str] = mapped_column(SafeText())
    caller: Mapped[str] = mapped_column(SafeText())
    caller_shown: Mapped[str] = mapped_column(SafeText())
    invite_at: Mapped[datetime]
    progress_at: Mapped[datetime | None]
    answer_at: Mapped[datetime | None]
    end_at: Mapped[datetime | None]
    duration_ms: Mapped[int | None] = mapped_column(BigInteger())
    status: Mapped[int]
    reason: Mapped[str] = mapped_column(SafeText())
    code: Mapped[str] = mapped_column(SafeText())
    hangup_by: Mapped[str] = mapped_column(SafeText())
    q850: Mapped[int | None]
    recovered: Mapped[bool]
    gateway: Mapped[str] = mapped_column(SafeText())
    gateway_name: Mapped[str] = mapped_column(SafeText())
    sent_to: Mapped[str] = mapped_column(SafeText())
    directory: Mapped[int]
    attempts: Mapped[list[dict[str, Any]]] = mapped_column(JsonText())
    trace: Mapped[list[list[Any]]] = mapped_column(JsonText())
    live: Mapped[dict[str, int]] = mapped_column(JsonText())
    sell: Mapped[dict[str, Any] | None] = mapped_column(JsonText())
    buy: Mapped[dict[str, Any] | None] = mapped_column(JsonText())
    billed_s: Mapped[int | None]
    sell_amount: Mapped[Decimal | None]
    sell_currency: Mapped[str]
    buy_amount: Mapped[Decimal | None]
    buy_currency: Mapped[str]
    margin: Mapped[Decimal | None]


class DeliveryPosition(Base):
    """One row, id 1: how far the local log is in the database, written with the rows it stands for."""

    __tablename__ = "delivery_position"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    segment: Mapped[str]
    offset: Mapped[int] = mapped_column(BigInteger())


class ApiToken(Base):
    """An API token, by its SHA-256 in hex only."""

    __tablename__ = "api_token"
    __table_args__ = (UniqueConstraint("sha256"),)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    role: Mapped[str]
    sha256: Mapped[str]
    created_at: Mapped[datetime]
