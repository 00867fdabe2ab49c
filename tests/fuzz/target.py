"""One input of the fuzzer: packets of several peers and the time between them, given to a whole engine.

An input is readable: packets are divided by a line of `==`, and the first letter of each says what it is.

    C S G H    a datagram of the customer, a stranger, the first or the second gateway
    F          bytes of a stream, cut up by the framer before they are read
    T          nothing: 4 seconds pass
"""

from __future__ import annotations

from sipsvc.directory import Timing, Trunk
from sipsvc.effects import Flow, Send
from sipsvc.errors import MessageDropped
from sipsvc.message import parse
from sipsvc.message.stream import MAX_MESSAGE, PING, Framer
from tests.fuzz.check import headers, wrong
from tests.unit.wire import CUSTOMER, GATES, STRANGER, Wire, directory, gateway

DIVIDER = b"\n==\n"
PEERS: dict[bytes, Flow] = {b"C": CUSTOMER, b"S": STRANGER, b"G": GATES[0], b"H": GATES[1]}
MOST_PACKETS = 12
BOOK = directory(
    gateway(1, caller_prefix="77", p_asserted_identity=True),
    gateway(2, remote_party_id=True),
    trunks=[Trunk("alice", "acme", username="alice", ha1_md5="0" * 32)],
    timing=Timing(max_call_ms=120_000),
)
# A proxy's own business in a request it sends on.
REWRITTEN = frozenset(
    "via route record-route max-forwards from to cseq p-asserted-identity p-preferred-identity remote-party-id "
    "diversion identity proxy-authorization session-expires min-se".split()
)

ADDED = (b"Require: timer",)  # in answers to callers that keep the session's time (RFC 4028 §8.2)


class Finding(Exception):
    """What the fuzzer is after: an input, and what went wrong with it."""


class Judged(Wire):
    """A `Wire` whose output is judged by the grammar alone."""

    def __init__(self) -> None:
        super().__init__(BOOK)
        self.judged: set[bytes] = set()

    def drain(self) -> list[object]:  # type: ignore[override]  # nobody here looks at what was parsed
        out: list[object] = []
        while effects := self.engine.take():
            for effect in effects:
                if isinstance(effect, Send):
                    out.append(effect)
                    if effect.data in self.judged:
                        continue  # sent again
                    self.judged.add(effect.data)
                    fault = wrong(effect.data)
                    if fault:
                        raise Finding(f"{fault} in what was sent to {effect.flow}: {effect.data!r}")
                elif hasattr(effect, "record"):
                    self.records.append(effect.record)
            self.engine.durable(self.engine_seq, self.now)
        return out


def run(data: bytes) -> None:
    """Raises Finding, or whatever the code under test raises, for an input that shows a bug."""
    wire = Judged()
    for packet in data.split(DIVIDER)[:MOST_PACKETS]:
        kind, rest = packet[:1], packet[1:]
        if kind == b"T":
            wire.wait(4_000)
        elif kind == b"F":
            for message in framed(rest):
                wire.give(message, CUSTOMER)
        else:
            peer = PEERS.get(kind)
            if peer is not None:
                datagram(wire, rest, peer)
    wire.wait(400_000)
    left = wire.engine.leftovers()
    if any(left.values()) or wire.engine.live_calls:
        raise Finding(f"something is left when everything is over: {left}, {wire.engine.live_calls} calls")
    starts = sorted(record["cdr_id"] for record in wire.records if record["kind"] == "start")
    if starts != sorted(record["cdr_id"] for record in wire.records if record["kind"] == "end"):
        raise Finding("a call without its end")


def datagram(wire: Judged, data: bytes, peer: Flow) -> None:
    for effect in wire.give(data, peer):
        if isinstance(effect, Send) and effect.flow != peer:
            untouched(data, effect.data)


def untouched(came: bytes, left: bytes) -> None:
    """A message that went on because of another holds its other headers in order and its body, to the byte."""
    if came[:1] in b"\r\n":
        came = came.lstrip(b"\r\n")
    head, _, body = came.partition(b"\r\n\r\n")
    sent_head, _, sent_body = left.partition(b"\r\n\r\n")
    read, sent = headers(head), headers(sent_head)
    if read is None or sent is None or read[0].split(b" ")[0] != sent[0].split(b" ")[0]:
        return  # an answer of ours to it, or a request of ours because of it
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
    if before != after:
        raise Finding(f"headers changed on the way: {before} became {after}")
    if sent_body != body[: lengths[0] if lengths else len(body)]:
        raise Finding(f"the body changed on the way: {body!r} became {sent_body!r}")


def framed(data: bytes) -> list[bytes]:
    """The messages of a stream, which are the same however it is cut."""
    whole, cut = Framer(), Framer()
    messages = [message for message in whole.feed(data) if message != PING]
    pieces: list[bytes] = []
    step = 1 + len(data) % 7
    for at in range(0, len(data), step):
        pieces += [message for message in cut.feed(data[at : at + step]) if message != PING]
    if pieces != messages or str(cut.fault) != str(whole.fault):
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
    return messages
