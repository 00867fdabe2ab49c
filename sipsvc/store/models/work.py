"""What is said and done about resources: history, notes, tokens, imports, jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from sipsvc.store.models.base import Base, OfAnyone, OfPartner, RowId
from sipsvc.store.types import JsonText, SafeText


class History(Base):
    """One change of one resource, written in its transaction and never altered (UI-2).

    `changes` maps a field to [old, new], secrets hidden; `directory` is the catalogue's version it made.
    """

    __tablename__ = "history"
    __table_args__ = (
        Index(None, "kind", "resource_id", "seq"),
        Index(None, "directory"),
        {"sqlite_autoincrement": True},
    )

    seq: Mapped[int] = mapped_column(RowId, primary_key=True)
    kind: Mapped[str]
    resource_id: Mapped[str]
    version: Mapped[int]
    directory: Mapped[int]
    at: Mapped[datetime]
    action: Mapped[str]
    actor: Mapped[str]
    role: Mapped[str]
    address: Mapped[str]
    # No foreign keys: history outlives what it tells of.
    partner: Mapped[str | None] = mapped_column("partner_id")
    customer: Mapped[str | None] = mapped_column("customer_id")
    changes: Mapped[dict[str, list[Any]]] = mapped_column(JsonText())


class Note(Base):
    """What somebody wrote about a resource; it is not changed afterwards."""

    __tablename__ = "note"
    __table_args__ = (Index(None, "kind", "resource_id", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    resource_id: Mapped[str]
    partner: Mapped[str | None] = mapped_column("partner_id")
    customer: Mapped[str | None] = mapped_column("customer_id")
    at: Mapped[datetime]
    actor: Mapped[str]
    role: Mapped[str]
    address: Mapped[str]
    text: Mapped[str] = mapped_column(SafeText())


class Token(OfAnyone):
    """An API token, by its SHA-256 in hex only. `customer` is set for the roles of a customer."""

    __tablename__ = "token"
    __table_args__ = (UniqueConstraint("sha256"),)

    customer: Mapped[str | None] = mapped_column("customer_id", ForeignKey("customer.id"), index=True)
    name: Mapped[str]
    role: Mapped[str]
    scopes: Mapped[list[str]] = mapped_column(JsonText())
    sha256: Mapped[str]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class Idempotency(Base):
    """The answer an Idempotency-Key got. `token` is whose key it is; `request` a hash of what was asked."""

    __tablename__ = "idempotency"

    token: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request: Mapped[str]
    status: Mapped[int]
    headers: Mapped[dict[str, str]] = mapped_column(JsonText())
    body: Mapped[str] = mapped_column(SafeText())
    at: Mapped[datetime] = mapped_column(index=True)


class Import(OfPartner):
    """New rows for a gateway's coverage or a price list, from an upload or populated (TG-7, TP-7).

    `target` is `gateway` or `pricelist`, `target_id` which. `mode`: `full` ends rows that are not in it, `partial`
    leaves them. `options` is what a populated one was asked for. `preview` counts new, dearer, cheaper, gone….
    """

    __tablename__ = "rate_import"
    __table_args__ = (Index(None, "target", "target_id"),)

    target: Mapped[str]
    target_id: Mapped[str]
    source: Mapped[str]
    mode: Mapped[str]
    status: Mapped[str]
    filename: Mapped[str]
    sha256: Mapped[str]
    size: Mapped[int]
    options: Mapped[dict[str, Any]] = mapped_column(JsonText())
    rows: Mapped[int]
    rejected: Mapped[int]
    preview: Mapped[dict[str, Any]] = mapped_column(JsonText())
    effective_from: Mapped[datetime | None]
    applied_at: Mapped[datetime | None]
    undone_at: Mapped[datetime | None]
    error: Mapped[str] = mapped_column(SafeText())


class ImportFile(Base):
    """A file of an import, zlib-compressed: `upload`, `rejected` (CSV to correct), `changes` (CSV of the preview)."""

    __tablename__ = "import_file"

    import_id: Mapped[str] = mapped_column(ForeignKey("rate_import.id"), primary_key=True)
    role: Mapped[str] = mapped_column(primary_key=True)
    content: Mapped[bytes] = mapped_column(LargeBinary())


class Job(OfPartner):
    """Work that takes longer than a request. `percent` 0 to 100; `heartbeat_at` tells that somebody is at it."""

    __tablename__ = "job"
    __table_args__ = (Index(None, "status", "created_at"),)

    task: Mapped[str]
    import_id: Mapped[str] = mapped_column(ForeignKey("rate_import.id"))
    status: Mapped[str]
    percent: Mapped[int]
    options: Mapped[dict[str, Any]] = mapped_column(JsonText())
    result: Mapped[dict[str, Any] | None] = mapped_column(JsonText())
    error: Mapped[str] = mapped_column(SafeText())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime | None]
