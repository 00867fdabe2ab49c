"""Writing the local log of calls: one write a wake-up, synced in groups by a thread (law 8).

A line written survives the process, a line synced survives the machine. What a reader has seen as a whole line
is never taken back, and a segment is never written to once a newer one is to be seen.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sipsvc.cdr.bound import Gauge, Room
from sipsvc.cdr.segments import (
    ALIVE,
    MOST_OUTAGES,
    OUTAGES,
    Entry,
    encode,
    last_alive,
    log,
    open_calls,
    outages,
    read_from,
    read_segments,
    segment_numbers,
    segment_path,
)
from sipsvc.errors import SipsvcError
from sipsvc.parent import Stop

__all__ = [
    "Entry",
    "LogFull",
    "LogLocked",
    "LogWriter",
    "last_alive",
    "lock_file",
    "open_calls",
    "outages",
    "read_from",
    "read_segments",
]

SYNC_INTERVAL_S = 1.0
WAIT_S = 0.25
# Kept free for the calls there are when the disk is full: the answers and ends of a thousand.
RESERVE = 4 * 1024 * 1024
RESERVE_STEP = 512 * 1024
KEEP_SIZE = 1
FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC


_libc = ctypes.CDLL(None, use_errno=True)


def _reserve(descriptor: int, offset: int, length: int) -> None:
    """Have room on the disk for so many bytes from there on; the file is not longer for it. Raises OSError."""
    if _libc.fallocate64(descriptor, KEEP_SIZE, ctypes.c_int64(offset), ctypes.c_int64(length)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class LogFull(SipsvcError):
    """The log takes no more: disk full, file limit, I/O error. The first `written` records did go in; where those are
    all, they went into what is kept free for calls that are under way, and no new one should begin."""

    def __init__(self, folder: Path, error: OSError, written: int) -> None:
        super().__init__(f"the CDR log in {folder} cannot be written: {error.strerror or error}")
        self.written = written


class LogLocked(SipsvcError):
    """Another process holds the folder."""


def lock_file(path: Path) -> int:
    """Lock `path` for this process's life; returns the descriptor that holds it. Raises LogLocked."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise LogLocked(f"{path} is held by process {holder or 'unknown'}: two cannot share one folder") from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
    return descriptor


def wait_for_lock(path: Path, stop: Stop) -> int | None:
    """`lock_file` when whoever holds it lets go; None when told to stop before that."""
    said = False
    while True:
        try:
            return lock_file(path)
        except LogLocked as error:
            if not said:
                log.warning("waits_for_lock", reason=str(error))
                said = True
        if stop.wait(WAIT_S):
            return None


