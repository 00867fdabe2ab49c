"""Which of several failures the caller hears (RFC 3261 §16.7 step 6, SIP-13)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from sipsvc.message import Message
from sipsvc.proxy.branch import Branch


class Outcome(NamedTuple):
    """How a branch failed; without a response it was silent (408, §16.8) or could not be reached (503, §16.9).

    Without a branch nothing could be sent at all.
    """

    status: int
    response: Message | None
    branch: Branch | None

    def upward(self) -> tuple[int, str, str]:
        """Status and reason for the caller; a text where they are ours rather than the gateway's.

        Between us and our gateway are its challenge, its overload and its redirection: to the caller they are 500.
        """
        if self.response is None:
            if self.status == 408:
                return 408, "Request Timeout", "No gateway answered in time"
            return 500, "Server Internal Error", "No gateway could be reached"
        if self.status in (401, 407):
            return 500, "Server Internal Error", "The gateway wants credentials"
        if self.status == 503:
            return 500, "Server Internal Error", "All gateways are unavailable"
        if self.status < 400:
            return 500, "Server Internal Error", "The gateway redirects, which is not followed"
        return self.status, self.response.reason, ""


_SECONDS = re.compile(r"[0-9]{1,9}")


def retry_after(response: Message) -> int:
    """Seconds for which its sender wants to hear nothing more (RFC 3261 §20.33), 0 where it does not say."""
    match = _SECONDS.match(response.get("retry-after") or "")
    return int(match.group()) if match is not None else 0


# What tells the caller how to ask again is preferred among 4xx (§16.7 step 6).
_HELPFUL = frozenset({415, 420, 484})


def best(outcomes: Sequence[Outcome]) -> Outcome:
    """6xx first, then the lowest class as the caller would get it; in it a gateway's own word, the latest of equals."""
    return min(reversed(outcomes), key=_rank)


def _rank(outcome: Outcome) -> tuple[bool, int, bool, bool]:
    status, _, text = outcome.upward()
    return status < 600, status // 100, bool(text), status not in _HELPFUL
