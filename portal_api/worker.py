"""What only the SIP worker knows, asked of it by its control socket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from portal_api.problems import Problem
from sipsvc.control import ControlError, Unanswered, ask

PATIENCE_S = 3.0


def told(folder: Path, do: str, **asked: Any) -> Any | None:
    """The first piece of its answer, None where it knows of no such thing. Raises Problem 503 where nobody answers."""
    try:
        return next(ask(folder, do, patience_s=PATIENCE_S, **asked), None)
    except Unanswered:
        away = "The SIP worker does not answer at the moment."
        raise Problem(503, away, headers={"Retry-After": "5"}) from None
    except ControlError:
        return None
