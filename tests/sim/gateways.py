"""Scripted gateways: what a carrier may do to a call, one function a behaviour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tests.sim.party import SDP, Party, TalkingAgent, answer_headers
from tests.sim.plan import CallPlan, GatewayPlan, GatewaySpec
from tests.sim.sipmsg import Msg, parse_name, parse_uri
from tests.sim.sipua import Dialog, ServerTx, World

REASONS = {
    302: "Moved Temporarily", 401: "Unauthorized", 404: "Not Found", 407: "Proxy Authentication Required",
    486: "Busy Here", 487: "Request Terminated", 500: "Server Internal Error", 503: "Service Unavailable",
    603: "Decline",
}  # fmt: skip
CHALLENGE = 'Digest realm="carrier", nonce="c0ffee", algorithm=MD5, qop="auth"'
DIRECT_PORT = 5090


@dataclass
class Answered:
    """A 2xx this gateway gave: under which To-tag and when."""

    tag: str
    at: int
    party: Party


class GatewayCall:
    """One INVITE at one gateway."""

    def __init__(self, agent: GatewayAgent, tx: ServerTx, script: GatewayPlan) -> None:
        self.agent, self.tx, self.script = agent, tx, script
        self.invite: Msg = tx.msg
        self.came_at = agent.world.net.time
        self.statuses: list[tuple[int, int]] = []
        self.answers: list[Answered] = []
        self.cancelled_at: int | None = None
        self.pracked = False
        # Behind its own proxy the gateway is reached through that proxy's route only (§12.1.1).
        self.routed = script.kind in ("rr", "strict")

    def at(self, delay_ms: float, run: Callable[[], None]) -> None:
        self.agent.world.net.after(delay_ms, run)

    def provisional(self, status: int, reason: str = "Ringing") -> None:
        if not self.tx.final:
            self.statuses.append((self.agent.world.net.time, status))
            self.tx.respond(status, reason, self._headers() if status > 100 else ())

    def reliable(self) -> None:
        """183 that wants a PRACK, repeated until it comes (RFC 3262 §3)."""
        if not self.tx.final and not self.pracked:
            self.statuses.append((self.agent.world.net.time, 183))
            self.tx.respond(183, "Session Progress", [*self._headers(), ("Require", "100rel"), ("RSeq", "77")])
            self.at(1_000.0, self.reliable)

    def prack(self, tx: ServerTx) -> None:
        self.pracked = True
        self.agent.world.counts["PRACK at gateways"] += 1
        if tx.msg.get("rack") != f"77 {self.invite.cseq} INVITE":
            self.agent.world.report("prack", tx.msg.call_id, f"{self.agent.name} got RAck {tx.msg.get('rack')!r}")
        tx.respond(200, "OK")

    def refuse(self, status: int) -> None:
        if self.tx.final:
            return
        extra = []
        if status in (401, 407):
            extra = [("WWW-Authenticate" if status == 401 else "Proxy-Authenticate", CHALLENGE)]
        elif status == 302:
            extra = [("Contact", "<sip:elsewhere@10.99.0.1:5060>")]
        self.statuses.append((self.agent.world.net.time, status))
        self.tx.respond(status, REASONS[status], extra)

    @property
    def contact(self) -> str:
        host, port = self.agent.address
        return f"<sip:{self.agent.spec.id}@{host}:{DIRECT_PORT if self.routed else port}>"

    def _record_routes(self) -> list[str]:
        theirs = self.invite.all("record-route")
        if not self.routed:
            return theirs
        host, port = self.agent.address
        return [f"<sip:{host}:{port}{';lr' if self.script.kind == 'rr' else ''};gw={self.agent.spec.id}>", *theirs]

    def _headers(self) -> list[tuple[str, str]]:
        return list(answer_headers(self._record_routes(), self.contact)[:-1])

    def answer(self, tag: str = "") -> None:
        """Answer 200 under `tag`, once per tag."""
        tag = tag or self.tx.tag
        if self.tx.final >= 300 or any(answered.tag == tag for answered in self.answers):
            return
        msg = self.invite
        target = parse_name(msg.get("contact")).uri
        local, remote = f"{msg.get('to')};tag={tag}", msg.get("from")
        dialog = Dialog(self.agent, msg.call_id, local, remote, 100, target, msg.all("record-route"))
        party = Party(self.agent, dialog, self.contact)
        self.answers.append(Answered(tag, self.agent.world.net.time, party))
        self.statuses.append((self.agent.world.net.time, 200))
        self.agent.await_ack(self.tx, tag)
        self.tx.on_ack = self._acked
        self.tx.on_no_ack = party.hang_up
        self.tx.respond(200, "OK", answer_headers(self._record_routes(), self.contact), SDP, tag)

    def _acked(self, msg: Msg) -> None:
        for answered in self.answers:
            if answered.tag == msg.to_tag and answered.party.acked_at is None:
                party, script = answered.party, self.script
                party.acked_at = self.agent.world.net.time
                if script.hangup is not None:
                    self.at(script.hangup, party.hang_up)
                if script.reinvite is not None:
                    self.at(script.reinvite, party.reinvite)
                    self.at(script.reinvite * 1.5, party.inquire)

    def on_cancel(self) -> None:
        self.cancelled_at = self.agent.world.net.time
        if self.script.kind == "rude":
            self.answer()
        elif self.script.kind != "stubborn" and not self.tx.final:
            self.refuse(487)


class GatewayAgent(TalkingAgent):
    """A carrier. `calls` is everything it was ever sent."""

    def __init__(self, world: World, spec: GatewaySpec, plans: dict[str, CallPlan], seed: int) -> None:
        super().__init__(world, spec.id, spec.address, seed)
        self.spec, self.plans = spec, plans
        self.calls: list[GatewayCall] = []
        world.net.nodes[spec.address[0], DIRECT_PORT] = self

    def on_new_call(self, tx: ServerTx) -> None:
        msg = tx.msg
        plan = self.plans.get(msg.call_id)
        if msg.method != "INVITE" or plan is None:
            super().on_new_call(tx)
            return
        script = plan.gateways.get(self.spec.id) or GatewayPlan("404", status=404)
        call = GatewayCall(self, tx, script)
        self.calls.append(call)
        self.world.counts[f"gateway: {script.kind}"] += 1
        KINDS.get(script.kind, fails)(call)

    def on_cancel(self, invite: ServerTx) -> None:
        for call in self.calls:
            if call.tx is invite:
                call.on_cancel()

    def on_request(self, tx: ServerTx) -> None:
        self._check_way(tx)
        early = [call for call in self.calls if (call.invite.call_id, call.tx.tag) == (tx.msg.call_id, tx.msg.to_tag)]
        if tx.msg.method == "PRACK" and early:
            early[0].prack(tx)
            return
        super().on_request(tx)

    def _check_way(self, tx: ServerTx) -> None:
        """Inside a dialog the proxy must follow this side's route set, strict routers included (SIP-16)."""
        msg = tx.msg
        call = next((call for call in self.calls if call.invite.call_id == msg.call_id and call.answers), None)
        if call is None or not msg.to_tag:
            return
        party = next((one.party for one in call.answers if one.tag == msg.to_tag), call.answers[0].party)
        contacts = party.reachable_at()
        routes = [parse_name(value).uri for value in msg.all("route")]
        if not call.routed:
            right = msg.uri in contacts and not routes
        elif call.script.kind == "rr":
            right = msg.uri in contacts and len(routes) == 1 and "gw" in dict(parse_uri(routes[0]).params)
        else:
            right = "gw" in dict(parse_uri(msg.uri).params) and len(routes) == 1 and routes[0] in contacts
        if not right or (call.routed and tx.dst[1] == DIRECT_PORT):
            text = f"{self.name} ({call.script.kind}): {msg.line} at port {tx.dst[1]} with Route {msg.all('route')}"
            self.world.report("route-set", msg.call_id, text)


