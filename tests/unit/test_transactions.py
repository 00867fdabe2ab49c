"""The four transaction machines on a virtual clock: when they send, what they absorb, when they end (SIP-10).

Times are milliseconds with the usual T1 500, T2 4,000 and T4 5,000; every row runs at a fifth of that as well.
"""

from __future__ import annotations

from typing import Any

import pytest

from sipsvc.directory import Timing
from sipsvc.effects import Flow, Now
from sipsvc.message import Message, parse
from sipsvc.timers import TimerHeap
from sipsvc.transaction import ClientTransaction, ClientUser, Layer, cancel_for
from sipsvc.transaction.tables import Event
from tests.unit.wire import CUSTOMER, GATES, MS, answer, request

Step = tuple[int, str]


class Bench(ClientUser):
    """One transaction with its timers. `log` is what left and what its user heard."""

    def __init__(self, timing: Timing) -> None:
        self.heap = TimerHeap()
        self.layer = Layer(self.heap, timing, self.send)
        self.now = Now(0, 0)
        self.log: list[Step] = []

    @property
    def at(self) -> int:
        return self.now.mono // MS

    def send(self, data: bytes, flow: Flow, ref: str) -> None:
        start = data.partition(b"\r\n")[0].decode().split(" ")
        self.log.append((self.at, f"send {start[1] if start[0] == 'SIP/2.0' else start[0]}"))

    def on_response(self, client: ClientTransaction, response: Message, now: Now) -> None:
        self.log.append((self.at, f"hear {response.status}"))

    def on_no_response(self, client: ClientTransaction, failed: bool, now: Now) -> None:
        self.log.append((self.at, "hear failure" if failed else "hear nothing"))

    def wait_until(self, ms: int) -> None:
        due = self.heap.next()
        while due is not None and due <= ms * MS:
            self.now = Now(due, 0)
            self.heap.run(self.now)
            due = self.heap.next()
        self.now = Now(ms * MS, 0)

    def ended(self, limit: int) -> int | None:
        """When the transaction was forgotten, None if it never is."""
        while len(self.layer):
            due = self.heap.next()
            if due is None or due > limit * MS:
                return None
            self.wait_until(due // MS)
        return self.at


def sends(method: str, *times: int) -> list[Step]:
    return [(time, f"send {method}") for time in times]


SILENT = sends("BYE", 0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500)
# method, what happens when, what comes of it, when it ends
CLIENTS: dict[str, tuple[str, list[Step], list[Step], int | None]] = {
    "timers A and B": (
        "INVITE", [], [*sends("INVITE", 0, 500, 1500, 3500, 7500, 15500, 31500), (32_000, "hear nothing")], 32_000,
    ),
    "a provisional quiets timer A and B": (
        "INVITE", [(700, "100"), (900, "180"), (90_000, "180")],
        [*sends("INVITE", 0, 500), (700, "hear 100"), (900, "hear 180"), (90_000, "hear 180")], None,
    ),
    "a failure is acknowledged each time and heard once": (
        "INVITE", [(100, "486"), (600, "486"), (32_000, "486")],
        [*sends("INVITE", 0), (100, "send ACK"), (100, "hear 486"), (600, "send ACK"), (32_000, "send ACK")], 32_100,
    ),
    "a failure after a provisional": (
        "INVITE", [(100, "180"), (9_000, "603")],
        [*sends("INVITE", 0), (100, "hear 180"), (9_000, "send ACK"), (9_000, "hear 603")], 41_000,
    ),
    "every 2xx is heard, none is acknowledged here (RFC 6026)": (
        "INVITE", [(100, "200"), (600, "200"), (30_000, "200")],
        [*sends("INVITE", 0), (100, "hear 200"), (600, "hear 200"), (30_000, "hear 200")], 32_100,
    ),
    "nothing else after a 2xx": (
        "INVITE", [(100, "200"), (200, "180"), (300, "486")], [*sends("INVITE", 0), (100, "hear 200")], 32_100,
    ),
    "nothing after a failure but a 2xx, of a fork further on": (
        "INVITE", [(100, "486"), (200, "180"), (300, "200")],
        [*sends("INVITE", 0), (100, "send ACK"), (100, "hear 486"), (300, "hear 200")], 32_100,
    ),
    "the transport fails": ("INVITE", [(0, "fail")], [*sends("INVITE", 0), (0, "hear failure")], 0),
    "the transport fails too late to matter": (
        "INVITE", [(100, "180"), (200, "fail")], [*sends("INVITE", 0), (100, "hear 180")], None,
    ),
    "given up: silent, but listening": (
        "INVITE", [(4_000, "give up"), (5_000, "200")],
        [*sends("INVITE", 0, 500, 1500, 3500), (5_000, "hear 200")], 37_000,
    ),
    "destroyed": ("INVITE", [(100, "180"), (200, "destroy")], [*sends("INVITE", 0), (100, "hear 180")], 200),
    "timers E and F": ("BYE", [], [*SILENT, (32_000, "hear nothing")], 32_000),
    "after a provisional every T2": (
        "BYE", [(600, "100")],
        [*sends("BYE", 0, 500), (600, "hear 100"),
         *sends("BYE", 1_500, 5_500, 9_500, 13_500, 17_500, 21_500, 25_500, 29_500), (32_000, "hear nothing")], 32_000,
    ),
    "timer K": (
        "BYE", [(600, "200"), (700, "200"), (800, "481")], [*sends("BYE", 0, 500), (600, "hear 200")], 5_600,
    ),
    "a failure ends it too, without ACK": ("BYE", [(600, "481")], [*sends("BYE", 0, 500), (600, "hear 481")], 5_600),
    "BYE cannot be sent": ("BYE", [(0, "fail")], [*sends("BYE", 0), (0, "hear failure")], 0),
}  # fmt: skip

G = [500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500]
SERVERS: dict[str, tuple[str, list[Step], list[Step], int | None]] = {
    "nothing said yet: absorbed": ("INVITE", [(500, "again"), (1_500, "again")], [], None),
    "the last provisional is repeated": (
        "INVITE", [(0, "100"), (500, "again"), (600, "180"), (1_500, "again")],
        [(0, "send 100"), (500, "send 100"), (600, "send 180"), (1_500, "send 180")], None,
    ),
    "timers G and H": (
        "INVITE", [(0, "100"), (1_000, "486")],
        [(0, "send 100"), (1_000, "send 486"), *sends("486", *(1_000 + time for time in G))], 33_000,
    ),
    "a repeated INVITE gets the failure again": (
        "INVITE", [(0, "486"), (200, "again"), (400, "ACK")], [(0, "send 486"), (200, "send 486")], 5_400,
    ),
    "ACK quiets it; timer I": (
        "INVITE", [(1_000, "486"), (1_600, "ACK"), (1_700, "ACK"), (1_800, "again")],
        [(1_000, "send 486"), (1_500, "send 486")], 6_600,
    ),
    "an ACK before its time": ("INVITE", [(0, "100"), (100, "ACK")], [(0, "send 100")], None),
    "accepted: repeats are absorbed, another 2xx goes up (RFC 6026, timer L)": (
        "INVITE", [(0, "180"), (1_000, "200"), (1_200, "again"), (1_500, "200"), (1_600, "ACK")],
        [(0, "send 180"), (1_000, "send 200"), (1_500, "send 200")], 33_000,
    ),
    "no second final answer": (
        "INVITE", [(0, "486"), (10, "200"), (20, "603"), (30, "180"), (100, "ACK")], [(0, "send 486")], 5_100,
    ),
    "nothing but a 2xx after a 2xx": (
        "INVITE", [(0, "200"), (10, "486"), (20, "180")], [(0, "send 200")], 32_000,
    ),
    "a failure straight away": ("INVITE", [(0, "403"), (100, "ACK")], [(0, "send 403")], 5_100),
    "BYE: nothing said yet, absorbed": ("BYE", [(500, "again")], [], None),
    "BYE: the final answer is repeated; timer J": (
        "BYE", [(100, "200"), (500, "again"), (31_000, "again"), (31_500, "481")],
        [(100, "send 200"), (500, "send 200"), (31_000, "send 200")], 32_100,
    ),
    "BYE: a provisional is repeated": (
        "BYE", [(100, "100"), (500, "again"), (600, "200")],
        [(100, "send 100"), (500, "send 100"), (600, "send 200")], 32_600,
    ),
    "BYE: waited for, answered in time": (
        "BYE", [(0, "await"), (500, "again"), (3_400, "200"), (3_600, "again")],
        [(3_400, "send 200"), (3_600, "send 200")], 35_400,
    ),
    "BYE: waited for too long, it gets 100 and that repeated (RFC 4320 §4.1)": (
        "BYE", [(0, "await"), (500, "again"), (3_600, "again"), (7_500, "again"), (8_000, "200"), (11_500, "again")],
        [(3_500, "send 100"), (3_600, "send 100"), (7_500, "send 100"), (8_000, "send 200"), (11_500, "send 200")],
        40_000,
    ),
    "BYE: nobody answers: no 408, and what repeats it is absorbed (RFC 4320 §4.2)": (
        "BYE", [(0, "await"), (100, "abandon"), (500, "again"), (4_000, "again")],
        [(3_500, "send 100"), (4_000, "send 100")], 32_100,
    ),
    "BYE: not waited for and abandoned": ("BYE", [(100, "abandon"), (500, "again")], [], 32_100),
    "BYE: abandoned at the end of its sender's patience": (
        "BYE", [(0, "await"), (32_000, "abandon")], [(3_500, "send 100")], 64_000,
    ),
}  # fmt: skip

# Over TCP and TLS: timers A, E and G never run, D, I, J and K are 0 (§17).
STREAM_CLIENTS: dict[str, tuple[str, list[Step], list[Step], int | None]] = {
    "timer B alone": ("INVITE", [], [(0, "send INVITE"), (32_000, "hear nothing")], 32_000),
    "a failure is acknowledged; timer D is 0": (
        "INVITE", [(100, "180"), (200, "486"), (200, "486")],
        [(0, "send INVITE"), (100, "hear 180"), (200, "send ACK"), (200, "hear 486")], 200,
    ),
    "timer M stays 64·T1": (
        "INVITE", [(100, "200"), (600, "200")], [(0, "send INVITE"), (100, "hear 200"), (600, "hear 200")], 32_100,
    ),
    "the connection goes before any word": ("INVITE", [(50, "lost")], [(0, "send INVITE"), (50, "hear failure")], 50),
    "the connection goes after a word: the rest comes by another": (
        "INVITE", [(50, "100"), (60, "lost"), (70, "200")],
        [(0, "send INVITE"), (50, "hear 100"), (70, "hear 200")], 32_070,
    ),
    "the connection goes after the end": ("INVITE", [(50, "486"), (60, "lost")],
                                          [(0, "send INVITE"), (50, "send ACK"), (50, "hear 486")], 60),
    "timer F alone": ("BYE", [], [(0, "send BYE"), (32_000, "hear nothing")], 32_000),
    "timer F after a provisional too": (
        "BYE", [(600, "100")], [(0, "send BYE"), (600, "hear 100"), (32_000, "hear nothing")], 32_000,
    ),
    "timer K is 0": ("BYE", [(600, "200"), (600, "200")], [(0, "send BYE"), (600, "hear 200")], 600),
    "BYE: the connection goes": ("BYE", [(600, "100"), (700, "lost")],
                                 [(0, "send BYE"), (600, "hear 100"), (700, "hear failure")], 700),
}  # fmt: skip
STREAM_SERVERS: dict[str, tuple[str, list[Step], list[Step], int | None]] = {
    "no timer G, but H": ("INVITE", [(0, "100"), (1_000, "486")], [(0, "send 100"), (1_000, "send 486")], 33_000),
    "timer I is 0": ("INVITE", [(1_000, "486"), (1_100, "ACK")], [(1_000, "send 486")], 1_100),
    "a repeated INVITE gets the failure again all the same": (
        "INVITE", [(0, "486"), (200, "again"), (400, "ACK")], [(0, "send 486"), (200, "send 486")], 400,
    ),
    "timer L stays 64·T1": (
        "INVITE", [(1_000, "200"), (1_500, "200"), (1_600, "again")], [(1_000, "send 200"), (1_500, "send 200")],
        33_000,
    ),
    "BYE: timer J is 0": ("BYE", [(100, "200")], [(100, "send 200")], 100),
    "BYE: waited for too long, it gets 100": (
        "BYE", [(0, "await"), (4_000, "200")], [(3_500, "send 100"), (4_000, "send 200")], 4_000,
    ),
    "BYE: nobody answers": ("BYE", [(0, "await"), (100, "abandon")], [(3_500, "send 100")], 32_100),
}  # fmt: skip

SCALES = {"usual": (1, Timing()), "a fifth": (5, Timing(100, 800, 1_000))}


def scaled(steps: list[Step], by: int) -> list[Step]:
    return [(time // by, what) for time, what in steps]


@pytest.mark.rule("SIP-10")
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", CLIENTS)
def test_client(name: str, scale: str) -> None:
    run_client(CLIENTS[name], *SCALES[scale], GATES[0])


@pytest.mark.rule("SIP-10", "SIP-6")
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("transport", ["TCP", "TLS"])
@pytest.mark.parametrize("name", STREAM_CLIENTS)
def test_client_on_a_stream(name: str, transport: str, scale: str) -> None:
    run_client(STREAM_CLIENTS[name], *SCALES[scale], GATES[0]._replace(transport=transport))


def run_client(row: tuple[str, list[Step], list[Step], int | None], by: int, timing: Timing, flow: Flow) -> None:
    method, script, outcome, end = row
    bench = Bench(timing)
    branch = "z9hG4bKus"
    ours = request(method, "sip:1@203.0.113.1", Via=f"SIP/2.0/UDP us;branch={branch}")
    client = bench.layer.new_client(branch, method, ours, flow, bench, bench.now)
    for time, what in scaled(script, by):
        bench.wait_until(time)
        if what.isdigit():
            response = parse(answer(parse(ours), int(what)))
            found = bench.layer.client_for(response)
            if found is not None:
                found.receive(response, bench.now)
        elif what == "fail":
            bench.layer.failed(client.key, bench.now)
        elif what == "give up":
            client.give_up()
        elif what == "lost":
            bench.layer.flow_lost(flow._replace(conn=7), bench.now)
        else:
            client.destroy()
    ended = bench.ended(200_000)
    assert ended == (None if end is None else end // by)
    assert bench.log == scaled(outcome, by)
    assert len(bench.heap) == 0


@pytest.mark.rule("SIP-10")
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", SERVERS)
def test_server(name: str, scale: str) -> None:
    run_server(SERVERS[name], *SCALES[scale], CUSTOMER)


@pytest.mark.rule("SIP-10", "SIP-6")
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("transport", ["TCP", "TLS"])
@pytest.mark.parametrize("name", STREAM_SERVERS)
def test_server_on_a_stream(name: str, transport: str, scale: str) -> None:
    run_server(STREAM_SERVERS[name], *SCALES[scale], CUSTOMER._replace(transport=transport, conn=3))


def run_server(row: tuple[str, list[Step], list[Step], int | None], by: int, timing: Timing, flow: Flow) -> None:
    method, script, outcome, end = row
    bench = Bench(timing)
    theirs = parse(request(method))
    server = bench.layer.new_server(theirs, flow)
    for time, what in scaled(script, by):
        bench.wait_until(time)
        if what.isdigit():
            server.respond(int(what), answer(theirs, int(what)), bench.now)
        elif what == "await":
            server.await_answer(bench.now)
        elif what == "abandon":
            server.abandon(bench.now)
        else:
            data = request(method if what == "again" else "ACK")
            message = parse(data)
            found = bench.layer.server_for(message) if what == "again" else bench.layer.invite_for(message)
            assert found is server
            found.run(Event.REQUEST if what == "again" else Event.ACK, bench.now)
    ended = bench.ended(200_000)
    assert ended == (None if end is None else end // by)
    assert bench.log == scaled(outcome, by)
    assert len(bench.heap) == 0


@pytest.mark.rule("SIP-10", "SIP-6")
@pytest.mark.parametrize(
    ("flow", "lost", "failed"),
    [
        (Flow("TCP", "203.0.113.1", 5080), Flow("TCP", "203.0.113.1", 5080, 0, 4), True),
        (Flow("TCP", "203.0.113.1", 5080, 0, 4), Flow("TCP", "203.0.113.1", 5080, 0, 4), True),
        (Flow("TCP", "203.0.113.1", 5080), Flow("TCP", "203.0.113.1", 5080), True),
        (Flow("TCP", "203.0.113.1", 5080, 0, 5), Flow("TCP", "203.0.113.1", 5080, 0, 4), False),
        (Flow("TCP", "203.0.113.1", 5080, 0, 5), Flow("TCP", "203.0.113.1", 5080), False),
        (Flow("TLS", "203.0.113.1", 5080), Flow("TCP", "203.0.113.1", 5080, 0, 4), False),
        (Flow("TCP", "203.0.113.2", 5080), Flow("TCP", "203.0.113.1", 5080, 0, 4), False),
        (Flow("TCP", "203.0.113.1", 5081), Flow("TCP", "203.0.113.1", 5080, 0, 4), False),
        (Flow("TCP", "203.0.113.1", 5080, 1), Flow("TCP", "203.0.113.1", 5080, 0, 4), False),
        (Flow("UDP", "203.0.113.1", 5080), Flow("TCP", "203.0.113.1", 5080, 0, 4), False),
    ],
)
def test_whom_a_lost_connection_concerns(flow: Flow, lost: Flow, failed: bool) -> None:
    bench = Bench(Timing())
    for number in (1, 2):
        data = request("BYE", Via=f"SIP/2.0/TCP us;branch=z9hG4bK{number}")
        bench.layer.new_client(f"z9hG4bK{number}", "BYE", data, flow, bench, bench.now)
    bench.layer.flow_lost(lost, bench.now)
    heard = [what for _, what in bench.log if what.startswith("hear")]
    assert heard == (["hear failure"] * 2 if failed else [])
    bench.layer.flow_lost(lost, bench.now)
    assert len([what for _, what in bench.log if what == "hear failure"]) == len(heard)


@pytest.mark.rule("SIP-10", "SIP-6")
def test_the_requests_of_a_connection_are_known_as_long_as_they_last() -> None:
    bench = Bench(Timing())
    first = bench.layer.new_server(parse(request("BYE")), CUSTOMER._replace(transport="TCP", conn=3))
    second = bench.layer.new_server(parse(request()), CUSTOMER._replace(transport="TCP", conn=3))
    bench.layer.new_server(parse(request("INFO")), CUSTOMER)
    assert bench.layer.servers_on(3) == [first, second]
    assert bench.layer.servers_on(4) == bench.layer.servers_on(0) == []
    second.flow = CUSTOMER._replace(transport="TCP")  # its answers go another way now
    first.respond(200, b"SIP/2.0 200 OK", bench.now)
    assert bench.layer.servers_on(3) == [second]
    second.respond(486, b"SIP/2.0 486 Busy", bench.now)
    second.run(Event.ACK, bench.now)
    assert bench.layer.servers_on(3) == []


OLD: dict[str, Any] = {"Via": "SIP/2.0/UDP old.example;branch=1"}
# a request, another one, and whether it belongs to the first one's transaction (§17.2.3)
MATCHES: list[tuple[str, bytes, bytes, bool]] = [
    ("again", request(), request(), True),
    ("case of the sent-by", request(Via="SIP/2.0/UDP H;branch=z9hG4bK1"),
     request(Via="SIP/2.0/UDP h:5060;branch=z9hG4bK1"), True),
    ("another branch", request(), request(Via="SIP/2.0/UDP 198.51.100.10:5062;branch=z9hG4bK-2"), False),
    ("another sent-by", request(), request(Via="SIP/2.0/UDP 198.51.100.11:5062;branch=z9hG4bK-1"), False),
    ("another port", request(), request(Via="SIP/2.0/UDP 198.51.100.10:5063;branch=z9hG4bK-1"), False),
    ("another method", request(), request("BYE"), False),
    ("ACK to the INVITE", request(), request("ACK"), True),
    ("CANCEL of the INVITE", request(), request("CANCEL"), True),
    ("CANCEL of a BYE", request("BYE"), request("CANCEL"), False),
    ("RFC 2543: again", request(**OLD), request(**OLD), True),
    ("RFC 2543: ACK with our tag", request(**OLD), request("ACK", To="<sip:x@h>;tag=ours", **OLD), True),
    ("RFC 2543: CANCEL", request(**OLD), request("CANCEL", **OLD), True),
    ("RFC 2543: CANCEL of another", request(**OLD), request("CANCEL", CSeq="2 CANCEL", **OLD), False),
    ("RFC 2543: another Call-ID", request(**OLD), request(Call_ID="other", **OLD), False),
    ("RFC 2543: another CSeq", request(**OLD), request(CSeq="2 INVITE", **OLD), False),
    ("RFC 2543: another From tag", request(**OLD), request(From="<sip:1@h>;tag=other", **OLD), False),
    ("RFC 2543: another URI", request(**OLD), request("INVITE", "sip:other@h", **OLD), False),
]  # fmt: skip


@pytest.mark.rule("SIP-10")
@pytest.mark.parametrize(("first", "second", "same"), [row[1:] for row in MATCHES], ids=[row[0] for row in MATCHES])
def test_what_belongs_to_a_transaction(first: bytes, second: bytes, same: bool) -> None:
    layer = Bench(Timing()).layer
    server = layer.new_server(parse(first), CUSTOMER)
    message = parse(second)
    found = layer.invite_for(message) if message.method in ("ACK", "CANCEL") else layer.server_for(message)
    assert (found is server) == same


@pytest.mark.rule("SIP-12", "SIP-10")
def test_a_cancel_and_an_ack_are_made_of_the_invite_and_nothing_else() -> None:
    invite = request(
        "INVITE", "sip:1@203.0.113.1", "Route: <sip:p1;lr>", "Route: <sip:p2;lr>", "Proxy-Authorization: Digest x=y",
        "v: SIP/2.0/UDP below;branch=z9hG4bKbelow", "Require: 100rel", body=b"v=0",
        Via="SIP/2.0/UDP us:5060;branch=z9hG4bKus", From='"A"\r\n <sip:1@h>\r\n\t;tag=f', CSeq="\r\n 7\r\n INVITE",
    )  # fmt: skip
    cancel = parse(cancel_for(invite))
    assert cancel.fault is None
    assert (cancel.method, cancel.uri, cancel.cseq) == ("CANCEL", "sip:1@203.0.113.1", 7)
    assert cancel.all("via") == ["SIP/2.0/UDP us:5060;branch=z9hG4bKus"]
    assert cancel.all("route") == ["<sip:p1;lr>", "<sip:p2;lr>"]
    assert (cancel.from_.tag, cancel.to.tag, cancel.call_id) == ("f", "", "call-1")
    assert not {"require", "contact", "proxy-authorization"} & set(cancel.names)
    assert cancel.body == b""
