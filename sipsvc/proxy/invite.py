"""A call in set-up: gateways and their addresses tried in turn until one answers, the caller gives up, or none is left
(SIP-8, SIP-12..15)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipsvc.dialog import Half
from sipsvc.effects import PORTS, Flow, Now, Target, address_text
from sipsvc.headers import Pristine, privacy_asked, without_identity
from sipsvc.message import Message
from sipsvc.message.build import join, response, upward, warning
from sipsvc.proxy.branch import ELSEWHERE, MS, Branch, BranchUser
from sipsvc.proxy.call import MOST_DIALOGS, Call, Tried
from sipsvc.proxy.core import Core
from sipsvc.proxy.credentials import BARE, REFUSED, Worn, leg_to
from sipsvc.proxy.late import HangUp
from sipsvc.proxy.reason import q850, reasons
from sipsvc.proxy.response import Outcome, best, retry_after
from sipsvc.proxy.session_timer import Asked, settle, tell
from sipsvc.proxy.way import Way, WayUser
from sipsvc.rating import ZERO, Price
from sipsvc.routing.refusals import Refusal
from sipsvc.timers import Timer, TimerTarget
from sipsvc.transaction import ServerTransaction, ServerUser

if TYPE_CHECKING:
    from sipsvc.routing import Attempt


# The code of a call whose CANCEL and answer crossed: it was up until the caller, who did not want it, hung up (SIP-12).
CROSSED = "cancel_crossed"


class InviteSession(ServerUser, BranchUser, WayUser, TimerTarget):
    """Every branch is built from `pristine` (law 5).

    `current` is the branch that is waited for, None while a name is looked up; `way` leads to its gateway, None where
    that has one address and needs no thought. `places` says for each entry of `call.tried` which attempt it was of.
    """

    __slots__ = ("asked", "attempts", "branches", "call", "cancelled", "core", "current", "expired", "held", "loop",
                 "next", "outcomes", "places", "pristine", "server", "timer", "way", "winner",
                 "winner_tag")  # fmt: skip

    def __init__(
        self,
        core: Core,
        call: Call,
        server: ServerTransaction,
        pristine: Pristine,
        attempts: tuple[Attempt, ...],
        loop: str,
        asked: Asked | None,
    ) -> None:
        self.core = core
        self.call = call
        self.server = server
        self.pristine = pristine
        self.attempts = attempts
        self.loop = loop
        self.asked = asked
        self.next = 0
        self.places: list[int] = []
        self.way: Way | None = None
        self.branches: list[Branch] = []
        self.current: Branch | None = None
        self.outcomes: list[Outcome] = []
        self.winner: Branch | None = None
        self.winner_tag = ""
        self.cancelled = False
        self.expired = False
        self.held = b""
        self.timer: Timer | None = None
        server.user = self
        call.session = self

    def start(self, now: Now) -> None:
        """Try the first gateway that can be tried."""
        if not self._onward(now):
            self._finish(now)

    # From one to the next

    def _onward(self, now: Now) -> bool:
        """Try the next gateway that can be tried. False: none is left."""
        while self.next < len(self.attempts):
            if self._gateway(now):
                return True
        return False

    def _gateway(self, now: Now) -> bool:
        """Try the next gateway, or look up where it is; False, and noted, where its limits do not let a call in."""
        core, attempt = self.core, self.attempts[self.next]
        gateway = attempt.gateway
        self.next += 1
        self.current = self.way = None
        core.move(self.call, "")
        if (gateway.max_channels or gateway.max_cps) and not attempt.unlimited:
            why = core.full(gateway, now)
            if why:
                self._tried("", now).left = why
                self.outcomes.append(Outcome(503, None, None))
                return False
            if gateway.max_cps:
                core.gateway_rates.take(gateway.id, gateway.max_cps, now)
        core.move(self.call, gateway.id)
        if gateway.id in core.watch.doubted:
            core.watch.trying(gateway, now)
        if gateway.named:
            self.way = Way(self.core, self, gateway, now)
            self.way.look_up(now)
            return True
        transport = gateway.transport.upper()
        port = gateway.port or PORTS[transport]
        return self._try(transport, gateway.host, port, gateway.provisional_timeout_ms, True, now)

    def _address(self, now: Now) -> bool:
        """Try the next address of the gateway tried last that can be tried."""
        way = self.way
        while way is not None and (step := way.step(now)) is not None:
            if self._try(*step.target, step.silence_ms, step.sized, now):
                return True
        return False

    def on_found(self, way: Way, now: Now) -> None:
        tried = len(self.call.tried)
        if self._address(now):
            return
        if len(self.call.tried) == tried:
            # No address, or one that came when the gateway's time was up.
            self._tried("", now).left = "dns"
            self.outcomes.append(Outcome(503, None, None))
        if not self._onward(now):
            self._finish(now)

    def _try(self, transport: str, host: str, port: int, silence_ms: int, sized: bool, now: Now) -> bool:
        """A branch to an address of the gateway tried last; with `sized` by TCP what is too large for UDP (SIP-6).

        False, and noted as tried, where no listener of ours can send there.
        """
        core = self.core
        attempt = self.attempts[self.next - 1]
        gateway, dress = attempt.gateway, attempt.dress
        listener = core.listener_for(transport, host, self.server.flow.listener)
        if listener < 0:
            core.count("no_listener")
            self._tried(address_text(transport, host, port), now).left = "transport"
            self.outcomes.append(Outcome(503, None, None))
            return False
        flow = Flow(transport, host, port, listener, 0, gateway.host if transport == "TLS" else "")
        name = core.branch(self.call.ref, self.loop)
        request = self._request(attempt, flow, name)
        if sized and gateway.tcp_if_large:
            large = core.flow_for_size(flow, len(request))
            if large is not flow:
                if self.way is None:
                    self.way = Way(core, self, gateway, now)
                silence_ms = self.way.by_tcp(Target(transport, host, port), silence_ms)
                flow, request = large, self._request(attempt, large, name)
        branch = Branch(core, self, len(self.call.tried), flow, dress.from_value, gateway.ring_timeout_ms)
        branch.leg = leg_to(core, gateway, self.pristine.cseq)
        self.branches.append(branch)
        self.current = branch
        self._tried(address_text(flow.transport, host, port), now)
        branch.start(name, request, silence_ms, now)
        return True

    def _request(self, attempt: Attempt, flow: Flow, name: str, worn: Worn = BARE) -> bytes:
        core, dress = self.core, attempt.dress
        return self.pristine.build(
            dress.request_uri,
            (core.via(flow, name), core.record_route(self.call, flow), *dress.identity, *worn.lines),
            from_value=dress.from_value,
            off=dress.off,
            cseq=worn.cseq,
        )

    def _tried(self, address: str, now: Now) -> Tried:
        """Note that the gateway whose turn it is is tried at `address`."""
        attempt = self.attempts[self.next - 1]
        gateway, dress = attempt.gateway, attempt.dress
        buy = Price(attempt.buy, gateway.currency, ZERO)
        tried = Tried(gateway.id, gateway.name, dress.request_uri, dress.user, buy, now.utc, address)
        self.call.tried.append(tried)
        self.places.append(self.next - 1)
        return tried

    # What the branches say

    def on_provisional(self, branch: Branch, response: Message, now: Now) -> None:
        if response.status == 100 or self.winner is not None or self.server.answered or branch is not self.current:
            return
        if response.to.tag:
            self._meet(branch, response)
        self._well(branch, now)
        if self.call.progress_at is None:
            self.call.progress_at = now.utc
        self.server.respond(response.status, self._upward(branch, response), now)

    def on_success(self, branch: Branch, response: Message, now: Now) -> None:
        tag = response.to.tag
        if branch is self.winner and tag == self.winner_tag:
            if not self.held:
                self.server.respond(response.status, self._upward(branch, response), now)
        elif self.winner is not None or self.server.answered:
            self._refuse_answer(branch, response, tag, now)
        else:
            self._answer(branch, response, tag, now)

    def late(self, response: Message, now: Now) -> bool:
        """Take a 2xx of a branch whose transaction is gone, unless it is the answer that won; whether it was one."""
        for branch in self.branches:
            if branch.name == response.via.branch:
                if branch is self.winner and response.to.tag == self.winner_tag:
                    return False
                self.on_success(branch, response, now)
                return True
        return False

    def on_failure(self, branch: Branch, response: Message | None, why: str, now: Now) -> None:
        tried = self.call.tried[branch.index]
        tried.status = response.status if response is not None else 503 if why == "transport" else 408
        if self.winner is not None or self.server.answered:
            return
        if branch.cancelled and tried.status == 487:
            # What our own CANCEL brings back is no word of the gateway's: it said nothing in time.
            response = None
        status = tried.status if response is not None or why == "transport" else 408
        self.outcomes.append(Outcome(status, response, branch))
        if branch is self.current and not why and tried.status not in (401, 407, 408, 503):
            self._well(branch, now)
        if tried.status >= 600:
            self._finish(now)
        elif branch is self.current:
            refused = branch.leg is not None and tried.status in (401, 407) and not branch.cancel_wanted
            tried.left = REFUSED if refused else why or str(tried.status)
            if not why and self.way is not None:
                self.way.plain = None  # it answered by TCP, so UDP would bring the same
            unreached = why in ("transport", "no_response")
            attempt = self._attempt(branch)
            hunt = unreached or refused or tried.status in attempt.gateway.hunt_codes
            given_up = self.cancelled or self.expired
            if refused and branch.answered:  # else somebody behind it asks for what is not ours to know
                self.core.watch.refused(attempt.gateway, now)
            if unreached or tried.status == 503:
                # Another address may be of use after a 503 whatever the codes are (RFC 3263 §4.3).
                if not given_up and self._address(now):
                    return
                after = retry_after(response) if response is not None else 0
                self.core.watch.failed(attempt.gateway, why or "503", attempt.dress.user, after, now)
            if given_up or not hunt or not self._onward(now):
                if tried is self.call.tried[-1] and not refused:
                    tried.left = ""
                self._finish(now)

    def on_challenge(self, branch: Branch, response: Message, now: Now) -> bool:
        leg = branch.leg
        if leg is None or self.winner is not None or self.server.answered or not leg.learn(response, branch.answered):
            return False
        for half in self.call.dialogs.values():
            leg.overtake(half.leg)
        # The refusal ended the early dialogs of this branch, and what answers may take up a tag of theirs.
        self.call.dialogs = {tag: half for tag, half in self.call.dialogs.items() if half.flow is not branch.flow}
        name = self.core.branch(self.call.ref, self.loop)
        attempt = self._attempt(branch)
        worn = leg.wear(self.server.request, attempt.dress.request_uri, leg.again())
        branch.again(name, self._request(attempt, branch.flow, name, worn), now)
        return True

    def on_silence(self, branch: Branch, now: Now) -> None:
        if self.cancelled or self.server.answered or self.winner is not None:
            return
        self.call.tried[branch.index].left = "no_provisional"
        branch.leave(now)
        if self._address(now):
            return
        attempt = self._attempt(branch)
        self.core.watch.failed(attempt.gateway, "no_response", attempt.dress.user, 0, now)
        if not self._onward(now):
            self.outcomes.append(Outcome(408, None, branch))
            self._finish(now)

    def on_ring_timeout(self, branch: Branch, now: Now) -> None:
        # The branch has been cancelled; an answer that crosses still wins (SIP-14).
        self.expired = True

    def on_cancel(self, server: ServerTransaction, cancel: Message, now: Now) -> None:
        if self.winner is not None and not self.call.acknowledged:
            self.call.code = CROSSED
        if self.winner is not None or server.answered or self.cancelled:
            return
        self.cancelled = True
        self.call.q850 = q850(cancel)
        for branch in self.branches:
            branch.cancel(now, *reasons(cancel))
        if self.current is None:
            self._finish(now)  # while a name is looked up nobody else answers (SIP-12)

    def on_timer(self, kind: int, now: Now) -> None:
        self.release(now)

    def release(self, now: Now) -> None:
        """Send the answer that was held back until its record was on disk."""
        if self.held:
            self.core.timers.cancel(self.timer)
            held, self.held = self.held, b""
            self.server.respond(self.call.status, held, now)

    # What becomes of the call

    def _answer(self, branch: Branch, response: Message, tag: str, now: Now) -> None:
        call, core = self.call, self.core
        if branch is self.current:
            self._well(branch, now)
        self.winner, self.winner_tag = branch, tag
        half = self._meet(branch, response)
        call.dialogs = {tag: half}
        call.gateway = half
        call.caller.other = half.own
        tried = call.tried[branch.index]
        tried.status, tried.left = response.status, ""
        call.winner = tried
        call.status, call.reason = response.status, response.reason
        call.code = CROSSED if self.cancelled else "answered"
        core.move(call, tried.gateway)  # it may have been left for another
        call.answer_at, call.answer_mono = now.utc, now.mono
        core.up(call, now)
        if self.way is not None:
            self.way.drop()
        settle(core, call, self.asked, response, now)
        for other in self.branches:
            if other is not branch:
                other.leave(now, ELSEWHERE)
        self.held = self._upward(branch, response)
        seq = core.observer.answered(call, now)
        wait = core.platform.timing.durable_wait_ms
        self.timer = core.timers.set(now.mono + wait * MS, self, 0)
        core.held.append((seq, self))

    def _refuse_answer(self, branch: Branch, response: Message, tag: str, now: Now) -> None:
        """An answer nobody waits for: ACK it each time it comes, BYE it once (SIP-15)."""
        if len(branch.byed) >= MOST_DIALOGS and tag not in branch.byed:
            return  # no gateway that answers on and on fills the log
        half = self._half(branch, response)
        self.core.own_request(self.call, half, "ACK", self.pristine.cseq, now)
        if tag not in branch.byed:
            branch.byed.add(tag)
            tried = self.call.tried[branch.index]
            if branch is not self.winner:
                tried.status = response.status
                tried.left = tried.left or "answered_too_late"
            # Behind what the caller may have said in this early dialog.
            user = HangUp(self.call, branch.index, tag, now)
            self.core.own_request(self.call, half, "BYE", self.call.caller.cseq + 1, now, user)

    def _finish(self, now: Now) -> None:
        """No gateway is left, or none may be tried: the best response goes up (§16.7 step 6)."""
        call, core = self.call, self.core
        if self.way is not None:
            self.way.drop()
        for branch in self.branches:
            branch.leave(now)
        request = self.server.request
        if self.cancelled:
            status, reason, code, by = 487, "Request Terminated", "cancelled", "caller"
            data = response(request, status, to_tag=core.random_hex(16))
        elif self.expired:
            status, reason, code, by = 408, "Request Timeout", "no_answer", "timeout"
            data = response(request, status, to_tag=core.random_hex(16))
        else:
            outcome = best(self.outcomes)
            status, reason, text = outcome.upward()
            code, by = ("rejected", "callee") if not text else ("gateways_failed", "")
            if outcome.response is not None and outcome.branch is not None and not text:
                data = self._upward(outcome.branch, outcome.response)
            else:
                extra = [warning(core.host(self.server.flow), text)] if text else []
                data = response(request, status, reason, to_tag=core.random_hex(16), extra=extra)
        call.status, call.reason = status, reason
        core.over(call, code, by, now)
        self.server.respond(status, data, now)

    def hang_up(self, code: str, ending: Refusal, now: Now) -> None:
        """End a call that nobody has answered: its branches are taken back. What is answered still, is hung up."""
        call, core, request = self.call, self.core, self.server.request
        if self.way is not None:
            self.way.drop()
        for branch in self.branches:
            branch.leave(now)
        call.status, call.reason = ending.status, ending.reason
        core.over(call, code, "proxy", now)
        extra = [warning(core.host(self.server.flow), ending.text)]
        data = response(request, ending.status, ending.reason, to_tag=core.random_hex(16), extra=extra)
        self.server.respond(ending.status, data, now)

    def _well(self, branch: Branch, now: Now) -> None:
        """The gateway that is waited for has something to say. One that says it too late is of no use to calls."""
        if (gateway := self._attempt(branch).gateway).id in self.core.watch.doubted:
            self.core.watch.worked(gateway, now)

    def _attempt(self, branch: Branch) -> Attempt:
        """The gateway the branch leads to, as the decision has it."""
        return self.attempts[self.places[branch.index]]

    # Dialog state and the way up

    def _half(self, branch: Branch, response: Message) -> Half:
        """The gateway's side as this response shows it, by the name it was called with and its own tag."""
        own = f"{self.server.request.get('to')};tag={response.to.tag}"
        other = branch.from_value or self.server.request.get("from") or ""
        half = Half(branch.flow, own, other, self._attempt(branch).dress.request_uri, pinned=False)
        half.rewritten = bool(branch.from_value)
        half.off = self._attempt(branch).dress.off
        half.tcp_if_large = self._attempt(branch).gateway.tcp_if_large
        if branch.leg is not None:
            half.leg = branch.leg.fork()
        half.meet(response, self.call.token)
        return half

    def _meet(self, branch: Branch, response: Message) -> Half:
        """An early or confirmed dialog with this branch: what is sent inside it goes there (law 7)."""
        dialogs, tag = self.call.dialogs, response.to.tag
        half = dialogs.get(tag)
        if half is not None and half.flow is branch.flow:
            half.meet(response, self.call.token)
        else:
            if len(dialogs) >= MOST_DIALOGS:
                del dialogs[next(iter(dialogs))]
            half = dialogs[tag] = self._half(branch, response)
        return half

    def _upward(self, branch: Branch, response: Message) -> bytes:
        """A gateway's response as the caller gets it: our Via off, its own From back (SIP-31)."""
        lines, names = upward(response, self.server.request)
        if not self._attempt(branch).gateway.trusted or _hidden(response):
            lines, names = without_identity(lines, names)
        if self.asked is not None and 200 <= response.status < 300:
            tell(self.asked, lines, names)
        return join(f"SIP/2.0 {response.status} {response.reason}", lines, response.body)


def _hidden(response: Message) -> bool:
    """Whether who answers is not to be shown to a caller that is no part of the trust domain (RFC 3325 §5)."""
    header, remote = response.get("privacy") or "", response.all("remote-party-id")
    asked = privacy_asked(header, remote, False, "called")
    return asked is not None and asked.number
