"""Scripted customers: who they are and what they do to a call, from the INVITE to the last BYE."""

from __future__ import annotations

from tests.sim.network import Address, Handle
from tests.sim.party import SDP, SDP_TYPE, Party, TalkingAgent
from tests.sim.plan import CallPlan
from tests.sim.sipmsg import Msg, build, digest_answer, parse_name
from tests.sim.sipua import GIVE_UP, ClientTx, Dialog, ServerTx, World

# Four gateways left after 4 s each, Timer C, a branch silent after its CANCEL, and room for lost packets.
LONGEST_SETUP_MS = 4 * 4_000 + 190_000 + 2 * GIVE_UP
TRIES_WITH_CREDENTIALS = 4


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
        self.pracked: set[tuple[str, str]] = set()
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
        over = self.timed_out or self.final >= 300
        return over or (bool(self.parties) and all(party.ended_at is not None for party in self.parties.values()))

    def _report(self, rule: str, text: str) -> None:
        self.world.report(rule, self.plan.call_id, f"{self.agent.name} ({self.plan.action}): {text}")

    def start(self) -> None:
        self.world.counts[f"customer: {self.plan.action}"] += 1
        net = self.world.net
        self.guard = net.after(LONGEST_SETUP_MS, lambda: self._report("final-reaches-caller", "no final response"))
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
        headers = [("Via", agent.via()), ("Max-Forwards", "70")]
        headers += [("From", f'"{agent.name}" <sip:{plan.caller}@{agent.domain}>;tag={self.from_tag}')]
        headers += [("To", f"<{uri}>"), ("Call-ID", plan.call_id), ("CSeq", f"{self.cseq} INVITE")]
        headers += [("Contact", agent.contact), ("Allow", "INVITE, ACK, CANCEL, BYE, INFO"), SDP_TYPE]
        # What no gateway may ever be shown: claims of identity from an untrusted side (SIP-23).
        headers += [
            ("P-Asserted-Identity", "<sip:99999@evil.example>"),
            ("Remote-Party-ID", "<sip:88888@evil.example>"),
        ]
        if plan.privacy:
            headers.append(("Privacy", "id"))
        if credentials:
            headers.append((agent.credentials_header, credentials))
        data = build(f"INVITE {uri} SIP/2.0", headers, SDP, agent.compact)
        self.tx = agent.start(data, self.agent.proxy, self._answered, self._timed_out)

    @property
    def uri(self) -> str:
        host, port = self.agent.proxy
        return f"sip:{self.plan.dialled}@{host}:{port}"

    def _timed_out(self) -> None:
        self.timed_out = True
        self._settle()
        back = [one for one in self.world.net.record if one.dst == self.agent.address and one.msg is not None]
        answers = [one for one in back if one.msg is not None and one.msg.call_id == self.plan.call_id]
        if answers and all(one.copies == 0 for one in answers):
            self.world.counts["every response lost"] += 1
        elif self.plan.customer is not None:
            self._report("final-reaches-caller", "INVITE timed out without any response")

    def _settle(self) -> None:
        for handle in (self.guard, self.patience):
            if handle is not None:
                handle.cancel()

    def _answered(self, msg: Msg) -> None:
        if msg.status < 200:
            self.provisionals.append(msg.status)
            if msg.get("rseq") and not self.final:
                self._prack(msg)
            if self.cancel_wanted:
                self.cancel()
        elif msg.status < 300:
            self._picked_up(msg)
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

    def _prack(self, msg: Msg) -> None:
        """Say that a reliable provisional came, once for each (RFC 3262 §4)."""
        rack = f"{msg.get('rseq')} {msg.get('cseq')}"
        if (msg.to_tag, rack) in self.pracked:
            return
        self.pracked.add((msg.to_tag, rack))
        early = self._dialog(msg)
        early.cseq += len(self.pracked) - 1
        early.request("PRACK", self._prack_answered, lambda: self._report("prack", "PRACK timed out"), [("RAck", rack)])

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

    def _picked_up(self, msg: Msg) -> None:
        party = self.parties.get(msg.to_tag)
        if party is not None:
            party.dialog.ack(msg.cseq)  # Its ACK was lost, or this is a copy.
            return
        dialog = self._dialog(msg)
        dialog.cseq += len(self.pracked)
        party = self.parties[msg.to_tag] = Party(self.agent, dialog, self.agent.contact)
        party.dialog.ack(msg.cseq)
        first = len(self.parties) == 1
        self.final, self.final_msg = msg.status, msg
        self._settle()
        if not first or self.cancel_sent_at is not None:
            self.world.counts["second 2xx at caller" if not first else "answer crossed CANCEL"] += 1
            party.hang_up()
            return
        self._talk(party)

    def _talk(self, party: Party) -> None:
        net, plan = self.world.net, self.plan
        if plan.reinvite_ms is not None:
            net.after(plan.reinvite_ms, party.reinvite)
            net.after(plan.reinvite_ms * 1.2, party.inquire)
        if plan.action != "never hangs up":
            net.after(plan.talk_ms, party.hang_up)

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
        self.agent.start(data, self.tx.dest, self._cancel_answered, lambda: self._report("cancel", "CANCEL timed out"))
        if self.guard is not None:
            self.guard.cancel()
        late = GIVE_UP + 10_000
        self.guard = self.world.net.after(late, lambda: self._report("final-after-cancel", "no final in 64·T1 + 10 s"))

    def _cancel_answered(self, msg: Msg) -> None:
        if msg.status >= 300 and not self.final:
            self._report("cancel", f"CANCEL got {msg.line} while its INVITE was pending")


class CustomerAgent(TalkingAgent):
    """A phone or a PBX. Its Contact may lie about its address, as behind a NAT."""

    def __init__(
        self, world: World, name: str, address: Address, seed: int, proxy: Address, hidden: bool = False
    ) -> None:
        super().__init__(world, name, address, seed)
        self.proxy = proxy
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

    def call(self, plan: CallPlan) -> CallerCall:
        call = self.calls[plan.call_id] = CallerCall(self, plan)
        self.world.net.after(plan.start_ms, call.start)
        return call

    def on_request(self, tx: ServerTx) -> None:
        msg = tx.msg
        party = self.parties.get((msg.call_id, msg.to_tag))
        if party is not None and (msg.uri not in party.reachable_at() or msg.all("route")):
            self.world.report("route-set", msg.call_id, f"{self.name}: {msg.line} with Route {msg.all('route')}")
        super().on_request(tx)
