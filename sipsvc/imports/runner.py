"""`sipsvc work`: does the jobs that the API asked for, until its parent is gone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from sipsvc.errors import SipsvcError
from sipsvc.imports import steps
from sipsvc.imports.jobs import Claim, Interrupted, JobStep, Lost, claim, finish
from sipsvc.imports.populate import populate
from sipsvc.observe import get_logger
from sipsvc.parent import Stop
from sipsvc.settings import Settings
from sipsvc.store.changes import Changes
from sipsvc.store.database import open_database, writing
from sipsvc.store.models import Import

IDLE_S = 0.5
BACK_OFF_S = 5.0
# What makes an import; where it fails there is none.
MAKING = frozenset({"validate", "populate"})

log = get_logger("work")


def main(settings: Settings) -> None:
    """Until told to stop; a job in the middle goes back to the queue."""
    stop = Stop()
    engine = open_database(settings.data.url)
    try:
        wait = 0.0
        while not stop.wait(wait):
            try:
                wait = 0.0 if work_once(engine, lambda: stop.wait(0)) else IDLE_S
            except DBAPIError as error:
                log.warning("work_database_away", reason=str(error.orig), retry_s=BACK_OFF_S)
                wait = BACK_OFF_S
    finally:
        engine.dispose()


def work_once(engine: Engine, stopping: Callable[[], bool] = lambda: False) -> bool:
    """Do one job; false where none waits. Raises DBAPIError where the database is away."""
    claimed = claim(engine)
    if claimed is None:
        return False
    log.info("job_begun", job=claimed.id, task=claimed.task)
    try:
        _do(_Stoppable(engine, claimed, stopping), claimed)
    except Lost as error:
        log.warning("job_lost", job=claimed.id, reason=str(error))
    except Interrupted:
        finish(engine, claimed, "queued")
    except SipsvcError as error:
        _fail(engine, claimed, str(error))
    except DBAPIError:
        finish(engine, claimed, "queued")
        raise
    except Exception:
        log.exception("job_broke", job=claimed.id, task=claimed.task)
        _fail(engine, claimed, "it failed by a fault of this software, which its log tells of; nothing was changed")
    else:
        log.info("job_done", job=claimed.id, task=claimed.task)
    return True


class _Stoppable(JobStep):
    """Asks at each progress whether it is to stop."""

    def __init__(self, engine: Engine, claimed: Claim, stopping: Callable[[], bool]) -> None:
        super().__init__(engine, claimed)
        self._stopping = stopping

    def progress(self, percent: int) -> None:
        if self._stopping():
            raise Interrupted
        super().progress(percent)


def _do(step: JobStep, claimed: Claim) -> None:
    options = claimed.options
    if claimed.task == "validate":
        steps.validate(step, claimed.import_id)
    elif claimed.task == "populate":
        populate(step, claimed.import_id)
    elif claimed.task == "apply":
        begin = options.get("effective_from")
        steps.apply(
            step,
            claimed.import_id,
            effective_from=None if begin is None else datetime.fromisoformat(begin),
            accept_rejected=options.get("accept_rejected", False),
        )
    else:
        steps.undo(step, claimed.import_id)


def _fail(engine: Engine, claimed: Claim, reason: str) -> None:
    log.warning("job_failed", job=claimed.id, task=claimed.task, reason=reason)
    if claimed.task in MAKING:
        with writing(engine) as session:
            item = session.get(Import, claimed.import_id)
            if item is not None and item.status == "uploaded":
                Changes(session, claimed.actor).update(item, {"status": "failed", "error": reason})
    finish(engine, claimed, "failed", reason)
