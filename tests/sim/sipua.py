"""The core of a SIP user agent: RFC 3261 §17 transactions and §12 dialogs, on the virtual clock.

It is the independent check, so it shares no code with the engine and reports whatever it finds odd.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

from tests.sim import excuses
from tests.sim.network import MS, Address, Handle, Network
from tests.sim.sipmsg import Msg, build, params_of, parse, parse_name, parse_uri

T1, T2, T4 = 500.0, 4000.0, 5000.0
GIVE_UP = 64 * T1
Headers = Sequence[tuple[str, str]]
Answer = Callable[[Msg], None]
# Told whether the links alone are to blame for it that no answer came.
Gone = Callable[[bool], None]


class Finding(NamedTuple):
    """Something that may not be: which invariant, in which call, when, and what. `tag` is the gateway's of the dialog
    it was in, where that matters."""

    rule: str
    call_id: str
    at: int
    text: str
    tag: str = ""


class World:
    """What all agents of one run share."""

    def __init__(self, net: Network) -> None:
        self.net = net
        self.findings: list[Finding] = []
        self.counts: Counter[str] = Counter()
        # Calls that one of their parties has forgotten, and who passes every copy on or answers it: servers with state.
        self.forgotten: set[str] = set()
        # Calls of which a party has fallen silent for good.
        self.mute: set[str] = set()
        self.stateful: frozenset[str] = frozenset()

    def report(self, rule: str, call_id: str, text: str, tag: str = "", at: int | None = None) -> None:
        self.findings.append(Finding(rule, call_id, self.net.time if at is None else at, text, tag))


class ClientTx:
    """A request on its way: retransmissions, and for INVITE the ACK to a failure (§17.1)."""

    def __init__(self, agent: Agent, data: bytes, msg: Msg, dest: Address, told: Answer, gone: Gone):
        self.agent, self.data, self.msg, self.dest = agent, data, msg, dest
        self.told, self.gone = told, gone
        self.invite = msg.method == "INVITE"
        self.state = "calling"
        self.provisional = False
        self.final = 0
        self.wait = T1
        agent.clients[msg.branch, msg.method] = self
        self.again: Handle = agent.later(T1, self._again)
        self.end: Handle = agent.later(GIVE_UP, self._gone)
        agent.send(data, dest)

    def _again(self) -> None:
        """Timers A and E."""
        self.agent.world.counts["agent retransmissions"] += 1
        self.agent.send(self.data, self.dest)
        self.wait = self.wait * 2 if self.invite else min(T2, self.wait * 2)
        if self.state == "proceeding":
            self.wait = T2
        self.again = self.agent.later(self.wait, self._again)

    def _gone(self) -> None:
        """Timers B and F."""
        self.close()
        world = self.agent.world
        by_loss = excuses.took_too_long(world.net.record, world.stateful, self.msg, int(GIVE_UP * MS))
        if by_loss:
            world.counts[f"{self.msg.method} timed out by loss"] += 1
        self.gone(by_loss)

    def close(self) -> None:
        self.state = "terminated"
        self.again.cancel()
        self.end.cancel()
        self.agent.clients.pop((self.msg.branch, self.msg.method), None)

    def _linger(self, delay_ms: float) -> None:
        self.again.cancel()
        self.end.cancel()
        self.end = self.agent.later(delay_ms, self.close)

    def receive(self, msg: Msg) -> None:
        if msg.status < 200:
            if self.state not in ("calling", "proceeding"):
                return
            self.state, self.provisional = "proceeding", True
            if self.invite:
                self.again.cancel()
                self.end.cancel()
            self.told(msg)
        elif self.invite and msg.status < 300:
            if self.state == "completed":
                self.agent.world.report("one-final", msg.call_id, f"{msg.line} after a {self.final}")
                return
            if self.state != "accepted":
                self.state, self.final = "accepted", msg.status
                self._linger(GIVE_UP)
            self.told(msg)
        elif self.state == "accepted":
            self.agent.world.report("one-final", msg.call_id, f"{msg.line} after a 2xx")
        else:
            if self.invite:
                self.agent.send(self._ack(msg), self.dest)
            if self.state != "completed":
                self.state, self.final = "completed", msg.status
                self._linger(GIVE_UP if self.invite else T4)
                self.told(msg)
            elif msg.status != self.final:
                self.agent.world.report("one-final", msg.call_id, f"{msg.line} after a {self.final}")

    def _ack(self, response: Msg) -> bytes:
        """The ACK to a non-2xx: same branch, same Request-URI (§17.1.1.3)."""
        sent = self.msg
        headers = [("Via", sent.get("via")), *(("Route", value) for value in sent.all("route"))]
        headers += [("Max-Forwards", "70"), ("From", sent.get("from")), ("To", response.get("to"))]
        headers += [("Call-ID", sent.call_id), ("CSeq", f"{sent.cseq} ACK")]
        return build(f"ACK {sent.uri} SIP/2.0", headers)


class ServerTx:
    """A request received: absorbs retransmissions, repeats finals until the ACK (§17.2, §13.3.1.4)."""

    def __init__(self, agent: Agent, key: tuple[str, str, str], msg: Msg, src: Address, dst: Address) -> None:
        self.key = key
        self.agent, self.msg, self.src, self.dst = agent, msg, src, dst
        self.last: bytes | None = None
        self.final = 0
        self.refused = False
        self.cancelled = False
        self.tag = agent.token("t")
        self.repeats: dict[str, Handle] = {}
        self.ends: dict[str, Handle] = {}
        self.rounds: dict[str, int] = {}
        # Not from whoever says one thing and then another.
        self.owed_an_ack = True
        self.on_ack: Callable[[Msg], None] = lambda _: None
        self.on_no_ack: Callable[[], None] = lambda: None

    def respond(self, status: int, reason: str, headers: Headers = (), body: bytes = b"", tag: str = "") -> None:
        """Send a response; a final one is repeated as its kind demands."""
        tag = tag or self.tag
        data = self.response(status, reason, headers, body, tag)
        self.agent.respond_to(self.msg, self.src, self.dst, data)
        self.last = data
        if status < 200:
            return
        self.final = status
        self.refused = self.refused or status >= 300
        agent = self.agent
        agent.later(GIVE_UP + T4, lambda: agent.forget(self))
        if self.msg.method == "INVITE":
            self.acked(tag)
            self.rounds[tag] = 1
            self.repeats[tag] = agent.later(T1, lambda: self._repeat(data, tag, T1))
            self.ends[tag] = agent.later(GIVE_UP, lambda: self._no_ack(tag, status))

    def response(self, status: int, reason: str, headers: Headers, body: bytes, tag: str) -> bytes:
        """A response's bytes, not sent yet."""
        msg = self.msg
        vias = msg.all("via")
        if "rport" in params_of(vias[0]):
            vias = [vias[0].replace(";rport", f";rport={self.src[1]};received={self.src[0]}", 1), *vias[1:]]
        lines = [("Via", via) for via in vias]
        to = msg.get("to") if msg.to_tag or status == 100 else f"{msg.get('to')};tag={tag}"
        lines += [("From", msg.get("from")), ("To", to), ("Call-ID", msg.call_id), ("CSeq", msg.get("cseq"))]
        return build(f"SIP/2.0 {status} {reason}", [*lines, *headers], body)

    def _repeat(self, data: bytes, tag: str, wait: float) -> None:
        self.agent.world.counts["agent retransmissions"] += 1
        self.agent.respond_to(self.msg, self.src, self.dst, data)
        self.rounds[tag] += 1
        wait = min(T2, wait * 2)
        self.repeats[tag] = self.agent.later(wait, lambda: self._repeat(data, tag, wait))

    def _no_ack(self, tag: str, status: int) -> None:
        self.acked(tag)
        world, call_id = self.agent.world, self.msg.call_id
        said = self.msg.to_tag or tag
        if excuses.unacknowledged(world.net.record, call_id, said, self.rounds[tag]):
            world.counts["ACK missed by loss"] += 1
        elif self.owed_an_ack and call_id not in world.forgotten | world.mute:
            rule = "ack-arrives" if status < 300 else "ack-of-failure-arrives"
            world.report(rule, call_id, f"{self.agent.name}: no ACK to its {status} in 64·T1")
        if status < 300:
            self.on_no_ack()

    def acked(self, tag: str) -> None:
        for table in (self.repeats, self.ends):
            handle = table.pop(tag, None)
            if handle is not None:
                handle.cancel()

    def receive_again(self) -> None:
        self.agent.world.counts["absorbed at agents"] += 1
        if self.last is not None and not (self.msg.method == "INVITE" and 200 <= self.final < 300):
            self.agent.respond_to(self.msg, self.src, self.dst, self.last)