class LogWriter:
    """The one writer of a folder. `append` is for one thread; `on_durable` is called from the sync thread."""

    def __init__(
        self, folder: Path, on_durable: Callable[[int], None], *, segment_bytes: int = 64 * 1024 * 1024
    ) -> None:
        """Takes the folder and begins a segment, or goes on with the last one where the disk is full.

        Raises LogLocked, or LogFull where nothing can be written.
        """
        self._folder = folder
        self._on_durable = on_durable
        self._segment_bytes = segment_bytes
        self._open: dict[str, bytes] = {}
        self._segment = 0
        self._descriptor = -1
        self._size = 0
        self._rotate_at = 0
        # Up to which size of the segment there is room for certain.
        self._reserved = 0
        # Shared with the sync thread, under `_mutex`; the rest is the caller's alone.
        self._mutex = threading.Lock()
        self._retired: list[int] = []
        self._written = 0
        self._fresh = False
        self._damaged = False
        self._wake = threading.Event()
        self._closing = False
        # The sync thread's alone: what is on disk, and the segment that refused to go there.
        self._durable = 0
        self._unsynced = 0
        self._gauge = Gauge(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._held = lock_file(folder / "lock")
        except OSError as error:
            raise LogFull(folder, error, 0) from error
        try:
            self._segment = max(segment_numbers(folder), default=0)
            for record in open_calls(folder):
                self._open[record["cdr_id"]] = self._open.get(record["cdr_id"], b"") + encode(record)
            self._first_segment()
            # As of a second ago at most, from the sync thread on.
            self.room: Room = self._gauge.measure()
            self._note_outage()
            self._alive = os.open(folder / ALIVE, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
            self._show_alive()
        except OSError as error:
            os.close(self._held)
            raise LogFull(folder, error, 0) from error
        self._thread = threading.Thread(target=self._sync_loop, name="cdr-sync", daemon=True)
        self._thread.start()

    def append(self, records: Sequence[tuple[dict[str, Any], int, bool]]) -> None:
        """Append `(record, seq, wait)` each; `seq` rises. With any `wait`, `on_durable` soon follows.

        Raises LogFull; whole lines that went in stay, a half line does not. Without records it only sees whether there
        is room.
        """
        if not records:
            self._need_room(0)
            return
        lines = [encode(record) for record, _, _ in records]
        if self._damaged or self._size >= self._rotate_at:
            self._rotate()
        written, failure = self._write(lines)
        for (record, _, _), line in zip(records[:written], lines, strict=False):
            kind = record["kind"]
            if kind == "start":
                self._open[record["cdr_id"]] = line
            elif kind == "answer":
                self._open[record["cdr_id"]] = self._open.get(record["cdr_id"], b"") + line
            elif kind == "end":
                self._open.pop(record["cdr_id"], None)
        if written:
            with self._mutex:
                self._written = records[written - 1][1]
            if any(wait for _, _, wait in records[:written]):
                self._wake.set()
        if failure is not None:
            raise LogFull(self._folder, failure, written) from failure
        self._need_room(written)

    def close(self) -> None:
        """Sync what is written, end the thread, let go of the folder."""
        self._closing = True
        self._wake.set()
        self._thread.join()
        os.close(self._descriptor)
        os.close(self._alive)
        os.close(self._held)

    # -- the caller's side --

    def _write(self, lines: list[bytes]) -> tuple[int, OSError | None]:
        """Write `lines` in one go; how many went in whole, and what stopped the rest."""
        data = lines[0] if len(lines) == 1 else b"".join(lines)
        if self._damaged:
            return 0, OSError(0, "the segment is damaged and a new one could not be begun")
        done = 0
        failure: OSError | None = None
        try:
            while done < len(data):
                done += os.write(self._descriptor, data[done:] if done else data)
        except OSError as error:
            failure = error
        if failure is None:
            self._size += done
            return len(lines), None
        whole = written = 0
        for line in lines:
            if whole + len(line) > done:
                break
            whole += len(line)
            written += 1
        self._size += whole
        if done > whole:
            try:
                os.ftruncate(self._descriptor, self._size)
            except OSError as error:
                # The half line stays: readers leave it alone at a segment's end, so nothing may follow it here.
                log.error("cdr_log_truncate_failed", segment=self._segment, error=str(error))
                self._damaged = True
        return written, failure

    def _need_room(self, written: int) -> None:
        """Keep room behind the end of the segment, so that what is full takes what is under way. Raises LogFull."""
        if self._reserved - self._size >= RESERVE:
            return
        try:
            _reserve(self._descriptor, self._size, RESERVE + RESERVE_STEP)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise LogFull(self._folder, error, written) from error
            # This file system keeps none: what is full is noticed when it is.
        self._reserved = self._size + RESERVE + RESERVE_STEP

    def _rotate(self) -> None:
        """Begin a new segment, or go on with this one where that fails."""
        try:
            self._begin_segment()
        except OSError as error:
            log.error("cdr_log_rotation_failed", segment=self._segment, error=str(error))
            # Not at every append: each try writes out all open calls.
            self._rotate_at = self._size + max(1, self._segment_bytes // 8)

    def _first_segment(self) -> None:
        """A new one; on a full disk the last one, behind which there may be room yet for the calls that are up."""
        old = segment_path(self._folder, self._segment)
        try:
            self._begin_segment()
        except OSError as error:
            if not self._segment or error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            log.error("cdr_log_rotation_failed", segment=self._segment, error=str(error))
            self._descriptor = os.open(old, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
            there = os.pread(self._descriptor, os.fstat(self._descriptor).st_size, 0)
            self._size = self._reserved = there.rfind(b"\n") + 1
            if self._size < len(there):
                os.ftruncate(self._descriptor, self._size)  # half a line, which nobody has read
            self._rotate_at = self._size + max(1, self._segment_bytes // 8)
            return
        # What the writer before kept free behind its end is wanted behind ours.
        with suppress(OSError):  # none, or delivered and removed meanwhile
            os.truncate(old, old.stat().st_size)

    def _begin_segment(self) -> None:
        """Write the open calls to a new segment and show it to readers, complete, by renaming."""
        number = self._segment + 1
        path = segment_path(self._folder, number)
        draft = path.with_suffix(".new")
        descriptor = os.open(draft, FLAGS, 0o640)
        try:
            carried = b"".join(self._open.values())
            done = 0
            while done < len(carried):
                done += os.write(descriptor, carried[done:])
            os.rename(draft, path)
        except OSError:
            os.close(descriptor)
            os.unlink(draft)
            raise
        with self._mutex:
            if self._descriptor >= 0:
                self._retired.append(self._descriptor)
            self._descriptor = descriptor
            self._fresh = True
            self._segment = number
            self._damaged = False
        self._size = self._reserved = len(carried)
        self._rotate_at = self._size + self._segment_bytes

    # -- the sync thread's side --

    def _sync_loop(self) -> None:
        while not self._closing:
            self._wake.wait(SYNC_INTERVAL_S)
            self._wake.clear()
            self._sync()
            if time.monotonic() >= self._look_again:
                self._show_alive()
                self._measure()
        self._sync()
        self._show_alive()

    def _note_outage(self) -> None:
        begun = outages(self._folder)[-MOST_OUTAGES:]
        draft = self._folder / f"{OUTAGES}.new"
        try:
            draft.write_text("".join(f"{one}\n" for one in begun))
            draft.rename(self._folder / OUTAGES)
        except OSError as error:  # on a full disk the server starts all the same
            log.error("cdr_outage_not_noted", error=str(error))

    def _show_alive(self) -> None:
        """A restart is to know until when a BYE would have been seen. It needs no room on the disk."""
        self._look_again = time.monotonic() + SYNC_INTERVAL_S
        try:
            os.utime(self._alive)
        except OSError as error:  # the syncing must go on: calls wait for it
            log.error("cdr_alive_not_shown", error=str(error))

    def _measure(self) -> None:
        """Not the loop's work: a disk may take its time to answer."""
        try:
            self.room = self._gauge.measure()
        except OSError as error:
            log.error("cdr_log_not_measured", error=str(error))
        except Exception:  # as in `_show_alive`
            log.exception("cdr_log_not_measured")

    def _sync(self) -> None:
        """Put everything written so far on disk and say so. What fails is logged and never called durable."""
        with self._mutex:
            written, segment, descriptor, fresh = self._written, self._segment, self._descriptor, self._fresh
            retired, self._retired = self._retired, []
            self._fresh = False
        if segment == self._unsynced or (written == self._durable and not fresh and not retired):
            return
        try:
            for old in retired:
                os.ftruncate(old, os.fstat(old).st_size)  # what was kept free behind its end is not needed any more
                os.fdatasync(old)
            os.fdatasync(descriptor)
            if fresh:
                folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)
        except OSError as error:
            # A second fdatasync would claim success for pages the kernel has dropped: turn to a new segment.
            log.error("cdr_log_sync_failed", segment=segment, error=str(error))
            self._unsynced = segment
            with self._mutex:
                self._damaged = True
            return
        finally:
            for old in retired:
                os.close(old)
        if written > self._durable:
            self._durable = written
            try:
                self._on_durable(written)
            except Exception:
                log.exception("cdr_durable_callback_failed", seq=written)
