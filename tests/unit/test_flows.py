"""A call between transports: what Via and Record-Route say, and what becomes of it when a connection ends."""

from __future__ import annotations

import json

import pytest

from sipsvc.effects import Flow, Listener
from sipsvc.errors import SipError
from sipsvc.message import Message, parse
from sipsvc.message.stream import PING, Framer
from tests.unit.wire import CALLEE, CUSTOMER, GATES, Wire, answer, directory, gateway, request

OURS = (
    Listener("UDP", "192.0.2.1", 5060),
    Listener("TCP", "tcp.example", 5062),
    Listener("TLS", "192.0.2.1", 5061),
    Listener("UDP", "2001:db8::1", 5060, ipv6=True),
)
BY_UDP = Flow("UDP", CUSTOMER.host, 5062, 0)
BY_TCP = Flow("TCP", CUSTOMER.host, 40_001, 1, 7)
BY_TLS = Flow("TLS", CUSTOMER.host, 40_002, 2, 8)
SEEN = {
    "UDP": ("SIP/2.0/UDP 192.0.2.1:5060", "@192.0.2.1:5060;lr>"),
    "TCP": ("SIP/2.0/TCP tcp.example:5062", "@tcp.example:5062;transport=tcp;lr>"),
    "TLS": ("SIP/2.0/TLS 192.0.2.1:5061", "@192.0.2.1:5061;transport=tls;lr>"),
}
VIA = "SIP/2.0/{} 10.0.0.7:{};branch=z9hG4bK-1"


def wire(transport: str = "udp") -> Wire:
    """With two gateways that want `transport`."""
    return Wire(directory(gateway(1, transport=transport), gateway(2, transport=transport)), listeners=OURS)


def call(flow: Flow, method: str = "INVITE", *extra: str, **fields: str) -> bytes:
    port = fields.pop("port", "5099")
    return request(method, f"sip:{CALLEE}@192.0.2.1", *extra, Via=VIA.format(flow.transport, port), **fields)


def inside(method: str, routes: list[str], like: Message, flow: Flow, *, swap: bool, uri: str) -> bytes:
    """A request in the dialog that `like` belongs to, by who answered (`swap`) or by who called."""
    own, other = (like.get("to") or "", like.get("from") or "") if swap else (like.get("from") or "", like.get("to"))
    lines = [f"Route: {route}" for route in routes]
    via = f"SIP/2.0/{flow.transport} peer.example:5060;branch=z9hG4bK-{method}-{swap}"
    return request(method, uri, *lines, From=own, To=other or "", CSeq=f"9 {method}", Via=via)


@pytest.mark.rule("SIP-6", "SIP-7", "SIP-16")
@pytest.mark.parametrize("callers", [BY_UDP, BY_TCP, BY_TLS])
@pytest.mark.parametrize("gateways", ["UDP", "TCP", "TLS"])
def test_each_side_sees_the_listener_it_is_served_by(callers: Flow, gateways: str) -> None:
    room = wire(gateways.lower())
    sent = room.give(call(callers), callers)[-1]
    invite = sent.message
    assert (sent.flow.transport, sent.flow.conn) == (gateways, 0)
    assert sent.flow.listener == ("UDP", "TCP", "TLS").index(gateways)
    via, there = SEEN[gateways]
    here = SEEN[callers.transport][1]
    assert (invite.get("via") or "").startswith(via)
    ends = [route.partition("@")[1] + route.partition("@")[2] for route in invite.all("record-route")]
    assert ends == ([there] if callers.transport == gateways else [there, here])
    answers = sent.flow._replace(port=5099, conn=50) if gateways != "UDP" else sent.flow
    bob = f"sip:bob@{GATES[0].host}:5080;transport={gateways.lower()}"
    ok = room.give(answer(invite, 200, contact=bob), answers)[-1]
    assert (ok.what, ok.flow) == ("200 INVITE", callers)
    # The caller sends by its own listener and the gateway by its own, and neither sees a Route of ours again.
    back = list(reversed(ok.message.all("record-route")))
    assert here in back[0] and len(back) == len(ends)
    ack = room.give(inside("ACK", back, ok.message, callers, swap=False, uri=bob), callers)[-1]
    assert ack.flow[:4] == sent.flow[:4] and ack.message.all("route") == []
    assert (ack.message.get("via") or "").startswith(via)
    on = invite.all("record-route")
    info = room.give(inside("INFO", on, ok.message, answers, swap=True, uri="sip:ann@10.0.0.7"), answers)[-1]
    assert info.flow == callers and info.message.all("route") == []
    assert (info.message.get("via") or "").startswith(SEEN[callers.transport][0])
    bye = room.give(inside("BYE", back, ok.message, callers, swap=False, uri=bob), callers)[-1]
    assert bye.what == "BYE" and bye.flow[:4] == sent.flow[:4]


