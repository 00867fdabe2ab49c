"""One INVITE to one place: its provisional deadline, Timer C, CANCEL, and what came of it (RFC 3261 §16.6–16.8)."""

from __future__ import annotations

from typing import ClassVar

from mypy_extensions import trait

from sipsvc.effects import Flow, Now
from sipsvc.message import Message
from sipsvc.proxy.core import Core
from sipsvc.proxy.credentials import Answered, Leg
from sipsvc.proxy.own import NOBODY
from sipsvc.timers import Timer, TimerTarget
from sipsvc.transaction import ClientTransaction, ClientUser, cancel_for

MS = 1_000_000
ELSEWHERE = 'Reason: SIP;cause=200;text="Call completed elsewhere"'


@trait
class BranchUser:
    """Who hunts with branches."""

    def on_provisional(self, branch: Branch, response: Message, now: Now) -> None:
        raise AssertionError("a branch's user must take provisional responses")

    def on_success(self, branch: Branch, response: Message, now: Now) -> None:
        raise AssertionError("a branch's user must take 2xx")

    def on_failure(self, branch: Branch, response: Message | None, why: str, now: Now) -> None:
        """A final failure; without a response `why` is `no_response`, `transport` or `cancelled`."""
        raise AssertionError("a branch's user must take failures")

    def on_challenge(self, branch: Branch, response: Message, now: Now) -> bool:
        """Whether a 401 or 407 was answered by sending the request once more; else it is a failure."""
        raise AssertionError("a branch's user must take challenges")

    def on_silence(self, branch: Branch, now: Now) -> None:
        """No provisional response in the branch's time."""
        raise AssertionError("a branch's user must take silence")

    def on_ring_timeout(self, branch: Branch, now: Now) -> None:
        """Timer C fired; the branch has been cancelled."""
        raise AssertionError("a branch's user must take Timer C")


class Branch(ClientUser, TimerTarget):
    """`index` is its place among all that was tried; `from_value` what it sees as From, "" for the caller's own.

    `leg` is set where its gateway has credentials, `answered` what they have answered (SIP-33).
    """

    SILENCE: ClassVar = 0
    RING: ClassVar = 1
    DEAD: ClassVar = 2

    __slots__ = ("answered", "byed", "cancel_wanted", "cancelled", "client", "core", "done", "flow", "from_value",
                 "index", "leg", "name", "provisional", "reasons", "request", "ring_ms", "silence_ms", "timer",
                 "user")  # fmt: skip

    def __init__(self, core: Core, user: BranchUser, index: int, flow: Flow, from_value: str, ring_ms: int) -> None:
        self.core = core
        self.user = user
        self.index = index
        self.flow = flow
        self.from_value = from_value
        self.ring_ms = ring_ms
        self.client: ClientTransaction | None = None
        self.name = ""
        self.request = b""
        self.timer: Timer | None = None
        self.provisional = False
        self.cancel_wanted = False
        self.reasons: tuple[str, ...] = ()
        self.cancelled = False
        self.done = False
        self.byed: set[str] = set()
        self.silence_ms = 0
        self.leg: Leg | None = None
        self.answered: Answered = set()

    def start(self, name: str, request: bytes, silence_ms: int, now: Now) -> None:
        """`name` is the branch of the request's Via; `silence_ms` 0 waits for Timer B."""
        self.name = name
        self.request = request
        self.silence_ms = silence_ms
        if silence_ms:
            self.timer = self.core.timers.set(now.mono + silence_ms * MS, self, self.SILENCE)
        self.client = self.core.layer.new_client(name, "INVITE", request, self.flow, self, now)

    def again(self, name: str, request: bytes, now: Now) -> None:
        """The same once more, to the very address that challenged, in a transaction of its own (RFC 3261 §22.2).

        It has the same time to say something as before.
        """
        self.done = self.provisional = False
        self.start(name, request, self.silence_ms, now)

    def cancel(self, now: Now, *reasons: str) -> None:
        """CANCEL now, or at the first provisional response (RFC 3261 §9.1), with these Reason lines (RFC 3326)."""
        if self.done or self.cancelled:
            return
        self.cancel_wanted = True
        self.reasons = reasons or self.reasons
        if self.provisional and self.client is not None:
            self.cancelled = True
            self.core.timers.cancel(self.timer)
            self.timer = self.core.timers.set(now.mono + 64 * self.core.layer.t1, self, self.DEAD)
            data = cancel_for(self.request, *self.reasons)
            self.core.layer.new_client(self.name, "CANCEL", data, self.flow, NOBODY, now)

    def leave(self, now: Now, *reasons: str) -> None:
        """Go on to another gateway: say no more here, and take back what was said once it can be."""
        if self.cancelled:
            return  # what is left to come has its deadline
        self.core.timers.cancel(self.timer)
        if self.client is not None:
            self.client.give_up()
        self.cancel(now, *reasons)

    def on_response(self, client: ClientTransaction, response: Message, now: Now) -> None:
        if response.status < 200:
            first, self.provisional = not self.provisional, True
            if self.cancel_wanted:
                self.cancel(now)
            elif first or response.status > 100:
                self.core.timers.cancel(self.timer)
                self.timer = self.core.timers.set(now.mono + self.ring_ms * MS, self, self.RING)
            self.user.on_provisional(self, response, now)
            return
        self.core.timers.cancel(self.timer)
        self.done = True
        if response.status < 300:
            self.user.on_success(self, response, now)
        elif response.status not in (401, 407) or self.cancel_wanted or not self.user.on_challenge(self, response, now):
            self.user.on_failure(self, response, "", now)

    def on_no_response(self, client: ClientTransaction, failed: bool, now: Now) -> None:
        self.core.timers.cancel(self.timer)
        self.done = True
        self.user.on_failure(self, None, "transport" if failed else "no_response", now)

    def on_timer(self, kind: int, now: Now) -> None:
        if kind == self.SILENCE:
            self.user.on_silence(self, now)
        elif kind == self.RING:
            self.cancel(now)
            self.user.on_ring_timeout(self, now)
        else:
            # 64·T1 after the CANCEL nothing more is to be expected (§9.1).
            self.done = True
            if self.client is not None:
                self.client.destroy()
            self.user.on_failure(self, None, "cancelled", now)