def answers(call: GatewayCall) -> None:
    call.at(5, call.answer)


def rings(call: GatewayCall) -> None:
    call.at(call.script.first, lambda: call.provisional(180))
    call.at(call.script.final, call.answer)


def many(call: GatewayCall) -> None:
    """100, then every 18x there is, some again and again."""
    first, final = call.script.first, call.script.final
    call.at(5, lambda: call.provisional(100, "Trying"))
    for step, status in enumerate((183, 180, 180, 181, 182, 180, 199, 183)):
        call.at(first + (final - first) * step / 9, partial(call.provisional, status, "Progress"))
    call.at(final, call.answer)


def only_100(call: GatewayCall) -> None:
    call.at(call.script.first, lambda: call.provisional(100, "Trying"))
    call.at(call.script.final, call.answer)


def trying_for_ever(call: GatewayCall) -> None:
    call.at(call.script.first, lambda: call.provisional(100, "Trying"))


def rings_for_ever(call: GatewayCall) -> None:
    call.at(call.script.first, lambda: call.provisional(180))


def keeps_ringing(call: GatewayCall) -> None:
    """Rings longer than Timer C at one go, but says so now and then (§16.7 step 2)."""
    for step in range(4):
        call.at(call.script.first + step * 30_000.0, lambda: call.provisional(180))
    call.at(call.script.first + 115_000.0, call.answer)


def silent(call: GatewayCall) -> None:
    """Nothing at all, not even for a CANCEL's INVITE."""


def late_answer(call: GatewayCall) -> None:
    call.at(call.script.final, call.answer)


def reliable(call: GatewayCall) -> None:
    call.at(call.script.first, call.reliable)
    call.at(call.script.final, call.answer)


def twice(call: GatewayCall) -> None:
    """A carrier that forked and got two answers (§13.2.2.4)."""
    rings(call)
    call.at(call.script.final + call.script.first / 2, lambda: call.answer(f"{call.tx.tag}x"))


def fails(call: GatewayCall) -> None:
    call.at(call.script.final, lambda: call.refuse(call.script.status))


def rings_and_fails(call: GatewayCall) -> None:
    call.at(call.script.first, lambda: call.provisional(180))
    fails(call)


KINDS: dict[str, Callable[[GatewayCall], None]] = {
    "answers at once": answers,
    "rings": rings,
    "rr": rings,
    "strict": rings,
    "many 18x": many,
    "100 only": only_100,
    "100rel": reliable,
    "100 for ever": trying_for_ever,
    "keeps ringing": keeps_ringing,
    "rings for ever": rings_for_ever,
    "stubborn": rings_for_ever,
    "rude": rings_for_ever,
    "silent": silent,
    "late": rings,
    "late 2xx": late_answer,
    "twice": twice,
    "rings and fails": rings_and_fails,
}