@pytest.mark.rule("SIP-7", "SIP-16")
@pytest.mark.parametrize(
    ("routes", "status"),
    [
        (["<sip:192.0.2.1;lr>"], 100),
        (["<sip:192.0.2.1:5061;lr>"], 100),
        (["<sips:192.0.2.1;lr>"], 100),
        (["<sip:192.0.2.1;transport=tls;lr>"], 100),
        (["<sip:TCP.example:5062;transport=TCP;lr>", "<sip:[2001:db8::1];lr>"], 100),
        (["<sip:tcp.example;lr>"], 403),
        (["<sip:192.0.2.1;lr>", "<sip:198.51.100.99;lr>"], 403),
    ],
)
def test_a_route_may_name_any_of_our_listeners(routes: list[str], status: int) -> None:
    sent = wire().give(call(BY_TCP, "INVITE", *(f"Route: {route}" for route in routes)), BY_TCP)
    assert sent[0].message.status == status
    if status == 100:
        assert sent[-1].message.all("route") == []


@pytest.mark.rule("SIP-6", "SIP-7")
@pytest.mark.parametrize(("flow", "port", "back"), [(BY_TCP, "5099", 5099), (BY_TLS, "5099", 5099)])
def test_an_answer_finds_its_way_when_its_connection_is_gone(flow: Flow, port: str, back: int) -> None:
    room = wire()
    invite = room.give(call(flow, port=port), flow)[-1].message
    ringing = room.give(answer(invite, 180), GATES[0])[-1]
    assert ringing.flow == flow
    room.engine.flow_lost(flow, room.now)
    assert room.drain() == []
    ok = room.give(answer(invite, 200), GATES[0])[-1]
    assert ok.flow == Flow(flow.transport, CUSTOMER.host, back, flow.listener)
    assert room.engine.core.conns == set()


@pytest.mark.rule("SIP-6")
@pytest.mark.parametrize(("flow", "port"), [(BY_TCP, 5060), (BY_TLS, 5061)])
def test_a_via_without_port_means_the_transport_s_own(flow: Flow, port: int) -> None:
    room = wire()
    via = f"SIP/2.0/{flow.transport} phone.example;branch=z9hG4bK-1"
    room.give(request(Via=via), flow)
    room.engine.flow_lost(flow, room.now)
    room.wait(3_900)
    (cancelled,) = room.give(request("CANCEL", Via=via), flow._replace(conn=9, port=40_003))[:1]
    # A CANCEL's own answer goes by the connection it came by; the INVITE's 487 where its Via says.
    assert (cancelled.what, cancelled.flow.conn) == ("200 CANCEL", 9)
    final = room.wait(40_000)[-1]
    assert (final.what, final.flow) == ("487 INVITE", Flow(flow.transport, CUSTOMER.host, port, flow.listener))


@pytest.mark.rule("SIP-6", "SIP-13")
def test_a_lost_connection_to_a_gateway_hunts_on_at_once() -> None:
    room = wire("tcp")
    first = room.give(call(BY_TCP), BY_TCP)[-1]
    assert first.flow.host == GATES[0].host
    room.engine.flow_lost(first.flow._replace(conn=11), room.now)
    second = room.drain()[-1]
    assert (second.what, second.flow.host) == ("INVITE", GATES[1].host)
    room.engine.send_failed(second.ref, room.now)
    room.engine.flow_lost(second.flow._replace(conn=12), room.now)
    assert [sent.what for sent in room.drain()] == ["500 INVITE"]
    assert [one["left"] for one in room.end["attempts"]] == ["transport", ""]


@pytest.mark.rule("SIP-6")
def test_the_loss_of_one_connection_is_nothing_to_others() -> None:
    room = wire("tcp")
    sent = room.give(call(BY_TCP), BY_TCP)[-1]
    for other in (BY_TCP._replace(conn=99, port=1), sent.flow._replace(host="203.0.113.99", conn=98)):
        room.engine.flow_lost(other, room.now)
    assert room.drain() == []
    assert room.give(answer(sent.message, 200), sent.flow._replace(conn=50))[-1].flow == BY_TCP


BROKEN = {
    "513": (call(BY_TCP).replace(b"Content-Length: 0", b"Content-Length: 70000"), "513", "Message Too Large"),
    "400": (call(BY_TCP).replace(b"Content-Length: 0", b"Content-Length: x"), "400", "Bad Content-Length header"),
    "none": (call(BY_TCP).replace(b"Content-Length: 0\r\n", b""), "400", "No Content-Length header"),
    "a head without end": (call(BY_TCP)[:-4] + b"\r\nX: " + b"y" * 70_000, "513", "Message Too Large"),
    "an ACK": (call(BY_TCP, "ACK").replace(b"Content-Length: 0", b"Content-Length: 70000"), "", ""),
    "a response": (b"SIP/2.0 200 OK\r\nl: 70000\r\n\r\n", "", ""),
    "no SIP": (b"GET / HTTP/1.1\r\n\r\n", "", ""),
    "no line": (b"y" * 70_000, "", ""),
}


