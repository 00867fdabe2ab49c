"""What the database refuses is set aside with its reason, shown, and delivered when it is asked for again (law 8)."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from sipsvc.cdr import aside
from sipsvc.cdr.again import retry
from sipsvc.cdr.deliver import DatabaseAway, Deliverer, _run
from sipsvc.cdr.log import lock_file
from sipsvc.cdr.segments import encode, segment_path
from sipsvc.settings import DataSettings, Settings
from sipsvc.store import cdrs
from sipsvc.store.database import open_database
from sipsvc.store.models import Cdr
from tests.cdr.records import answer, end, late, refused, start, whole_call
from tests.cdr.test_deliver import spawn
from tests.databases import migrated_copy

Record = dict[str, Any]
# Somebody's trigger, or a column made too narrow: calls of one customer are not taken.
REFUSE = {
    "sqlite": [
        "CREATE TRIGGER nobody BEFORE INSERT ON cdr WHEN NEW.customer = 'odd' "
        "BEGIN SELECT RAISE(ABORT, 'odd is not wanted'); END"
    ],
    "postgresql": ["ALTER TABLE cdr ADD CONSTRAINT nobody CHECK (customer <> 'odd')"],
}
MEND = {"sqlite": ["DROP TRIGGER nobody"], "postgresql": ["ALTER TABLE cdr DROP CONSTRAINT nobody"]}


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    made = open_database(migrated_copy(request.param, request, tmp_path))
    (tmp_path / "cdr").mkdir()
    yield made
    made.dispose()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cdr"


def run(engine: Engine, statements: dict[str, list[str]]) -> None:
    with engine.begin() as connection:
        for statement in statements[engine.dialect.name]:
            connection.execute(text(statement))


def write(folder: Path, *records: Record) -> None:
    with open(segment_path(folder, 1), "ab") as file:
        file.write(b"".join(encode(record) for record in records))


def odd(number: int) -> list[Record]:
    return [start(number, customer="odd"), answer(number), end(number, customer="odd")]


def stored(engine: Engine) -> dict[str, int | None]:
    """The number of each call that is there."""
    with Session(engine) as session:
        return {row.cdr_id: row.sequence for row in session.scalars(select(Cdr))}


@pytest.mark.rule("law 8")
def test_a_refused_call_is_shown_and_delivered_when_its_cause_is_mended(folder: Path, engine: Engine) -> None:
    run(engine, REFUSE)
    write(folder, *whole_call(1), *odd(2), *whole_call(3), late(1))
    one = Deliverer(folder, engine)
    assert one.step() == 3
    assert stored(engine) == {"cdr-000001": 1, "cdr-000003": 2}
    (told,) = aside.listed(folder)
    assert told["cdr_id"] == "cdr-000002"
    assert "odd" in told["reason"] or "nobody" in told["reason"]
    assert told["records"] == odd(2)
    # Nobody asked, and asked too early: it is still there.
    assert one.step() == 0
    assert aside.ask_retry(folder)
    one.step()
    assert [one["cdr_id"] for one in aside.listed(folder)] == ["cdr-000002"]
    assert aside.Aside(folder).count() == 1
    run(engine, MEND)
    assert aside.ask_retry(folder)
    one.step()
    assert list(aside.listed(folder)) == []
    # Later calls may have gone before it: whoever hands calls on finds it behind them.
    assert stored(engine) == {"cdr-000001": 1, "cdr-000003": 2, "cdr-000002": 3}
    with Session(engine) as session:
        row = cdrs.get(session, "cdr-000002")
        assert row is not None and (row.state, row.call_id, row.customer) == ("ended", start(2)["call_id"], "odd")
    assert not aside.ask_retry(folder)


@pytest.mark.rule("law 8")
def test_a_try_that_is_killed_or_finds_no_database_is_made_again(folder: Path, engine: Engine) -> None:
    run(engine, REFUSE)
    write(folder, *odd(1), *odd(2), *whole_call(3))
    Deliverer(folder, engine).step()
    assert aside.ask_retry(folder)
    # Half of it was done, and nothing noted.
    run(engine, MEND)
    with Session(engine) as session, session.begin():
        session.execute(text("UPDATE delivery_position SET sequence = sequence"))
    first = aside.waiting(folder)[0]
    one = Deliverer(folder, engine)
    one.step()
    assert stored(engine) == {"cdr-000003": 1, "cdr-000001": 2, "cdr-000002": 3}
    (folder / aside.RETRY).write_bytes(first)
    one.step()
    assert stored(engine) == {"cdr-000003": 1, "cdr-000001": 2, "cdr-000002": 3}
    (folder / aside.REJECTED).write_bytes(first)
    assert aside.ask_retry(folder)
    nowhere = open_database(f"sqlite:///{folder / 'bare.db'}")
    with pytest.raises(DatabaseAway):
        Deliverer(folder, nowhere).step()
    nowhere.dispose()
    assert aside.waiting(folder) == [first]


@pytest.mark.rule("law 8")
def test_a_late_answer_finds_its_call_when_that_was_delivered_again(folder: Path, engine: Engine) -> None:
    run(engine, REFUSE)
    write(folder, *odd(1), late(1), refused(2))
    one = Deliverer(folder, engine)
    one.step()
    assert aside.Aside(folder).count() == 2
    run(engine, MEND)
    assert aside.ask_retry(folder)
    one.step()
    assert list(aside.listed(folder)) == []
    with Session(engine) as session:
        row = cdrs.get(session, "cdr-000001")
        assert row is not None and row.attempts[0]["late"] == [late(1)["late"]]


def test_a_line_that_cannot_be_read_is_shown_and_kept(folder: Path, engine: Engine) -> None:
    aside.add(folder, b'{"at":1,"cdr_id":"x","rec\n')
    aside.add(folder, aside.line(5, "cdr-000001", "because", [orjson.dumps(one) for one in whole_call(1)]))
    assert [one["reason"][:10] for one in aside.listed(folder)] == ["unreadable", "because"]
    assert aside.ask_retry(folder)
    Deliverer(folder, engine).step()
    assert (folder / aside.REJECTED).read_bytes() == b'{"at":1,"cdr_id":"x","rec\n'
    assert stored(engine) == {"cdr-000001": 1}


class Turns:
    """A Stop that comes after so many tries; each of them may do something."""

    def __init__(self, *before: Any) -> None:
        self._before = list(before)

    def wait(self, _seconds: float) -> bool:
        if not self._before:
            return True
        self._before.pop(0)()
        return False


@pytest.mark.rule("law 8")
def test_a_full_disk_neither_ends_the_deliverer_nor_costs_a_call(
    folder: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither for the row the database refuses nor for the record no row can be made of."""
    run(engine, REFUSE)
    write(folder, *whole_call(1), start(2), answer(2), end(2, end_at="soon"), *odd(3), *whole_call(4))
    add = aside.add

    def full(_folder: Path, _lines: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    one = Deliverer(folder, engine)
    monkeypatch.setattr(aside, "add", full)
    turns = Turns(lambda: None, lambda: None, lambda: monkeypatch.setattr(aside, "add", add), lambda: None)
    _run(one, turns)  # type: ignore[arg-type]
    assert stored(engine).keys() == {"cdr-000001", "cdr-000004"}
    assert [told["cdr_id"] for told in aside.listed(folder)] == ["cdr-000002", "cdr-000003"]


@pytest.mark.rule("law 8")
def test_a_log_that_cannot_be_read_on_costs_no_call(
    folder: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, *whole_call(1))
    segment_path(folder, 2).write_bytes(b"".join(map(encode, whole_call(2))))
    opened = os.open

    def fails(path: Any, *more: Any, **words: Any) -> int:
        if str(path) == str(segment_path(folder, 2)):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return opened(path, *more, **words)

    one = Deliverer(folder, engine)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", fails)
        with pytest.raises(OSError, match="Input/output"):
            one.step()
    one.step()
    assert stored(engine).keys() == {"cdr-000001", "cdr-000002"}


# As its owner does it


def said(settings: Settings, *words: str) -> str:
    config = settings.data.dir / "sipsvc.toml"
    config.write_text(f'[data]\ndir = "{settings.data.dir}"\ndatabase = "{settings.data.database}"\n')
    command = [sys.executable, "-m", "sipsvc", "cdr", *words, "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.rule("law 8")
def test_the_commands_beside_a_deliverer_that_runs_and_without_one(folder: Path, engine: Engine) -> None:
    settings = Settings(data=DataSettings(dir=folder.parent, database=engine.url.render_as_string(hide_password=False)))
    assert said(settings, "rejected") == "no calls are set aside\n"
    assert said(settings, "retry") == "0 calls tried again; 0 are set aside now\n"
    run(engine, REFUSE)
    write(folder, *odd(1), *odd(2))
    Deliverer(folder, engine).step()
    shown = said(settings, "rejected").splitlines()
    assert [line.split()[2] for line in shown] == ["cdr-000001", "cdr-000002"]
    assert all("odd" in line or "nobody" in line for line in shown)
    assert said(settings, "retry") == "2 calls tried again; 2 are set aside now\n"
    if engine.dialect.name == "sqlite":
        child = spawn(settings)
        try:
            run(engine, MEND)
            assert said(settings, "retry") == "2 calls tried again; 0 are set aside now\n"
        finally:
            child.terminate()
            assert child.wait(60) == 0
    else:
        run(engine, MEND)
        assert said(settings, "retry") == "2 calls tried again; 0 are set aside now\n"
    assert stored(engine).keys() == {"cdr-000001", "cdr-000002"}


def test_a_deliverer_that_hangs_is_waited_for_only_so_long(folder: Path, engine: Engine) -> None:
    settings = Settings(data=DataSettings(dir=folder.parent, database=str(engine.url)))
    aside.add(folder, b"{}\n")
    held = lock_file(folder / "deliver.lock")
    assert retry(settings, 0.2) == {"tried": 1, "rejected": 1, "done": False}
    os.close(held)


FULL = """
import sys, resource, signal
from pathlib import Path
from sipsvc.cdr import aside
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (150, resource.RLIM_INFINITY))
folder = Path(sys.argv[1])
aside.add(folder, b"x" * 99 + b"\\n")
try:
    aside.add(folder, b"y" * 99 + b"\\n")
except OSError as error:
    print(error.strerror)
"""


def test_a_full_disk_leaves_no_half_line(folder: Path, engine: Engine) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(folder)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "No space left on device\n"
    assert (folder / aside.REJECTED).read_bytes() == b"x" * 99 + b"\n"
