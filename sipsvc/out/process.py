"""`sipsvc out`: hands calls on and removes old ones, until told to stop. `serve` starts it where that is configured."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from sipsvc.cdr.bound import OUTPUTS
from sipsvc.cdr.deliver import cdr_folder
from sipsvc.cdr.log import wait_for_lock
from sipsvc.cdrsettings import CdrSettings
from sipsvc.observe import get_logger
from sipsvc.out.output import Hand, Output
from sipsvc.out.retention import Retention
from sipsvc.parent import Stop
from sipsvc.settings import Settings
from sipsvc.store import cdrs
from sipsvc.store.database import open_database

TELL_S = 2.0
LAST_S = 15.0

log = get_logger("out")


def configured(settings: CdrSettings) -> list[Output]:
    """What calls are handed on to."""
    found: list[Output] = []
    if settings.files.dir:
        from sipsvc.out.files import Files

        found.append(Files(settings.files))
    if settings.webhook:
        from sipsvc.out.webhook import Webhook

        found += [Webhook(one) for one in settings.webhook]
    if settings.redis.url:
        from sipsvc.out.stream import Stream

        found.append(Stream(settings.redis))
    return found


def main(settings: Settings) -> None:
    """Waits for its turn while another one holds the folder."""
    stop = Stop()
    folder = cdr_folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    held = wait_for_lock(folder / "out.lock", stop)
    if held is None:
        return
    engine = open_database(settings.data.url)
    end = threading.Event()
    hands = [Hand(engine, output, end) for output in configured(settings.cdr)]
    threads: list[threading.Thread] = [*hands]
    if settings.cdr.keep_days:
        threads.append(Retention(engine, settings.cdr, [hand.output.name for hand in hands], end))
    asked = False
    try:
        for thread in threads:
            thread.start()
        _tell(folder, engine, hands)
        while not (asked := stop.wait(TELL_S)):
            _tell(folder, engine, hands)
            if dead := [thread.name for thread in threads if not thread.is_alive()]:
                # A fault of ours, which has been printed; the supervisor starts us again.
                raise SystemExit(f"ended by themselves: {dead}")
    finally:
        end.set()
        for thread in threads:
            thread.join(LAST_S)
        if asked:
            # Else it stays, and grows old: that is how it is seen that nothing is handed on.
            (folder / OUTPUTS).unlink(missing_ok=True)
        engine.dispose()
        os.close(held)


def _tell(folder: Path, engine: Engine, hands: Sequence[Hand]) -> None:
    """Note beside the log how far each output is, for whoever watches; the database counts."""
    try:
        with Session(engine) as session:
            last = cdrs.last_sequence(session)
        told = {hand.output.name: _told(hand, last) for hand in hands}
        draft = folder / f"{OUTPUTS}.new"
        draft.write_bytes(orjson.dumps(told))
        draft.rename(folder / OUTPUTS)
    except (OSError, SQLAlchemyError) as error:
        log.warning("outputs_not_noted", reason=str(getattr(error, "orig", None) or error))


def _told(hand: Hand, last: int) -> dict[str, Any]:
    if hand.sequence is None:
        return {"waiting": last, "failing": hand.failing or "not begun"}
    return {"waiting": max(0, last - hand.sequence), "failing": hand.failing}
