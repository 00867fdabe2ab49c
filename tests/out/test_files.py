"""Files a day: whole lines, each call once, closed ones never touched again, whatever dies in between (law 8)."""

from __future__ import annotations

import csv
import os
import stat
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import Engine, delete, update
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from sipsvc.cdrsettings import FilesSettings
from sipsvc.out.files import Files
from sipsvc.out.output import Failed, Hand
from sipsvc.store.models import Cdr, CdrOutput
from tests.cdr.records import BASE_MS, refused
from tests.out.conftest import Log

# 2026-09-21 14:13:20 is BASE_MS; so long until the next days begin.
DAY_MS = 86_400_000
TO_MIDNIGHT = DAY_MS - BASE_MS % DAY_MS


class Clock:
    """UTC, `ms` after BASE_MS."""

    def __init__(self) -> None:
        self.ms = 0

    def __call__(self) -> datetime:
        return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=BASE_MS + self.ms)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture
def begin(folder: Path, engine: Engine, clock: Clock) -> Iterator[Callable[..., Hand]]:
    """Another process, so to say: only files and database are of before."""

    def begun(*formats: str) -> Hand:
        settings = FilesSettings.model_validate({"dir": str(folder), "formats": formats or ("csv", "jsonl")})
        hands.append(Hand(engine, Files(settings, now=clock), threading.Event()))
        return hands[-1]

    hands: list[Hand] = []
    yield begun
    for hand in hands:
        hand.output.close()


def drain(hand: Hand) -> None:
    while hand.step():
        pass


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def jsonl(path: Path) -> list[str]:
    data = path.read_bytes()
    assert not data or data.endswith(b"\n")
    return [orjson.loads(line)["cdr_id"] for line in data.splitlines()]


def in_csv(path: Path) -> list[str]:
    with path.open(newline="") as file:
        return [row["cdr_id"] for row in csv.DictReader(file)]


def call(number: int, at: int = 0, **changes: Any) -> dict[str, Any]:
    return refused(number, at, **changes)


def ids(*numbers: int) -> list[str]:
    return [f"cdr-{number:06d}" for number in numbers]


@pytest.mark.rule("law 8")
def test_a_day_has_a_file_of_each_format_that_is_closed_when_it_is_over(
    folder: Path, log: Log, begin: Callable[..., Hand], clock: Clock
) -> None:
    hand = begin()
    log.write(call(1), call(2))
    drain(hand)
    assert names(folder) == ["cdr-2026-09-21.csv.part", "cdr-2026-09-21.jsonl.part"]
    assert stat.S_IMODE((folder / "cdr-2026-09-21.csv.part").stat().st_mode) & 0o007 == 0
    log.write(call(3, 1_000))
    drain(hand)
    clock.ms = TO_MIDNIGHT + 299_999
    drain(hand)
    assert names(folder) == ["cdr-2026-09-21.csv.part", "cdr-2026-09-21.jsonl.part"]
    clock.ms += 1
    drain(hand)
    assert names(folder) == ["cdr-2026-09-21.csv", "cdr-2026-09-21.jsonl"]
    assert jsonl(folder / "cdr-2026-09-21.jsonl") == in_csv(folder / "cdr-2026-09-21.csv") == ids(1, 2, 3)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    # One that comes late goes into a later file.
    log.write(call(4, 2_000), call(5, TO_MIDNIGHT + 10))
    drain(hand)
    assert jsonl(folder / "cdr-2026-09-22.jsonl.part") == in_csv(folder / "cdr-2026-09-22.csv.part") == ids(4, 5)
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.rule("law 8")
def test_the_first_call_of_the_next_day_closes_a_file(
    folder: Path, log: Log, begin: Callable[..., Hand], clock: Clock
) -> None:
    clock.ms = TO_MIDNIGHT + 60_000
    log.write(call(1), call(2, TO_MIDNIGHT - 1), call(3, TO_MIDNIGHT), call(4, TO_MIDNIGHT - 5), call(5, 2 * DAY_MS))
    drain(begin())
    assert names(folder) == [
        "cdr-2026-09-21.csv", "cdr-2026-09-21.jsonl", "cdr-2026-09-22.csv.part", "cdr-2026-09-22.jsonl.part",
    ]  # fmt: skip
    assert in_csv(folder / "cdr-2026-09-21.csv") == ids(1, 2)
    # No clock that is wrong makes a file of a day to come.
    assert in_csv(folder / "cdr-2026-09-22.csv.part") == ids(3, 4, 5)


