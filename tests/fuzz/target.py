"""One input of the fuzzer: packets of several peers and the time between them, given to a whole engine.

An input is readable: packets are divided by a line of `==`, and the first letter of each says what it is.

    C S G      a datagram of the customer, a stranger or the first gateway
    H          a message of the second gateway, which is known by name and reached by TCP
    F          bytes of the customer's stream, cut up by the framer
    L          that stream is lost
    E          the request that was sent last could not be sent
    T          4 seconds pass
"""

from __future__ import annotations

from typing import NamedTuple

from sipsvc.directory import Timing, Trunk
from sipsvc.effects import Flow, Listener, Resolve, Send, Target, WriteCdr
from sipsvc.errors import MessageDropped, SipError
from sipsvc.message import Message, parse
from sipsvc.message.stream import MAX_MESSAGE, PING, Framer
from tests.fuzz.check import headers, wrong
from tests.unit.wire import CUSTOMER, GATES, STRANGER, Sent, Wire, directory, gateway

DIVIDER = b"\n==\n"
STREAM = Flow("TCP", CUSTOMER.host, 40_001, 1, 7)
SECOND = Flow("TCP", GATES[1].host, GATES[1].port, 1, 8)
PEERS: dict[bytes, Flow] = {b"C": CUSTOMER, b"S": STRANGER, b"G": GATES[0], b"H": SECOND}
LISTENERS = (Listener("UDP", "192.0.2.1", 5060), Listener("TCP", "192.0.2.1", 5060))
MOST_PACKETS = 12
BOOK = directory(
    gateway(1, caller_prefix="77", p_asserted_identity=True),
    gateway(2, host="two.example", transport="tcp", remote_party_id=True),
    trunks=[Trunk("alice", "acme", username="alice", ha1_md5="0" * 32)],
    timing=Timing(max_call_ms=120_000),
)
# A proxy's own business in a request it sends on.
REWRITTEN = frozenset(
    "via route record-route max-forwards from to cseq p-asserted-identity p-preferred-identity remote-party-id "
    "diversion identity proxy-authorization session-expires min-se privacy".split()
)
# What a caller that asks for privacy does not show (SIP-32): it goes on as it came, or not at all.
PRIVATE = frozenset("history-info subject call-info organization user-agent reply-to in-reply-to".split())

# Nobody here looks at what was sent as a message.
NOTHING = Message([], [], b"")
ADDED = (b"Require: timer",)  # in answers to callers that keep the session's time (RFC 4028 §8.2)


class Finding(Exception):
    """What the fuzzer is after: an input, and what went wrong with it."""


class Judged(Wire):
    """A `Wire` whose output is judged by the grammar alone."""

    def __init__(self) -> None:
        super().__init__(BOOK, listeners=LISTENERS)
        self.judged: set[bytes] = set()
        self.ref = ""

    def drain(self) -> list[Sent]:
        out: list[Sent] = []
        while effects := self.engine.take():
            for effect in effects:
                if isinstance(effect, Send):
                    self._judge(effect)
                    self.ref = effect.ref or self.ref
                    out.append(Sent(self.elapsed, effect.flow, NOTHING, effect.data, effect.ref))
                elif isinstance(effect, WriteCdr):
                    self.records.append(effect.record)
                elif isinstance(effect, Resolve):
                    self.engine.resolved(effect.ref, (Target("TCP", SECOND.host, SECOND.port),), self.now)
            self.engine.durable(self.engine_seq, self.now)
        return out

    def _judge(self, sent: Send) -> None:
        if sent.data in self.judged:
            return  # the same again
        self.judged.add(sent.data)
        fault = wrong(sent.data)
        if fault:
            raise Finding(f"{fault} in what was sent to {sent.flow}: {sent.data!r}")


def run(data: bytes) -> None:
    """Raises Finding, or whatever the code under test raises, for an input that shows a bug."""
    wire = Judged()
    for packet in data.split(DIVIDER)[:MOST_PACKETS]:
        give(wire, packet[:1], packet[1:])
    wire.wait(400_000)
    left = wire.engine.leftovers()
    if any(left.values()) or wire.engine.live_calls:
        raise Finding(f"something is left when everything is over: {left}, {wire.engine.live_calls} calls")
    starts = sorted(record["cdr_id"] for record in wire.records if record["kind"] == "start")
    if starts != sorted(record["cdr_id"] for record in wire.records if record["kind"] == "end"):
        raise Finding("a call without its end")


