"""Where the socket is: in the data folder, by a name that is short however long the folder's is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAME = "control.sock"


@contextmanager
def address(folder: Path) -> Iterator[str]:
    """What to bind or connect to: a socket's own name may have 107 bytes only. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{NAME}"
    finally:
        os.close(descriptor)
