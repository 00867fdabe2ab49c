"""The way of requests inside a call: strict routers, our Record-Route, streams, moving customers (SIP-16, SIP-7)."""

from __future__ import annotations

import pytest

from sipsvc.effects import Flow, Listener
from tests.unit.wire import (
    CUSTOMER,
    GATES,
    STRANGER,
    US,
    Sent,
    Talk,
    Wire,
    answer,
    directory,
    gateway,
    request,
    talking,
)

BOOK = directory(gateway())
BOB = "sip:bob@203.0.113.77:5090"
ANN = f"sip:ann@{CUSTOMER.host}:{CUSTOMER.port}"
THREE = (
    Listener("UDP", "192.0.2.1", 5060),
    Listener("TCP", "192.0.2.1", 5060),
    Listener("TLS", "192.0.2.1", 5061),
)
# The customer's phone by a stream of its own.
STREAM = Flow("TCP", CUSTOMER.host, 40_000, 1, 7)


def forwarded(sent: list[Sent]) -> Sent:
    (one,) = [one for one in sent if not one.message.status]
    return one


def routed(wire: Wire, *, above: str = "", below: str = "") -> Talk:
    """A call with the customer's proxies `above` us and the gateway's `below`, as Record-Route values."""
    extra = [f"Record-Route: {above}"] if above else []
    invite = wire.give(request("INVITE", f"sip:33123456789@{US}", *extra))[-1].message
    ok = answer(invite, 200)
    if below:
        ok = ok.replace(b"Record-Route: ", f"Record-Route: {below}\r\nRecord-Route: ".encode(), 1)
    return Talk(wire, invite, wire.give(ok, GATES[0])[-1].message)


def ours(talk: Talk) -> str:
    """The token's URI."""
    return talk.forwarded.all("record-route")[0].strip("<>")


LOOSE, STRICT = ";lr", ""


@pytest.mark.rule("SIP-16")
@pytest.mark.parametrize("method", ["ACK", "BYE", "INFO", "INVITE"])
@pytest.mark.parametrize(("first", "second", "uri", "routes"), [
    (LOOSE, LOOSE, BOB, ["<sip:203.0.113.31;lr>", "<sip:203.0.113.30;lr>"]),
    (LOOSE, STRICT, BOB, ["<sip:203.0.113.31;lr>", "<sip:203.0.113.30>"]),
    (STRICT, LOOSE, "sip:203.0.113.31", ["<sip:203.0.113.30;lr>", f"<{BOB}>"]),
    (STRICT, STRICT, "sip:203.0.113.31", ["<sip:203.0.113.30>", f"<{BOB}>"]),
])  # fmt: skip
def test_strict_routers_towards_the_gateway(first: str, second: str, uri: str, routes: list[str], method: str) -> None:
    talk = routed(Wire(BOOK), below=f"<sip:203.0.113.30{second}>, <sip:203.0.113.31{first}>")
    data = talk.by_caller(method, 1 if method == "ACK" else 2, route=f"Route: <{ours(talk)}>")
    sent = forwarded(talk.wire.give(data))
    assert (sent.flow.host, sent.flow.port) == ("203.0.113.31", 5060)
    assert (sent.message.uri, sent.message.all("route")) == (uri, routes)


@pytest.mark.rule("SIP-16")
@pytest.mark.parametrize("first", [LOOSE, STRICT])
def test_strict_routers_towards_the_customer(first: str) -> None:
    talk = routed(Wire(BOOK), above=f"<sip:198.51.100.20:5070{first}>, <sip:198.51.100.21;lr>")
    sent = forwarded(talk.wire.give(talk.by_callee("BYE", 1), GATES[0]))
    assert (sent.flow.host, sent.flow.port) == ("198.51.100.20", 5070)
    if first:
        assert (sent.message.uri, len(sent.message.all("route"))) == (ANN, 2)
    else:
        assert sent.message.uri == "sip:198.51.100.20:5070"
        assert sent.message.all("route") == ["<sip:198.51.100.21;lr>", f"<{ANN}>"]


@pytest.mark.rule("SIP-19", "SIP-16")
def test_our_own_hangup_goes_by_strict_routers_too() -> None:
    talk = routed(Wire(BOOK), above="<sip:198.51.100.20>", below="<sip:203.0.113.31>")
    talk.wire.give(talk.by_caller("ACK", 1))
    byes = {one.flow.host: one.message for one in talk.wire.wait(14_400_000) if one.what == "BYE"}
    assert {host: (bye.uri, bye.all("route")) for host, bye in byes.items()} == {
        "198.51.100.20": ("sip:198.51.100.20", [f"<{ANN}>"]),
        "203.0.113.31": ("sip:203.0.113.31", [f"<{BOB}>"]),
    }


