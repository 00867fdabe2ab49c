"""`sipsvc cdr retry`: what was set aside is delivered again, by the deliverer that runs, else by this process."""

from __future__ import annotations

import time

from sipsvc.cdr import aside
from sipsvc.cdr.deliver import cdr_folder, drain_once
from sipsvc.cdr.log import LogLocked
from sipsvc.settings import Settings

CHECK_S = 0.1


def retry(settings: Settings, patience_s: float = 30.0) -> dict[str, int | bool]:
    """`tried` calls, how many are `rejected` now, and whether it is `done`: the database may be away.

    Raises DatabaseAway where no deliverer runs.
    """
    folder = cdr_folder(settings)
    if not aside.ask_retry(folder):
        return {"tried": 0, "rejected": 0, "done": True}
    tried = len(aside.waiting(folder))
    try:
        drain_once(settings)
    except LogLocked:
        give_up = time.monotonic() + patience_s
        while aside.waiting(folder) and time.monotonic() < give_up:
            time.sleep(CHECK_S)
    return {"tried": tried, "rejected": aside.Aside(folder).count(), "done": not aside.waiting(folder)}
