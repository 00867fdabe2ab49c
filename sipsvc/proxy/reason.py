"""Why somebody hangs up or stops ringing: the Reason header (RFC 3326)."""

from __future__ import annotations

from sipsvc.message import Message, params_get


def reasons(request: Message) -> list[str]:
    """The Reason lines of a CANCEL, for the CANCEL that follows from it."""
    return [f"Reason: {value}" for value in request.all("reason")]


def q850(request: Message) -> int | None:
    """The cause in a Reason header (RFC 3326), if there is one."""
    for value in request.all("reason"):
        protocol, _, params = value.partition(";")
        if protocol.strip().lower() == "q.850":
            cause = params_get(f";{params}", "cause") or ""
            if cause.isascii() and cause.isdigit() and len(cause) <= 3:
                return int(cause)
    return None
