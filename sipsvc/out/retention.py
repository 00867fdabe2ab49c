"""Calls older than `cdr.keep_days` are removed in small batches, and files of them; none that an output has not got."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from sipsvc.cdrsettings import CdrSettings
from sipsvc.observe import get_logger
from sipsvc.out.files import utc_now
from sipsvc.out.output import expected, reason_of
from sipsvc.store import outputs

EVERY_S = 3600.0
BATCH = 500
# Between batches whoever writes calls has its turn.
PAUSE_S = 0.05
FILE = re.compile(r"cdr-(\d{4}-\d{2}-\d{2})(-\d+)?\.(csv|jsonl)")

log = get_logger("out")


class Retention(threading.Thread):
    """At once, and then once an hour, until `end` is set. `names` are the outputs that are waited for."""

    def __init__(
        self,
        engine: Engine,
        settings: CdrSettings,
        names: Sequence[str],
        end: threading.Event,
        *,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        super().__init__(name="out-retention", daemon=True)
        self._engine = engine
        self._settings = settings
        self._names = list(names)
        self._end = end
        self._now = now

    def run(self) -> None:
        wait = 0.0
        while not self._end.wait(wait):
            try:
                self.sweep()
            except Exception as error:
                log.warning("retention_failed", reason=reason_of(error), exc_info=not expected(error))
            wait = EVERY_S

    def sweep(self) -> int:
        """Remove what is old now; how many calls. Raises OSError, and what a database raises."""
        before = self._now() - timedelta(days=self._settings.keep_days)
        total = 0
        behind: tuple[datetime, str] | None = datetime(1970, 1, 1, tzinfo=UTC), ""
        while behind is not None and not self._end.is_set():
            with Session(self._engine) as session:
                ids, behind = outputs.old(session, before, behind, self._names, BATCH)
            if ids:
                with Session(self._engine) as session, session.begin():
                    outputs.remove(session, ids)
                total += len(ids)
                self._end.wait(PAUSE_S)
        files = self._files(before.astimezone(UTC).date())
        if total or files:
            log.info("old_calls_removed", calls=total, files=files, before=before.isoformat())
        return total

    def _files(self, before: date) -> int:
        """Remove closed files of days before `before`; how many."""
        if not self._settings.files.dir:
            return 0
        old = [
            path
            for path in Path(self._settings.files.dir).glob("cdr-*")
            if (found := FILE.fullmatch(path.name)) and found[1] < before.isoformat()
        ]
        for path in old:
            path.unlink(missing_ok=True)
        return len(old)
