"""What the fuzzer begins with: the torture messages, and whole calls as the simulated peers make them."""

from __future__ import annotations

from pathlib import Path

from sipsvc.effects import Flow, Target
from tests.fuzz.target import BOOK, DIVIDER, LISTENERS, PEERS, SECOND, STREAM
from tests.torture.table import NUMBER, ROWS
from tests.torture.test_torture import message
from tests.unit.wire import CUSTOMER, GATES, Sent, Talk, Wire, answer, request, talking

LETTERS = {flow: letter for letter, flow in PEERS.items()} | {STREAM: b"F"}


class Recorder(Wire):
    """Keeps what it is given, in the fuzzer's form."""

    def __init__(self) -> None:
        super().__init__(BOOK, listeners=LISTENERS)
        self.packets: list[bytes] = []

    def give(self, data: bytes, flow: Flow = CUSTOMER) -> list[Sent]:
        self.packets.append(LETTERS[flow] + data)
        return [*super().give(data, flow), *self.look_up()]

    def look_up(self) -> list[Sent]:
        """As the fuzzer's engine is answered: at once."""
        sent = self.find(Target("TCP", SECOND.host, SECOND.port)) if self.asked else []
        self.asked.clear()
        return sent

    def wait(self, ms: float) -> list[Sent]:
        self.packets.append(b"T")
        return [*super().wait(ms), *self.look_up()]


def calls() -> dict[str, bytes]:
    """By name, one input for each kind of call."""
    out: dict[str, bytes] = {}

    wire = Recorder()
    talk = talking(wire, invite=request(body=b"v=0\r\n"))
    wire.give(talk.by_caller("ACK", 1))
    wire.give(talk.by_callee("INVITE", 2), GATES[0])
    wire.give(talk.by_caller("UPDATE", 2))
    wire.give(talk.by_caller("BYE", 3))
    out["call"] = DIVIDER.join(wire.packets)

    wire = Recorder()
    invite = wire.give(request())[-1].message
    wire.give(answer(invite, 100), GATES[0])
    wire.give(answer(invite, 183, "Require: 100rel", "RSeq: 1", "Record-Route: <sip:p;lr>"), GATES[0])
    cancel = wire.give(request("CANCEL"))[-1].message
    wire.give(answer(cancel, 200), GATES[0])
    wire.give(answer(invite, 487), GATES[0])
    out["cancelled"] = DIVIDER.join(wire.packets)

    wire = Recorder()
    first = wire.give(request())[-1].message
    second = wire.wait(4_000)[-1].message
    wire.give(answer(first, 200, tag="late"), GATES[0])
    wire.give(answer(second, 503), SECOND)
    out["hunted"] = DIVIDER.join(wire.packets)

    wire = Recorder()
    forwarded = wire.give(request(Via="SIP/2.0/TCP 10.0.0.7;branch=z9hG4bK-1"), STREAM)[-1].message
    talk = Talk(wire, forwarded, wire.give(answer(forwarded, 200), GATES[0])[-1].message)
    wire.give(talk.by_caller("ACK", 1), STREAM)
    wire.packets.append(b"L")
    wire.give(talk.by_callee("BYE", 2), GATES[0])
    out["stream"] = DIVIDER.join(wire.packets)

    wire = Recorder()
    wire.give(request())
    wire.packets.append(b"E")
    out["unsent"] = DIVIDER.join(wire.packets)

    stranger = request("INVITE", Proxy_Authorization='Digest username="alice", realm="sipsvc", nonce="n", response="r"')
    out["stranger"] = b"S" + stranger
    stream = (b"", request(), b"\r\n\r\n", request("OPTIONS", body=b"abc"), request("BYE", CSeq="2 BYE"))
    out["messages"] = b"F" + b"".join(stream)
    out["no length"] = b"F" + request().replace(b"Content-Length: 0\r\n", b"")
    return out


def write(folder: Path) -> int:
    """Every seed as a file of `folder`; returns how many."""
    seeds = calls()
    for row in ROWS:
        data = message(row)
        seeds[row.name] = (b"C" if data[:4] != b"SIP/" else b"G") + data
        for old, new in row.dialled or []:
            data = data.replace(old, new)
        if NUMBER in data:
            seeds[f"{row.name}-dialled"] = b"C" + data
    for name, data in seeds.items():
        (folder / name).write_bytes(data)
    return len(seeds)
