"""Scripted customers: who they are and what they do to a call, from the INVITE to the last BYE."""

from __future__ import annotations

from functools import partial

from tests.sim import excuses
from tests.sim.network import MS, Address, Handle
from tests.sim.party import SDP, SDP_TYPE, Party, TalkingAgent
from tests.sim.plan import CallPlan
from tests.sim.sessions import interval
from tests.sim.sipmsg import Msg, build, digest_answer, parse_name
from tests.sim.sipua import GIVE_UP, ClientTx, Dialog, Headers, ServerTx, World

# Four gateways left after 4 s each, one that keeps ringing, Timer C, a branch silent after its CANCEL, and room for
# lost packets.
LONGEST_SETUP_MS = 4 * 4_000 + 90_000 + 190_000 + 2 * GIVE_UP
TRIES_WITH_CREDENTIALS = 4
# What makes an INVITE too large for UDP (§18.1.1).
MANY_LINES = b"a=rtpmap:0 PCMU/8000\r\n" * 60


class CallerCall:
    """One call of a customer. `final` is the last final response to the INVITE it kept, 0 while there is none."""

    def __init__(self, agent: CustomerAgent, plan: CallPlan) -> None:
        self.agent, self.plan = agent, plan
        self.from_tag = agent.token("f")
        self.cseq = agent.rng.randrange(1, 9000)
        self.tx: ClientTx | None = None
        self.final = 0
        self.final_msg: Msg | None = None
        self.timed_out = False
        self.challenges = 0
        self.parties: dict[str, Party] = {}
        self.early: dict[str, Party] = {}
        self.pracked: set[tuple[str, str]] = set()
        self.begun_at = 0
        self.provisionals: list[int] = []
        self.cancel_wanted = False
        self.cancel_sent_at: int | None = None
        self.guard: Handle | None = None
        self.patience: Handle | None = None

    @property
    def world(self) -> World:
        return self.agent.world

    @property
    def done(self) -> bool:
        if self.timed_out and not self.final:
            # Nobody told this phone, but the call may be ringing elsewhere.
            return self.world.net.time > self.begun_at + LONGEST_SETUP_MS * MS
        over = self.final >= 300
        return over or (bool(self.parties) and all(party.ended_at is not None for party in self.parties.values()))

    def _report(self, rule: str, text: str) -> None:
        self.world.report(rule, self.plan.call_id, f"{self.agent.name} ({self.plan.action}): {text}")

    def start(self) -> None:
        self.world.counts[f"customer: {self.plan.action}"] += 1
        net = self.world.net
        self.begun_at = net.time
        self.guard = net.after(LONGEST_SETUP_MS, lambda: self._waited_in_vain("final-reaches-caller"))
        if self.plan.cancel_ms is not None:
            self.patience = net.after(self.plan.cancel_ms, self.cancel)
        agent = self.agent
        # Half of the phones use the nonce of their last call again, one nc higher (RFC 7616 §3.4).
        known = agent.nonce if agent.reuses_nonce and self.plan.password else ""
        if known:
            self.world.counts["nonce used again"] += 1
        self._invite(self._credentials(known) if known else "")

    def _invite(self, credentials: str) -> None:
        plan, agent = self.plan, self.agent
        self.cseq += 1
        uri = self.uri
        headers = [("Via", agent.via()), *agent.preset_routes(), ("Max-Forwards", "70")]
        headers += [("From", f'"{agent.name}" <sip:{plan.caller}@{agent.domain}>;tag={self.from_tag}')]
        headers += [("To", f"<{uri}>"), ("Call-ID", plan.call_id), ("CSeq", f"{self.cseq} INVITE")]
        headers += [("Contact", agent.contact), ("Allow", "INVITE, ACK, CANCEL, BYE, INFO, PRACK, UPDATE")]
        headers += [("Supported", "100rel, timer" if plan.timer else "100rel"), SDP_TYPE]
        if plan.session_s:
            headers.append(("Session-Expires", str(plan.session_s)))
        # What no gateway may ever be shown: claims of identity from an untrusted side (SIP-23).
        headers += [
            ("P-Asserted-Identity", "<sip:99999@evil.example>"),
            ("Remote-Party-ID", "<sip:88888@evil.example>"),
        ]
        if plan.privacy:
            headers.append(("Privacy", "id"))
        if credentials:
            headers.append((agent.credentials_header, credentials))
        body = SDP + MANY_LINES if plan.large else SDP
        data = build(f"INVITE {uri} SIP/2.0", headers, body, agent.compact)
        self.tx = agent.start(data, agent.outbound or agent.proxy, self._answered, self._timed_out)

    @property
    def uri(self) -> str:
        host, port = self.agent.proxy
        return f"sip:{self.plan.dialled}@{host}:{port}"

    def _timed_out(self, by_loss: bool) -> None:
        self.timed_out = True
        self._settle()
        if not by_loss and self.plan.customer is not None:
            self._report("final-reaches-caller", "INVITE timed out without any response")

    def _waited_in_vain(self, rule: str) -> None:
        """No final response in all the time there was."""
        self.timed_out = True
        if self.answer_lost:
            self.world.counts["every 2xx lost"] += 1
        else:
            self._report(rule, "no final response")

    @property
    def answer_lost(self) -> bool:
        """Whether it was answered and the network kept that from it."""
        agent = self.agent
        return excuses.answer_never_came(self.world.net.record, self.plan.call_id, agent.address, agent.seen_at)

    def _settle(self) -> None:
        for early in self.early.values():
            if early.early:
                early.end("settled")
        for handle in (self.guard, self.patience):
            if handle is not None:
                handle.cancel()

    def _answered(self, msg: Msg) -> None:
        if msg.status < 200:
            self.provisionals.append(msg.status)
            if msg.status > 100 and msg.to_tag and not self.final:
                self._rings(msg)
            if self.cancel_wanted:
                self.cancel()
        elif msg.status < 300:
            self.picked_up(msg)
        elif msg.status in (401, 407) and self._try_credentials(msg):
            self.challenges += 1
        else:
            self.final, self.final_msg = msg.status, msg
            self._settle()

    def _try_credentials(self, msg: Msg) -> bool:
        """Answer a challenge; a second one only if it says the nonce was stale (RFC 7616 §3.4)."""
        agent = self.agent
        challenge = msg.get("proxy-authenticate") or msg.get("www-authenticate")
        if not self.plan.password or not challenge:
            return False
        stale = "stale=true" in challenge.lower().replace('"', "")
        if self.challenges and (not stale or self.challenges >= TRIES_WITH_CREDENTIALS):
            return False
        agent.credentials_header = "Proxy-Authorization" if msg.status == 407 else "Authorization"
        agent.nonce, agent.nc = challenge, 0
        self._invite(self._credentials(challenge))
        return True

    def _credentials(self, challenge: str) -> str:
        agent = self.agent
        agent.nc += 1
        user = self.plan.customer.username if self.plan.customer is not None else "nobody"
        return digest_answer(challenge, user, self.plan.password, "INVITE", self.uri, agent.nc, agent.token("c"))

    def _rings(self, msg: Msg) -> None:
        """A provisional response with a tag: an early dialog, and a PRACK for one that wants it (RFC 3262 §4)."""
        early = self.early.get(msg.to_tag)
        if early is None:
            early = Party(self.agent, self._dialog(msg), self.agent.contact, early=True, timers=self.plan.timer)
            self.early[msg.to_tag] = early
            for delay, method in self.plan.early_asks:
                self.agent.later(delay, partial(self._ask_early, early, method))
        rack = f"{msg.get('rseq')} {msg.get('cseq')}"
        if not msg.get("rseq") or (msg.to_tag, rack) in self.pracked:
            return
        self.pracked.add((msg.to_tag, rack))
        self.world.counts["PRACK"] += 1
        silent = lambda: self.plan.call_id in self.world.mute  # noqa: E731
        gone = lambda by_loss: by_loss or silent() or self._report("prack", "PRACK timed out")  # noqa: E731
        early.dialog.request("PRACK", self._prack_answered, gone, [("RAck", rack)])

    def _ask_early(self, early: Party, method: str) -> None:
        if early.early and self.cancel_sent_at is None:
            early.ask(method)

    def _prack_answered(self, msg: Msg) -> None:
        # 481 is right once that gateway was left or the caller gave up.
        if msg.status >= 300 and msg.status != 481:
            self._report("prack", f"PRACK got {msg.line}")

    def _dialog(self, msg: Msg) -> Dialog:
        """The dialog a response opens (§12.1.2)."""
        routes = list(reversed(msg.all("record-route")))
        target = parse_name(msg.get("contact")).uri
        if not target or not routes:
            self._report("route-set", f"{msg.line} has Contact {target!r} and Record-Route {routes}")
            host, port = self.agent.proxy
            target, routes = target or self.uri, routes or [f"<sip:{host}:{port};lr>"]
        return Dialog(self.agent, self.plan.call_id, msg.get("from"), msg.get("to"), msg.cseq, target, routes)

    def picked_up(self, msg: Msg) -> None:
        """A 2xx, also one that comes when this phone waits no longer."""
        party = self.parties.get(msg.to_tag)
        if party is not None:
            party.dialog.ack(msg.cseq)  # Its ACK was lost, or this is a copy.
            return
        party, dialog = self.early.get(msg.to_tag), self._dialog(msg)
        if party is None:
            party = Party(self.agent, dialog, self.agent.contact, timers=self.plan.timer)
        else:
            # An early dialog's route set and target are computed anew by the 2xx (§13.2.2.4).
            party.dialog.routes, party.dialog.target = dialog.routes, dialog.target
        party.confirm()
        if self.plan.timer:
            party.session.settle(interval(msg), msg.get("session-expires").endswith("uac"))
        self.parties[msg.to_tag] = party
        party.dialog.ack(msg.cseq)
        first = len(self.parties) == 1
        self.final, self.final_msg = msg.status, msg
        self._settle()
        if not first or self.cancel_sent_at is not None or self.timed_out:
            self.world.counts["second 2xx at caller" if not first else "answer to who had given up"] += 1
            party.hang_up()
            return
        self._talk(party)

    def _talk(self, party: Party) -> None:
        later, plan = self.agent.later, self.plan
        if plan.reinvite_ms is not None:
            later(plan.reinvite_ms, party.reinvite)
        for delay, method in plan.asks:
            later(delay, partial(party.ask, method))
        if plan.mute_ms is not None:
            later(plan.mute_ms, party.fall_silent)
        if plan.action != "never hangs up":
            later(plan.talk_ms, party.hang_up)

    def cancel(self) -> None:
        """CANCEL, but not before a provisional response (§9.1)."""
        if self.final or self.tx is None or self.timed_out or self.cancel_sent_at is not None:
            return
        if not self.tx.provisional:
            self.cancel_wanted = True
            return
        self.cancel_sent_at = self.world.net.time
        sent = self.tx.msg
        names = ("via", "max-forwards", "from", "to", "call-id")
        headers = [(name.title() if name != "call-id" else "Call-ID", sent.get(name)) for name in names]
        headers += [("Route", value) for value in sent.all("route")]
        data = build(f"CANCEL {sent.uri} SIP/2.0", [*headers, ("CSeq", f"{sent.cseq} CANCEL")])
        gone = lambda by_loss: by_loss or self._report("cancel", "CANCEL timed out")  # noqa: E731
        self.agent.start(data, self.tx.dest, self._cancel_answered, gone)
        if self.guard is not None:
            self.guard.cancel()
        self.guard = self.world.net.after(GIVE_UP * 2, lambda: self._waited_in_vain("final-after-cancel"))

    def _cancel_answered(self, msg: Msg) -> None:
        if msg.status >= 300 and not self.final:
            self._report("cancel", f"CANCEL got {msg.line} while its INVITE was pending")