class Dialog:
    """One side's half of a dialog (§12). `local` and `remote` are whole From/To values."""

    def __init__(self, agent: Agent, call_id: str, local: str, remote: str, cseq: int, target: str, routes: list[str]):
        self.agent, self.call_id = agent, call_id
        self.local, self.remote = local, remote
        self.cseq, self.target, self.routes = cseq, target, routes
        self.remote_cseq = 0
        self.source: Address | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        return self.call_id, parse_name(self.local).tag, parse_name(self.remote).tag

    def compose(self, method: str, cseq: int, extra: Headers = (), body: bytes = b"") -> tuple[bytes, Address]:
        """A request inside the dialog and where it goes, loose and strict routes alike (§12.2.1.1)."""
        uri, routes = self.target, list(self.routes)
        if routes:
            first = parse_name(routes[0]).uri
            if not parse_uri(first).has("lr"):
                uri, routes = first, [*routes[1:], f"<{self.target}>"]
        hop = parse_uri(parse_name(routes[0]).uri if routes and uri == self.target else uri)
        headers = [("Via", self.agent.via()), *(("Route", value) for value in routes), ("Max-Forwards", "70")]
        headers += [("From", self.local), ("To", self.remote), ("Call-ID", self.call_id), ("CSeq", f"{cseq} {method}")]
        return build(f"{method} {uri} SIP/2.0", [*headers, *extra], body), (hop.host, hop.port)

    def request(self, method: str, told: Answer, gone: Gone, extra: Headers = (), body: bytes = b"") -> ClientTx:
        self.cseq += 1
        data, dest = self.compose(method, self.cseq, extra, body)
        return self.agent.start(data, dest, told, gone)

    def ack(self, cseq: int, extra: Headers = ()) -> None:
        data, dest = self.compose("ACK", cseq, extra)
        self.agent.send(data, dest)


