"""One side of a call: what both a customer and a gateway do inside a dialog, early or confirmed."""

from __future__ import annotations

from collections.abc import Callable

from tests.sim import excuses
from tests.sim.network import MS, Address
from tests.sim.sessions import Session, given, interval
from tests.sim.sipmsg import Msg, parse_name
from tests.sim.sipua import GIVE_UP, Agent, ClientTx, Dialog, Headers, ServerTx, World

SDP = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
# How long a request sent before a re-INVITE was answered may still be repeated.
STRAGGLERS = 33_000 * MS
# How long a message may be on its way.
OVERTAKEN = 1_000 * MS
SDP_TYPE = ("Content-Type", "application/sdp")
# What each method inside a dialog brings along; XYZZY is one nobody knows (SIP-17).
BODIES: dict[str, tuple[Headers, bytes]] = {
    "UPDATE": ([SDP_TYPE], SDP),
    "INFO": ([("Content-Type", "application/dtmf-relay")], b"Signal=5\r\nDuration=160\r\n"),
    "OPTIONS": ([("Accept", "application/sdp")], b""),
    "MESSAGE": ([("Content-Type", "text/plain")], "Grüße".encode()),
    "XYZZY": ([("Content-Type", "application/octet-stream")], bytes(range(256))),
}
MOST_RETRIES = 2


