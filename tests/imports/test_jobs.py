"""Jobs: done once, by one runner, in the transaction of what they do; what breaks off is done again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import Engine, event, select, update
from sqlalchemy.orm import Session

from sipsvc.imports import steps
from sipsvc.imports.jobs import MOST_CLAIMS, STALE, JobStep, Lost, claim, enqueue
from sipsvc.imports.runner import work_once
from sipsvc.store.changes import Changes, entries, utc_now
from sipsvc.store.database import writing
from sipsvc.store.models import CoverageRow, Gateway, Import, Job, PriceList
from tests.imports.world import SOMEBODY, in_force, state

SHEET = "prefix,name,rate\n44,UK,0.01\n33,France,0.02\n"


def asked(engine: Engine, content: str = SHEET, task: str = "validate") -> tuple[str, str]:
    """An upload with its first job, as the API makes them: the ids of import and job."""
    with writing(engine) as session:
        changes = Changes(session, SOMEBODY)
        owner = session.get_one(Gateway, "alpha")
        item = steps.create(
            changes, owner, source="upload", mode="full", filename="a.csv", content=content.encode(), options={}
        )
        return item.id, enqueue(changes, item, task).id


def more(engine: Engine, import_id: str, task: str, **options: Any) -> str:
    with writing(engine) as session:
        changes = Changes(session, SOMEBODY)
        return enqueue(changes, session.get_one(Import, import_id), task, options).id


def job(engine: Engine, job_id: str) -> Job:
    with Session(engine) as session:
        found = session.get_one(Job, job_id)
        session.expunge(found)
        return found


def leave(engine: Engine, job_id: str) -> None:
    """As if the runner had died a while ago."""
    with writing(engine) as session:
        late = utc_now() - STALE - timedelta(seconds=1)
        session.execute(update(Job).where(Job.id == job_id).values(heartbeat_at=late))


@pytest.mark.rule("TG-7")
def test_validate_apply_undo(engine: Engine) -> None:
    import_id, first = asked(engine)
    assert (job(engine, first).status, job(engine, first).percent) == ("queued", 0)
    assert work_once(engine)
    done = job(engine, first)
    assert (done.status, done.percent, done.error) == ("done", 100, "")
    assert done.result is not None
    assert (done.result["status"], done.result["rows"], done.result["counts"]["new"]) == ("validated", 2, 2)
    assert done.started_at is not None and done.finished_at is not None and done.started_at <= done.finished_at
    more(engine, import_id, "apply")
    assert work_once(engine)
    assert len(in_force(engine, Gateway, "alpha", utc_now())) == 2
    undone = more(engine, import_id, "undo")
    assert work_once(engine)
    result = job(engine, undone).result
    assert result == {"status": "undone", "ended": 2, "restored": 0}
    assert in_force(engine, Gateway, "alpha", utc_now()) == {}
    assert not work_once(engine)
    with Session(engine) as session:
        # Who asked for it is who did it.
        assert {entry.actor for entry in entries(session, "import", import_id)} == {"token-of-ann"}


def test_jobs_are_done_in_their_order(engine: Engine) -> None:
    ids = [asked(engine)[1] for _ in range(3)]
    order = []
    while (claimed := claim(engine)) is not None:
        order.append(claimed.id)
    assert order == ids


def test_an_apply_later_with_rejected_rows(engine: Engine) -> None:
    import_id, _ = asked(engine, SHEET + "x,y,z\n")
    work_once(engine)
    refused = more(engine, import_id, "apply")
    work_once(engine)
    assert job(engine, refused).status == "failed"
    assert job(engine, refused).error.startswith("1 rows of the file were rejected")
    assert state(engine, import_id).status == "validated"
    begin = utc_now() + timedelta(days=1)
    more(engine, import_id, "apply", effective_from=begin.isoformat(), accept_rejected=True)
    work_once(engine)
    assert state(engine, import_id).effective_from == begin
    assert len(in_force(engine, Gateway, "alpha", begin)) == 2


def test_a_populate_that_cannot_be_fails_with_its_import(engine: Engine) -> None:
    with writing(engine) as session:
        changes = Changes(session, SOMEBODY)
        owner = session.get_one(PriceList, "retail")
        options = {"gateways": ["gamma"], "markup": "1.5"}
        item = steps.create(
            changes, owner, source="populate", mode="partial", filename="", content=b"", options=options
        )
        import_id, job_id = item.id, enqueue(changes, item, "populate").id
    work_once(engine)
    assert job(engine, job_id).status == "failed"
    assert "fx.gamma" in job(engine, job_id).error
    assert (state(engine, import_id).status, state(engine, import_id).error) == ("failed", job(engine, job_id).error)


def test_a_fault_of_ours_is_told_without_a_traceback(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    import_id, job_id = asked(engine)

    def broken(*_: object) -> None:
        raise ZeroDivisionError("42")

    monkeypatch.setattr(steps, "validate", broken)
    assert work_once(engine)
    assert job(engine, job_id).status == "failed"
    assert job(engine, job_id).error == (
        "it failed by a fault of this software, which its log tells of; nothing was changed"
    )
    assert state(engine, import_id).status == "failed"


def test_two_runners_never_take_the_same_job(engine: Engine) -> None:
    ids = sorted(asked(engine)[1] for _ in range(12))
    taken: list[str] = []

    def run() -> None:
        while (claimed := claim(engine)) is not None:
            taken.append(claimed.id)

    runners = [Thread(target=run) for _ in range(4)]
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join()
    assert sorted(taken) == ids


def test_a_job_whose_runner_died_is_taken_again_and_the_dead_one_can_do_no_more(engine: Engine) -> None:
    import_id, job_id = asked(engine)
    dead = claim(engine)
    assert dead is not None
    assert claim(engine) is None, "its heartbeat is fresh"
    leave(engine, job_id)
    alive = claim(engine)
    assert alive is not None and alive.id == dead.id
    # The dead one was only slow: it learns so before it writes anything.
    with pytest.raises(Lost):
        steps.validate(JobStep(engine, dead), import_id)
    assert state(engine, import_id).status == "uploaded"
    steps.validate(JobStep(engine, alive), import_id)
    assert (state(engine, import_id).status, job(engine, job_id).status) == ("validated", "done")
    with pytest.raises(Lost):
        steps.validate(JobStep(engine, alive), import_id)


def test_a_job_that_ends_every_runner_is_given_up(engine: Engine) -> None:
    _, job_id = asked(engine)
    for _ in range(MOST_CLAIMS):
        assert claim(engine) is not None
        leave(engine, job_id)
    assert claim(engine) is None
    assert job(engine, job_id).status == "failed"
    assert job(engine, job_id).error == f"it was begun {MOST_CLAIMS} times and never came to an end"


def test_a_runner_that_is_told_to_stop_puts_its_job_back(engine: Engine) -> None:
    _, job_id = asked(engine)
    assert work_once(engine, lambda: True)
    assert job(engine, job_id).status == "queued"
    assert work_once(engine)
    assert job(engine, job_id).status == "done"


def test_progress_is_stored_apart_from_the_catalogue(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sipsvc.imports.jobs.PROGRESS_EVERY_S", 0)
    _, job_id = asked(engine)
    claimed = claim(engine)
    assert claimed is not None
    said: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda _c, _u, statement, *_: said.append(statement))
    JobStep(engine, claimed).progress(37)
    assert job(engine, job_id).percent == 37
    assert not any("catalogue" in statement for statement in said)


# -- the process --


@contextmanager
def runner(url: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m sipsvc work`, killed at the end if it still runs."""
    environment = {**os.environ, "SIPSVC_DATA__DATABASE": url, "SIPSVC_DATA__DIR": str(folder)}
    process = subprocess.Popen([sys.executable, "-m", "sipsvc", "work"], env=environment, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_for(what: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + 60
    while not what():
        assert process.poll() is None, "the runner ended"
        assert time.monotonic() < give_up, "it did not come about"
        time.sleep(0.01)


def test_the_process_does_jobs_and_ends_when_told(engine: Engine, url: str, tmp_path: Path) -> None:
    _, job_id = asked(engine)
    with runner(url, tmp_path) as process:
        wait_for(lambda: job(engine, job_id).status == "done", process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


@pytest.mark.parametrize("task", ["validate", "apply"])
def test_a_runner_killed_in_the_middle(engine: Engine, url: str, tmp_path: Path, task: str) -> None:
    """The job is taken again from its start, and what it does is there once."""
    many = "prefix,name,rate\n" + "".join(f"{number},x,0.{number}\n" for number in range(100_000, 160_000))
    import_id, job_id = asked(engine, many)
    if task == "apply":
        work_once(engine)
        job_id = more(engine, import_id, "apply")
    with runner(url, tmp_path) as process:
        wait_for(lambda: job(engine, job_id).status == "running", process)
        process.kill()
        process.wait()
    broken_off = job(engine, job_id)
    assert broken_off.status == "running", "it was killed too late to be in the middle"
    with Session(engine) as session:
        assert session.scalars(select(CoverageRow).limit(1)).first() is None
    assert not work_once(engine), "its heartbeat is fresh"
    leave(engine, job_id)
    with runner(url, tmp_path) as process:
        wait_for(lambda: job(engine, job_id).status == "done", process)
    assert job(engine, job_id).version == broken_off.version + 1
    assert state(engine, import_id).status == ("validated" if task == "validate" else "applied")
    found = in_force(engine, Gateway, "alpha", utc_now())
    assert len(found) == (0 if task == "validate" else 60_000)
    if task == "apply":
        assert found["123456"] == ("x", Decimal("0.123456"))
