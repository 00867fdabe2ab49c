"""A small disk of its own for the log, which can be filled to the last byte: a real ENOSPC."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SIZE = "256m"
TOP_UP_S = 0.05
MNT_DETACH = 2
APART = "SIPSVC_CHAOS_APART"


def apart() -> None:
    """Go on in a mount namespace of our own, so that the disk is gone with the last of us, however we end.

    Who is not root gets a user namespace with it, and there the right to mount.
    """
    if os.environ.get(APART):
        return
    options = ["--mount"]
    if os.geteuid() != 0:
        options = ["--user", "--map-current-user", "--keep-caps", "--mount"]
    command = ["unshare", *options, sys.executable, "-m", "tests.chaos", *sys.argv[1:]]
    os.execvpe(command[0], command, {**os.environ, APART: "1"})


@contextmanager
def mounted(folder: Path) -> Iterator[None]:
    """A disk in memory at `folder`, which is made. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True)
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"size={SIZE},mode=0700".encode()
    if libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, options):
        number = ctypes.get_errno()
        raise OSError(number, f"no disk can be mounted at {folder}: {os.strerror(number)}")
    try:
        yield
    finally:
        libc.umount2(os.fsencode(folder), MNT_DETACH)


class Ballast:
    """Takes what is free on the disk of `folder`, and what becomes free, until it is thrown off."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "ballast"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._fill, daemon=True)
        self._thread.start()

    def off(self) -> None:
        self._stop.set()
        self._thread.join()
        self._path.unlink()

    def _fill(self) -> None:
        with self._path.open("wb", buffering=0) as file:
            while True:
                for size in (1 << 20, 4096, 1):
                    _write(file.fileno(), b"\0" * size)
                if self._stop.wait(TOP_UP_S):
                    return


def _write(descriptor: int, block: bytes) -> None:
    """As often as it goes."""
    while True:
        try:
            os.write(descriptor, block)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            return
