"""The ladder of a call, asked of the SIP worker by its control socket (SIP-38)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from portal_api.principal import Principal
from portal_api.problems import Problem
from portal_api.worker import told
from sipsvc.store.models import Cdr
from sipsvc.store.types import from_ms, instant


def show(folder: Path, row: Cdr, who: Principal) -> dict[str, Any]:
    """As `LadderView`. Raises Problem 410 where it is not kept any more, 503 where nobody answers.

    A customer sees what it said and was told; which way the call went on is not its to see.
    """
    found = told(folder, "trace", call=row.cdr_id)
    # Callers choose their Call-IDs, and one may be the id of another's call.
    if found is None or found["cdr_id"] != row.cdr_id or not found["ladder"]:
        raise Problem(
            410, "The messages of this call are not kept any more: those of live calls are, and of the last that ended."
        )
    whole = not who.sells_only
    return {
        "cdr_id": row.cdr_id,
        "call_id": row.call_id,
        "state": found["state"],
        "trace": row.trace if whole else None,
        "missing": found["missing"],
        "messages": [
            {**rung, "at": instant(from_ms(rung["at"]))}
            for rung in found["ladder"]
            if whole or rung["peer"].partition(":")[2] == row.source
        ],
    }
