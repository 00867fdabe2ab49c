"""The processes beside the SIP worker: the feed of its directory, the deliverer of CDRs, who hands them on, who does
jobs, the API."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable

from sipsvc.feed.line import pair
from sipsvc.observe import get_logger

CHECK_EVERY_S = 0.5
STEADY_S = 30.0
LONGEST_PAUSE_S = 30.0
GOODBYE_S = 20.0


class Child:
    """One process, started again with a growing pause when it dies. `attach` gets our end of a line to it each time."""

    def __init__(
        self, name: str, command: list[str], parent_fd: int, attach: Callable[[socket.socket], None] | None = None
    ) -> None:
        self.name = name
        self._attach = attach
        self._command = command
        self._parent_fd = parent_fd
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._pause = 0.5
        self._again_at = 0.0

    def check(self) -> None:
        """Start it if it does not run and may again."""
        clock = time.monotonic()
        if self._process is not None and self._process.poll() is not None:
            steady = clock - self._started > STEADY_S
            self._pause = 0.5 if steady else min(self._pause * 2, LONGEST_PAUSE_S)
            self._again_at = clock + self._pause
            get_logger("serve").error(
                "child_died", child=self.name, status=self._process.returncode, again_in_s=self._pause
            )
            self._process = None
        if self._process is None and clock >= self._again_at:
            self._start()
            self._started = clock

    def _start(self) -> None:
        handed = {"SIPSVC_PARENT_FD": self._parent_fd}
        ours, theirs = pair() if self._attach is not None else (None, None)
        if theirs is not None:
            handed["SIPSVC_FEED_FD"] = theirs.fileno()
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            pass_fds=list(handed.values()),
            env={**os.environ, **{name: str(number) for name, number in handed.items()}},
        )
        if self._attach is not None and ours is not None and theirs is not None:
            theirs.close()
            self._attach(ours)

    def wait(self, seconds: float) -> None:
        """Let it finish; what does not within `seconds` is ended."""
        if self._process is None:
            return
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            get_logger("serve").warning("child_ended", child=self.name)
            self._process.kill()
            self._process.wait()


class Children:
    """They hold the read end of a pipe whose write end is ours: when we are gone, however, they see it."""

    def __init__(self, config: str | None) -> None:
        self._read, self._write = os.pipe()
        self._options = ["--config", config] if config else []
        self._children: list[Child] = []

    def feed(self, attach: Callable[[socket.socket], None]) -> None:
        """Start the feed; `attach` gets our end of the line to it, now and whenever it is started again."""
        self._add("feed", ["sipsvc", "feed"], attach)

    def deliver(self) -> None:
        """Start the deliverer."""
        self._add("deliver", ["sipsvc", "deliver"])

    def out(self) -> None:
        """Start who hands calls on."""
        self._add("out", ["sipsvc", "out"])

    def work(self) -> None:
        """Start who does the API's jobs."""
        self._add("work", ["sipsvc", "work"])

    def api(self) -> None:
        """Start the management API."""
        self._add("api", ["portal_api"])

    def _add(self, name: str, words: list[str], attach: Callable[[socket.socket], None] | None = None) -> None:
        command = [sys.executable, "-m", *words, *self._options]
        self._children.append(Child(name, command, self._read, attach))
        self._children[-1].check()

    async def supervise(self) -> None:
        """Until cancelled."""
        while True:
            for child in self._children:
                child.check()
            await asyncio.sleep(CHECK_EVERY_S)

    def finish(self) -> None:
        """Tell them that it is over and wait for them."""
        os.close(self._write)
        deadline = time.monotonic() + GOODBYE_S
        for child in self._children:
            child.wait(max(0.1, deadline - time.monotonic()))
        os.close(self._read)
