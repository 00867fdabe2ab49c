"""Who there is and where calls may go: what the directory is made of (DOMAIN, who and what)."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from sipsvc.store.models.base import Base, OfAnyone, OfPartner, Resource, RowId
from sipsvc.store.types import JsonText, Sealed, UtcMs


class Catalogue(Base):
    """One row, id 1. Every change raises `version` first, so changes are committed in the order of their versions."""

    __tablename__ = "catalogue"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    version: Mapped[int]
    changed_at: Mapped[datetime]


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
    min_se_s: Mapped[int]
    session_expires_s: Mapped[int]
    rates: Mapped[dict[str, str]] = mapped_column(JsonText())
    digest: Mapped[list[str]] = mapped_column(JsonText())


class Partner(Resource):
    """Who resells. `time_zone` is an IANA name, for its days and months."""

    __tablename__ = "partner"

    name: Mapped[str]
    email: Mapped[str]
    time_zone: Mapped[str]


class WebProduct(OfPartner):
    """A brand that customers sign up on (WP-1): its type, and the currencies they may pay in (WP-3)."""

    __tablename__ = "web_product"

    name: Mapped[str]
    type: Mapped[str]
    currencies: Mapped[list[str]] = mapped_column(JsonText())


class Customer(OfPartner):
    """Who pays. `max_channels` 0 is unlimited. What sign-up asks for is blank where a bundle made the customer.

    An email is kept in lower case, so that it is unique in any (IP-10). `funds` is what the ledger has of its account,
    in its price list's currency, but for charges of calls; only a posting changes it (`store.ledger`).
    """

    __tablename__ = "customer"
    __table_args__ = (UniqueConstraint("email"),)

    name: Mapped[str]
    status: Mapped[str]
    pricelist: Mapped[str] = mapped_column("pricelist_id", ForeignKey("pricelist.id"))
    time_zone: Mapped[str]
    allow_expensive: Mapped[bool]
    max_channels: Mapped[int]
    dial_plan: Mapped[dict[str, Any]] = mapped_column(JsonText())
    caller_ids: Mapped[dict[str, Any]] = mapped_column(JsonText())
    max_cps: Mapped[int]
    busy_status: Mapped[int]
    spend_alert_hour: Mapped[Decimal | None]
    spend_alert_day: Mapped[Decimal | None]
    spend_cap_hour: Mapped[Decimal | None]
    spend_cap_day: Mapped[Decimal | None]
    prepaid: Mapped[bool]
    credit_limit: Mapped[Decimal | None]
    low_balance: Mapped[Decimal | None]
    funds: Mapped[Decimal]
    product: Mapped[str | None] = mapped_column("product_id", ForeignKey("web_product.id"))
    contact_first_name: Mapped[str]
    contact_last_name: Mapped[str]
    email: Mapped[str | None]
    phone: Mapped[str]
    billing_address: Mapped[str]
    billing_type: Mapped[str]
    plan: Mapped[str]
    tier: Mapped[str]


class User(OfPartner):
    """A person of a partner, or of a customer. Username and email are kept in lower case and unique (IP-9, IP-10)."""

    __tablename__ = "portal_user"
    __table_args__ = (UniqueConstraint("username"), UniqueConstraint("email"))

    customer: Mapped[str | None] = mapped_column("customer_id", ForeignKey("customer.id"), index=True)
    username: Mapped[str]
    email: Mapped[str]
    first_name: Mapped[str]
    last_name: Mapped[str]
    role: Mapped[str]
    extension: Mapped[str]
    caller_ids: Mapped[list[str]] = mapped_column(JsonText())


class Trunk(OfPartner):
    """How a customer's calls are known: an address, a certificate or a username, which is NULL where it is another."""

    __tablename__ = "trunk"
    __table_args__ = (UniqueConstraint("username"),)

    customer: Mapped[str] = mapped_column("customer_id", ForeignKey("customer.id"), index=True)
    enabled: Mapped[bool]
    source: Mapped[str]
    port: Mapped[int]
    username: Mapped[str | None]
    ha1_md5: Mapped[str]
    max_channels: Mapped[int]
    ha1_sha256: Mapped[str]
    algorithms: Mapped[list[str]] = mapped_column(JsonText())
    tech_prefix: Mapped[str]
    certificate: Mapped[str]


class Gateway(OfPartner):
    """A carrier's gateway and what it asks for (TG-1..6). `rewrites` are its rules in order (SIP-30).

    `host` is an address or a name, `port` 0 only with a name (SIP-8); `transport` is `udp`, `tcp` or `tls`.
    `auth_username`, `auth_password` and `auth_realm` answer its challenges, "" for none (SIP-33).
    `rows_version` is the catalogue's version at which its coverage last changed.
    """

    __tablename__ = "gateway"

    name: Mapped[str]
    host: Mapped[str]
    port: Mapped[int]
    transport: Mapped[str]
    tcp_if_large: Mapped[bool]
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
    rewrites: Mapped[list[dict[str, str]]] = mapped_column(JsonText())
    hunt_codes: Mapped[list[int]] = mapped_column(JsonText())
    provisional_timeout_ms: Mapped[int]
    ring_timeout_s: Mapped[int]
    auth_username: Mapped[str]
    auth_password: Mapped[str] = mapped_column(Sealed("gateway.auth_password"))
    auth_realm: Mapped[str]
    plus_in_caller: Mapped[bool]
    diversion: Mapped[bool]
    max_channels: Mapped[int]
    max_cps: Mapped[int]
    weight: Mapped[int]
    schedule: Mapped[list[str]] = mapped_column(JsonText())
    ping_interval_s: Mapped[int]
    down_after: Mapped[int]
    up_after: Mapped[int]
    registration: Mapped[bool]
    registration_expires_s: Mapped[int]
    rows_version: Mapped[int]


