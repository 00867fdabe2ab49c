"""How full the log is: a bound on the whole of it, what is said long before, and when no new call is admitted (law 8).

The bound shuts the door to new calls, never the log: what calls that are up have still to record goes in above it.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from sipsvc.cdr.aside import Aside
from sipsvc.cdr.segments import segment_numbers, segment_path
from sipsvc.observe import get_logger

# Per cent of the bound; each is said once, and again when the log has been this much emptier meanwhile.
WARN_AT = (50, 80)
QUIET = 10
# Calls are admitted again below this, so that the door does not flap.
REOPEN_AT = 90
# What the disk has to have left for the calls that are up: a twentieth of it, and no more than this.
RESERVE_BYTES = 32 * 1024 * 1024

# What `sipsvc out` notes beside the log every few seconds: each output with `waiting` and `failing`.
OUTPUTS = "outputs"
SILENT_S = 30.0

log = get_logger("cdr.log")


class Room(NamedTuple):
    """Bytes: `used` by the segments, `free` on the disk, `reserve` of those that is for calls that are up.

    `rejected` is how many calls are set aside because the database refuses them. `outputs` are told by name: how many
    calls are `waiting` for each, and "" or why it is `failing`.
    """

    used: int
    free: int
    reserve: int
    rejected: int
    outputs: dict[str, dict[str, Any]]


class Gauge:
    """Measures a folder; for one thread, and not the loop's: it asks the disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._aside = Aside(folder)

    def measure(self) -> Room:
        """Raises OSError where the disk does not even tell."""
        used = 0
        for number in segment_numbers(self._folder):
            try:
                used += segment_path(self._folder, number).stat().st_size
            except FileNotFoundError:  # delivered and removed meanwhile
                continue
        disk = os.statvfs(self._folder)
        whole = disk.f_blocks * disk.f_frsize
        free, reserve = disk.f_bavail * disk.f_frsize, min(RESERVE_BYTES, whole // 20)
        return Room(used, free, reserve, self._aside.count(), self._outputs())

    def _outputs(self) -> dict[str, dict[str, Any]]:
        try:
            with open(self._folder / OUTPUTS, "rb") as file:
                silent = time.time() - os.fstat(file.fileno()).st_mtime > SILENT_S
                told: dict[str, dict[str, Any]] = orjson.loads(file.read())
        except (FileNotFoundError, ValueError):
            return {}
        return {name: one | {"failing": "nothing is handed on"} for name, one in told.items()} if silent else told


class Bound:
    """`limit` in bytes. `full` is "" or why no new call is admitted: `bound` or `disk`."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.full = ""
        self._warned = 0

    def look(self, room: Room) -> None:
        """Say what is to be said of it, and close or open the door."""
        percent = room.used * 100 // self.limit
        due = max((step for step in WARN_AT if percent >= step), default=0)
        if due > self._warned:
            log.warning("cdr_log_filling", percent=percent, used_bytes=room.used, limit_bytes=self.limit)
            self._warned = due
        elif percent < self._warned - QUIET:
            self._warned = due
        why = "bound" if room.used >= self.limit else "disk" if room.free < room.reserve else ""
        if why and not self.full:
            log.error("cdr_log_full", why=why, used_bytes=room.used, limit_bytes=self.limit, free_bytes=room.free)
            self.full = why
        elif self.full and not why and self._emptied(room):
            log.info("cdr_log_has_room", used_bytes=room.used, limit_bytes=self.limit, free_bytes=room.free)
            self.full = ""
        elif self.full and why:
            self.full = why

    def overrun(self, room: Room) -> bool:
        """Whether it is a tenth above the bound: refused calls alone can do that."""
        return room.used * 100 >= self.limit * 110

    def _emptied(self, room: Room) -> bool:
        return room.used * 100 < self.limit * REOPEN_AT and room.free >= room.reserve + room.reserve // 4
