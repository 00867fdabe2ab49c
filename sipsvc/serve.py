"""`sipsvc serve`: the SIP worker, with the deliverer and the API beside it, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
from pathlib import Path

import uvloop

from sipsvc.app import Worker
from sipsvc.children import Children
from sipsvc.errors import ConfigError
from sipsvc.firstrun import Made, prepare
from sipsvc.observe import configure, get_logger
from sipsvc.settings import Settings
from sipsvc.store.snapshot import load_directory

# A call may ring until Timer C; nobody who stops a server waits longer than that.
DRAIN_S = 185.0


def serve(settings: Settings, config: str | None, demo: Path | None) -> int:
    """The exit status. Raises ConfigError, LogLocked or LogFull before anything is served."""
    configure(settings.log.level, settings.log.format)
    engine, secret, made = prepare(settings, demo)
    directory = load_directory(engine)
    engine.dispose()
    # The tables live as long as the process: the collector need not walk them, nor run for every few calls.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    try:
        worker = Worker(settings, directory, secret)
    except OSError as error:
        listen = ", ".join(settings.sip.listen)
        raise ConfigError([("sip.listen", listen, error.strerror or "cannot be listened on")]) from None
    return uvloop.run(_run(settings, config, worker, made, demo is not None))


async def _run(settings: Settings, config: str | None, worker: Worker, made: Made, demo: bool) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    hurry = asyncio.Event()

    def stop_asked() -> None:
        # Twice means: now.
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop_asked)
    worker.start(loop)
    children = Children(config, api=settings.api.enabled)
    supervision = asyncio.create_task(children.supervise())
    print(_greeting(settings, made, demo), flush=True)
    await stop.wait()
    log = get_logger("serve")
    log.info("draining", live_calls=worker.live_calls)
    draining = asyncio.create_task(worker.drain(DRAIN_S))
    hurried = asyncio.create_task(hurry.wait())
    await asyncio.wait({draining, hurried}, return_when=asyncio.FIRST_COMPLETED)
    clean = draining.done() and draining.result()
    for task in (draining, hurried, supervision):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    worker.stop()
    await asyncio.to_thread(children.finish)
    log.info("stopped", drained=clean, live_calls=worker.live_calls)
    return 0 if clean else 1


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