class CustomerAgent(TalkingAgent):
    """A phone or a PBX. Its Contact may lie about its address, as behind a NAT.

    Behind a proxy of its own it sends to that, `outbound`, and is found through it.
    """

    makes_calls = True

    def __init__(
        self, world: World, name: str, address: Address, seed: int, proxy: Address, hidden: bool = False
    ) -> None:
        super().__init__(world, name, address, seed)
        self.proxy = proxy
        self.outbound: Address | None = None
        self.calls: dict[str, CallerCall] = {}
        self.domain = f"{name}.example"
        self.compact = self.rng.random() < 0.2
        self.rport = hidden or self.rng.random() < 0.7
        host = "192.168.7.7" if hidden else address[0]
        self.contact = f"<sip:{name}@{host}:{address[1]}>"
        self.credentials_header = "Proxy-Authorization"
        self.nonce = ""
        self.nc = 0
        self.reuses_nonce = self.rng.random() < 0.5

    def preset_routes(self) -> Headers:
        """Behind a proxy of its own half of the phones know ours too, and say so (§8.1.1.1, §16.4)."""
        if self.outbound is None:
            return []
        hops = [self.outbound, self.proxy] if self.rport else [self.outbound]
        return [("Route", f"<sip:{host}:{port};lr>") for host, port in hops]

    def call(self, plan: CallPlan) -> CallerCall:
        call = self.calls[plan.call_id] = CallerCall(self, plan)
        self.world.net.after(plan.start_ms, call.start)
        return call

    def on_request(self, tx: ServerTx) -> None:
        msg = tx.msg
        party = self.parties.get((msg.call_id, msg.to_tag, msg.from_tag))
        if party is not None and (msg.uri not in party.reachable_at() or msg.all("route")):
            self.world.report("route-set", msg.call_id, f"{self.name}: {msg.line} with Route {msg.all('route')}")
        super().on_request(tx)

    def missed(self, msg: Msg) -> bool:
        """An answer that never came, and whoever gave it gives up: BYE."""
        call = self.calls.get(msg.call_id)
        return call is not None and call.answer_lost

    def on_stray(self, msg: Msg) -> None:
        """An answer to an INVITE this phone has given up waiting for is still an answer (§13.2.2.4)."""
        call = self.calls.get(msg.call_id)
        if call is not None and call.timed_out and msg.method == "INVITE" and 200 <= msg.status < 300:
            call.picked_up(msg)
