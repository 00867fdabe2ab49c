"""What a child process knows of its parent: that it is gone, or wants an end."""

from __future__ import annotations

import os
import select
import signal


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
