"""Scripted gateways: who they are and one INVITE at one of them. What they may do to it is in `behaviours`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random

from tests.sim.login import Guard
from tests.sim.network import MS, Address
from tests.sim.party import SDP, Party, TalkingAgent, answer_headers
from tests.sim.plain import credentials
from tests.sim.plan import CallPlan, GatewayPlan, GatewaySpec
from tests.sim.sessions import given, interval
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
        self.early: dict[str, Party] = {}
        self.cancelled_at: int | None = None
        self.pracked = False
        # Behind its own proxy the gateway is reached through that proxy's route only (§12.1.1).
        self.routed = script.kind in ("rr", "strict") and agent.seen_at == agent.address

    def at(self, delay_ms: float, run: Callable[[], None]) -> None:
        self.agent.later(delay_ms, run)

    def provisional(self, status: int, reason: str = "Ringing", tag: str = "") -> None:
        if self.tx.final:
            return
        self.statuses.append((self.agent.world.net.time, status))
        if status > 100:
            self._rings(tag or self.tx.tag)
        self.tx.respond(status, reason, self.headers() if status > 100 else (), tag=tag)

    def _rings(self, tag: str) -> Party:
        """The early dialog that a provisional response opens here."""
        party = self.early.get(tag)
        if party is None:
            party = self.early[tag] = self._party(tag, early=True)
            party.on_prack = self._prack
            for delay, method in self.script.early_asks:
                self.at(delay, partial(self._ask_early, party, method))
        return party

    def _party(self, tag: str, early: bool) -> Party:
        msg = self.invite
        target = parse_name(msg.get("contact")).uri
        local, remote = f"{msg.get('to')};tag={tag}", msg.get("from")
        dialog = Dialog(self.agent, msg.call_id, local, remote, 100, target, msg.all("record-route"))
        return Party(self.agent, dialog, self.contact, early, self.script.timer)

    def _ask_early(self, party: Party, method: str) -> None:
        """Only once the caller is known to have the dialog too (RFC 3261 §12.1: it may never have heard of it)."""
        if party.early and self.pracked:
            party.ask(method)

    def reliable(self) -> None:
        """183 that wants a PRACK, repeated until it comes (RFC 3262 §3)."""
        if not self.tx.final and not self.pracked:
            self.statuses.append((self.agent.world.net.time, 183))
            self._rings(self.tx.tag)
            self.tx.respond(183, "Session Progress", [*self.headers(), ("Require", "100rel"), ("RSeq", "77")])
            self.at(1_000.0, self.reliable)

    def _prack(self, msg: Msg) -> None:
        self.pracked = True
        self.agent.world.counts["PRACK at gateways"] += 1
        if msg.get("rack") != f"77 {self.invite.cseq} INVITE":
            self.agent.world.report("prack", msg.call_id, f"{self.agent.name} got RAck {msg.get('rack')!r}")

    def refuse(self, status: int) -> None:
        if self.tx.final:
            return
        extra, guard = [], self.agent.guard
        if status in (401, 407) and guard is not None:
            status, extra = guard.login.status, [guard.challenge(stale=False)]
        elif status in (401, 407):
            extra = [("WWW-Authenticate" if status == 401 else "Proxy-Authenticate", CHALLENGE)]
        elif status == 302:
            extra = [("Contact", "<sip:elsewhere@10.99.0.1:5060>")]
        self.statuses.append((self.agent.world.net.time, status))
        for party in self.early.values():
            party.end("refused")
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

    def headers(self) -> list[tuple[str, str]]:
        """What any response that makes a dialog carries."""
        return list(answer_headers(self._record_routes(), self.contact)[:-1])

    def answer(self, tag: str = "", anyway: bool = False) -> None:
        """Answer 200 under `tag`, once per tag, and not after a refusal unless `anyway`."""
        tag = tag or self.tx.tag
        if (self.tx.final >= 300 and not anyway) or any(answered.tag == tag for answered in self.answers):
            return
        party = self.early.get(tag) or self._party(tag, early=False)
        party.confirm()
        msg = self.invite
        self.answers.append(Answered(tag, self.agent.world.net.time, party))
        self.statuses.append((self.agent.world.net.time, 200))
        self.agent.await_ack(self.tx, tag)
        self.tx.on_ack = self._acked
        self.tx.on_no_ack = party.hang_up
        told = given(msg, self.script.timer)
        self.tx.respond(200, "OK", [*told, *answer_headers(self._record_routes(), self.contact)], SDP, tag)
        for other in self.early.values():
            if other.early:
                other.end("answered elsewhere")

    def _acked(self, msg: Msg) -> None:
        for answered in self.answers:
            if answered.tag == msg.to_tag and answered.party.acked_at is None:
                party, script = answered.party, self.script
                party.acked_at = self.agent.world.net.time
                # Before its ACK it may not even hang up (§15).
                told = given(self.invite, script.timer)
                party.session.settle(interval(self.invite) if told else 0, bool(told) and told[0][1].endswith("uas"))
                if script.hangup is not None:
                    self.at(script.hangup, party.hang_up)
                if script.reinvite is not None:
                    self.at(script.reinvite, party.reinvite)
                if script.mute is not None:
                    self.at(script.mute, party.fall_silent)
                for delay, method in script.asks:
                    self.at(delay, partial(party.ask, method))

    def on_cancel(self) -> None:
        self.cancelled_at = self.agent.world.net.time
        if self.script.kind == "rude":
            self.answer()
        elif self.script.kind != "stubborn" and not self.tx.final:
            self.refuse(487)


class GatewayAgent(TalkingAgent):
    """A carrier. `calls` is everything it was ever sent; `begin` is what it does with a new one."""

    def __init__(
        self,
        world: World,
        spec: GatewaySpec,
        address: Address,
        plans: dict[str, CallPlan],
        seed: int,
        begin: Callable[[GatewayCall], None],
    ) -> None:
        super().__init__(world, spec.id, address, seed)
        self.spec, self.plans, self.begin = spec, plans, begin
        self.calls: list[GatewayCall] = []
        self.guard = Guard(spec.id, spec.login, Random(f"{seed}/guard {spec.id}")) if spec.login is not None else None
        self.asks_for_credentials = self.guard is not None
        # From when to when it takes no new calls and answers no pings.
        self.outages: list[tuple[int, int]] = []
        world.net.nodes[address[0], DIRECT_PORT] = self

    def on_new_call(self, tx: ServerTx) -> None:
        msg = tx.msg
        plan = self.plans.get(msg.call_id)
        away = self._away
        if msg.method == "OPTIONS" and plan is None:
            self.world.counts["pings"] += 1
            if not away:
                tx.respond(200, "OK")
            return
        if msg.method != "INVITE" or plan is None:
            super().on_new_call(tx)
            return
        script = plan.gateways.get(self.spec.id) or GatewayPlan("404", status=404)
        if away:
            script = GatewayPlan("silent")
        call = GatewayCall(self, tx, script)
        self.calls.append(call)
        self.world.counts[f"gateway: {script.kind}"] += 1
        self.begin(call)

    def go_away(self, away_ms: float) -> None:
        """For a while it hears nothing but what belongs to calls that it has."""
        self.outages.append((self.world.net.time, self.world.net.time + int(away_ms * MS)))
        self.world.counts["gateway outages"] += 1

    def reboot(self, down_ms: float) -> None:
        super().reboot(down_ms)
        if self.guard is not None:
            self.guard.forget()
        self.forgotten.update(call.invite.call_id for call in self.calls)
        self.world.forgotten |= self.forgotten

    def on_cancel(self, invite: ServerTx) -> None:
        for call in self.calls:
            if call.tx is invite:
                call.on_cancel()

    def on_request(self, tx: ServerTx) -> None:
        self._check_way(tx)
        if self.guard is None or (self._away and not tx.msg.to_tag) or self._let_in(tx, self.guard):
            super().on_request(tx)

    @property
    def _away(self) -> bool:
        return any(begin <= self.world.net.time < end for begin, end in self.outages)

    def _let_in(self, tx: ServerTx, guard: Guard) -> bool:
        verdict, fault = guard.weigh(tx.msg)
        if fault:
            self.world.report("credentials", tx.msg.call_id, f"{self.name}: {fault}")
        if verdict == "in":
            return True
        self.world.counts["stale nonces" if verdict == "stale" else "challenges"] += 1
        status = guard.login.status
        tx.respond(status, REASONS[status], [guard.challenge(verdict == "stale")])
        return False

    def on_ack(self, msg: Msg) -> None:
        tx = self.acked_by(msg)
        if tx is not None and credentials(msg) != credentials(tx.msg):
            text = f"{self.name} got {msg} to {msg.to_tag} with other credentials"
            self.world.report("ack-credentials", msg.call_id, text, msg.to_tag)
        super().on_ack(msg)

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
        if not right or (call.routed and tx.dst[1] == DIRECT_PORT) or tx.src[0] != self._nearest(tx):
            text = f"{self.name} ({call.script.kind}): {msg.line} at port {tx.dst[1]} with Route {msg.all('route')}"
            self.world.report("route-set", msg.call_id, text)

    def _nearest(self, tx: ServerTx) -> str:
        """Behind a proxy nobody else may come straight here."""
        return self.seen_at[0] if self.seen_at != self.address else tx.src[0]
