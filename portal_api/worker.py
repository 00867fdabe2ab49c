"""What only the SIP worker knows, asked of it by its control socket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from portal_api.problems import Problem
from sipsvc.control import ControlError, NoServer, ask

PATIENCE_S = 3.0


def told(folder: Path, do: str, **asked: Any) -> Any | None:
    """The first piece of its answer, None where it knows of no such thing. Raises Problem 503 where nobody answers."""
    try:
        return next(ask(folder, do, patience_s=PATIENCE_S, **asked), None)
    except NoServer:
        raise _away() from None
    except ControlError as error:
        if "did not answer" in str(error) or "hung up" in str(error):
            raise _away() from None
        return None


def _away() -> Problem:
    return Problem(503, "The SIP worker does not answer at the moment.", headers={"Retry-After": "5"})
