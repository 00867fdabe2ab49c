"""One side of an answered call: what both a customer and a gateway do inside a dialog."""

from __future__ import annotations

from collections.abc import Callable

from tests.sim.network import MS, Address
from tests.sim.sipmsg import Msg, parse_name
from tests.sim.sipua import Agent, ClientTx, Dialog, Headers, ServerTx, World

SDP = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
# How long a request sent before a re-INVITE was answered may still be repeated.
STRAGGLERS = 33_000 * MS
SDP_TYPE = ("Content-Type", "application/sdp")


class Party:
    """A dialog that is up, and how it ended: `ended_by` is `self`, `peer` or "" while it is up."""

    def __init__(self, agent: TalkingAgent, dialog: Dialog, contact: str) -> None:
        self.agent, self.dialog, self.contact = agent, dialog, contact
        self.up_at = agent.world.net.time
        self.moves = agent.rng.random() < 0.5
        self.acked_at: int | None = None
        self.ended_at: int | None = None
        self.ended_by = ""
        self.requests_seen: list[Msg] = []
        self.pending: ClientTx | None = None
        # Where it was reachable before, and until when requests already on their way may say so.
        self.moved_from: list[tuple[str, int | None]] = []
        self.on_end: Callable[[], None] = lambda: None
        agent.parties[dialog.call_id, parse_name(dialog.local).tag] = self

    @property
    def world(self) -> World:
        return self.agent.world

    def _report(self, rule: str, text: str) -> None:
        self.world.report(rule, self.dialog.call_id, f"{self.agent.name}: {text}")

    def _end(self, by: str) -> None:
        if self.ended_at is None:
            self.ended_at, self.ended_by = self.world.net.time, by
            self.on_end()

    def hang_up(self) -> None:
        if self.ended_at is not None:
            return
        self.world.counts["BYE sent by agents"] += 1
        self.dialog.request("BYE", self._bye_answered, lambda: self._report("bye-gets-through", "its BYE timed out"))
        self._end("self")

    def _bye_answered(self, msg: Msg) -> None:
        # 481 is the other side's word that it has ended the call too, which the checks at the end hold it to.
        if msg.status >= 300 and msg.status != 481:
            self._report("bye-gets-through", f"its BYE got {msg.line}")
        elif msg.status == 481:
            self.world.counts["BYE answered 481"] += 1

    def reinvite(self) -> None:
        if self.ended_at is not None or self.pending is not None:
            return
        self.world.counts["re-INVITE"] += 1
        if self.moves:
            self.world.counts["Contact changed by re-INVITE"] += 1
            self.moved_from.append((parse_name(self.contact).uri, None))
            self.contact = self.contact.replace("sip:", "sip:m", 1)
        extra = [("Contact", self.contact), SDP_TYPE]
        self.pending = self.dialog.request("INVITE", self._reinvite_answered, self._reinvite_lost, extra, SDP)

    def reachable_at(self) -> list[str]:
        """The Request-URIs it may be sent: its Contact, and for a while the one before (§12.2)."""
        now = self.world.net.time
        return [parse_name(self.contact).uri, *(uri for uri, until in self.moved_from if until is None or now < until)]

    def _reinvite_lost(self) -> None:
        self.pending = None
        if self.ended_at is None:
            self._report("in-dialog", "its re-INVITE timed out")

    def _reinvite_answered(self, msg: Msg) -> None:
        if msg.status < 200:
            return
        self.pending = None
        if msg.status < 300:
            self.dialog.ack(msg.cseq)
            self.moved_from = [(uri, until or self.world.net.time + STRAGGLERS) for uri, until in self.moved_from]
        elif msg.status in (481, 491):
            self.world.counts[f"re-INVITE answered {msg.status}"] += 1
        else:
            self._report("in-dialog", f"its re-INVITE got {msg.line}")

    def inquire(self) -> None:
        """An INFO: any method passes inside a dialog (SIP-17)."""
        if self.ended_at is None:
            self.dialog.request("INFO", self._info_answered, lambda: self._report("in-dialog", "its INFO timed out"))

    def _info_answered(self, msg: Msg) -> None:
        if msg.status >= 300 and msg.status != 481:
            self._report("in-dialog", f"its INFO got {msg.line}")

    def on_request(self, tx: ServerTx) -> None:
        msg, dialog = tx.msg, self.dialog
        self.requests_seen.append(msg)
        self.check_identity(msg)
        if msg.get("proxy-authorization") or msg.get("authorization"):
            self._report("no-credentials", f"{msg.line} carries credentials")
        # Once it is over, a BYE of the other side may cross one that the proxy made with the same number.
        repeated = any(seen.cseq == msg.cseq and seen.method == msg.method for seen in self.requests_seen[:-1])
        if repeated and self.ended_at is None:
            self._report("cseq", f"CSeq {msg.get('cseq')} came twice in two transactions")
        if msg.method == "BYE":
            if self.ended_at is None and any(seen.cseq > msg.cseq for seen in self.requests_seen[:-1]):
                self._report("cseq", f"BYE {msg.cseq} is below what came before it")
            tx.respond(200, "OK")
            self._end("peer")
        elif self.ended_at is not None:
            tx.respond(481, "Call does not exist")
        elif msg.method == "INVITE":
            if self.pending is not None:
                tx.respond(491, "Request Pending")
                return
            dialog.target = parse_name(msg.get("contact")).uri or dialog.target
            self.agent.await_ack(tx, msg.to_tag)
            tx.respond(200, "OK", [("Contact", self.contact), SDP_TYPE], SDP)
        else:
            tx.respond(200, "OK")

    def check_identity(self, msg: Msg) -> None:
        """One constant From/To pair for a dialog's life (§12.2, TG-5)."""
        for name, ours in (("from", self.dialog.remote), ("to", self.dialog.local)):
            said, meant = msg.name(name), parse_name(ours)
            if said.uri != meant.uri or said.tag != meant.tag:
                self._report("from-restored", f"{msg.line}: {name} is {msg.get(name)!r}, in this dialog it is {ours!r}")