@pytest.mark.rule("law 8", "SIP-7")
@pytest.mark.parametrize(
    ("now", "caller", "via"),
    [
        # The same listeners in another order; the transport gone; nothing left that reaches the caller.
        ((OURS[1], OURS[0]), ("TCP", 0), "SIP/2.0/TCP tcp.example:5062;"),
        ((OURS[0],), ("UDP", 0), "SIP/2.0/UDP 192.0.2.1:5060;"),
        ((OURS[3],), ("UDP", 0), "SIP/2.0/UDP [2001:db8::1]:5060;"),
    ],
)
def test_a_restart_with_other_listeners(now: tuple[Listener, ...], caller: tuple[str, int], via: str) -> None:
    before = wire()
    invite = before.give(call(BY_TCP), BY_TCP)[-1].message
    before.give(answer(invite, 200), GATES[0])
    after = Wire(directory(), listeners=now)
    after.engine.restore(json.loads(json.dumps(before.records)), after.now)
    (revived,) = after.engine.core.calls.values()
    after.engine.core.end_by_force(revived, "admin", "admin", after.now)
    byes = after.drain() + after.wait(33_000)
    (to_caller,) = {sent.flow: sent for sent in byes if sent.flow.host == CUSTOMER.host}.values()
    assert (to_caller.flow.transport, to_caller.flow.listener) == caller
    assert (to_caller.message.get("via") or "").startswith(via)
    assert all(sent.flow.transport == now[sent.flow.listener].transport for sent in byes)


@pytest.mark.rule("law 8", "SIP-6")
def test_an_answer_under_way_in_a_restart_goes_where_the_via_says() -> None:
    before = wire()
    invite = before.give(call(BY_TCP, port="5099"), BY_TCP)[-1].message
    before.give(answer(invite, 200), GATES[0])
    after = wire()
    after.engine.restore(json.loads(json.dumps(before.records)), after.now)
    (ok,) = after.give(answer(invite, 200), GATES[0])
    assert (ok.what, ok.flow) == ("200 INVITE", Flow("TCP", CUSTOMER.host, 5099, 1))


@pytest.mark.rule("SIP-3", "SIP-4")
@pytest.mark.parametrize("name", BROKEN)
def test_a_stream_that_cannot_be_followed_is_answered_where_possible_and_closed(name: str) -> None:
    data, status, reason = BROKEN[name]
    framer = Framer()
    assert framer.feed(data) == [] and framer.fault is not None
    room = wire()
    room.engine.misframed(framer.head, framer.fault, BY_TCP, room.now)
    sent = room.drain()
    assert [(str(one.message.status), one.message.reason, one.flow) for one in sent] == (
        [(status, reason, BY_TCP)] if status else []
    )
    assert room.closed == [BY_TCP] and room.records == []
    assert sum(room.engine.counters.values()) == 1


@pytest.mark.rule("SIP-3")
def test_an_answer_to_a_broken_stream_has_no_body_of_its_head() -> None:
    room = wire()
    head = call(BY_TCP, "OPTIONS").replace(b"Content-Length: 0", b"Content-Length: 9")
    room.engine.misframed(head, SipError(513, "Message Too Large", "too_large"), BY_TCP, room.now)
    data = room.drain()[0].data
    assert data.endswith(b"Content-Length: 0\r\n\r\n") and parse(data).status == 513
    assert room.engine.counters == {"too_large": 1}


@pytest.mark.rule("SIP-9")
def test_keepalives_on_a_stream() -> None:
    room = wire()
    room.engine.receive(PING, BY_TCP, room.now)
    (pong,) = room.drain()
    assert (pong.data, pong.flow) == (b"\r\n", BY_TCP)
    options = room.give(request("OPTIONS", "sip:tcp.example:5062", Via=VIA.format("TCP", 5060)), BY_TCP)
    assert [one.what for one in options] == ["200 OPTIONS"]


@pytest.mark.rule("SIP-6")
def test_connections_are_known_while_they_last() -> None:
    room = wire()
    room.give(call(BY_UDP), BY_UDP)
    assert room.engine.core.conns == set()
    room.give(request("OPTIONS", "sip:h"), BY_TCP)
    room.give(request("OPTIONS", "sip:h"), BY_TLS)
    assert room.engine.core.conns == {7, 8}
    room.engine.flow_lost(BY_TCP, room.now)
    room.engine.flow_lost(BY_TCP._replace(conn=70), room.now)  # never heard of
    assert room.engine.core.conns == {8}


@pytest.mark.rule("SIP-6")
@pytest.mark.parametrize("flow", [BY_UDP, BY_TLS])
def test_sips_is_not_promised(flow: Flow) -> None:
    room = wire("tls")
    data = request("INVITE", f"sips:{CALLEE}@192.0.2.1", Via=VIA.format(flow.transport, 5060))
    (sent,) = room.give(data, flow)
    assert (sent.message.status, room.records) == (480, [])
    assert (sent.message.get("warning") or "").startswith("380 ")
    assert room.engine.counters == {"sips_not_allowed": 1}