@pytest.mark.rule("law 8")
def test_what_stands_behind_the_position_is_written_again_once(
    folder: Path, log: Log, begin: Callable[..., Hand], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when it is killed between the file and the database, at any byte."""
    log.write(call(1), call(2))
    drain(begin())
    part = folder / "cdr-2026-09-21.jsonl.part"
    whole = part.read_bytes()
    for rest in (b"{", whole[:50], whole):
        with part.open("ab") as file:
            file.write(rest)
        with (folder / "cdr-2026-09-21.csv.part").open("ab") as file:
            file.write(b"cdr-0000")
        drain(begin())
        assert part.read_bytes() == whole
    log.write(call(3))
    hand = begin()
    with monkeypatch.context() as patch:

        def away(*_: Any) -> None:
            raise Failed("the database is away")

        patch.setattr(hand, "_note", away)
        with pytest.raises(Failed):
            hand.step()
    assert jsonl(part) == ids(1, 2, 3)
    drain(begin())
    assert jsonl(part) == in_csv(folder / "cdr-2026-09-21.csv.part") == ids(1, 2, 3)


@pytest.mark.rule("law 8")
@pytest.mark.parametrize("closed", [0, 1, 2])
def test_a_death_while_a_file_is_closed(
    folder: Path, log: Log, begin: Callable[..., Hand], clock: Clock, closed: int
) -> None:
    log.write(call(1), call(2))
    drain(begin())
    for name in names(folder)[:closed]:
        os.rename(folder / name, folder / name.removesuffix(".part"))
    if closed == 1:
        with (folder / "cdr-2026-09-21.jsonl.part").open("ab") as file:
            file.write(b"half")
    clock.ms = TO_MIDNIGHT + 1
    log.write(call(3, 5_000), call(4, TO_MIDNIGHT))
    drain(begin())
    first = ids(1, 2, 3) if not closed else ids(1, 2)
    assert jsonl(folder / "cdr-2026-09-21.jsonl") == in_csv(folder / "cdr-2026-09-21.csv") == first
    rest = ids(4) if not closed else ids(3, 4)
    assert jsonl(folder / "cdr-2026-09-22.jsonl.part") == in_csv(folder / "cdr-2026-09-22.csv.part") == rest


@pytest.mark.rule("law 8")
def test_a_full_disk_leaves_whole_files_behind_it(
    tmp_path: Path, log: Log, begin: Callable[..., Hand], folder: Path
) -> None:
    """Files are small; the limit of this process makes the disk full at the byte."""
    import resource
    import signal

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    log.write(call(1))
    hand = begin("jsonl")
    drain(hand)
    part = folder / "cdr-2026-09-21.jsonl.part"
    size = part.stat().st_size
    log.write(call(2), call(3))
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 200, before[1]))
        with pytest.raises(Failed, match="File too large"):
            hand.step()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert part.stat().st_size == size + 200
    drain(begin("jsonl"))
    assert jsonl(part) == ids(1, 2, 3)


def test_formats_come_and_go(folder: Path, log: Log, begin: Callable[..., Hand], clock: Clock) -> None:
    log.write(call(1))
    drain(begin("csv"))
    log.write(call(2))
    drain(begin("jsonl"))
    assert in_csv(folder / "cdr-2026-09-21.csv.part") == ids(1, 2)
    assert jsonl(folder / "cdr-2026-09-21.jsonl.part") == ids(2)
    clock.ms = DAY_MS
    log.write(call(3, DAY_MS))
    drain(begin("jsonl"))
    assert names(folder) == ["cdr-2026-09-21.csv", "cdr-2026-09-21.jsonl", "cdr-2026-09-22.jsonl.part"]


def test_no_closed_file_is_written_over_though_the_position_is_lost(
    folder: Path, log: Log, begin: Callable[..., Hand], clock: Clock
) -> None:
    folder.mkdir()
    (folder / "cdr-2026-09-21.csv").write_text("somebody's")
    log.write(call(1))
    drain(begin())
    assert names(folder) == ["cdr-2026-09-21-2.csv.part", "cdr-2026-09-21-2.jsonl.part", "cdr-2026-09-21.csv"]


@pytest.mark.rule("law 8")
def test_after_a_rollback_the_open_file_is_left_and_another_begun(
    folder: Path, log: Log, engine: Engine, begin: Callable[..., Hand], clock: Clock
) -> None:
    """A rollback drops the positions; what was handed on before it is nowhere else."""
    log.write(call(1), call(2))
    drain(begin())
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with Session(engine) as session, session.begin():
        session.execute(delete(CdrOutput))
        session.execute(update(Cdr).values(sequence=None))
    log.write(call(3))
    for _ in range(2):
        drain(begin())
    assert {path: path.read_bytes() for path in before} == before
    assert in_csv(folder / "cdr-2026-09-21-2.csv.part") == jsonl(folder / "cdr-2026-09-21-2.jsonl.part") == ids(3)
    clock.ms = DAY_MS
    drain(begin())
    assert names(folder) == [
        "cdr-2026-09-21-2.csv", "cdr-2026-09-21-2.jsonl", "cdr-2026-09-21.csv.part", "cdr-2026-09-21.jsonl.part",
    ]  # fmt: skip


@pytest.mark.rule("law 8")
@pytest.mark.parametrize("noted", [0, 1])
def test_a_death_at_the_very_first_call_leaves_no_second_file(
    folder: Path, log: Log, begin: Callable[..., Hand], monkeypatch: pytest.MonkeyPatch, noted: int
) -> None:
    """Its first file is not taken for another life's: not before it is noted, nor when calls stand in it."""
    log.write(call(1), call(2))
    hand = begin()
    note = hand._note
    left = [note] * noted

    def away(*args: Any) -> None:
        if not left:
            raise Failed("the database is away")
        left.pop()(*args)

    monkeypatch.setattr(hand, "_note", away)
    with pytest.raises(Failed):
        drain(hand)
    drain(begin())
    assert names(folder) == ["cdr-2026-09-21.csv.part", "cdr-2026-09-21.jsonl.part"]
    assert jsonl(folder / "cdr-2026-09-21.jsonl.part") == in_csv(folder / "cdr-2026-09-21.csv.part") == ids(1, 2)


def test_a_file_that_somebody_took_away_is_said(folder: Path, log: Log, begin: Callable[..., Hand]) -> None:
    log.write(call(1))
    drain(begin("csv"))
    (folder / "cdr-2026-09-21.csv.part").unlink()
    log.write(call(2))
    with capture_logs() as logs:
        drain(begin("csv"))
    assert [line["event"] for line in logs] == ["cdr_file_short"]
    assert in_csv(folder / "cdr-2026-09-21.csv.part") == ids(2)


def test_a_folder_that_cannot_be_made_is_named(folder: Path, log: Log, begin: Callable[..., Hand]) -> None:
    folder.write_text("a file")
    with pytest.raises(Failed, match=f"{folder}: File exists"):
        begin().step()