@pytest.mark.rule("SIP-16")
@pytest.mark.parametrize("side", ["caller", "callee"])
@pytest.mark.parametrize("rest", [[], ["<sip:203.0.113.30;lr>"]], ids=["alone", "with more"])
def test_a_strict_router_before_us_puts_our_route_into_the_request_uri(rest: list[str], side: str) -> None:
    """RFC 3261 §16.4. The Contact stands last in Route; what leaves is what always leaves."""
    talk = routed(Wire(BOOK), below="<sip:203.0.113.30;lr>")
    contact = BOB if side == "caller" else ANN
    line = f"Route: {', '.join([*(rest if side == 'caller' else []), f'<{contact}>'])}"
    for method in ("ACK", "INFO", "BYE") if side == "caller" else ("INFO", "BYE"):
        if side == "caller":
            data = talk.by_caller(method, 1 if method == "ACK" else 2, uri=ours(talk), route=line)
        else:
            data = talk.by_callee(method, 2, uri=ours(talk))
            data = data.replace(f"Route: <{ours(talk)}>".encode(), line.encode())
        sent = forwarded(talk.wire.give(data, CUSTOMER if side == "caller" else GATES[0]))
        assert sent.message.uri == contact
        assert sent.message.all("route") == (["<sip:203.0.113.30;lr>"] if side == "caller" else [])
        assert sent.flow.host == ("203.0.113.30" if side == "caller" else CUSTOMER.host)


@pytest.mark.rule("SIP-16")
@pytest.mark.parametrize("uri", ["sip:1abc@192.0.2.1:5060", "sip:192.0.2.1", "urn:x", "sip:", "tel:+33123456789"])
def test_a_request_uri_without_a_token_leads_nowhere(uri: str) -> None:
    talk = talking(Wire(BOOK))
    for route in ("X: y", f"Route: <{BOB}>"):
        sent = talk.wire.give(talk.by_caller("INFO", 2, uri=uri, route=route), STRANGER)
        assert [one.what for one in sent] == ["481 INFO"]
    assert talk.wire.give(talk.by_caller("ACK", 1, uri=uri, route="X: y"), STRANGER) == []


@pytest.mark.rule("SIP-16", "SIP-7")
@pytest.mark.parametrize("side", ["caller", "callee"])
def test_both_of_our_routes_are_taken_off_where_our_listeners_differ(side: str) -> None:
    """Two values with one token: what lies beyond them is kept for each side, and they go nowhere."""
    wire = Wire(BOOK)
    invite = wire.give(request("INVITE", f"sip:33123456789@{US}", "Record-Route: <sip:198.51.100.20;lr>"))[-1].message
    token = invite.all("record-route")[0].strip("<>")
    twin = token.replace("192.0.2.1:5060;lr", "192.0.2.9:5062;transport=tcp;lr")
    above = f"Record-Route: <sip:203.0.113.30;lr>, <{twin}>\r\nRecord-Route: "
    ok = answer(invite, 200).replace(b"Record-Route: ", above.encode(), 1)
    talk = Talk(wire, invite, wire.give(ok, GATES[0])[-1].message)
    if side == "caller":
        line = f"Route: <{token}>, <{twin}>, <sip:203.0.113.30;lr>"
        sent = forwarded(wire.give(talk.by_caller("BYE", 2, route=line)))
        assert (sent.flow.host, sent.message.all("route")) == ("203.0.113.30", ["<sip:203.0.113.30;lr>"])
    else:
        data = talk.by_callee("BYE", 2).replace(b"Route: ", f"Route: <{twin}>, ".encode(), 1)
        sent = forwarded(wire.give(data, GATES[0]))
        assert (sent.flow.host, sent.message.all("route")) == ("198.51.100.20", ["<sip:198.51.100.20;lr>"])


