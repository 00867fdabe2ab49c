"""The bound on the log: said long before, new calls kept out at it, and nothing that was answered lost (law 8)."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from sipsvc.cdr import keeper as keeping_it
from sipsvc.cdr.bound import OUTPUTS, Bound, Gauge, Room
from sipsvc.cdr.deliver import DatabaseAway, Deliverer
from sipsvc.cdr.keeper import MOST_WAITING, SLICE, Keeper, Owed
from sipsvc.cdr.log import LogFull, LogWriter
from sipsvc.cdr.segments import encode, open_calls, read_segments
from sipsvc.store.database import migrate, open_database
from sipsvc.store.models import Cdr
from tests.cdr.records import answer, end, refused, start, whole_call

MB = 1024 * 1024
Record = dict[str, Any]


def room(used: int, free: int = 1 << 40, reserve: int = 0) -> Room:
    return Room(used, free, reserve, 0, {})


def said(bound: Bound, *uses: int) -> list[tuple[str, Any]]:
    with capture_logs() as logs:
        for used in uses:
            bound.look(room(used))
    return [(line["event"], line.get("percent", line.get("why"))) for line in logs]


@pytest.mark.rule("law 8")
def test_warnings_come_long_before_the_bound_and_once_each() -> None:
    bound = Bound(1_000)
    assert said(bound, 0, 499, 500, 501, 640, 799) == [("cdr_log_filling", 50)]
    assert said(bound, 801, 950, 999) == [("cdr_log_filling", 80)]
    assert said(bound, 1_000, 1_200) == [("cdr_log_full", "bound")]
    assert bound.full == "bound"
    assert said(bound, 950, 900) == []
    assert said(bound, 899) == [("cdr_log_has_room", None)]
    assert bound.full == ""
    # About the same mark again is no news; from well below it is.
    assert said(bound, 790, 810, 750, 810) == []
    assert said(bound, 690, 800) == [("cdr_log_filling", 80)]
    assert said(bound, 100, 600) == [("cdr_log_filling", 60)]


@pytest.mark.rule("law 8")
def test_a_disk_with_its_last_part_left_is_full_before_a_write_fails() -> None:
    bound = Bound(1 << 40)
    bound.look(room(10, free=100, reserve=100))
    assert bound.full == ""
    bound.look(room(10, free=99, reserve=100))
    assert bound.full == "disk"
    bound.look(room(10, free=110, reserve=100))
    assert bound.full == "disk"
    bound.look(room(10, free=125, reserve=100))
    assert bound.full == ""


def test_a_folder_is_measured(tmp_path: Path) -> None:
    gauge = Gauge(tmp_path)
    (tmp_path / "cdr-00000001.log").write_bytes(bytes(70))
    (tmp_path / "cdr-00000002.log").write_bytes(bytes(30))
    (tmp_path / "rejected.log").write_bytes(b"{}\n{}\n")
    (tmp_path / OUTPUTS).write_bytes(orjson.dumps({"files": {"waiting": 3, "failing": ""}}))
    found = gauge.measure()
    assert (found.used, found.rejected) == (100, 2)
    assert 0 < found.reserve <= 32 * MB
    assert found.outputs == {"files": {"waiting": 3, "failing": ""}}
    with (tmp_path / "rejected.log").open("ab") as file:
        file.write(b"{}\n")
    (tmp_path / "retry.log").write_bytes(b"{}\n")
    assert gauge.measure().rejected == 4
    (tmp_path / "rejected.log").write_bytes(b"{}\n")
    os.utime(tmp_path / OUTPUTS, (0, 0))
    found = gauge.measure()
    assert found.rejected == 2
    assert found.outputs["files"]["failing"] == "nothing is handed on"


# The keeper, on a loop as in the worker, and a deliverer whose database comes and goes


class Kept:
    """A keeper and what it told."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.written: list[Record] = []
        self.door: list[bool] = []
        self.durable: list[int] = []
        self.keeper = Keeper(folder, limit, self.written.append, self.door.append)
        self._seq = 0

    def owed(self, *records: Record) -> list[Owed]:
        found = []
        for record in records:
            self._seq += 1
            found.append((record, self._seq, record["kind"] == "answer"))
        return found

    def write(self, *records: Record) -> None:
        self.keeper.write(self.owed(*records))

    async def until(self, condition: Callable[[], bool]) -> None:
        give_up = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < give_up, "waited in vain"
            await asyncio.sleep(0.02)


@contextmanager
def keeping(folder: Path, limit: int) -> Iterator[tuple[asyncio.Runner, Kept]]:
    with asyncio.Runner() as runner:
        kept = Kept(folder, limit)
        kept.keeper.open(runner.get_loop(), kept.durable.append)
        try:
            yield runner, kept
        finally:
            kept.keeper.close()


