"""The queue of jobs: asked for by the API, done by whoever runs `sipsvc work`, one at a time each.

A job is queued → running → done or failed. Whoever runs it shows by its heartbeat that it lives; one whose heartbeat
stopped is taken by another from its start, which is safe, for a job ends in the transaction of what it does.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Engine, and_, or_, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from sipsvc.errors import SipsvcError
from sipsvc.observe import get_logger
from sipsvc.store.changes import LOCAL, Actor, Changes, utc_now
from sipsvc.store.database import writing
from sipsvc.store.models import History, Import, Job

TASKS = ("validate", "populate", "apply", "undo")
STALE = timedelta(seconds=60)
PROGRESS_EVERY_S = 1.0
# A job that ends its runner every time must not do so for ever.
MOST_CLAIMS = 5

log = get_logger("jobs")


class Lost(SipsvcError):
    """The job is another runner's now, or there no more."""


class Interrupted(SipsvcError):
    """The runner is to stop; the job goes back to the queue."""


class Claim(NamedTuple):
    """A job that is ours as long as its version is this one."""

    id: str
    version: int
    task: str
    import_id: str
    options: dict[str, Any]
    actor: Actor


def enqueue(changes: Changes, item: Import, task: str, options: dict[str, Any] | None = None) -> Job:
    """A job that does `task` to an import, in the transaction that asks for it."""
    assert task in TASKS
    job = Job(
        partner=item.partner,
        task=task,
        import_id=item.id,
        status="queued",
        percent=0,
        options=options or {},
        result=None,
        error="",
        started_at=None,
        finished_at=None,
        heartbeat_at=None,
    )
    changes.create(job)
    return job


def claim(engine: Engine) -> Claim | None:
    """The job that has waited longest, None where none does. It may be asked often: it locks nothing until there is."""
    with engine.connect() as connection:
        if connection.execute(select(Job.id).where(_waiting(utc_now())).limit(1)).first() is None:
            return None
    with writing(engine) as session:
        now = utc_now()
        waiting = select(Job).where(_waiting(now)).order_by(Job.created_at, Job.id).limit(1)
        job = session.scalars(waiting.with_for_update(skip_locked=True)).first()
        if job is None:
            return None
        job.version += 1
        job.updated_at = job.started_at = job.heartbeat_at = now
        job.status, job.percent = "running", 0
        if job.version > MOST_CLAIMS + 1:
            job.status, job.finished_at = "failed", now
            job.error = f"it was begun {MOST_CLAIMS} times and never came to an end"
            log.error("job_given_up", job=job.id, task=job.task)
            return None
        return Claim(job.id, job.version, job.task, job.import_id, job.options, _asked_by(session, job))


def _waiting(now: datetime) -> ColumnElement[bool]:
    return or_(Job.status == "queued", and_(Job.status == "running", Job.heartbeat_at < now - STALE))


def _asked_by(session: Session, job: Job) -> Actor:
    asked = select(History).where(History.kind == "job", History.resource_id == job.id, History.action == "create")
    entry = session.scalars(asked).first()
    return LOCAL if entry is None else Actor(entry.actor, entry.role, entry.address)


def finish(engine: Engine, claimed: Claim, status: str, error: str = "") -> None:
    """A job that did nothing is over, or `queued` again; without effect where it is not ours any more."""
    with writing(engine) as session:
        now = utc_now()
        values: dict[str, Any] = {"status": status, "error": error, "heartbeat_at": None, "updated_at": now}
        if status == "failed":
            values["finished_at"] = now
        session.execute(update(Job).where(_ours(claimed)).values(**values))


def _ours(claimed: Claim) -> ColumnElement[bool]:
    return and_(Job.id == claimed.id, Job.version == claimed.version, Job.status == "running")


class JobStep:
    """A step that is a job: its transaction says that it is done."""

    def __init__(self, engine: Engine, claimed: Claim) -> None:
        self.engine = engine
        self._claimed = claimed
        self._told = time.monotonic()

    def progress(self, percent: int) -> None:
        """Stored now and then, apart from the catalogue. Raises Lost."""
        clock = time.monotonic()
        if clock - self._told < PROGRESS_EVERY_S:
            return
        self._told = clock
        values = {"percent": percent, "heartbeat_at": utc_now()}
        try:
            with writing(self.engine) as session:
                told = session.connection().execute(update(Job).where(_ours(self._claimed)).values(**values)).rowcount
        except OperationalError as error:
            # Somebody writes for long; the work itself waits for nobody.
            log.warning("job_progress_not_stored", job=self._claimed.id, reason=str(error.orig))
            return
        if not told:
            raise Lost(f"job {self._claimed.id} is not this runner's any more")

    @contextmanager
    def changes(self, result: dict[str, Any]) -> Iterator[Changes]:
        """Raises Lost, and then nothing is written."""
        with writing(self.engine) as session:
            # The catalogue before the job, as everybody takes them, so that no two wait for each other.
            changes = Changes(session, self._claimed.actor)
            held = update(Job).where(_ours(self._claimed)).values(heartbeat_at=changes.at)
            if not session.connection().execute(held).rowcount:
                raise Lost(f"job {self._claimed.id} is not this runner's any more")
            yield changes
            now = utc_now()
            values = {"status": "done", "percent": 100, "result": result, "finished_at": now, "updated_at": now}
            session.connection().execute(update(Job).where(Job.id == self._claimed.id).values(**values))
