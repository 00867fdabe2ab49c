"""A call of before a restart: do its parties still know it? OPTIONS inside the dialog, towards both (SIP-19).

A BYE that came while we were down has found nobody, and who sent it has given up. Where no session timer ends such
a call, its parties are asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipsvc.effects import Now
from sipsvc.message import Message
from sipsvc.proxy.own import Nobody
from sipsvc.transaction import ClientTransaction

if TYPE_CHECKING:
    from sipsvc.proxy.call import Call

MILLISECOND = 1_000_000
# A BYE is repeated every 4 s at most: who said it lately is heard first. Then not all calls at once.
AFTER_MS = 8_000
SPREAD_MS = 20_000
CODE = "probe_failed"
# The dialog is not there, or nobody is (RFC 3261 §12.2.1.2).
GONE = frozenset({408, 481})


def due(ref: str, now: Now) -> int:
    """When to ask after the call of that `ref`, monotonic nanoseconds."""
    return now.mono + (AFTER_MS + int(ref, 16) % SPREAD_MS) * MILLISECOND


class Probe(Nobody):
    """One round. Both have to answer for the call to be shown alive; one that does not know it ends it.

    What could not be sent says nothing: a customer behind a NAT may be unreachable until it opens its stream again,
    and talk all the while.
    """

    __slots__ = ("call", "waiting")

    def __init__(self, call: Call) -> None:
        self.call = call
        self.waiting = 2

    def start(self, now: Now) -> None:
        """The CSeq is one that this side has used: whoever knows the dialog answers 200, or 500 for the number, and
        the parties' own next requests stay in order. A higher one would put those behind it."""
        call, gateway = self.call, self.call.gateway
        if gateway is not None:
            call.core.own_request(call, gateway, "OPTIONS", call.caller.cseq, now, self)
            call.core.own_request(call, call.caller, "OPTIONS", gateway.cseq, now, self)

    def on_response(self, client: ClientTransaction, response: Message, now: Now) -> None:
        if response.status in GONE:
            self._gone(now)
        elif response.status >= 200:
            self.waiting -= 1
            if not self.waiting and self.call.unshown is not None:
                self.call.shown(now)

    def on_no_response(self, client: ClientTransaction, failed: bool, now: Now) -> None:
        if not failed:
            self._gone(now)

    def _gone(self, now: Now) -> None:
        if self.call.unshown is not None:
            self.call.core.end_by_force(self.call, "timeout", CODE, now)
