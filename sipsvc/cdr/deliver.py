"""From the local log to the database: rows and position in one transaction, so each call arrives once (law 8)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from sipsvc.cdr import aside
from sipsvc.cdr.calls import OpenCall, OpenCalls
from sipsvc.cdr.log import lock_file, wait_for_lock
from sipsvc.cdr.segments import (
    Line,
    Report,
    Tail,
    deleting,
    delivered,
    report_bad_line,
    segment_name,
    segment_number,
    segment_numbers,
    segment_path,
)
from sipsvc.errors import SipsvcError
from sipsvc.observe import get_logger
from sipsvc.parent import Stop
from sipsvc.settings import Settings
from sipsvc.store import cdrs
from sipsvc.store.database import open_database

BATCH = 500
SHOW_AFTER_MS = 5_000
IDLE_S = 0.25
BACK_OFF_S = (0.2, 10.0)
LAST_TRY_S = 5.0

# What a damaged or unexpected record makes of the code that reads it, or the driver of a value in it.
RECORD_FAULTS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)

log = get_logger("cdr.deliver")


class DatabaseAway(SipsvcError):
    """The database cannot be reached, is locked, full or not migrated; the batch is kept for the next step."""


@dataclass(slots=True)
class Item:
    """One row on its way, with the records it was made of, for the case that it is refused.

    Instead of a row it may be a late answer to be added to a row that stands.
    """

    cdr_id: str
    row: dict[str, Any] | None
    records: list[bytes]
    late: dict[str, Any] | None = None


@dataclass(slots=True)
class Batch:
    """What one transaction carries: `finished` calls, rows of live ones, and the position after them."""

    finished: int = 0
    # Lines of what cannot become a row, to be set aside.
    refused: list[bytes] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    position: tuple[int, int] = (0, 0)
    moved: bool = False


def utc_ms() -> int:
    return time.time_ns() // 1_000_000


class Deliverer:
    """Delivers one folder. `clock` (UTC milliseconds) serves as the log's time where the log is silent."""

    def __init__(self, folder: Path, engine: Engine, *, clock: Callable[[], int] = utc_ms) -> None:
        self._folder = folder
        self._engine = engine
        self._clock = clock
        self._tail = Tail(folder, report=self._bad_line)
        self._report: Report = report_bad_line
        self._open = OpenCalls()
        self._log_time = 0
        self._delivered: tuple[int, int] | None = None
        self._sequence = 0
        self._pending: Batch | None = None
        self.bad_lines = 0
        self.rejected = 0

    def step(self) -> int:
        """Deliver up to BATCH finished calls and what is due of live ones; how many were finished.

        0 means the log is delivered to its end. Raises DatabaseAway, or OSError where a disk is full or at fault; then
        the same batch is tried next.
        """
        try:
            if self._delivered is None:
                self._delivered = self._position()
            if self._pending is None:
                self._retry()
            batch = self._pending or self._collect()
            self._pending = batch
            self._deliver(batch)
        except SQLAlchemyError as error:
            reason = error.orig if isinstance(error, DBAPIError) else error
            raise DatabaseAway(f"the database does not take call records: {reason}") from error
        self._pending = None
        self._remove_segments()
        return batch.finished

    # -- reading --

    def _bad_line(self, segment: int, offset: int, reason: str) -> None:
        self.bad_lines += 1
        self._report(segment, offset, reason)

    def _position(self) -> tuple[int, int]:
        """What an earlier process delivered. Reading begins before it: open calls stand there."""
        with Session(self._engine) as session:
            name, offset = cdrs.position(session)
            self._sequence = cdrs.last_sequence(session)
        segment = segment_number(name)
        if not segment:
            return 0, 0
        newest = max(segment_numbers(self._folder), default=segment)
        try:
            size = segment_path(self._folder, segment).stat().st_size
        except FileNotFoundError:
            size = offset
        if newest < segment or size < offset:
            # Another log than the one delivered from, or one that lost its end: deliver what is there again.
            log.warning("cdr_log_replaced", segment=segment, offset=offset, newest=newest)
            return (0, 0) if newest < segment else (segment, 0)
        return segment, offset

    def _collect(self) -> Batch:
        """Read on until BATCH calls have ended or the log has."""
        try:
            return self._read_on()
        except OSError:
            # What was read of it would be passed over: begin where a new process does.
            self._tail, self._open = Tail(self._folder, report=self._bad_line), OpenCalls()
            raise

    def _read_on(self) -> Batch:
        assert self._delivered is not None
        batch = Batch()
        for line in self._tail.read():
            known = (line.segment, line.offset_after) <= self._delivered
            self._take(line, batch, known)
            batch.moved = batch.moved or not known
            if batch.finished >= BATCH:
                break
        else:
            # Caught up: a lone long call is to be seen although nothing more is logged.
            self._log_time = max(self._log_time, self._clock())
        for cdr_id, call in self._open.due(self._log_time - SHOW_AFTER_MS):
            records = [body for body in (call.start, call.answer) if body is not None]
            self._add(batch, cdr_id, call, None, records)
        batch.position = max((self._tail.segment, self._tail.offset), self._delivered)
        return batch

    def _take(self, line: Line, batch: Batch, known: bool) -> None:
        if line.kind == "late":
            if not known:
                self._add_late(batch, line)
            return
        if line.kind != "end":
            self._open.note(line)
            return
        call = self._open.end(line.cdr_id)
        if known:
            return
        batch.finished += 1
        records = [line.body]
        if call is not None:
            records = [body for body in (call.start, call.answer, line.body) if body is not None]
        self._add(batch, line.cdr_id, call, line.body, records)

    def _add(self, batch: Batch, cdr_id: str, call: OpenCall | None, end: bytes | None, records: list[bytes]) -> None:
        try:
            start = _load(call.start) if call is not None else None
            ended = _load(end)
            # An end says all that the answer said.
            answer = _load(call.answer) if call is not None and ended is None else None
            if ended is not None:
                self._log_time = max(self._log_time, ended["end_at"])
            batch.items.append(Item(cdr_id, cdrs.merge(start, answer, ended), records))
        except RECORD_FAULTS as error:
            batch.refused.append(self._refusal(records, cdr_id, error))

    def _add_late(self, batch: Batch, line: Line) -> None:
        try:
            batch.items.append(Item(line.cdr_id, None, [line.body], _load(line.body)))
        except RECORD_FAULTS as error:
            batch.refused.append(self._refusal([line.body], line.cdr_id, error))

    # -- writing --

    def _deliver(self, batch: Batch) -> None:
        """One transaction; row by row where the database refuses one. Raises OSError, SQLAlchemyError when away."""
        if batch.refused:
            aside.add(self._folder, b"".join(batch.refused))
            batch.refused = []
        if not batch.moved and not batch.items:
            return
        try:
            self._transact(batch.items, batch.position)
        except (SQLAlchemyError, *RECORD_FAULTS) as error:
            if _away(error):
                raise
            self._deliver_singly(batch)
        self._delivered = batch.position
        try:
            delivered(self._folder, *batch.position)
        except OSError as error:
            log.warning("cdr_delivered_not_noted", error=str(error))

    def _deliver_singly(self, batch: Batch) -> None:
        """Find the rows the database refuses. Rows delivered here and again after a crash change nothing."""
        while batch.items:
            item = batch.items[0]
            try:
                self._singly(item)
            except (SQLAlchemyError, *RECORD_FAULTS) as error:
                if _away(error):
                    raise
                self._reject(item.records, item.cdr_id, error)
            # Done with, whatever becomes of the rest: no second line in rejected.log if the database goes away.
            del batch.items[0]
        self._transact([], batch.position)

    def _singly(self, item: Item) -> None:
        """Raises what the database, or the driver, has against this one."""
        assert self._delivered is not None
        try:
            self._transact([item], self._delivered)
        except (SQLAlchemyError, *RECORD_FAULTS) as error:
            if not _away(error):
                with Session(self._engine) as session:
                    # A table that cannot be read either is not the row's fault.
                    cdrs.get(session, item.cdr_id)
            raise

    def _transact(self, items: list[Item], position: tuple[int, int]) -> None:
        with Session(self._engine) as session, session.begin():
            rows = [item.row for item in items if item.row is not None]
            last = cdrs.number(rows, self._sequence)
            if rows:
                cdrs.upsert(session, rows)
            for item in items:
                if item.late is not None:  # its end stands before it in the log
                    cdrs.add_late(session, item.late)
            segment, offset = position
            cdrs.set_position(session, segment_name(segment), offset, last)
        self._sequence = last

    def _reject(self, records: list[bytes], cdr_id: str, error: BaseException) -> None:
        """Keep what cannot become a row, on disk, with the reason."""
        aside.add(self._folder, self._refusal(records, cdr_id, error))

    def _refusal(self, records: list[bytes], cdr_id: str, error: BaseException) -> bytes:
        self.rejected += 1
        # PostgreSQL tells the whole row behind the first line.
        told = str(getattr(error, "orig", None) or error).partition("\n")[0]
        reason = f"{type(error).__name__}: {told}"
        log.error("cdr_rejected", cdr_id=cdr_id, reason=reason)
        return aside.line(self._clock(), cdr_id, reason, records)

    def _retry(self) -> None:
        """Deliver once more what was set aside, where somebody asked for it."""
        lines = aside.waiting(self._folder)
        if not lines:
            return
        refused: list[bytes] = []
        for line in lines:
            cdr_id, records = "", []
            try:
                kept = orjson.loads(line)
                cdr_id = kept["cdr_id"]
                records = [orjson.dumps(record) for record in kept["records"]]
                for item in _items(kept["cdr_id"], kept["records"], records):
                    self._singly(item)
            except orjson.JSONDecodeError:
                refused.append(line)
            except (SQLAlchemyError, *RECORD_FAULTS) as error:
                if _away(error):
                    raise
                refused.append(self._refusal(records, cdr_id, error))
        aside.tried(self._folder, refused)
        log.info("cdr_retried", delivered=len(lines) - len(refused), rejected=len(refused))

    def _remove_segments(self) -> None:
        """Delete segments delivered to their end, save those an open call still needs."""
        numbers = segment_numbers(self._folder)
        if not numbers or numbers[0] >= self._tail.segment:
            return
        keep = min(self._tail.segment, self._open.oldest_needed(self._tail.segment))
        old = [number for number in numbers if number < keep]
        if not old:
            return
        with deleting(self._folder) as may:
            if not may:  # a backup is being made: at a later step
                return
            # What was carried over must be on disk before the original goes.
            for path in (*(segment_path(self._folder, number) for number in numbers if number >= keep), self._folder):
                _sync(path)
            for number in old:
                segment_path(self._folder, number).unlink(missing_ok=True)
        log.info("cdr_segments_removed", first=old[0], last=old[-1])


