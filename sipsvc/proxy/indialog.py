"""Requests inside a call: they reach the other party of that call and nobody else (SIP-16, SIP-17)."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

from sipsvc.dialog import Half
from sipsvc.effects import Flow, Now
from sipsvc.errors import SipError
from sipsvc.headers import Pristine, without_identity
from sipsvc.message import Message
from sipsvc.message.build import join, response, upward
from sipsvc.proxy.branch import Branch, BranchUser
from sipsvc.proxy.call import Call, Phase
from sipsvc.proxy.core import TCP_SILENCE_MS, Core
from sipsvc.proxy.credentials import BARE, Answered, Worn, leg_of
from sipsvc.proxy.probe import GONE
from sipsvc.proxy.reason import q850, reasons
from sipsvc.proxy.session_timer import Asked, IntervalTooSmall, ask, settle, tell
from sipsvc.transaction import ClientTransaction, ClientUser, ServerTransaction, ServerUser

RING_MS = 185_000
# What tells that the other side is out of the call, whatever it thinks of the BYE.
_ENDS = frozenset({200, 202, 481})
_KEEP: Callable[[str], bool] = lambda value: False  # noqa: E731 - credentials for us go no further


def inside(core: Core, call: Call, sender: Half, receiver: Half, request: Message, flow: Flow, now: Now) -> None:
    """Relay a request other than ACK and CANCEL. Raises SipError for what may not pass."""
    if call.phase is Phase.OVER and request.method != "BYE":
        raise SipError(481, "Call/Transaction Does Not Exist", "no_dialog")
    untold = call.hangup_by in ("caller", "callee") or (call.code == "session_expired" and not call.one_sided)
    if call.phase is Phase.OVER and not untold:
        # We ended the call and told both sides; behind our BYE, theirs would be out of order.
        server = core.layer.new_server(request, flow)
        server.ladder = call.ladder
        server.respond(200, response(request, 200), now)
        return
    if request.method == "REFER":
        raise SipError(403, "A transfer would be a call of its own", "refer_refused")
    asked = None
    if request.method in ("INVITE", "UPDATE"):
        asked = ask(request, core.platform.timing)
        if asked is not None and asked.too_small:
            raise IntervalTooSmall(asked.too_small)
    if call.session is not None and sender is not call.caller:
        call.session.release(now)  # nothing of the callee's may overtake its answer
    sender.cseq = max(sender.cseq, request.cseq)
    bye = request.method == "BYE"
    moved = not bye and _follow(core, call, sender, receiver, flow)
    if request.method in ("INVITE", "UPDATE") and request.cseq > sender.told:
        sender.told = request.cseq  # an older one, overtaken, tells of a place it has left
        moved |= _refresh(sender, request)
    if moved:
        _remember(core, call, now)
    if bye and call.phase is Phase.UP:
        call.q850 = q850(request)
        core.over(call, call.code, "caller" if sender is call.caller else "callee", now)
        if flow.host not in (sender.flow.host, sender.target(core).host):
            # The other party knows token and tags too. If it was that one, who it spoke for still talks.
            core.bye(call, sender, receiver, now)
    server = core.layer.new_server(request, flow)
    Relay(core, call, server, sender, receiver, asked).start(now)


def acknowledge(core: Core, call: Call, sender: Half, receiver: Half, request: Message, flow: Flow, now: Now) -> None:
    """An ACK to a 2xx goes straight to the other party; nothing answers it."""
    if _follow(core, call, sender, receiver, flow):
        _remember(core, call, now)
    way = receiver.target(core)
    leg = leg_of(receiver.leg)
    worn = BARE if leg is None else leg.wear_ack(request)
    data = _build(core, call, sender, receiver, request, way, _ack_branch(call, request), worn)
    call.ladder.went(data, "", way, now)
    core.send(data, way, "")
    if sender is call.caller and not call.acknowledged:
        call.acknowledged = True
        core.acknowledged(call, now)


def _refresh(half: Half, message: Message) -> bool:
    """Take a new remote target (RFC 3261 §12.2); whether it is another one."""
    before = half.contact
    half.refresh(message)
    return half.contact != before


def _follow(core: Core, call: Call, sender: Half, receiver: Half, flow: Flow) -> bool:
    """Follow a customer to where it sends from: its NAT bound another port, its stream was opened anew (SIP-7).

    Token and tags prove that it is one of the two parties, and the other one knows them too: so a gateway's own
    address is never taken for the customer's. Whether more than the connection has changed.
    """
    before = sender.flow
    if flow == before or sender is not call.caller:
        return False
    if flow[:3] in (receiver.flow[:3], receiver.target(core)[:3]):
        return False
    sender.move(flow)
    return flow[:4] != before[:4]


def _remember(core: Core, call: Call, now: Now) -> None:
    """Into the log: a restart is to find the parties where they are."""
    if call.phase is Phase.UP:
        core.observer.answered(call, now)


def _ack_branch(call: Call, request: Message) -> str:
    """The same for the same ACK, so that its repetition is known as one further on (RFC 3261 §16.11)."""
    seen = blake2b(request.via.branch.encode("latin-1"), digest_size=8).hexdigest()
    return f"z9hG4bK{call.ref}{seen}."


class Relay(ServerUser, ClientUser, BranchUser):
    """One request and its answer, across the call."""

    __slots__ = ("answered", "asked", "branch", "call", "core", "leg", "met", "number", "plain", "receiver", "sender",
                 "server", "told")  # fmt: skip

    def __init__(
        self, core: Core, call: Call, server: ServerTransaction, sender: Half, receiver: Half, asked: Asked | None
    ) -> None:
        self.core = core
        self.call = call
        self.server = server
        self.sender = sender
        self.receiver = receiver
        self.asked = asked
        self.branch: Branch | None = None
        self.told = receiver.told
        # Whether the receiver accepted: a repeated 2xx is no news, and it may have moved since.
        self.met = False
        # The way by UDP, while the request goes by TCP for its size alone (SIP-6).
        self.plain: Flow | None = None
        # Of a receiver that challenges: the number it is sent, and what was answered (SIP-33).
        self.leg = leg_of(receiver.leg)
        self.number = 0 if self.leg is None else self.leg.number(server.request.cseq)
        self.answered: Answered | None = None
        server.user = self
        server.ladder = call.ladder

    def start(self, now: Now) -> None:
        request = self.server.request
        if request.method == "INVITE":
            self.server.respond(100, response(request, 100), now)
        else:
            self.server.await_answer(now)
        self._send(self.receiver.target(self.core), self.receiver.tcp_if_large, now)

    def _send(self, flow: Flow, sized: bool, now: Now) -> None:
        """On a branch of its own by `flow`; with `sized` by TCP what is too large for UDP."""
        core, request = self.core, self.server.request
        name = core.branch(self.call.ref)
        worn = BARE
        if self.leg is not None:
            worn = self.leg.wear(request, self.receiver.address()[0], self.number)
        data = _build(core, self.call, self.sender, self.receiver, request, flow, name, worn)
        large = core.flow_for_size(flow, len(data)) if sized else flow
        self.plain = None
        if large is not flow:
            self.plain, flow = flow, large
            data = _build(core, self.call, self.sender, self.receiver, request, flow, name, worn)
        if request.method == "INVITE":
            self.branch = Branch(core, self, 0, flow, "", RING_MS)
            self.branch.start(name, data, TCP_SILENCE_MS if self.plain is not None else 0, now)
        else:
            core.layer.new_client(name, request.method, data, flow, self, now)

    def _by_udp(self, now: Now) -> bool:
        """Send it by UDP after all, if it went by TCP for its size."""
        if self.plain is None:
            return False
        self._send(self.plain, False, now)
        return True

    def _again(self, challenge: Message, flow: Flow, now: Now) -> bool:
        """Send it once more with credentials, to the very address that challenged, where that is of use."""
        leg = self.leg
        if leg is None:
            return False
        if self.answered is None:
            self.answered = set()
        if not leg.learn(challenge, self.answered):
            return False
        self.number = leg.again()
        _remember(self.core, self.call, now)
        self._send(flow, self.receiver.tcp_if_large, now)
        return True

    def on_cancel(self, server: ServerTransaction, cancel: Message, now: Now) -> None:
        if self.branch is not None and not server.answered:
            self.branch.cancel(now, *reasons(cancel))

    # Of a request that is no INVITE

    def on_response(self, client: ClientTransaction, response: Message, now: Now) -> None:
        if response.status == 408:
            self.server.abandon(now)  # RFC 4320 §4.2, whoever made it
        elif response.status in (401, 407) and self._again(response, client.flow, now):
            return
        elif response.status >= 200:
            self._shown(response.status, now)
            if response.status < 300 and response.method == "UPDATE":
                self._accepted(response, now)
            elif response.method == "BYE" and response.status not in _ENDS and self.call.phase is Phase.OVER:
                # The sender's BYE closed the record; what was wrong with it must not keep the other side talking.
                self.core.bye(self.call, self.receiver, self.sender, now)
            self._close(response, now)

    def on_no_response(self, client: ClientTransaction, failed: bool, now: Now) -> None:
        if failed and self._by_udp(now):
            return
        if failed:
            self.server.respond(500, response(self.server.request, 500), now)
        else:
            # RFC 4320 §4.2: a late 408 to a non-INVITE helps nobody; the sender times out by itself.
            self.server.abandon(now)

    # Of a re-INVITE

    def on_provisional(self, branch: Branch, response: Message, now: Now) -> None:
        if response.status > 100:
            self.server.respond(response.status, self._back(response), now)

    def on_success(self, branch: Branch, response: Message, now: Now) -> None:
        self._shown(response.status, now)
        self._accepted(response, now)
        self.server.respond(response.status, self._back(response), now)

    def on_challenge(self, branch: Branch, response: Message, now: Now) -> bool:
        return branch is self.branch and self._again(response, branch.flow, now)

    def on_failure(self, branch: Branch, failure: Message | None, why: str, now: Now) -> None:
        if branch is not self.branch:
            return  # it was left for UDP, where the answer is to come from
        if failure is not None:
            self._shown(failure.status, now)
            self._close(failure, now)
        elif why != "transport" or branch.cancel_wanted or not self._by_udp(now):
            # What cannot be sent counts as a 503 of the next hop (RFC 3261 §16.9), which is our 500.
            status = {"cancelled": 487, "transport": 500}.get(why, 408)
            self.server.respond(status, response(self.server.request, status), now)

    def on_silence(self, branch: Branch, now: Now) -> None:
        if not branch.cancel_wanted:
            branch.leave(now)
            self._by_udp(now)

    def on_ring_timeout(self, branch: Branch, now: Now) -> None:
        return  # cancelled by the branch; its 487 comes back

    def _shown(self, status: int, now: Now) -> None:
        """One party asked and the other answered: a call of before a restart is alive."""
        if self.call.unshown is not None and self.call.phase is Phase.UP and status not in GONE:
            self.call.shown(now)

    def _close(self, answer: Message, now: Now) -> None:
        """Pass a final answer on. A challenge that our credentials should have met is between the gateway and us."""
        if answer.status in (401, 407) and self.leg is not None and self.leg.answers is not None:
            self.server.respond(500, response(self.server.request, 500), now)
        else:
            self.server.respond(answer.status, self._back(answer), now)

    def _accepted(self, response: Message, now: Now) -> None:
        """The first 2xx to a request that refreshes the dialog."""
        if not self.met:
            self.met = True
            # It asks for no refresh before it has answered this one (§14.1), so its request was the later word.
            overtaken = self.receiver.told != self.told
            news = not overtaken and _refresh(self.receiver, response)
            # The other early dialogs ended when one was answered; what is still said in them settles nothing.
            if self.call.phase is Phase.UP and self.call.gateway in (self.sender, self.receiver):
                news |= settle(self.core, self.call, self.asked, response, now)
            if news:
                _remember(self.core, self.call, now)

    def _back(self, response: Message) -> bytes:
        """The answer as the sender gets it, with From and To as it wrote them."""
        lines, names = upward(response, self.server.request)
        lines, names = without_identity(lines, names)
        if self.asked is not None and 200 <= response.status < 300:
            tell(self.asked, lines, names)
        return join(f"SIP/2.0 {response.status} {response.reason}", lines, response.body)


def _build(
    core: Core, call: Call, sender: Half, receiver: Half, request: Message, flow: Flow, branch: str, worn: Worn
) -> bytes:
    """The request for `receiver`: its own Contact and route set, whatever the sender wrote there."""
    from_value = receiver.other if receiver.rewritten else ""
    to_value = receiver.own if sender.rewritten else ""
    pristine = Pristine(request, _KEEP)
    uri, routes = receiver.address()
    top = [core.via(flow, branch), *routes, *worn.lines]
    return pristine.build(
        uri, top, from_value=from_value, to_value=to_value, off=receiver.off, cseq=worn.cseq, rack=worn.rack
    )
