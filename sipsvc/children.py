"""The processes beside the SIP worker: the deliverer of CDRs, who does jobs, and the management API."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
import time

from sipsvc.observe import get_logger

CHECK_EVERY_S = 0.5
STEADY_S = 30.0
LONGEST_PAUSE_S = 30.0
GOODBYE_S = 20.0


class Child:
    """One process, started again with a growing pause when it dies."""

    def __init__(self, name: str, command: list[str], parent_fd: int) -> None:
        self.name = name
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
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                pass_fds=[self._parent_fd],
                env={**os.environ, "SIPSVC_PARENT_FD": str(self._parent_fd)},
            )
            self._started = clock

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

    def __init__(self, config: str | None, *, api: bool) -> None:
        self._read, self._write = os.pipe()
        options = ["--config", config] if config else []
        names = ("deliver", "work")
        self._children = [Child(name, [sys.executable, "-m", "sipsvc", name, *options], self._read) for name in names]
        if api:
            self._children.append(Child("api", [sys.executable, "-m", "portal_api", *options], self._read))

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


class Stop:
    """The parent's end (EOF on its pipe) or a signal, as something to sleep on."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._read, self._write = os.pipe()
        self._poll.register(self._read, select.POLLIN)
        parent = os.environ.get("SIPSVC_PARENT_FD")
        signal.signal(signal.SIGTERM, self._signalled)
        if parent is None:
            signal.signal(signal.SIGINT, self._signalled)
        else:
            # Ctrl-C reaches the whole group; the parent finishes its calls first and is followed by its EOF.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            self._poll.register(int(parent), select.POLLIN | select.POLLHUP)

    def _signalled(self, *_: object) -> None:
        os.write(self._write, b"x")

    def wait(self, seconds: float) -> bool:
        """Sleep; true as soon as it is time to stop."""
        return bool(self._poll.poll(seconds * 1000))