class TalkingAgent(Agent):
    """An agent that can be in calls."""

    def __init__(self, world: World, name: str, address: Address, seed: int) -> None:
        super().__init__(world, name, address, seed)
        self.parties: dict[tuple[str, str], Party] = {}
        self._acks: dict[tuple[str, str, int], ServerTx] = {}

    def await_ack(self, tx: ServerTx, tag: str) -> None:
        """`tx` is about to answer 2xx under `tag`; its ACK is to be told to it."""
        self._acks[tx.msg.call_id, tag, tx.msg.cseq] = tx

    def on_ack(self, msg: Msg) -> None:
        tx = self._acks.get((msg.call_id, msg.to_tag, msg.cseq))
        if tx is None:
            self.world.report("ack-stray", msg.call_id, f"{self.name} got {msg} for nothing it answered")
            return
        party = self.parties.get((msg.call_id, msg.to_tag))
        if party is not None:
            party.check_identity(msg)
        # A ServerTx keeps its 2xx by the tag it answered with; inside a dialog that is its own token.
        tx.acked(tx.tag if tx.msg.to_tag else msg.to_tag)
        tx.on_ack(msg)

    def on_request(self, tx: ServerTx) -> None:
        msg = tx.msg
        if msg.to_tag:
            party = self.parties.get((msg.call_id, msg.to_tag))
            if party is None or msg.from_tag != parse_name(party.dialog.remote).tag:
                self.world.report("in-dialog", msg.call_id, f"{self.name} got {msg} for a dialog it does not have")
                tx.respond(481, "Call does not exist")
            else:
                party.on_request(tx)
        else:
            self.on_new_call(tx)

    def on_new_call(self, tx: ServerTx) -> None:
        self.world.report("in-dialog", tx.msg.call_id, f"{self.name} got {tx.msg} out of any dialog")
        tx.respond(405, "Method Not Allowed")


def answer_headers(record_routes: list[str], contact: str) -> Headers:
    return [*(("Record-Route", value) for value in record_routes), ("Contact", contact), SDP_TYPE]
