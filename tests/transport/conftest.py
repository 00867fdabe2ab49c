"""Every test of sockets runs on both event loops, and none may leave an exception behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a test's coroutine to its end."""

    def through(test: Coroutine[Any, Any, None]) -> None:
        troubles: list[dict[str, Any]] = []
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.get_loop().set_exception_handler(lambda loop, trouble: troubles.append(trouble))
            runner.run(asyncio.wait_for(test, 60))
        assert troubles == []

    return through
