"""Which of several failures the caller hears (RFC 3261 §16.7 step 6, SIP-13)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sipsvc.message import Message
from sipsvc.proxy.branch import Branch


class Outcome(NamedTuple):
    """How a branch failed; without a response it was silent or could not be reached, without a branch never tried."""

    status: int
    response: Message | None
    branch: Branch | None

    def upward(self) -> tuple[int, str, str]:
        """Status and reason for the caller; a text where they are ours rather than the gateway's.

        Between us and our gateway are its challenge, its overload and its redirection: to the caller they are 500.
        """
        if self.response is None:
            return 408, "Request Timeout", "No gateway answered in time"
        if self.status in (401, 407):
            return 500, "Server Internal Error", "The gateway wants credentials"
        if self.status == 503:
            return 500, "Server Internal Error", "All gateways are unavailable"
        if self.status < 400:
            return 500, "Server Internal Error", "The gateway redirects, which is not followed"
        return self.status, self.response.reason, ""


def best(outcomes: Sequence[Outcome]) -> Outcome:
    """6xx first, then the lowest class, a real response before silence, the latest of equals."""
    return min(
        reversed(outcomes),
        key=lambda one: (one.status < 600, max(one.status // 100, 4), one.response is None),
    )