def _items(cdr_id: str, kept: list[dict[str, Any]], records: list[bytes]) -> list[Item]:
    """What a line of rejected.log was: a call, or an answer too late for one."""
    if kept[0]["kind"] == "late":
        return [Item(cdr_id, None, records, kept[0])]
    known = {record["kind"]: record for record in kept}
    return [Item(cdr_id, cdrs.merge(known.get("start"), known.get("answer"), known.get("end")), records)]


def _load(body: bytes | None) -> dict[str, Any] | None:
    return None if body is None else orjson.loads(body)


def _away(error: BaseException) -> bool:
    """Whether the fault lies with the database rather than with a row.

    PostgreSQL says it: a row is to blame for data that do not fit, for constraints (classes 21 to 23) and for being too
    large for an index (54), not for a server that takes no writes or for a right that is missing.
    """
    if isinstance(error, DBAPIError):
        state = getattr(error.orig, "sqlstate", None)
        if state is not None:
            return state[:2] not in ("21", "22", "23", "54")
        return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)
    return False


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# -- the process --


def cdr_folder(settings: Settings) -> Path:
    return settings.data.dir / "cdr"


def main(settings: Settings) -> None:
    """Deliver until told to stop, then once more to the end of the log.

    Waits for its turn while another deliverer holds the folder.
    """
    stop = Stop()
    folder = cdr_folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    held = wait_for_lock(folder / "deliver.lock", stop)
    if held is None:
        return
    engine = open_database(settings.data.url)
    try:
        deliverer = Deliverer(folder, engine)
        _run(deliverer, stop)
        _finish(deliverer)
    finally:
        engine.dispose()
        os.close(held)