class Agent:
    """An address on the network with a transaction layer; customers and gateways are made of it.

    `seen_at` is the address the world knows it by: its own, or that of the proxy it sits behind.
    """

    def __init__(self, world: World, name: str, address: Address, seed: int) -> None:
        self.world = world
        self.name = name
        self.address = address
        self.rng = Random(f"{seed}/{name}")
        self.clients: dict[tuple[str, str], ClientTx] = {}
        self.servers: dict[tuple[str, str, str], ServerTx] = {}
        self.rport = True
        self.up = True
        self.boots = 0
        self.seen_at = address
        world.net.nodes[address] = self

    @property
    def hops(self) -> int:
        """How many Vias a request of one hop has when it comes: one more behind a proxy of its own."""
        return 1 + (self.seen_at != self.address)

    def later(self, delay_ms: float, run: Callable[[], None]) -> Handle:
        """Call `run`, unless this agent has been started anew by then."""
        boots = self.boots
        return self.world.net.after(delay_ms, lambda: run() if boots == self.boots else None)

    def reboot(self, down_ms: float) -> None:
        """Everything it knew is gone, and for a while it is not there at all."""
        self.boots += 1
        self.up = False
        self.clients.clear()
        self.servers.clear()
        self.world.counts["gateway reboots"] += 1
        self.later(down_ms, self._come_up)

    def _come_up(self) -> None:
        self.up = True

    def token(self, kind: str) -> str:
        return f"{kind}{self.rng.getrandbits(40):010x}"

    def via(self) -> str:
        host, port = self.address
        return f"SIP/2.0/UDP {host}:{port};branch=z9hG4bK{self.token('b')}{';rport' if self.rport else ''}"

    def send(self, data: bytes, dest: Address) -> None:
        if not self.world.net.send(data, self.address, dest):
            msg = self.world.net.record[-1].msg
            self.world.report("reachable", msg.call_id if msg else "", f"{self.name}: nobody at {dest}: {msg}")

    def start(self, data: bytes, dest: Address, told: Answer, gone: Gone) -> ClientTx:
        return ClientTx(self, data, parse(data), dest, told, gone)

    def respond_to(self, request: Msg, src: Address, dst: Address, data: bytes) -> None:
        """RFC 3261 §18.2.2 with RFC 3581: to the source address, and its port if rport was asked."""
        via = request.get("via")
        port = src[1] if "rport" in params_of(via) else parse_uri("sip:" + via.split()[1].split(";")[0]).port
        if not self.world.net.send(data, dst, (src[0], port)):
            self.world.report("reachable", request.call_id, f"{self.name}: response to {src[0]}:{port} has no taker")

    def forget(self, tx: ServerTx) -> None:
        if self.servers.get(tx.key) is tx:
            del self.servers[tx.key]

    def on_datagram(self, data: bytes, msg: Msg | None, src: Address, dst: Address) -> None:
        if msg is None:
            return  # Found by the invariant on what the engine sends.
        if msg.status:
            client = self.clients.get((msg.branch, msg.method))
            if client is None:
                self.world.counts["stray responses at agents"] += 1
                self.on_stray(msg)
                return
            self.check_response(client, msg)
            client.receive(msg)
            return
        sent_by = msg.get("via").split()[1].split(";")[0]
        key = (msg.branch, sent_by, "INVITE" if msg.method == "ACK" else msg.method)
        server = self.servers.get(key)
        if msg.method == "ACK":
            self._ack(server, msg)
        elif server is not None:
            server.receive_again()
        else:
            server = self.servers[key] = ServerTx(self, key, msg, src, dst)
            if msg.method == "CANCEL":
                self._cancel(server, self.servers.get((msg.branch, sent_by, "INVITE")))
            else:
                self.on_request(server)

    def check_response(self, client: ClientTx, msg: Msg) -> None:
        """What a UAC sees must be its own request's (§8.1.3.3): one Via, its From, Call-ID and CSeq."""
        sent = client.msg
        if len(msg.all("via")) != 1:
            self.world.report("via", msg.call_id, f"{self.name} got {len(msg.all('via'))} Via in {msg.line}")
        for name in ("from", "call-id", "cseq"):
            if msg.get(name) != sent.get(name):
                text = f"{self.name} sent {name} {sent.get(name)!r}, {msg.line} says {msg.get(name)!r}"
                self.world.report("from-restored", msg.call_id, text)
        to, asked = msg.name("to"), sent.name("to")
        if to.uri != asked.uri or (asked.tag and to.tag != asked.tag):
            text = f"{self.name} sent To {sent.get('to')!r}, {msg.line} says {msg.get('to')!r}"
            self.world.report("from-restored", msg.call_id, text)

    def _ack(self, server: ServerTx | None, msg: Msg) -> None:
        if server is not None and server.refused:
            server.acked(server.tag)
        elif server is not None and server.owed_an_ack:
            self.world.report("ack-branch", msg.call_id, f"{self.name}: ACK on the branch of its {server.final} INVITE")
        elif server is not None:
            return  # whatever it said besides is acknowledged there
        else:
            self.on_ack(msg)

    def _cancel(self, cancel: ServerTx, invite: ServerTx | None) -> None:
        msg = cancel.msg
        if invite is None:
            cancel.respond(481, "No such transaction")
            self.world.counts["CANCEL without its INVITE at agents"] += 1
            return
        for name in ("call-id", "from"):
            if msg.get(name) != invite.msg.get(name):
                self.world.report("cancel-form", msg.call_id, f"CANCEL's {name} is not its INVITE's")
        if msg.uri != invite.msg.uri or msg.cseq != invite.msg.cseq or len(msg.all("via")) != self.hops:
            self.world.report("cancel-form", msg.call_id, f"CANCEL {msg.uri} {msg.cseq} for {invite.msg.uri}")
        cancel.respond(200, "OK", tag=invite.tag)
        invite.cancelled = True
        self.on_cancel(invite)

    def on_request(self, tx: ServerTx) -> None:
        raise AssertionError(f"{self.name} got {tx.msg}")

    def on_stray(self, msg: Msg) -> None:
        """A response to nothing it still remembers."""

    def on_cancel(self, invite: ServerTx) -> None:
        self.world.counts["CANCEL without effect at agents"] += 1

    def on_ack(self, msg: Msg) -> None:
        raise AssertionError(f"{self.name} got {msg}")
