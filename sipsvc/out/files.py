"""A file of calls a day and format, each call in it once, whatever dies on the way (law 8).

The file of a day that is not over is `cdr-2026-11-25.csv.part`; closed, it loses the `.part` and never changes again. A
call goes into the file of the day (UTC) it ended on, or the open one where that is closed. What stands behind the
position noted in the database is cut off before anything is written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from io import FileIO
from pathlib import Path
from typing import Any

from sipsvc.cdrsettings import FilesSettings
from sipsvc.observe import get_logger
from sipsvc.out.document import csv_head, csv_line, json_line
from sipsvc.out.output import Failed, State
from sipsvc.store.models import Cdr

# So long after midnight a file is kept open for calls on their way here, if no call of the next day closes it.
GRACE = timedelta(minutes=5)
DAY = timedelta(days=1)
HEADS = {"csv": csv_head(), "jsonl": b""}
LINES: dict[str, Callable[[Cdr], bytes]] = {"csv": csv_line, "jsonl": json_line}

log = get_logger("out")


def utc_now() -> datetime:
    return datetime.now(UTC)


class Files:
    """State: `name` and `day` of the open files and their `sizes` by format; `closed`, the last day that is."""

    name = "files"
    batch = 500

    def __init__(self, settings: FilesSettings, *, now: Callable[[], datetime] = utc_now) -> None:
        self._folder = Path(settings.dir)
        self._formats = list(settings.formats)
        self._now = now
        self._open: dict[str, FileIO] = {}
        self._name = ""
        self._day: date | None = None
        self._closed = date.min
        # Nothing was ever noted, so an open file that has calls is of another life: before a rollback of the schema.
        self._anew = True

    def resume(self, state: State) -> None:
        self._anew = state is None
        try:
            self._forget()
            self._folder.mkdir(parents=True, exist_ok=True)
            self._resume(state or {})
        except OSError as error:
            raise _failed(error) from error

    def hand_on(self, rows: Sequence[Cdr]) -> tuple[int, State]:
        days = [self._day_of(row) for row in rows]
        try:
            if self._day is not None and days[0] > self._day:
                # Noted by itself, so that whoever fetches files may take them away.
                self._finish()
                return 0, self._state()
            if self._day is None:
                self._begin(days[0])
                if self._anew:
                    # Noted before a call is in it, or it would not be known for ours after a crash.
                    self._anew = False
                    return 0, self._state()
            day = self._day
            assert day is not None
            done = next((at for at, one in enumerate(days) if one > day), len(rows))
            for kind, file in self._open.items():
                _put(file, b"".join(LINES[kind](row) for row in rows[:done]))
                os.fsync(file.fileno())
        except OSError as error:
            raise _failed(error) from error
        return done, self._state()

    def rest(self, state: State) -> State:
        if self._day is None or self._now() < datetime.combine(self._day, time.min, UTC) + DAY + GRACE:
            return state
        try:
            self._finish()
        except OSError as error:
            raise _failed(error) from error
        return self._state()

    def close(self) -> None:
        self._forget()

    # -- how --

    def _day_of(self, row: Cdr) -> date:
        """The day a call belongs to, of those that may still be written: none that is closed, none to come."""
        ended = (row.end_at or row.invite_at).astimezone(UTC).date()
        day = min(ended, self._now().astimezone(UTC).date())
        return day if day > self._closed else self._closed + DAY

    def _state(self) -> dict[str, Any]:
        sizes = {kind: file.tell() for kind, file in self._open.items()}
        day = self._day.isoformat() if self._day is not None else ""
        closed = self._closed.isoformat() if self._closed > date.min else ""
        return {"name": self._name, "day": day, "sizes": sizes, "closed": closed}

    def _resume(self, state: dict[str, Any]) -> None:
        self._closed = date.fromisoformat(state["closed"]) if state.get("closed") else date.min
        if not state.get("day"):
            return
        self._name, self._day = state["name"], date.fromisoformat(state["day"])
        sizes: dict[str, int] = state["sizes"]
        if not any(self._path(kind).exists() for kind in sizes):
            # A format that was given up goes on to the day's end, one that is new begins now.
            for kind in dict.fromkeys([*sizes, *self._formats]):
                self._open[kind] = self._reopened(kind, sizes.get(kind, 0))
            return
        # It was being closed when we died.
        for kind, size in sizes.items():
            if self._part(kind).exists():
                self._open[kind] = self._reopened(kind, size)
        self._finish()

    def _reopened(self, kind: str, size: int) -> FileIO:
        """The open file just as it was noted. What is missing of it was lost by others, and is said."""
        file = self._opened(kind, os.O_RDWR | os.O_CREAT)
        there = file.seek(0, os.SEEK_END)
        if there < size:
            log.error("cdr_file_short", file=str(self._part(kind)), bytes=there, noted=size)
        else:
            file.truncate(size)
            file.seek(size)
        if not file.tell():
            _put(file, HEADS[kind])
        return file

    def _begin(self, day: date) -> None:
        self._name = f"cdr-{day.isoformat()}"
        number = 1
        # What is closed, or another life's, is never written over, whatever became of the position.
        while any(self._path(kind).exists() or (self._anew and self._has_calls(kind)) for kind in self._formats):
            number += 1
            self._name = f"cdr-{day.isoformat()}-{number}"
        for kind in self._formats:
            self._open[kind] = self._opened(kind, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            _put(self._open[kind], HEADS[kind])
        self._day = day
        _sync(self._folder)

    def _has_calls(self, kind: str) -> bool:
        part = self._part(kind)
        return part.exists() and part.stat().st_size > len(HEADS[kind])

    def _opened(self, kind: str, flags: int) -> FileIO:
        # Who called whom is not everybody's to read.
        return FileIO(self._part(kind), "r+", opener=lambda path, _: os.open(path, flags | os.O_CLOEXEC, 0o640))

    def _finish(self) -> None:
        """What is noted is all there will be."""
        assert self._day is not None
        for kind, file in self._open.items():
            os.fsync(file.fileno())
            os.rename(self._part(kind), self._path(kind))
        _sync(self._folder)
        self._closed = max(self._closed, self._day)
        self._forget()

    def _forget(self) -> None:
        for file in self._open.values():
            file.close()
        self._open = {}
        self._day = None

    def _path(self, kind: str) -> Path:
        return self._folder / f"{self._name}.{kind}"

    def _part(self, kind: str) -> Path:
        return self._folder / f"{self._name}.{kind}.part"


def _put(file: FileIO, data: bytes) -> None:
    """Raises OSError; then half of it may stand there, beyond what is noted."""
    done = 0
    while done < len(data):
        done += file.write(data[done:])


def _failed(error: OSError) -> Failed:
    return Failed(f"{error.filename or 'the folder'}: {error.strerror or error}")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