def drain_once(settings: Settings) -> int:
    """Deliver what the log holds now; the number of finished calls. Raises LogLocked, DatabaseAway."""
    folder = cdr_folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    held = lock_file(folder / "deliver.lock")
    engine = open_database(settings.data.url)
    try:
        deliverer = Deliverer(folder, engine)
        total = 0
        while done := deliverer.step():
            total += done
        return total
    finally:
        engine.dispose()
        os.close(held)


def _run(deliverer: Deliverer, stop: Stop) -> None:
    pause = BACK_OFF_S[0]
    wait = 0.0
    while not stop.wait(wait):
        try:
            wait = 0.0 if deliverer.step() else IDLE_S
            pause = BACK_OFF_S[0]
        except (DatabaseAway, OSError) as error:
            _say(error, pause)
            wait, pause = pause, min(2 * pause, BACK_OFF_S[1])


def _say(error: Exception, pause: float) -> None:
    event = "cdr_database_away" if isinstance(error, DatabaseAway) else "cdr_delivery_stuck"
    log.warning(event, reason=str(error), retry_s=pause)


def _finish(deliverer: Deliverer) -> None:
    """The last delivery; a database that is away for long leaves the rest to the next start."""
    give_up = time.monotonic() + LAST_TRY_S
    while True:
        try:
            if not deliverer.step():
                return
        except (DatabaseAway, OSError) as error:
            _say(error, BACK_OFF_S[0])
            if time.monotonic() > give_up:
                log.warning("cdr_left_for_next_start", reason=str(error))
                return
            time.sleep(BACK_OFF_S[0])