@pytest.mark.rule("SIP-16", "SIP-7")
@pytest.mark.parametrize(("contact", "way"), [
    ("sip:bob@203.0.113.77:5090", ("UDP", "203.0.113.77", 5090, 0)),
    ("sip:bob@203.0.113.77", ("UDP", "203.0.113.77", 5060, 0)),
    ("sip:bob@203.0.113.77;transport=tcp", ("TCP", "203.0.113.77", 5060, 1)),
    ("sip:bob@203.0.113.77:5066;transport=TCP;x=y", ("TCP", "203.0.113.77", 5066, 1)),
    ("sip:bob@203.0.113.77;transport=tls", ("TLS", "203.0.113.77", 5061, 2)),
    ("sips:bob@203.0.113.77", ("TLS", "203.0.113.77", 5061, 2)),
    ("sips:bob@203.0.113.77;transport=tcp", ("TLS", "203.0.113.77", 5061, 2)),
    ("sip:bob@203.0.113.77;transport=sctp", ("UDP", "203.0.113.77", 5060, 0)),
    ("sip:bob@203.0.113.77;maddr=203.0.113.66", ("UDP", "203.0.113.77", 5060, 0)),
    # What we cannot reach or look up is tried where the call went.
    ("sip:bob@[2001:db8::1]:5090", ("UDP", "203.0.113.1", 5080, 0)),
    ("sip:bob@pbx.example;transport=tcp", ("UDP", "203.0.113.1", 5080, 0)),
])  # fmt: skip
def test_transport_and_place_of_a_gateways_contact(contact: str, way: tuple[str, str, int, int]) -> None:
    talk = talking(Wire(BOOK, listeners=THREE), contact=contact)
    sent = forwarded(talk.wire.give(talk.by_caller("BYE", 2)))
    assert sent.flow[:4] == way
    assert sent.message.via.transport == way[0]
    assert sent.message.uri == contact


def by_stream(contact: str) -> Talk:
    """A call of a phone that has connected to us."""
    wire = Wire(BOOK, listeners=THREE)
    wire.engine.core.conns.add(STREAM.conn)
    invite = wire.give(request(Contact=f"<{contact}>"), STREAM)[-1].message
    talk = Talk(wire, invite, wire.give(answer(invite, 200), GATES[0])[-1].message)
    wire.give(talk.by_caller("ACK", 1), STREAM)
    return talk


@pytest.mark.rule("SIP-7", "SIP-16")
@pytest.mark.parametrize(("contact", "alive", "way"), [
    ("sip:ann@10.0.0.7:5060;transport=tcp", True, STREAM[:5]),
    (f"sip:ann@{CUSTOMER.host}:5062;transport=tcp", True, STREAM[:5]),
    # A new connection, where the phone says and at the address it came from.
    (f"sip:ann@{CUSTOMER.host}:5062;transport=tcp", False, ("TCP", CUSTOMER.host, 5062, 1, 0)),
    (f"sip:ann@{CUSTOMER.host}", False, ("TCP", CUSTOMER.host, 5060, 1, 0)),
    # Behind a NAT there is no way back, and it is not for the phone to say whom we connect to.
    ("sip:ann@10.0.0.7:5060;transport=tcp", False, STREAM[:5]),
])  # fmt: skip
def test_a_customers_stream(contact: str, alive: bool, way: tuple[str, str, int, int, int]) -> None:
    talk = by_stream(contact)
    if not alive:
        talk.wire.engine.core.conns.discard(STREAM.conn)
    sent = forwarded(talk.wire.give(talk.by_callee("BYE", 1), GATES[0]))
    assert sent.flow[:5] == way
    assert sent.message.via.transport == "TCP"


@pytest.mark.rule("SIP-7", "SIP-16")
@pytest.mark.parametrize("there", [
    CUSTOMER._replace(port=6_000), CUSTOMER._replace(host="198.51.100.99"), STREAM._replace(port=40_001, conn=8),
])  # fmt: skip
@pytest.mark.parametrize("method", ["ACK", "INFO", "UPDATE"])
def test_a_customer_is_followed_to_where_it_sends_from(method: str, there: Flow) -> None:
    talk = talking(Wire(BOOK, listeners=THREE))
    talk.wire.engine.core.conns.add(8)
    talk.wire.give(talk.by_caller(method, 1 if method == "ACK" else 2), there)
    assert forwarded(talk.wire.give(talk.by_callee("INFO", 1), GATES[0])).flow == there
    assert talk.wire.records[-1]["caller_half"]["flow"][:3] == list(there[:3])


@pytest.mark.rule("SIP-7", "SIP-16")
def test_a_gateway_that_speaks_as_the_caller_does_not_take_its_place() -> None:
    """It knows token and tags as well as the caller does."""
    talk = talking(Wire(BOOK))
    talk.wire.give(talk.by_caller("INFO", 2), GATES[0])
    talk.wire.give(talk.by_caller("INFO", 3), GATES[0]._replace(host="203.0.113.77", port=5090))
    assert forwarded(talk.wire.give(talk.by_callee("BYE", 1), GATES[0])).flow == CUSTOMER


@pytest.mark.rule("SIP-7", "SIP-16")
def test_without_the_token_nobody_is_followed() -> None:
    talk = talking(Wire(BOOK))
    talk.wire.give(talk.by_caller("INFO", 2, route=f"Route: <sip:1{'0' * 32}@{US};lr>"), STRANGER)
    assert forwarded(talk.wire.give(talk.by_callee("BYE", 1), GATES[0])).flow == CUSTOMER
    assert len([one for one in talk.wire.records if one["kind"] == "answer"]) == 1
