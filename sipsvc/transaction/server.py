"""Server transactions: a request that came to us, until it has been answered for good (RFC 3261 §17.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mypy_extensions import trait

from sipsvc.effects import Flow, Now
from sipsvc.ladder import Ladder
from sipsvc.message import Message
from sipsvc.message.build import response
from sipsvc.timers import Timer, TimerTarget
from sipsvc.transaction.tables import INVITE_SERVER, OTHER_SERVER, Do, Event, State

if TYPE_CHECKING:
    from sipsvc.transaction.layer import Layer

Key = tuple[str, str, str]


@trait
class ServerUser:
    """Who answers the request."""

    def on_cancel(self, server: ServerTransaction, cancel: Message, now: Now) -> None:
        """The caller wants to stop, and `cancel` may say why. Only an INVITE's user hears this."""
        raise AssertionError("an INVITE's user must take CANCEL")


class ServerTransaction(TimerTarget):
    """`request` is the pristine request, which came by the connection `conn`; `last` the response sent last.

    `ladder` is that of the call it belongs to.
    """

    __slots__ = ("conn", "flow", "interval", "invite", "key", "ladder", "last", "layer", "linger", "merge_key",
                 "request", "retransmit", "state", "timeout", "times", "user")  # fmt: skip

    def __init__(self, layer: Layer, key: Key, request: Message, flow: Flow) -> None:
        self.layer = layer
        self.key = key
        self.merge_key: tuple[str, str, int, str] | None = None
        self.request = request
        self.flow = flow
        self.conn = flow.conn
        self.invite = request.method == "INVITE"
        self.state: int = State.TRYING
        self.last = b""
        self.times = layer.times if flow.transport == "UDP" else layer.reliable
        self.interval = self.times.resend
        self.retransmit: Timer | None = None
        self.timeout: Timer | None = None
        self.linger: Timer | None = None
        self.user: ServerUser | None = None
        self.ladder: Ladder | None = None

    @property
    def answered(self) -> bool:
        """Whether a final response went up."""
        return self.state not in (State.TRYING, State.PROCEEDING)

    def respond(self, status: int, data: bytes, now: Now) -> None:
        """Send a response. A second final one, or a provisional one after it, is not sent; a 2xx may be repeated."""
        event = Event.PROVISIONAL if status < 200 else Event.SUCCESS if status < 300 else Event.FAILURE
        if (self.state, event) in (INVITE_SERVER if self.invite else OTHER_SERVER):
            self.last = data
            self.run(event, now)

    def await_answer(self, now: Now) -> None:
        """Somebody else is to answer this request other than INVITE; its sender gets 100 when that takes long."""
        self.retransmit = self.layer.timers.set(now.mono + self.times.late, self, Event.LATE)

    def abandon(self, now: Now) -> None:
        """Nobody will answer this request other than INVITE; what repeats it is absorbed (RFC 4320 §4.2)."""
        self.run(Event.ABANDONED, now)

    def on_timer(self, kind: int, now: Now) -> None:
        self.run(kind, now)

    def run(self, event: int, now: Now) -> None:
        row = (INVITE_SERVER if self.invite else OTHER_SERVER).get((self.state, event))
        if row is None:
            return
        self.state = row[0]
        layer = self.layer
        for action in row[1]:
            if action == Do.SEND:
                if self.ladder is not None:
                    self.ladder.went(self.last, self.request.method, self.flow, now)
                layer.send(self.last, self.flow, "")
                if event == Event.REQUEST or event == Event.RETRANSMIT:
                    layer.retransmitted += 1
            elif action == Do.BACKOFF:
                if event == Event.FAILURE:
                    self.timeout = layer.timers.set(now.mono + self.times.patience, self, Event.TIMEOUT)
                else:
                    self.interval = min(self.interval * 2, self.times.t2)
                if self.interval:
                    self.retransmit = layer.timers.set(now.mono + self.interval, self, Event.RETRANSMIT)
            elif action == Do.QUIET:
                layer.timers.cancel(self.retransmit)
                layer.timers.cancel(self.timeout)
            elif action == Do.LINGER:
                wait = self.times.j if not self.invite else self.times.i if event == Event.ACK else self.times.l
                if wait:
                    self.linger = layer.timers.set(now.mono + wait, self, Event.LINGER)
                else:
                    self.state = State.TERMINATED
                    layer.forget_server(self)
            elif action == Do.OUTLAST:
                self.linger = layer.timers.set(now.mono + self.times.patience, self, Event.LINGER)
            elif action == Do.TRYING:
                self.last = response(self.request, 100)
                if self.ladder is not None:
                    self.ladder.went(self.last, self.request.method, self.flow, now)
                layer.send(self.last, self.flow, "")
            elif action == Do.EXPIRED:
                layer.timers.cancel(self.retransmit)
            elif action == Do.END:
                layer.forget_server(self)
