"""Every reason for which we refuse a call, by its machine code (SIP-27).

To add one: a row here, the place that returns its code, a line in the trace, a test (see CONTRIBUTING).
"""

from __future__ import annotations

from typing import NamedTuple


class Refusal(NamedTuple):
    """`status` and `reason` go into the response, `text` into its Warning; the code into the CDR."""

    status: int
    reason: str
    text: str


# Why we end a call ourselves, and what its caller hears while nobody has answered yet (SIP-19).
ENDINGS: dict[str, Refusal] = {
    "credit_exhausted": Refusal(402, "Payment Required", "The credit of this account is used up"),
    "admin": Refusal(480, "Temporarily Unavailable", "An administrator has ended this call"),
}
REFUSALS: dict[str, Refusal] = {
    "customer_suspended": Refusal(403, "Forbidden", "This account is suspended"),
    "customer_closed": Refusal(403, "Forbidden", "This account is closed"),
    "number_invalid": Refusal(404, "Not Found", "The dialled number cannot be understood"),
    "caller_not_allowed": Refusal(403, "Forbidden", "This caller ID is not the account's to show"),
    "dest_blocked": Refusal(403, "Forbidden", "Calls to this destination are blocked"),
    "no_price": Refusal(403, "Forbidden", "There is no price for this destination"),
    "dest_expensive": Refusal(403, "Forbidden", "This destination is expensive and not enabled for the account"),
    "no_route": Refusal(404, "Not Found", "No gateway serves this destination"),
    "privacy_critical": Refusal(500, "Privacy Not Available", "The privacy asked for cannot be given"),
    "channels_full": Refusal(486, "Busy Here", "All channels of this account are in use"),
    "trunk_full": Refusal(486, "Busy Here", "All channels of this trunk are in use"),
    "cps_exceeded": Refusal(486, "Busy Here", "This account makes too many calls a second"),
    "spend_cap": Refusal(402, "Payment Required", "This account has spent what it may for now"),
    "credit_exhausted": Refusal(402, "Payment Required", "The credit of this account is used up"),
    "gateways_busy": Refusal(503, "Service Unavailable", "All gateways to this destination are in use"),
    "gateways_down": Refusal(503, "Service Unavailable", "No gateway to this destination can be reached"),
    "gateways_closed": Refusal(503, "Service Unavailable", "No gateway to this destination is in use at this hour"),
    "draining": Refusal(503, "Service Unavailable", "The server is being restarted"),
    "log_full": Refusal(503, "Service Unavailable", "The server cannot record calls"),
}
# Those whose status is the customer's to choose.
BUSY = frozenset({"channels_full", "trunk_full", "cps_exceeded"})


def refusal_of(code: str, busy_status: int) -> Refusal:
    """What a customer with that `busy_status` (486 or 503) is answered. Raises KeyError."""
    refusal = REFUSALS[code]
    if busy_status == 503 and code in BUSY:
        return refusal._replace(status=503, reason="Service Unavailable")
    return refusal