def events(logs: list[Any]) -> list[str]:
    return [line["event"] for line in logs if line["event"].startswith("cdr_log_")]


def fill(path: Path) -> None:
    """Until the disk is full."""
    with path.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(4096))


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """On a database that is not there yet."""
    made = open_database(f"sqlite:///{tmp_path / 'db' / 'sipsvc.db'}")
    yield made
    made.dispose()


@pytest.mark.rule("law 8")
def test_the_door_shuts_at_the_bound_and_opens_when_the_database_is_back(tmp_path: Path, engine: Engine) -> None:
    folder = tmp_path / "cdr"
    with keeping(folder, MB) as (runner, kept), capture_logs() as logs:
        deliverer = Deliverer(folder, engine)
        kept.write(start(0), answer(0))
        number = 0

        written = 0
        for percent in (55, 85, 101):
            while written < MB * percent // 100:
                number += 1
                kept.write(*whole_call(number))
                written += sum(len(encode(record)) for record in whole_call(number))
            with pytest.raises(DatabaseAway):
                deliverer.step()
            wanted = {55: 1, 85: 2, 101: 3}[percent]
            runner.run(kept.until(lambda wanted=wanted: len(events(logs)) == wanted))  # type: ignore[misc]
        assert (kept.door, kept.keeper.why) == ([True], "bound")
        # A call refused now has its record, and so has the end of the one that is up.
        kept.write(refused(9_001, code="log_full", status=503))
        kept.write(end(0, 60_000))
        assert kept.keeper.waiting == 0
        runner.run(kept.until(lambda: kept.durable[-1:] != [] and kept.keeper.room.used > MB))
        migrate(str(engine.url))
        while deliverer.step():
            runner.run(asyncio.sleep(0))
        runner.run(kept.until(lambda: not kept.keeper.full))
        assert kept.door == [True, False]
        assert kept.keeper.room.used < MB * 9 // 10
    with Session(engine) as session:
        found = session.scalars(select(Cdr)).all()
    assert len(found) == number + 2
    assert {row.state for row in found} == {"ended"}
    assert events(logs) == ["cdr_log_filling", "cdr_log_filling", "cdr_log_full", "cdr_log_has_room"]


@pytest.mark.rule("law 8")
def test_a_flood_of_refused_calls_does_not_fill_the_disk_either(tmp_path: Path) -> None:
    """A tenth above the bound they are counted only, and everything else is recorded still."""
    with keeping(tmp_path, MB) as (runner, kept):
        kept.write(*(start(number) for number in range(3_000)))
        runner.run(kept.until(lambda: kept.keeper.bound.overrun(kept.keeper.room)))
        full = [start(5_000), end(5_000, code="log_full", status=503), start(5_001), end(5_001), answer(3)]
        kept.write(*full, end(7, code="log_full"))
        assert kept.keeper.unrecorded == 1
    wanted = [*full[2:], end(7, code="log_full")]  # whose start is on disk: it would be open for ever
    assert [entry.record for entry in read_segments(tmp_path)][-4:] == wanted
    assert kept.written[-4:] == wanted


