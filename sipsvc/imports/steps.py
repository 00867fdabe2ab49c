"""What happens to an import: uploaded → validated → applied → superseded, or invalid, or undone (DOMAIN).

Each step reads and computes without a lock and ends in one transaction, all or nothing, so that a step which broke
off can be done again from its start.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from sipsvc.errors import SipsvcError
from sipsvc.imports import files, preview
from sipsvc.imports.reading import Progress, Reading, read
from sipsvc.store import rates
from sipsvc.store.changes import Changes
from sipsvc.store.database import one_state
from sipsvc.store.models import Gateway, Import, PriceList
from sipsvc.store.pricefile import Row, Unreadable
from sipsvc.store.rates import Owner
from sipsvc.store.types import instant

TARGETS: dict[str, type[Gateway] | type[PriceList]] = {"gateway": Gateway, "pricelist": PriceList}
MODES = ("full", "partial")
# The share of a step that is reading, the rest being comparing and writing.
READING = 60


class Refused(SipsvcError):
    """An import cannot be applied or undone as things stand; the message says why."""


class Gone(SipsvcError):
    """The import, or what it is for, is there no more."""


class Step(Protocol):
    """Who does a step, and how its end is committed."""

    engine: Engine

    def progress(self, percent: int) -> None:
        """How far it is, 0 to 100; may raise to end it."""

    def changes(self, result: dict[str, Any]) -> AbstractContextManager[Changes]:
        """The one transaction of the step. `result` is what is told of it, complete when the transaction ends."""


class Examined(NamedTuple):
    """An upload compared with what is there: `preview` as JSON values, `changed` its file, packed."""

    reading: Reading
    preview: dict[str, Any]
    changed: bytes


def create(
    changes: Changes, owner: Owner, *, source: str, mode: str, filename: str, content: bytes, options: dict[str, Any]
) -> Import:
    """A new import in status `uploaded`; a populated one has no content yet."""
    item = Import(
        target="gateway" if isinstance(owner, Gateway) else "pricelist",
        target_id=owner.id,
        partner=owner.partner,
        source=source,
        mode=mode,
        status="uploaded",
        filename=filename,
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        options=options,
        rows=0,
        rejected=0,
        preview={},
        effective_from=None,
        applied_at=None,
        undone_at=None,
        error="",
    )
    changes.create(item)
    if content:
        files.store(changes.session, item.id, files.UPLOAD, files.pack(content))
    return item


def owner_of(session: Session, item: Import) -> Owner:
    """Raises Gone."""
    owner = session.get(TARGETS[item.target], item.target_id)
    if not isinstance(owner, Gateway | PriceList):
        raise Gone(f"the {item.target} {item.target_id} is there no more")
    return owner


def found(session: Session, import_id: str) -> Import:
    """Raises Gone."""
    item = session.get(Import, import_id)
    if item is None:
        raise Gone(f"the import {import_id} is there no more")
    return item


def examine(
    engine: Engine, owner: Owner, content: bytes, progress: Progress, *, full: bool, populated: bool = False
) -> Examined:
    """Read an upload and compare it with what is there now. Raises Unreadable."""
    reading = read(content, owner, lambda percent: progress(percent * READING // 100), populated=populated)
    with one_state(engine) as connection, Session(connection) as session:
        told, changed = preview.preview(session, owner, reading.rows, full=full)
    progress(95)
    return Examined(reading, told | {"faults": reading.faults}, changed)


def validate(step: Step, import_id: str) -> None:
    """Uploaded → validated, with its preview and files; or → invalid, with the reason."""
    with Session(step.engine) as session:
        item = found(session, import_id)
        owner = owner_of(session, item)
        content = _upload(session, item)
        full, populated = item.mode == "full", item.source == "populate"
        session.expunge_all()
    record(step, item.id, owner, content, full=full, populated=populated)


def record(
    step: Step, import_id: str, owner: Owner, content: bytes, *, full: bool, populated: bool,
    values: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """Examine `content` and keep what came of it; `values` are other fields of the import to set with it."""
    result: dict[str, Any] = {}
    try:
        examined = examine(step.engine, owner, content, step.progress, full=full, populated=populated)
        if not examined.reading.rows and not examined.reading.rejected:
            raise Unreadable([("", None, "has no rows: no coverage fits the filter" if populated else "has no rows")])
    except Unreadable as error:
        with step.changes(result) as changes:
            item = found(changes.session, import_id)
            changes.update(item, {**(values or {}), "status": "invalid", "error": f"the file {error}"})
            result |= {"status": "invalid", "error": item.error}
        return
    with step.changes(result) as changes:
        item = found(changes.session, import_id)
        keep(changes, item, examined, values or {})
        if populated:
            files.store(changes.session, item.id, files.UPLOAD, files.pack(content))
        result |= {"status": item.status, "rows": item.rows, "rejected": item.rejected}
        result["counts"] = examined.preview["counts"]


def keep(changes: Changes, item: Import, examined: Examined, values: Mapping[str, Any]) -> None:
    """The import is validated: what was found goes with it."""
    reading = examined.reading
    told = {"status": "validated", "rows": len(reading.rows), "rejected": reading.rejected, "preview": examined.preview}
    changes.update(item, {**values, **told})
    files.store(changes.session, item.id, files.CHANGES, examined.changed)
    if reading.file is not None:
        files.store(changes.session, item.id, files.REJECTED, reading.file)


def check_apply(
    session: Session, item: Import, *, effective_from: datetime | None, accept_rejected: bool, now: datetime
) -> None:
    """Raises Refused where it could not be applied."""
    if item.status != "validated":
        raise Refused(f"the import is {item.status}; only a validated one can be applied")
    if item.rejected and not accept_rejected:
        raise Refused(
            f"{item.rejected} rows of the file were rejected; correct them and upload them, or say accept_rejected"
        )
    if not item.rows:
        raise Refused("no row of the file is good, so there is nothing to apply")
    if effective_from is not None and effective_from < now:
        raise Refused(f"effective_from {instant(effective_from)} is in the past; it is {instant(now)}")
    latest = rates.horizon(session, owner_of(session, item))
    if latest is not None and latest > (effective_from or now):
        raise Refused(str(rates.TooEarly(latest, effective_from or now)))


def apply(step: Step, import_id: str, *, effective_from: datetime | None, accept_rejected: bool) -> None:
    """Validated → applied; the one applied before is superseded. Raises Refused, and nothing is changed then.

    What differs is found again inside the transaction. An `effective_from` that has passed meanwhile is now.
    """
    with Session(step.engine) as session:
        item = found(session, import_id)
        owner = owner_of(session, item)
        content = _upload(session, item)
        session.expunge_all()
    percent = step.progress
    rows = read(content, owner, lambda done: percent(done * READING // 100), populated=item.source == "populate").rows
    result: dict[str, Any] = {}
    with step.changes(result) as changes:
        item = found(changes.session, import_id)
        result |= put(changes, item, rows, effective_from=effective_from, accept_rejected=accept_rejected)


def put(
    changes: Changes, item: Import, rows: list[Row], *, effective_from: datetime | None, accept_rejected: bool
) -> dict[str, Any]:
    """Apply within a transaction that is there; what it did, in numbers. Raises Refused."""
    session = changes.session
    owner = owner_of(session, item)
    at = changes.at if effective_from is None else max(effective_from, changes.at)
    check_apply(session, item, effective_from=at, accept_rejected=accept_rejected, now=changes.at)
    difference = rates.compare(session, owner, rows, full=item.mode == "full")
    rates.apply(changes, owner, difference, at=at, import_id=item.id)
    for earlier in _of_target(session, item, "applied"):
        changes.update(earlier, {"status": "superseded"})
    changes.update(item, {"status": "applied", "effective_from": at, "applied_at": changes.at})
    counts = preview.totals(difference)
    if not difference.empty:
        said = ", ".join(f"{count} {what}" for what, count in counts.items())
        changes.rows_changed(owner, f"import {item.id} applied at {instant(at)}: {said}")
    return {"status": "applied", "effective_from": instant(at), **counts}


def check_undo(session: Session, item: Import) -> None:
    """Raises Refused where it could not be undone: only what was applied last of its target can."""
    if item.status == "superseded":
        newer = _of_target(session, item, "applied")
        raise Refused(f"the import {newer[0].id} was applied later; undo that first")
    if item.status != "applied":
        raise Refused(f"the import is {item.status}; only an applied one can be undone")


def undo(step: Step, import_id: str) -> None:
    """Applied → undone; the one it superseded is the applied one again. Raises Refused."""
    result: dict[str, Any] = {}
    with step.changes(result) as changes:
        session = changes.session
        item = found(session, import_id)
        check_undo(session, item)
        owner = owner_of(session, item)
        done = rates.undo(changes, owner, item.id)
        changes.update(item, {"status": "undone", "undone_at": changes.at})
        earlier = _of_target(session, item, "superseded")
        if earlier:
            changes.update(earlier[0], {"status": "applied"})
        if done.ended or done.restored:
            said = f"{done.ended} ended, {done.restored} in force again"
            changes.rows_changed(owner, f"import {item.id} undone: {said}")
        result |= {"status": "undone", "ended": done.ended, "restored": done.restored}


def rows_of(session: Session, item: Import, prefixes: Collection[str]) -> list[Row]:
    """The good rows that a validated import has of some prefixes. Raises Gone, Unreadable."""
    reading = read(_upload(session, item), owner_of(session, item), _untold, populated=item.source == "populate")
    return [row for row in reading.rows if row.prefix in prefixes]


def _untold(_percent: int) -> None:
    """Nobody watches."""


def _upload(session: Session, item: Import) -> bytes:
    packed = files.load(session, item.id, files.UPLOAD)
    return b"" if packed is None else files.unpack(packed)


def _of_target(session: Session, item: Import, status: str) -> list[Import]:
    """The target's imports in a status, the one applied last first."""
    ours = select(Import).where(Import.target == item.target, Import.target_id == item.target_id)
    return list(
        session.scalars(ours.where(Import.status == status).order_by(Import.applied_at.desc(), Import.id.desc()))
    )
