"""A bug for the fuzzer to find, or its silence would prove little: `PLANT=1 make fuzz`."""

from __future__ import annotations

from collections.abc import Callable

import atheris

from sipsvc.headers import Pristine
from sipsvc.message import Message


@atheris.instrument_func
def loses(request: Message) -> bool:
    """Whether the planted bug strikes: no seed that is a call has this header."""
    return "timestamp" in request.index


def plant() -> None:
    """Calls with a Timestamp lose the last byte of it on the way."""
    right: Callable[[Pristine, Message, Callable[[str], bool]], None] = Pristine.__init__

    def careless(self: Pristine, request: Message, keep_credentials: Callable[[str], bool]) -> None:
        right(self, request, keep_credentials)
        if loses(request):
            line = request.lines[request.index["timestamp"]]
            self.lines = [one[:-1] if one is line else one for one in self.lines]

    Pristine.__init__ = careless  # type: ignore[method-assign]
