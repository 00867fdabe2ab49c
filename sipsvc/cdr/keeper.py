"""The log as the worker uses it: records in order, kept while the log does not take them, and its door (law 8)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sipsvc.cdr.bound import Bound, Room
from sipsvc.cdr.log import LogFull, LogWriter
from sipsvc.observe import get_logger

RETRY_S = 0.5
LOOK_S = 1.0
SEGMENT_BYTES = 64 * 1024 * 1024
# Records that may wait in memory for a full disk; then calls refused for it are counted and not recorded.
MOST_WAITING = 20_000
# What is encoded at a time, and in vain where the disk is full.
SLICE = 500

Owed = tuple[dict[str, Any], int, bool]


class Keeper:
    """For the loop's thread. `limit` is the bound in bytes.

    `written` is told of each record that went in, `door` whether the log is closed to new calls.
    """

    def __init__(
        self, folder: Path, limit: int, written: Callable[[dict[str, Any]], None], door: Callable[[bool], None]
    ) -> None:
        self._folder = folder
        self._written = written
        self._door = door
        self._writer: LogWriter | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._waiting: list[Owed] = []
        self._prune_at = MOST_WAITING
        self._stuck = False
        self._log = get_logger("sip")
        self.bound = Bound(limit)
        # Calls refused because the log was full that have no record.
        self.unrecorded = 0

    @property
    def full(self) -> bool:
        """Whether no new call may be admitted."""
        return self._stuck or bool(self.bound.full)

    @property
    def why(self) -> str:
        """ "" or why not: `write` (it fails), `bound` or `disk`."""
        return "write" if self._stuck else self.bound.full

    @property
    def waiting(self) -> int:
        """Records the log has not taken."""
        return len(self._waiting)

    @property
    def room(self) -> Room:
        """As of a second ago at most."""
        return self._writer.room if self._writer is not None else Room(0, 0, 0, 0, {})

    def open(self, loop: asyncio.AbstractEventLoop, durable: Callable[[int], None]) -> None:
        """Take the folder. `durable` is called from another thread. Raises LogLocked or LogFull."""
        self._loop = loop
        # A bound smaller than a few segments would have nothing to remove before it is reached.
        size = min(SEGMENT_BYTES, max(1, self.bound.limit // 8))
        self._writer = LogWriter(self._folder, durable, segment_bytes=size)
        self._look()

    def close(self) -> None:
        """What was written is on disk."""
        self._loop = None
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._writer is not None:
            before = len(self._waiting) + 1
            while 0 < len(self._waiting) < before:
                before = len(self._waiting)
                self.write([])
            if self._waiting:
                self._log.error("cdr_records_lost", records=len(self._waiting))
            self._writer.close()
            self._writer = None

    def write(self, records: list[Owed]) -> None:
        """What the log does not take is tried again; until it does, no new call is admitted."""
        self._waiting += records
        if self._writer is None:
            return
        # While some wait only the timer tries: to encode them anew for each refused call would take all of the loop.
        held = bool(records) and len(self._waiting) > len(records) and self._retry is not None
        if len(self._waiting) > self._prune_at or (not held and self.bound.overrun(self._writer.room)):
            self._waiting = self._without_refused(self._waiting)
            self._prune_at = max(MOST_WAITING, 2 * len(self._waiting))
        if held:
            return
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        owed, self._waiting = self._waiting, []
        done, full = self._append(self._writer, owed)
        self._waiting = owed[done:]
        if full is not None:
            if not self._stuck:
                self._stuck = True
                self._log.error("log_full", error=str(full), waiting=len(self._waiting))
                self._door(True)
            if self._loop is not None:
                self._retry = self._loop.call_later(RETRY_S, self.write, [])
        elif self._stuck:
            self._stuck = False
            self._log.info("log_writable")
            self._door(self.full)
        for record, _, _ in owed[:done]:
            self._written(record)

    @staticmethod
    def _append(writer: LogWriter, owed: list[Owed]) -> tuple[int, LogFull | None]:
        """How many went in, up to what stopped the rest, if anything did. Without any the log is asked for room."""
        done = 0
        while True:
            some = owed[done : done + SLICE]
            try:
                writer.append(some)
            except LogFull as full:
                return done + full.written, full
            done += len(some)
            if done == len(owed):
                return done, None

    def _without_refused(self, records: list[Owed]) -> list[Owed]:
        """Leave out calls refused for the log alone, where all of them is at hand: nobody pays for those."""
        begun = {record["cdr_id"] for record, _, _ in records if record["kind"] == "start"}
        refused = [
            record["cdr_id"]
            for record, _, _ in records
            if record["kind"] == "end" and record["code"] == "log_full" and record["cdr_id"] in begun
        ]
        # While writing fails, one is left to try it with: with none at all the door would open.
        over = set(refused[:-1] if self._stuck else refused)
        self.unrecorded += len(over)
        return [one for one in records if one[0]["cdr_id"] not in over]

    def _look(self) -> None:
        """Once a second, for room comes while nobody calls."""
        if self._writer is None or self._loop is None:
            return
        before = self.full
        self.bound.look(self._writer.room)
        if self.full != before:
            self._door(self.full)
        self._loop.call_later(LOOK_S, self._look)
