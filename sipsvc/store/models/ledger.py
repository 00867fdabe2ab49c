"""Money: what was posted, and what every account has of it (DOMAIN, ledger)."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from urllib.parse import quote

from sqlalchemy import BigInteger, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from sipsvc.store.models.base import Base
from sipsvc.store.types import SafeText


class LedgerPosting(Base):
    """An amount above 0 from one account to another: balanced by construction, and never changed or deleted, which the
    database sees to.

    `debit` and `credit` are keys of accounts. What it comes of is `source_type` and `source_id`, which have one posting
    of a `kind`; `at` is when it counts, of a call its end. `customer` is NULL where no customer may see it.
    """

    __tablename__ = "ledger_posting"
    __table_args__ = (
        UniqueConstraint("source_id", "source_type", "kind"),
        Index(None, "at", "id"),
        Index(None, "partner", "at", "id"),
        # Of a partner's customer: SQLite would otherwise go through all the partner's postings for its.
        Index(None, "customer", "partner", "at", "id"),
    )

    id: Mapped[str] = mapped_column(SafeText(), primary_key=True)
    at: Mapped[datetime]
    # No foreign keys: what was posted outlives whom it tells of.
    partner: Mapped[str] = mapped_column(SafeText())
    customer: Mapped[str | None] = mapped_column(SafeText())
    debit: Mapped[str] = mapped_column(SafeText())
    credit: Mapped[str] = mapped_column(SafeText())
    amount: Mapped[Decimal]
    currency: Mapped[str]
    source_type: Mapped[str]
    source_id: Mapped[str] = mapped_column(SafeText())
    kind: Mapped[str]
    memo: Mapped[str] = mapped_column(SafeText())

    @property
    def link(self) -> str | None:
        """Where the API shows what it comes of; a payment is all there is of itself."""
        return f"/api/v1/cdrs/{quote(self.source_id, safe='')}" if self.source_type == "cdr" else None


class LedgerAccount(Base):
    """What is on an account in one currency: its credits less its debits, changed with each posting.

    `charged`, of a customer's, are the charges of calls as they were delivered; re-rating does not change it. Each is
    kept as whole units and millionths, of which there may be more than a million: a sum of all that was ever posted may
    leave the 64 bits of one column.
    """

    __tablename__ = "ledger_account"

    account: Mapped[str] = mapped_column(SafeText(), primary_key=True)
    currency: Mapped[str] = mapped_column(primary_key=True)
    balance_units: Mapped[int] = mapped_column(BigInteger())
    balance_millionths: Mapped[int] = mapped_column(BigInteger())
    charged_units: Mapped[int] = mapped_column(BigInteger())
    charged_millionths: Mapped[int] = mapped_column(BigInteger())
