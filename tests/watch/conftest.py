"""An engine that is watched as the worker's is, and its control socket on a loop in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from sipsvc.cdr.keeper import Keeper
from sipsvc.watch import Facts
from tests.unit.wire import GATES, Wire, answer, directory, gateway, request


class Loop:
    """A loop that runs in a thread of its own, as the worker's does in its process."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def close(self) -> None:
        self.run(self._end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@pytest.fixture
def loop() -> Iterator[Loop]:
    one = Loop()
    yield one
    one.close()


def facts_of(wire: Wire, folder: Path, **changes: Any) -> Facts:
    """Of an engine on sockets that are none: bound, with a feed, its log in `folder`."""
    engine = wire.engine

    def door(closed: bool) -> str:
        if closed:
            engine.drain(wire.now)
        else:
            engine.reopen(wire.now)
        return ""

    plain: dict[str, Any] = {
        "engine": engine,
        "folder": folder,
        "now": lambda: wire.now,
        "began": wire.begin.mono,
        "late": lambda: 3_000_000,
        "keeper": Keeper(folder, 1 << 30, lambda record: None, lambda closed: None),
        "connections": lambda: 2,
        "hang_up": lambda cdr_id: engine.hang_up(cdr_id, "admin", wire.now),
        "drain": door,
        "feed": lambda: True,
        "directory_at": wire.begin.mono,
        "bound": True,
    }
    return Facts(**plain | changes)


def up(wire: Wire, number: int) -> None:
    """One more call that is answered."""
    via = f"SIP/2.0/UDP 198.51.100.10:5062;branch=z9hG4bK-{number};rport"
    forwarded = wire.give(request(Call_ID=f"call-{number}", Via=via))[-1].message
    wire.give(answer(forwarded, 200), GATES[0])


@pytest.fixture
def wire() -> Wire:
    return Wire(directory(gateway()))
