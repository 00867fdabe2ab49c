"""Client transactions: what we sent to a gateway or a customer, until its final response (RFC 3261 §17.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mypy_extensions import trait

from sipsvc.effects import Flow, Now
from sipsvc.ladder import Ladder
from sipsvc.message import Message
from sipsvc.message.grammar import LINE_END, canonical
from sipsvc.timers import Timer, TimerTarget
from sipsvc.transaction.tables import INVITE_CLIENT, OTHER_CLIENT, Do, Event, State

if TYPE_CHECKING:
    from sipsvc.transaction.layer import Layer


@trait
class ClientUser:
    """Who sent the request and hears how it went."""

    def on_response(self, client: ClientTransaction, response: Message, now: Now) -> None:
        raise AssertionError("a client transaction's user must take responses")

    def on_no_response(self, client: ClientTransaction, failed: bool, now: Now) -> None:
        """No final response in 64·T1, or with `failed` the transport could not send or its connection was lost."""
        raise AssertionError("a client transaction's user must take time-outs")


class ClientTransaction(TimerTarget):
    """`key` is the branch and method of `request`, the bytes that were sent to `flow`; `ladder` is that of its call."""

    __slots__ = ("ack", "flow", "interval", "invite", "key", "ladder", "layer", "linger", "request", "retransmit",
                 "state", "stream", "timeout", "times", "user")  # fmt: skip

    def __init__(
        self, layer: Layer, key: str, invite: bool, request: bytes, flow: Flow, user: ClientUser, ladder: Ladder | None
    ) -> None:
        self.layer = layer
        self.key = key
        self.invite = invite
        self.request = request
        self.flow = flow
        self.user = user
        self.ladder = ladder
        self.state: int = State.TRYING
        self.stream = flow.transport != "UDP"
        self.times = layer.reliable if self.stream else layer.times
        self.interval = self.times.resend
        self.retransmit: Timer | None = None
        self.timeout: Timer | None = None
        self.linger: Timer | None = None
        self.ack = b""

    def start(self, now: Now) -> None:
        layer = self.layer
        if self.ladder is not None:
            self.ladder.went(self.request, "", self.flow, now)
        layer.send(self.request, self.flow, self.key)
        if self.interval:
            self.retransmit = layer.timers.set(now.mono + self.interval, self, Event.RETRANSMIT)
        self.timeout = layer.timers.set(now.mono + self.times.patience, self, Event.TIMEOUT)

    def give_up(self) -> None:
        """Send no more, but stay to hear what may still come (a branch left early, SIP-13)."""
        self.layer.timers.cancel(self.retransmit)

    def destroy(self) -> None:
        """Forget the transaction: nothing is expected of it any more."""
        for timer in (self.retransmit, self.timeout, self.linger):
            self.layer.timers.cancel(timer)
        self.state = State.TERMINATED
        self.layer.forget_client(self)

    def on_timer(self, kind: int, now: Now) -> None:
        self.run(kind, None, now)

    def receive(self, response: Message, now: Now) -> None:
        status = response.status
        event = Event.PROVISIONAL if status < 200 else Event.SUCCESS if status < 300 else Event.FAILURE
        self.run(event, response, now)

    def run(self, event: int, response: Message | None, now: Now) -> None:
        row = (INVITE_CLIENT if self.invite else OTHER_CLIENT).get((self.state, event))
        if row is None:
            return
        self.state = row[0]
        layer = self.layer
        for action in row[1]:
            if action == Do.PASS:
                assert response is not None
                self.user.on_response(self, response, now)
            elif action == Do.SEND:
                if self.ladder is not None:
                    self.ladder.went(self.request, "", self.flow, now)
                layer.send(self.request, self.flow, self.key)
                layer.retransmitted += 1
            elif action == Do.BACKOFF:
                self.interval *= 2
                if not self.invite:
                    self.interval = min(self.interval, self.times.t2)
                self.retransmit = layer.timers.set(now.mono + self.interval, self, Event.RETRANSMIT)
            elif action == Do.STEADY:
                self.retransmit = layer.timers.set(now.mono + self.times.t2, self, Event.RETRANSMIT)
            elif action == Do.QUIET:
                layer.timers.cancel(self.retransmit)
                layer.timers.cancel(self.timeout)
            elif action == Do.ACK:
                assert response is not None
                if not self.ack:
                    self.ack = ack_for(self.request, response)
                if self.ladder is not None:
                    self.ladder.went(self.ack, "", self.flow, now)
                layer.send(self.ack, self.flow, "")
            elif action == Do.LINGER:
                wait = self.times.k if not self.invite else self.times.m if event == Event.SUCCESS else self.times.d
                if wait:
                    self.linger = layer.timers.set(now.mono + wait, self, Event.LINGER)
                else:
                    self.state = State.TERMINATED
                    layer.forget_client(self)
            elif action == Do.EXPIRED:
                layer.timers.cancel(self.retransmit)
                self.user.on_no_response(self, False, now)
            elif action == Do.FAILED:
                layer.timers.cancel(self.retransmit)
                layer.timers.cancel(self.timeout)
                self.user.on_no_response(self, True, now)
            elif action == Do.END:
                layer.forget_client(self)


def ack_for(request: bytes, response: Message) -> bytes:
    """The ACK to a non-2xx: the INVITE's own branch, Route, From and Call-ID, the response's To (§17.1.1.3)."""
    return _hop_by_hop(request, "ACK", f"To: {response.get('to')}")


def cancel_for(request: bytes, *extra: str) -> bytes:
    """The CANCEL of an INVITE we sent: everything that identifies it stays the same (§9.1). `extra` are whole lines."""
    return _hop_by_hop(request, "CANCEL", "", *extra)


def _hop_by_hop(request: bytes, method: str, to: str, *extra: str) -> bytes:
    head = request.partition(b"\r\n\r\n")[0].decode("latin-1")
    lines = LINE_END.split(head)
    kept = [f"{method} {lines[0].split(' ')[1]} SIP/2.0"]
    via = False
    for line in lines[1:]:
        name = canonical(line.partition(":")[0])
        if name == "via":
            if not via:
                kept.append(line)  # ours, alone on its line
            via = True
        elif name in ("from", "call-id", "route", "max-forwards") or (name == "to" and not to):
            kept.append(line)
        elif name == "cseq":
            kept.append(f"CSeq: {line.partition(':')[2].split()[0]} {method}")
    if to:
        kept.append(to)
    return "\r\n".join([*kept, *extra, "Content-Length: 0\r\n\r\n"]).encode("latin-1")