class SmallDisk:
    """A file system of 16 MiB where this process may mount one, else files that may not grow."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mounted = os.path.ismount(folder)
        self._ballast = folder / "ballast"
        self._limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        self._handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def fill_but(self, left: int) -> None:
        disk = os.statvfs(self.folder)
        self._ballast.write_bytes(bytes(disk.f_bavail * disk.f_frsize - left))

    def fill(self) -> None:
        if self.mounted:
            with pytest.raises(OSError, match="No space left on device"):
                fill(self._ballast)
        else:
            size = max(path.stat().st_size for path in self.folder.glob("cdr-*.log"))
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 5_000, self._limit[1]))

    def free(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._limit)
        signal.signal(signal.SIGXFSZ, self._handler)
        self._ballast.unlink(missing_ok=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() == 0:
        command = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
        subprocess.run(command, capture_output=True, check=False)
    disk = SmallDisk(folder)
    yield disk
    disk.free()
    if disk.mounted:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.rule("law 8")
def test_on_a_full_disk_nothing_answered_is_lost(small_disk: SmallDisk) -> None:
    with keeping(small_disk.folder, 1 << 40) as (runner, kept):
        kept.write(start(1), answer(1), start(2), answer(2))
        if small_disk.mounted:
            # The last twentieth is kept for those two.
            small_disk.fill_but(600 * 1024)
            runner.run(kept.until(lambda: kept.keeper.full))
            assert (kept.keeper.why, kept.door) == ("disk", [True])
        kept.write(end(1, 60_000))
        assert kept.keeper.waiting == 0
        # And then somebody takes that too.
        small_disk.fill()
        lines = [refused(n, code="log_full") for n in range(100, 8_100)]
        kept.write(*lines, end(2, 60_000))
        assert kept.keeper.why == "write"
        assert kept.keeper.waiting > 0
        small_disk.free()
        runner.run(kept.until(lambda: not kept.keeper.full))
        assert kept.keeper.waiting == 0
        assert kept.door[-1] is False
    assert open_calls(small_disk.folder) == []
    ended = [entry.record["cdr_id"] for entry in read_segments(small_disk.folder) if entry.record["kind"] == "end"]
    assert ended == [one["cdr_id"] for one in (end(1), *lines, end(2))]


@pytest.mark.rule("law 8")
def test_what_waits_for_a_full_disk_has_an_end(tmp_path: Path) -> None:
    """Without a log at all, as before it is opened."""
    kept = Kept(tmp_path, MB)
    kept.write(start(1), answer(1))
    for number in range(MOST_WAITING // 2):
        kept.write(start(10_000 + number), end(10_000 + number, code="log_full"))
    assert kept.keeper.waiting == MOST_WAITING + 2
    with asyncio.Runner() as runner:
        kept.keeper.open(runner.get_loop(), kept.durable.append)
        kept.write(end(1))
        kept.keeper.close()
    assert kept.keeper.unrecorded == MOST_WAITING // 2
    assert [entry.record for entry in read_segments(tmp_path)] == [start(1), answer(1), end(1)]


class FullDisk:
    """Takes no record while `full`; `tried` are the numbers of records it was asked to take."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.full = False
        self.tried: list[int] = []
        append = LogWriter.append

        def takes(writer: LogWriter, records: list[Owed]) -> None:
            if self.full and records:  # as of a file's limit: it is noticed only where something is written
                self.tried.append(len(records))
                raise LogFull(Path("cdr"), OSError(28, "No space left on device"), 0)
            append(writer, records)

        patch.setattr(LogWriter, "append", takes)


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> FullDisk:
    return FullDisk(monkeypatch)


@pytest.mark.rule("law 8")
def test_what_waits_is_not_tried_at_each_record_and_keeps_its_order(tmp_path: Path, full_disk: FullDisk) -> None:
    with keeping(tmp_path, 1 << 40) as (runner, kept):
        full_disk.full = True
        for number in range(3_000):
            kept.write(start(number), end(number, code="log_full"))
        assert full_disk.tried == [2]
        runner.run(kept.until(lambda: len(full_disk.tried) > 1))
        assert full_disk.tried[1:] == [SLICE]
        full_disk.full = False
        runner.run(kept.until(lambda: not kept.keeper.full))
        kept.write(start(3_000))
    wanted = [(kind, f"cdr-{n:06d}") for n in range(3_000) for kind in ("start", "end")] + [("start", "cdr-003000")]
    assert [(one.record["kind"], one.record["cdr_id"]) for one in read_segments(tmp_path)] == wanted
    assert [(one["kind"], one["cdr_id"]) for one in kept.written] == wanted


@pytest.mark.rule("law 8")
def test_the_door_stays_shut_where_all_that_waited_was_left_out(
    tmp_path: Path, full_disk: FullDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping_it, "MOST_WAITING", 20)
    with keeping(tmp_path, 1 << 40) as (runner, kept):
        kept.keeper._prune_at = 20
        full_disk.full = True
        for number in range(100):
            kept.write(start(number), end(number, code="log_full"))
        assert 0 < kept.keeper.waiting <= 22
        runner.run(kept.until(lambda: len(full_disk.tried) > 2))
        assert (kept.keeper.why, kept.door) == ("write", [True])
        full_disk.full = False
        runner.run(kept.until(lambda: not kept.keeper.full))
        assert kept.door == [True, False]
    assert kept.keeper.unrecorded + len(kept.written) // 2 == 100


@pytest.mark.rule("law 8")
@pytest.mark.parametrize("full", [True, False])
def test_what_still_waits_at_the_end_is_tried_once_more_and_else_told(
    tmp_path: Path, full_disk: FullDisk, full: bool
) -> None:
    with capture_logs() as logs, keeping(tmp_path, 1 << 40) as (_, kept):
        full_disk.full = True
        for number in range(1_000):
            kept.write(start(number))
        full_disk.full = full
    lost = [line["records"] for line in logs if line["event"] == "cdr_records_lost"]
    assert (lost, len(kept.written)) == (([1_000], 0) if full else ([], 1_000))
