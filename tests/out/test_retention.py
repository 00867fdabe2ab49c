"""Old calls go, in small batches; none that an output has not got, and none that is up (law 8)."""

from __future__ import annotations

import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from sipsvc.cdrsettings import CdrSettings, FilesSettings
from sipsvc.out import retention
from sipsvc.out.files import Files
from sipsvc.out.output import Hand
from sipsvc.out.retention import Retention
from sipsvc.store import outputs
from sipsvc.store.models import Cdr
from tests.cdr.records import BASE_MS, answer, end, refused, start
from tests.out.conftest import Log

DAY = timedelta(days=1)
DAY_MS = 86_400_000
BASE = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=BASE_MS)


def sweeper(engine: Engine, *names: str, days: int = 30, files: str = "", at: datetime = BASE) -> Retention:
    settings = CdrSettings(keep_days=days, files=FilesSettings(dir=files))
    return Retention(engine, settings, names, threading.Event(), now=lambda: at)


def there(engine: Engine) -> set[int]:
    with Session(engine) as session:
        return {int(cdr_id[4:]) for cdr_id in session.scalars(select(Cdr.cdr_id))}


def old(number: int, days: float, **changes: Any) -> dict[str, Any]:
    return refused(number, -int(days * DAY_MS), **changes)


@pytest.mark.rule("law 8")
def test_what_ended_before_the_time_goes_and_what_is_up_stays(
    log: Log, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 3)
    monkeypatch.setattr(retention, "PAUSE_S", 0.0)
    begun = -31 * DAY_MS
    log.write(*(old(number, 40 + number / 7) for number in range(1, 11)), old(20, 30.001), old(21, 29.999), old(22, 0))
    # One that is up for a month, and one whose end is younger than its beginning.
    log.write(start(30, begun), answer(30, begun), start(31, begun), answer(31, begun), end(31, -29 * DAY_MS))
    log.write(old(23, 0))
    assert sweeper(engine).sweep() == 11
    assert there(engine) == {21, 22, 23, 30, 31}
    assert sweeper(engine).sweep() == 0
    assert sweeper(engine, at=BASE + 40 * DAY).sweep() == 4
    assert there(engine) == {30}


@pytest.mark.rule("law 8")
def test_what_an_output_has_not_got_is_kept_for_it(log: Log, engine: Engine, tmp_path: Path) -> None:
    log.write(*(old(number, 60) for number in range(1, 6)))
    hand = Hand(engine, Files(FilesSettings(dir=str(tmp_path / "files"))), threading.Event())
    assert sweeper(engine, "files").sweep() == 0
    while hand.step():
        pass
    log.write(old(6, 60), old(7, 60))
    assert sweeper(engine, "files", "webhook:new").sweep() == 0
    assert sweeper(engine, "files").sweep() == 5
    assert there(engine) == {6, 7}
    # Of older versions there is nothing to be handed on.
    with Session(engine) as session, session.begin():
        session.execute(update(Cdr).where(Cdr.cdr_id == "cdr-000007").values(sequence=None))
    assert sweeper(engine, "files").sweep() == 1
    hand.output.close()


@pytest.mark.rule("law 8")
def test_numbers_do_not_begin_again_when_all_calls_are_gone(log: Log, engine: Engine) -> None:
    log.write(*(old(number, 60) for number in range(1, 6)))
    with Session(engine) as session, session.begin():
        outputs.note(session, "files", 5, None)
    assert sweeper(engine, "files").sweep() == 5
    Log(log.folder, engine).write(refused(6))
    with Session(engine) as session:
        assert [row.sequence for row in outputs.after(session, 5, 10)] == [6]


@pytest.mark.rule("law 8")
def test_a_fault_of_ours_does_not_end_it(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "EVERY_S", 0.01)
    one = sweeper(engine)
    swept = []

    def sweep() -> int:
        swept.append(1)
        if len(swept) < 3:
            raise OverflowError("too old")
        one._end.set()
        return 0

    monkeypatch.setattr(one, "sweep", sweep)
    with capture_logs() as logs:
        one.run()
    assert [(line["event"], line["reason"]) for line in logs] == [("retention_failed", "OverflowError: too old")] * 2


def test_closed_files_of_old_days_go_too(log: Log, engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    kept = [
        "cdr-2026-08-23.csv.part",
        "cdr-2026-08-22.csv",
        "cdr-2026-08-22-2.jsonl",
        "notes.txt",
        "cdr-2026-01-01.txt",
    ]
    for name in ("cdr-2026-08-21.csv", "cdr-2026-08-21-2.jsonl", "cdr-2025-12-31.csv", *kept):
        (folder / name).write_text("x")
    sweeper(engine, files=str(folder)).sweep()
    assert sorted(path.name for path in folder.iterdir()) == sorted(kept)


@pytest.mark.rule("law 8")
def test_whoever_writes_calls_is_not_held_up(log: Log, engine: Engine) -> None:
    """A second writer beside it, impatient on SQLite, never finds the database locked for long."""
    log.write(*(old(number, 60) for number in range(4_000)))
    if engine.dialect.name != "sqlite":
        assert sweeper(engine).sweep() == 4_000
        return
    one = threading.Thread(target=sweeper(engine).sweep)
    one.start()
    other = sqlite3.connect(str(engine.url.database), timeout=5, isolation_level=None)
    written = 0
    while one.is_alive():
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE delivery_position SET sequence = sequence")
        other.execute("COMMIT")
        written += 1
    other.close()
    assert written >= 4_000 // retention.BATCH
    assert there(engine) == set()
