"""Calls: one row each, and how far their delivery is."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, Index
from sqlalchemy.orm import Mapped, mapped_column

from sipsvc.store.models.base import Base
from sipsvc.store.types import JsonText, SafeText

SUMS = ("answered", "duration_ms", "billed_s", "sell_currency", "sell_amount")
BUYING = ("gateway", "sell_prefix", "sell_name", "status", "code", "buy_currency", "buy_amount")


class Cdr(Base):
    """One call (law 8). Text is unbounded: a CDR is never lost to a column's width.

    `state` is `answered` (open) or `ended`. `billed_s` is the sell side's; amounts are None until the end,
    and where the call had no price. `counted_at` says which day and month the call is of: when it was answered, else
    when its INVITE came; None until it ends, for only then is there something to count. `sequence` numbers the calls
    that ended in the order in which they were stored, with gaps; None for those that older versions stored.
    `rating_version` is one higher with each re-rating; `rated_before` has what it was sold at before, in order.
    """

    __tablename__ = "cdr"
    __table_args__ = (
        Index(None, "invite_at", "cdr_id"),
        Index(None, "customer", "partner", "invite_at", "cdr_id"),
        Index(None, "partner", "invite_at", "cdr_id"),
        Index(None, "call_id"),
        Index(None, "sequence"),
        # Whole enough that usage and statistics are added up without the table, whose rows are twenty times as wide.
        Index("ix_cdr_customer_usage", "customer", "counted_at", "partner", *SUMS),
        Index("ix_cdr_partner_statistics", "partner", "counted_at", "customer", *SUMS, *BUYING),
    )

    cdr_id: Mapped[str] = mapped_column(SafeText(), primary_key=True)
    state: Mapped[str]
    call_id: Mapped[str] = mapped_column(SafeText())
    partner: Mapped[str] = mapped_column(SafeText())
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
    live: Mapped[dict[str, Any]] = mapped_column(JsonText())
    sell: Mapped[dict[str, Any] | None] = mapped_column(JsonText())
    buy: Mapped[dict[str, Any] | None] = mapped_column(JsonText())
    billed_s: Mapped[int | None]
    sell_amount: Mapped[Decimal | None]
    sell_currency: Mapped[str]
    buy_amount: Mapped[Decimal | None]
    buy_currency: Mapped[str]
    margin: Mapped[Decimal | None]
    sell_prefix: Mapped[str] = mapped_column(SafeText())
    sell_name: Mapped[str] = mapped_column(SafeText())
    answered: Mapped[bool]
    counted_at: Mapped[datetime | None]
    sequence: Mapped[int | None] = mapped_column(BigInteger())
    rating_version: Mapped[int]
    rated_before: Mapped[list[dict[str, Any]]] = mapped_column(JsonText())

    @property
    def allowance_s(self) -> int:
        """Those of the billed seconds that the account's allowance paid for."""
        return int((self.sell or {}).get("allowance", 0))

    @property
    def granted_s(self) -> int | None:
        """The seconds that credit and allowance were good for, None where nothing limits them."""
        granted: int | None = (self.sell or {}).get("granted_s")
        return granted


class AllowanceUsed(Base):
    """The seconds of its allowance that an account used in a month such as `2026-11`, by its customer's clock (PP-2).

    Only added to, with the row of each call in one transaction.
    """

    __tablename__ = "allowance_used"

    trunk: Mapped[str] = mapped_column(SafeText(), primary_key=True)
    month: Mapped[str] = mapped_column(SafeText(), primary_key=True)
    seconds: Mapped[int] = mapped_column(BigInteger())


class DeliveryPosition(Base):
    """One row, id 1: how far the local log is in the database, and the last `sequence`; written with the rows."""

    __tablename__ = "delivery_position"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    segment: Mapped[str]
    offset: Mapped[int] = mapped_column(BigInteger())
    sequence: Mapped[int] = mapped_column(BigInteger(), default=0)


class CdrOutput(Base):
    """How far an output has handed calls on: all up to `sequence`. `state` is what it needs to go on just there."""

    __tablename__ = "cdr_output"

    name: Mapped[str] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger())
    state: Mapped[dict[str, Any] | None] = mapped_column(JsonText())
