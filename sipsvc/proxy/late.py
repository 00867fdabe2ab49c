"""An answer nobody waited for: hung up as soon as it came, and what it cost all the same (SIP-15)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sipsvc.effects import Now
from sipsvc.message import Message
from sipsvc.proxy.own import Nobody
from sipsvc.transaction import ClientTransaction

if TYPE_CHECKING:
    from sipsvc.proxy.call import Call


class LateAnswer(NamedTuple):
    """`tag` is the callee's, `at` when its 2xx came (UTC milliseconds); the duration is what its gateway may charge."""

    tag: str
    at: int
    duration_ms: int


class HangUp(Nobody):
    """Sends the BYE. The callee's side counts until that is answered, or nobody will answer it any more."""

    __slots__ = ("at", "attempt", "call", "since", "tag")

    def __init__(self, call: Call, attempt: int, tag: str, now: Now) -> None:
        self.call = call
        self.attempt = attempt
        self.tag = tag
        self.at = now.utc
        self.since = now.mono

    def on_response(self, client: ClientTransaction, response: Message, now: Now) -> None:
        if response.status >= 200:
            self._over(now)

    def on_no_response(self, client: ClientTransaction, failed: bool, now: Now) -> None:
        self._over(now)

    def _over(self, now: Now) -> None:
        late = LateAnswer(self.tag, self.at, (now.mono - self.since) // 1_000_000)
        self.call.core.observer.answered_late(self.call, self.attempt, late)
