"""One call from its admission to its end, and everything its CDR will say."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from sipsvc.dialog import Half
from sipsvc.effects import Flow, Now
from sipsvc.ladder import Ladder
from sipsvc.proxy.probe import Probe
from sipsvc.rating import Price
from sipsvc.timers import Timer, TimerTarget

if TYPE_CHECKING:
    from sipsvc.cdr.record import LateCharge
    from sipsvc.proxy.core import Core
    from sipsvc.proxy.hold import Hold
    from sipsvc.proxy.invite import InviteSession
    from sipsvc.routing import Decision

# More phones than a gateway lets ring at once; of what rang before them nothing is kept.
MOST_DIALOGS = 32


class Phase(IntEnum):
    SETUP = 0
    UP = 1
    OVER = 2


class Who(NamedTuple):
    """The customer side as it was identified. `auth` is `ip`, `certificate` or `digest`."""

    customer: str
    customer_name: str
    trunk: str
    auth: str
    source: Flow


class Tried:
    """One address of a gateway tried. `left` is why it was left for the next, "" while it was the last.

    `address` is as a listener is written, `udp:192.0.2.1:5060`, or "" where none was found. `late` are answers that
    came when nobody waited for them any more.
    """

    __slots__ = ("address", "buy", "gateway", "late", "left", "name", "request_uri", "started_at", "status", "user")

    def __init__(
        self, gateway: str, name: str, request_uri: str, user: str, buy: Price, started_at: int, address: str
    ) -> None:
        self.gateway = gateway
        self.name = name
        self.request_uri = request_uri
        self.user = user
        self.buy = buy
        self.started_at = started_at
        self.address = address
        self.status = 0
        self.left = ""
        self.late: list[LateCharge] = []


class Call(TimerTarget):
    """`ref` is our 16 hex digits for it; instants are UTC milliseconds, `answer_mono` monotonic nanoseconds."""

    DEADLINE: ClassVar = 0
    FORGET: ClassVar = 1
    BYE: ClassVar = 2
    EXPIRY: ClassVar = 3
    PROBE: ClassVar = 4

    __slots__ = ("acknowledged", "answer_at", "answer_mono", "at", "call_id", "caller", "caller_tag", "cdr_id",
                 "code", "core", "deadline", "decision", "dialled", "dialogs", "directory", "end_at", "expires",
                 "expiry", "gateway", "hangup_by", "hold", "invite_at", "invite_cseq", "ladder", "live", "longest_ms",
                 "one_sided", "phase", "probe", "progress_at", "q850", "reason", "recovered", "ref", "revived", "sell",
                 "session", "shown_at", "status", "strays", "token", "tried", "unshown", "who", "winner")  # fmt: skip

    def __init__(self, core: Core, ref: str, cdr_id: str, call_id: str, caller_tag: str, caller: Half) -> None:
        self.core = core
        self.ref = ref
        self.cdr_id = cdr_id
        self.call_id = call_id
        self.caller_tag = caller_tag
        self.token = core.tokens.make(ref, caller_tag)
        self.ladder = Ladder()
        self.caller = caller
        # The gateway's half of each dialog by its To tag: in set-up one for each that rang, then the one that answered.
        self.dialogs: dict[str, Half] = {}
        # To tags of answers in no dialog of it that were hung up.
        self.strays: set[str] = set()
        self.gateway: Half | None = None
        # The gateway it is at, by id: where a branch of it is waited for, or where it was answered (law 6).
        self.at = ""
        self.phase = Phase.SETUP
        self.session: InviteSession | None = None
        self.deadline: Timer | None = None
        # When its session is over unless it is refreshed, None without a session timer (RFC 4028).
        self.expires: Now | None = None
        # Whether a party may keep no time for it, and so hears of the end from nobody but us.
        self.one_sided = False
        self.expiry: Timer | None = None
        # The longest it may last, as it stood when the call came.
        self.longest_ms = core.platform.timing.max_call_ms
        self.who = Who("", "", "", "", caller.flow)
        self.decision: Decision | None = None
        self.directory = 0
        self.live: dict[str, Any] = {}
        self.dialled = ""
        self.invite_at = 0
        self.invite_cseq = caller.cseq
        self.progress_at: int | None = None
        self.answer_at: int | None = None
        self.answer_mono = 0
        # Whether the caller's ACK came: before it no BYE of ours may go to it (RFC 3261 §15).
        self.acknowledged = False
        self.end_at = 0
        self.tried: list[Tried] = []
        self.winner: Tried | None = None
        self.sell: Price | None = None
        # What is put by for it, where credit or an allowance bounds it.
        self.hold: Hold | None = None
        self.status = 0
        self.reason = ""
        self.code = ""
        self.hangup_by = ""
        self.q850: int | None = None
        # Brought back by a restart. Until it is shown to be alive since then, `unshown` is when it is last known to
        # have been, monotonic: it is charged no further, and its CDR marked recovered, unless a BYE tells its end.
        self.revived = False
        self.unshown: int | None = None
        self.shown_at: int | None = None
        self.probe: Timer | None = None
        self.recovered = False

    def __repr__(self) -> str:
        return f"<Call {self.ref} {self.phase.name} {self.call_id}>"

    def duration_ms(self, now: Now) -> int | None:
        """Talk time so far, None where nobody answered; never more than a call may last, however late we look, nor
        than there is evidence for."""
        if self.answer_at is None:
            return None
        until = now.mono if self.expires is None else min(now.mono, self.expires.mono)
        if self.unshown is not None:
            until = min(until, self.unshown)
        return max(0, min((until - self.answer_mono) // 1_000_000, self.longest_ms))

    def shown(self, now: Now) -> None:
        """It is alive since the restart: from now on a call like any other, for the next restart too."""
        self.unshown = None
        self.shown_at = now.utc
        self.core.timers.cancel(self.probe)
        self.core.observer.answered(self, now)

    def parties(self, from_tag: str, to_tag: str) -> tuple[Half, Half] | None:
        """Who sent a request with these tags and who is to get it; None where it is in no dialog of this call."""
        if from_tag == self.caller_tag:
            receiver = self.dialogs.get(to_tag)
            return (self.caller, receiver) if receiver is not None else None
        sender = self.dialogs.get(from_tag) if to_tag == self.caller_tag else None
        return (sender, self.caller) if sender is not None else None

    def on_timer(self, kind: int, now: Now) -> None:
        if kind == self.DEADLINE:
            self.core.end_by_force(self, "timeout", "max_duration", now)
        elif kind == self.BYE:
            self.core.bye_caller(self, now)
        elif kind == self.EXPIRY:
            if self.one_sided:
                # RFC 4028 §8.3 leaves it to the refresher to say BYE. One that does not would talk on for nothing.
                self.core.end_by_force(self, "timeout", "session_expired", now)
            else:
                self.core.over(self, "session_expired", "timeout", now)
        elif kind == self.PROBE:
            Probe(self).start(now)
        else:
            self.core.forget(self)
