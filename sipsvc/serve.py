"""`sipsvc serve`: the SIP worker, with feed, deliverer and API beside it, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from sipsvc.children import Children
from sipsvc.directory import Directory
from sipsvc.feed.images import tables_folder
from sipsvc.feed.intake import Intake
from sipsvc.observe import configure, get_logger
from sipsvc.settings import Settings, TlsSettings

if TYPE_CHECKING:
    from sipsvc.app import Worker
    from sipsvc.firstrun import Made

# A call may ring until Timer C; nobody who stops a server waits longer than that.
DRAIN_S = 185.0
# So many new items are worth keeping the collector from.
MANY = 10_000


def serve(settings: Settings, config: str | None, demo: Path | None) -> int:
    """The exit status. Raises ConfigError, LogLocked or LogFull before anything is served."""
    configure(settings.log.level, settings.log.format)
    if settings.sip.tls != TlsSettings():
        from sipsvc.transport.tls import Tls

        Tls(settings.sip.tls)  # what is wrong with its files is better said before anything is started
    children = Children(config)
    intake = Intake(tables_folder(settings))
    # It has much to import, and so have we: both at once.
    children.feed(intake.attach)
    try:
        import uvloop

        from sipsvc.firstrun import prepare

        engine, secrets, made = prepare(settings, demo)
        engine.dispose()
        return uvloop.run(_run(settings, secrets, made, children, intake, demo is not None))
    finally:
        intake.stop()
        children.finish()
        get_logger("serve").info("stopped")


async def _run(
    settings: Settings, secrets: tuple[bytes, ...], made: Made, children: Children, intake: Intake, demo: bool
) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    hurry = asyncio.Event()

    def stop_asked() -> None:
        # Twice means: now.
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop_asked)
    supervision = asyncio.create_task(children.supervise())
    try:
        worker = await _first_worker(loop, settings, secrets, intake, stop)
        if worker is None:
            return 0
        children.deliver()
        if settings.cdr.handed_on:
            children.out()
        else:
            from sipsvc.cdr.bound import OUTPUTS
            from sipsvc.cdr.deliver import cdr_folder

            # Of one that was killed when there was; it would say for ever that nothing is handed on.
            (cdr_folder(settings) / OUTPUTS).unlink(missing_ok=True)
        if settings.api.enabled:
            children.work()
            children.api()
        print(_greeting(settings, made, demo), flush=True)
        await stop.wait()
        clean = await _drained(worker, hurry)
        worker.stop()
        return 0 if clean else 1
    finally:
        supervision.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await supervision


async def _first_worker(
    loop: asyncio.AbstractEventLoop, settings: Settings, secrets: tuple[bytes, ...], intake: Intake, stop: asyncio.Event
) -> Worker | None:
    """A worker that serves the feed's first directory and takes over every later one; None when told to stop first.

    Raises ConfigError for an address that cannot be listened on, or a certificate that cannot be used.
    """
    from sipsvc.app import Worker

    worker: Worker | None = None
    there = asyncio.Event()

    def take(directory: Directory, items: int) -> None:
        there.set()
        if worker is not None:
            worker.swap(directory)
            if items > MANY:
                gc.freeze()

    def hang_up(calls: list[str]) -> None:
        if worker is not None:
            worker.hang_up(calls)

    intake.start(loop, take, hang_up)
    waits = [asyncio.create_task(event.wait()) for event in (there, stop)]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    if not there.is_set():
        return None
    # The tables live long: the collector need not walk them, nor run for every few calls.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    worker = Worker(settings, intake.directory, secrets, lambda: intake.attached)
    worker.start(loop, intake.spent)
    await worker.be_watched()
    return worker


async def _drained(worker: Worker, hurry: asyncio.Event) -> bool:
    """Whether every call in set-up finished in time, and before somebody was in a hurry."""
    log = get_logger("serve")
    log.info("draining", live_calls=worker.live_calls)
    draining = asyncio.create_task(worker.drain(DRAIN_S))
    hurried = asyncio.create_task(hurry.wait())
    await asyncio.wait({draining, hurried}, return_when=asyncio.FIRST_COMPLETED)
    clean = draining.done() and draining.result()
    for task in (draining, hurried):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    log.info("drained", clean=clean, live_calls=worker.live_calls)
    return clean


def _greeting(settings: Settings, made: Made, demo: bool) -> str:
    lines = [f"sipsvc serves SIP on {', '.join(settings.sip.listen)}"]
    if settings.api.enabled:
        lines.append(f"management API on http://{settings.api.listen}/docs")
    lines += [f"made for {user}: password {password}" for user, password in made.passwords.items()]
    if made.token:
        lines.append(f"made the administrator's API token: {made.token}")
    if made.passwords or made.token:
        lines.append("these are shown this once")
    if demo:
        lines.append("first call, in another terminal: make call")
    lines.append("Ctrl-C drains: calls in set-up finish, no new ones are taken")
    return "\n".join(lines)