class Party:
    """A dialog that is up, and how it ended: `ended_by` is `self`, `peer` or "" while it is up."""

    def __init__(
        self, agent: TalkingAgent, dialog: Dialog, contact: str, early: bool = False, timers: bool = False
    ) -> None:
        self.agent, self.dialog, self.contact = agent, dialog, contact
        self.early = early
        self.knows_timers = timers
        self.up_at = agent.world.net.time
        self.moves = agent.rng.random() < 0.5
        self.moving = False
        self.acked_at: int | None = None
        self.ended_at: int | None = None
        self.ended_by = ""
        # Its agent has been started anew and knows nothing of it.
        self.forgotten = False
        self.requests_seen: list[Msg] = []
        self.pending: ClientTx | None = None
        self.retries = 0
        # Where it was reachable before, and until when requests already on their way may say so.
        self.moved_from: list[tuple[str, int | None]] = []
        # Where it stays reachable for good, and the 2xx to an INVITE it gave last.
        self.reachable: list[str] = []
        self.given: ServerTx | None = None
        self.given_at = 0
        self.on_end: Callable[[], None] = lambda: None
        self.mute = False
        self.session = Session(agent, self._refresh, self.hang_up)
        self.on_prack: Callable[[Msg], None] = lambda _: None
        agent.parties[dialog.key] = self

    @property
    def world(self) -> World:
        return self.agent.world

    def _report(self, rule: str, text: str) -> None:
        self.world.report(rule, self.dialog.call_id, f"{self.agent.name}: {text}")

    def end(self, by: str) -> None:
        if self.ended_at is None:
            self.session.stop()
            self.ended_at, self.ended_by = self.world.net.time, by
            self.on_end()

    def fall_silent(self) -> None:
        """From now on it is as if it were not there, and nobody is told."""
        self.mute = True
        self.session.stop()
        self.world.mute.add(self.dialog.call_id)
        self.world.counts["parties fallen silent"] += 1

    def confirm(self) -> None:
        """Its 2xx was given or came, be it after another one had been."""
        self.early, self.up_at = False, self.world.net.time
        self.ended_at, self.ended_by = None, ""

    def hang_up(self) -> None:
        if self.ended_at is not None or self.mute:
            return
        self.session.stop()
        self.world.counts["BYE sent by agents"] += 1
        self.dialog.request("BYE", self._bye_answered, self._lost("bye-gets-through", "BYE"))
        self.end("self")

    def _lost(self, rule: str, method: str) -> Callable[[bool], None]:
        """What to do when nothing answers: the network may be to blame, anybody else is reported."""

        def gone(by_loss: bool) -> None:
            if method == "INVITE":
                self.pending = None
            silent = self.dialog.call_id in self.world.mute
            if not by_loss and not silent and (self.ended_at is None or rule != "in-dialog"):
                self._report(rule, f"its {method} timed out")

        return gone

    def _bye_answered(self, msg: Msg) -> None:
        # 481 is the other side's word that it has ended the call too, which the checks at the end hold it to.
        if msg.status >= 300 and msg.status != 481:
            self._report("bye-gets-through", f"its BYE got {msg.line}")
        elif msg.status == 481:
            self.world.counts["BYE answered 481"] += 1

    # What it asks for

    def reinvite(self) -> None:
        if self.ended_at is not None or self.pending is not None or self.mute:
            return
        self._move()
        extra = [("Contact", self.contact), SDP_TYPE, ("X-Sim", self.agent.token("x")), *self.session.headers()]
        gone = self._lost("in-dialog", "INVITE")
        self.pending = self.dialog.request("INVITE", self._reinvite_answered, gone, extra, SDP)

    def _move(self) -> None:
        """Half of them are reached elsewhere from now on (§12.2.1.1)."""
        if self.moves and not self.moving:
            self.moving = True
            self.world.counts["Contact changed inside a dialog"] += 1
            before = parse_name(self.contact).uri
            if self._may_be_overtaken():
                self.reachable.append(before)
            self.moved_from.append((before, None))
            self.contact = self.contact.replace("sip:", "sip:m", 1)

    def _may_be_overtaken(self) -> bool:
        """Whether an answer that tells of the place it leaves may come after the request that tells of the new one."""
        given = self.given
        return given is not None and (bool(given.repeats) or self.world.net.time < self.given_at + OVERTAKEN)

    def _moved(self) -> None:
        self.moving = False
        self.moved_from = [(uri, until or self.world.net.time + STRAGGLERS) for uri, until in self.moved_from]

    def reachable_at(self) -> list[str]:
        """The Request-URIs it may be sent: its Contact, and for a while the one before (§12.2)."""
        now = self.world.net.time
        return [
            parse_name(self.contact).uri,
            *self.reachable,
            *(uri for uri, until in self.moved_from if until is None or now < until),
        ]

    def _reinvite_answered(self, msg: Msg) -> None:
        if msg.status < 200:
            return
        if msg.status < 300:
            if self.pending is not None and self.pending.msg.cseq == msg.cseq:
                self.pending = None  # one that comes again may answer the re-INVITE before
            self.dialog.ack(msg.cseq)
            self._target_of(msg)
            self._settled(msg)
            self._moved()
            return
        asked, self.pending = self.pending, None
        if msg.status == 491:
            self._again_after_glare()
        elif msg.status == 481 or (msg.status == 408 and asked is not None and self._was_lost(asked.msg)):
            self._told_481()
        else:
            self._report("in-dialog", f"its re-INVITE got {msg.line}")

    def _was_lost(self, request: Msg) -> bool:
        """Whether it never got to the other side, or no word of that came back."""
        if self.dialog.call_id in self.world.mute:
            return True
        return excuses.took_too_long(self.world.net.record, frozenset(), request, int(GIVE_UP * MS))

    def _again_after_glare(self) -> None:
        """Both asked at once: whoever made the Call-ID waits longer (§14.1)."""
        self.world.counts["re-INVITE answered 491"] += 1
        self.retries += 1
        if self.retries <= MOST_RETRIES:
            least, most = (2_100, 4_000) if self.agent.makes_calls else (0, 2_000)
            self.agent.later(self.agent.rng.uniform(least, most), self.reinvite)

    def _told_481(self) -> None:
        """The other side knows nothing of this call any more: it is over (§12.2.1.2)."""
        self.world.counts["in dialog, answered 481"] += 1
        if not self.early:
            self.hang_up()

    def _target_of(self, msg: Msg) -> None:
        self.dialog.target = parse_name(msg.get("contact")).uri or self.dialog.target

    def ask(self, method: str) -> None:
        """Any method passes inside a dialog, and any body and header with it (SIP-1, SIP-17)."""
        if self.ended_at is not None or self.mute:
            return
        headers, body = BODIES[method]
        extra = [*headers, ("X-Sim", self.agent.token("x"))]
        if method == "UPDATE":
            if self.pending is None and not self.early:
                self._move()
            extra += [("Contact", self.contact), *self.session.headers()]
        told = lambda msg: self._asked(method, msg)  # noqa: E731
        self.dialog.request(method, told, self._lost("in-dialog", method), extra, body)

    def _asked(self, method: str, msg: Msg) -> None:
        if msg.status < 200:
            return
        if msg.status == 481:
            self._told_481()
        elif msg.status >= 300:
            self._report("in-dialog", f"its {method} got {msg.line}")
        elif method == "UPDATE":
            self._target_of(msg)
            self._settled(msg)
            self._moved()

    def _refresh(self) -> None:
        """Half of the session's time is over (RFC 4028 §10)."""
        self.world.counts["session refreshes"] += 1
        if self.agent.rng.random() < 0.7:
            self.ask("UPDATE")
        else:
            self.reinvite()

    def _settled(self, msg: Msg) -> None:
        """By the 2xx to a request of its own."""
        if not self.early:
            self.session.settle(interval(msg), msg.get("session-expires").endswith("uac"))

    def _gave(self, request: Msg) -> Headers:
        """What its 2xx to a request tells of the session."""
        told = given(request, self.knows_timers)
        if not self.early:
            self.session.settle(interval(request) if told else 0, bool(told) and told[0][1].endswith("uas"))
        return told

    # What it is asked for

    def on_request(self, tx: ServerTx) -> None:
        msg = tx.msg
        if self.mute:
            return
        self.requests_seen.append(msg)
        self.check_identity(msg)
        if (msg.get("proxy-authorization") or msg.get("authorization")) and not self.agent.asks_for_credentials:
            self._report("no-credentials", f"{msg.line} carries credentials")
        # Once it is over, a BYE of the other side may cross one that the proxy made with the same number.
        repeated = any(seen.cseq == msg.cseq and seen.method == msg.method for seen in self.requests_seen[:-1])
        if repeated and self.ended_at is None:
            self._report("cseq", f"CSeq {msg.get('cseq')} came twice in two transactions")
        if msg.method == "BYE":
            if self.ended_at is None and any(seen.cseq > msg.cseq for seen in self.requests_seen[:-1]):
                self._report("cseq", f"BYE {msg.cseq} is below what came before it")
            tx.respond(200, "OK")
            self.end("peer")
        elif self.ended_at is not None:
            tx.respond(481, "Call does not exist")
        elif msg.method == "INVITE":
            if self.pending is not None:
                tx.respond(491, "Request Pending")
                return
            self._target_of(msg)
            self.agent.await_ack(tx, msg.to_tag)
            self.given, self.given_at = tx, self.world.net.time
            tx.respond(200, "OK", [("Contact", self.contact), *self._gave(msg), SDP_TYPE], SDP)
        elif msg.method == "UPDATE":
            self._target_of(msg)
            self.given, self.given_at = tx, self.world.net.time
            tx.respond(200, "OK", [("Contact", self.contact), *self._gave(msg), SDP_TYPE], SDP)
        else:
            if msg.method == "PRACK":
                self.on_prack(msg)
            tx.respond(200, "OK")

    def check_identity(self, msg: Msg) -> None:
        """One constant From/To pair for a dialog's life (§12.2, TG-5)."""
        for name, ours in (("from", self.dialog.remote), ("to", self.dialog.local)):
            said, meant = msg.name(name), parse_name(ours)
            if said.uri != meant.uri or said.tag != meant.tag:
                self._report("from-restored", f"{msg.line}: {name} is {msg.get(name)!r}, in this dialog it is {ours!r}")