class PriceList(OfPartner):
    """Sell prices; `initial` and `increment` are seconds and what rows take that name none.

    `min_rate` and `max_profit` are the floor and the cap of populated rows (TP-5, TP-6); `rows_version` as a gateway's.
    """

    __tablename__ = "pricelist"

    name: Mapped[str]
    currency: Mapped[str]
    initial: Mapped[int]
    increment: Mapped[int]
    minimum: Mapped[Decimal]
    expensive_at: Mapped[Decimal | None]
    min_rate: Mapped[Decimal]
    max_profit: Mapped[Decimal | None]
    strategy: Mapped[str]
    expected_s: Mapped[int]
    allow_loss: Mapped[bool]
    rows_version: Mapped[int]


class PricePackage(OfPartner):
    """What a customer's calls are sold by (PP-1..6): a price list, and which of its calls are free for how long.

    `minutes` a month and account, 0 for no end of them; `country` is that of the free rows of an Unlimited Domestic.
    It is `customer`'s, or that of the web products in `products`; a `default` is for all others of the partner. Each of
    them has one, which whoever writes sees to.
    """

    __tablename__ = "price_package"

    name: Mapped[str]
    kind: Mapped[str]
    pricelist: Mapped[str] = mapped_column("pricelist_id", ForeignKey("pricelist.id"), index=True)
    minutes: Mapped[int]
    country: Mapped[str]
    currencies: Mapped[list[str]] = mapped_column(JsonText())
    products: Mapped[list[str]] = mapped_column(JsonText())
    customer: Mapped[str | None] = mapped_column("customer_id", ForeignKey("customer.id"), index=True)
    default: Mapped[bool] = mapped_column("is_default")


class RateRow:
    """One price per minute, from `valid_from` until before `valid_to` (NULL: for good). `origin` "" is any caller.

    Rows are never deleted and, but for their end, never changed: a CDR names the row it was rated by. One that was
    taken back before its time has `valid_to` = `valid_from`. `changed` is the catalogue's version that wrote it last.
    """

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    prefix: Mapped[str]
    origin: Mapped[str]
    name: Mapped[str]
    country: Mapped[str]
    kind: Mapped[str]
    rate: Mapped[Decimal]
    fee: Mapped[Decimal]
    initial: Mapped[int]
    increment: Mapped[int]
    valid_from: Mapped[datetime] = mapped_column(UtcMs())
    valid_to: Mapped[datetime | None] = mapped_column(UtcMs())
    changed: Mapped[int]
    opened_by: Mapped[str | None]
    closed_by: Mapped[str | None]


class CoverageRow(RateRow, Base):
    """A buy price. `opened_by` and `closed_by` are the imports that did."""

    __tablename__ = "coverage_row"
    __table_args__ = (
        Index(None, "gateway_id", "prefix", "origin", "valid_from"),
        Index(None, "gateway_id", "changed"),
        {"sqlite_autoincrement": True},
    )

    gateway: Mapped[str] = mapped_column("gateway_id", ForeignKey("gateway.id"))


class PriceRow(RateRow, Base):
    """A sell price. `source_row` is the coverage row a populated price was made of, `markup` the factor."""

    __tablename__ = "price_row"
    __table_args__ = (
        Index(None, "pricelist_id", "prefix", "origin", "valid_from"),
        Index(None, "pricelist_id", "changed"),
        {"sqlite_autoincrement": True},
    )

    pricelist: Mapped[str] = mapped_column("pricelist_id", ForeignKey("pricelist.id"))
    source_row: Mapped[int | None] = mapped_column(RowId)
    markup: Mapped[Decimal | None]


class Block(OfAnyone):
    """An E.164 prefix nobody of the partner (NULL: of the platform) may call, or may all the same, and why (SIP-26).

    With a customer it is for that one of the partner alone. A prefix stands once for each of them; NULL keeps the
    database from seeing to it, so whoever writes does.
    """

    __tablename__ = "block"

    customer: Mapped[str | None] = mapped_column("customer_id", ForeignKey("customer.id"), index=True)
    prefix: Mapped[str]
    reason: Mapped[str]
    action: Mapped[str]
    liftable: Mapped[bool]
    lift_expensive: Mapped[bool]


class ShortCode(OfPartner):
    """What a few digits stand for in a partner's accounts, or one customer's (SIP-25).

    `gateways` are ids in the order of trial. A code stands once for each of them, as a block's prefix does.
    """

    __tablename__ = "shortcode"

    customer: Mapped[str | None] = mapped_column("customer_id", ForeignKey("customer.id"), index=True)
    code: Mapped[str]
    name: Mapped[str]
    number: Mapped[str]
    gateways: Mapped[list[str]] = mapped_column(JsonText())
    dial: Mapped[str]
    emergency: Mapped[bool]