def give(wire: Judged, kind: bytes, rest: bytes) -> None:
    """One packet."""
    if kind == b"T":
        wire.wait(4_000)
    elif kind == b"E":
        wire.engine.send_failed(wire.ref, wire.now)
        wire.drain()
    elif kind == b"L":
        wire.engine.flow_lost(STREAM, wire.now)
        wire.drain()
    elif kind == b"F":
        framer = framed(rest)
        for message in framer.messages:
            datagram(wire, message, STREAM)
        if framer.fault is not None:
            wire.engine.misframed(framer.head, framer.fault, STREAM, wire.now)
            wire.drain()
    elif kind in PEERS:
        datagram(wire, rest, PEERS[kind])


def datagram(wire: Judged, data: bytes, peer: Flow) -> None:
    for sent in wire.give(data, peer):
        if sent.flow != peer:
            untouched(data, sent.data)


def untouched(came: bytes, left: bytes) -> None:
    """A message that went on because of another holds its other headers in order and its body, to the byte."""
    if came[:1] in b"\r\n":
        came = came.lstrip(b"\r\n")
    head, _, body = came.partition(b"\r\n\r\n")
    sent_head, _, sent_body = left.partition(b"\r\n\r\n")
    read, sent = headers(head), headers(sent_head)
    if read is None or sent is None or read[0].split(b" ")[0] != sent[0].split(b" ")[0]:
        return  # an answer of ours to it, or a request of ours because of it
    if not sent[0].startswith(b"SIP/") and sum(name == "via" for name, _, _ in sent[1]) == 1:
        return  # a BYE of ours because of theirs: what is passed on has their Via below ours
    if read[0][:4].upper() == b"SIP/" and read[0][8:] != sent[0][8:]:
        return
    call, sent_call = ([value for name, value, _ in lines if name == "call-id"] for lines in (read[1], sent[1]))
    if call != sent_call or read[0].startswith((b"ACK ", b"CANCEL ")):
        return
    before, after = (
        [line for name, _, line in lines if name not in REWRITTEN and line not in ADDED] for lines in (read[1], sent[1])
    )
    lengths = [int(value) for name, value, _ in read[1] if name == "content-length"]
    if not lengths:
        after = [line for line in after if not line.startswith(b"Content-Length:")]
    there = set(after)
    shy = {line for name, _, line in read[1] if name in PRIVATE and line not in there}
    before = [line for line in before if line not in shy]
    if before != after:
        raise Finding(f"headers changed on the way: {before} became {after}")
    if sent_body != body[: lengths[0] if lengths else len(body)]:
        raise Finding(f"the body changed on the way: {body!r} became {sent_body!r}")


class Cut(NamedTuple):
    """What came out of a framer: messages, and what stopped it."""

    messages: list[bytes]
    fault: SipError | None
    head: bytes


def framed(data: bytes) -> Cut:
    """The messages of a stream, which are the same however it is cut."""
    whole, cut = Framer(), Framer()
    messages = [message for message in whole.feed(data) if message != PING]
    pieces: list[bytes] = []
    step = 1 + len(data) % 7
    for at in range(0, len(data), step):
        pieces += [message for message in cut.feed(data[at : at + step]) if message != PING]
    if (pieces, str(cut.fault), cut.head) != (messages, str(whole.fault), whole.head):
        raise Finding(f"cut into pieces of {step} it is {pieces}, {cut.fault}; whole it is {messages}, {whole.fault}")
    for message in messages:
        if len(message) > MAX_MESSAGE or message not in data:
            raise Finding(f"not a part of the stream: {message!r}")
        try:
            read = parse(message)
        except MessageDropped:
            continue
        if read.fault is None and not message.endswith(b"\r\n\r\n" + read.body):
            raise Finding(f"framer and parser do not agree where the body is: {message!r}")
    return Cut(messages, whole.fault, whole.head)