class TalkingAgent(Agent):
    """An agent that can be in calls. `forgotten` are those it knew of before it was started anew."""

    makes_calls = False
    asks_for_credentials = False

    def __init__(self, world: World, name: str, address: Address, seed: int) -> None:
        super().__init__(world, name, address, seed)
        self.parties: dict[tuple[str, str, str], Party] = {}
        self.forgotten: set[str] = set()
        self._acks: dict[tuple[str, str, int], ServerTx] = {}

    def reboot(self, down_ms: float) -> None:
        super().reboot(down_ms)
        self.forgotten.update(call_id for call_id, _, _ in self.parties)
        for party in self.parties.values():
            party.forgotten = party.ended_at is None
        self.parties.clear()
        self._acks.clear()

    def await_ack(self, tx: ServerTx, tag: str) -> None:
        """`tx` is about to answer 2xx under `tag`; its ACK is to be told to it."""
        self._acks[tx.msg.call_id, tag, tx.msg.cseq] = tx

    def acked_by(self, msg: Msg) -> ServerTx | None:
        """The INVITE whose 2xx it acknowledges."""
        return self._acks.get((msg.call_id, msg.to_tag, msg.cseq))

    def on_ack(self, msg: Msg) -> None:
        tx = self.acked_by(msg)
        if tx is None:
            if msg.call_id not in self.forgotten:
                self.world.report("ack-stray", msg.call_id, f"{self.name} got {msg} for nothing it answered")
            return
        party = self.parties.get((msg.call_id, msg.to_tag, msg.from_tag))
        if party is not None:
            party.check_identity(msg)
        # A ServerTx keeps its 2xx by the tag it answered with; inside a dialog that is its own token.
        tx.acked(tx.tag if tx.msg.to_tag else msg.to_tag)
        tx.on_ack(msg)

    def on_request(self, tx: ServerTx) -> None:
        msg = tx.msg
        if not msg.to_tag:
            self.on_new_call(tx)
            return
        party = self.parties.get((msg.call_id, msg.to_tag, msg.from_tag))
        if party is not None:
            party.on_request(tx)
            return
        if msg.call_id not in self.forgotten and not self.missed(msg):
            self.world.report("in-dialog", msg.call_id, f"{self.name} got {msg} for a dialog it does not have")
        tx.respond(481, "Call does not exist")

    def missed(self, msg: Msg) -> bool:
        """Whether the network kept from it how the dialog of this request came about."""
        return False

    def on_new_call(self, tx: ServerTx) -> None:
        self.world.report("in-dialog", tx.msg.call_id, f"{self.name} got {tx.msg} out of any dialog")
        tx.respond(405, "Method Not Allowed")


def answer_headers(record_routes: list[str], contact: str) -> Headers:
    return [*(("Record-Route", value) for value in record_routes), ("Contact", contact), SDP_TYPE]
