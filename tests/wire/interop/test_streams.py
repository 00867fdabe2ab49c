"""SIPp over TCP and IPv6, as customer and as gateway, and requests that are too large for UDP."""

from __future__ import annotations

import socket

import pytest

from tests.wire.interop.conftest import Play
from tests.wire.interop.script import Callee, Caller
from tests.wire.interop.town import BY_IPV6, BY_REFUSED, BY_SIZE, BY_TCP, OFFICE, PLAIN

WAYS = [("udp", "tcp"), ("tcp", "udp"), ("tcp", "tcp"), ("tcp-each", "tcp-each"), ("tcp-each", "udp")]
TOO_LARGE = 1500
"""Characters of a header that makes an INVITE too large for UDP."""


def number_by(transport: str) -> tuple[str, str]:
    """A number, and the gateway that has it."""
    return (PLAIN, "plain") if transport == "udp" else (BY_TCP, "tcp")


@pytest.mark.rule("SIP-6", "SIP-7", "SIP-16", "SIP-17")
@pytest.mark.parametrize(("near_by", "far_by"), WAYS)
def test_both_sides_speak_inside_the_call(play: Play, near_by: str, far_by: str) -> None:
    # Where the listeners differ we write two Record-Routes, one for each side.
    routes = 1 if near_by.partition("-")[0] == far_by.partition("-")[0] else 2
    callee = Callee(routes=routes).invited().reply(180).reply(200, offer=True).hear("ACK")
    callee.hear("INVITE").answer(200, offer=True).hear("ACK").say("INVITE", offer=True).expect(200).ack()
    callee.say("INFO").expect(200).hear("BYE").answer(200)
    caller = Caller().invite().answered().say("INVITE", offer=True).expect(200).ack()
    caller.hear("INVITE").answer(200, offer=True).hear("ACK").hear("INFO").answer(200).say("BYE").expect(200)
    number, gateway = number_by(far_by)
    far = play.gateway(callee, gateway, calls=3, by=far_by)
    near = play.caller(caller, number, calls=3, by=near_by)
    play.finish(near, far, calls=3)
    transports = [far_by.partition("-")[0], near_by.partition("-")[0]]
    for invite in far.received("INVITE"):
        assert [via.split()[0].rpartition("/")[2].lower() for via in invite.all("via")] == transports
    for route in far.received("INVITE")[0].all("record-route"):
        assert route.count("transport=") <= 1
    for call_id in near.call_ids():
        cdr = play.town.stage.cdr(call_id)
        assert (cdr["code"], cdr["hangup_by"]) == ("answered", "caller")


@pytest.mark.rule("SIP-7", "SIP-16")
@pytest.mark.parametrize(("near_by", "far_by"), WAYS)
def test_the_callee_ends_the_call(play: Play, near_by: str, far_by: str) -> None:
    routes = 1 if near_by.partition("-")[0] == far_by.partition("-")[0] else 2
    callee = Callee(routes=routes).invited().reply(200, offer=True).hear("ACK").wait(200).say("BYE").expect(200)
    number, gateway = number_by(far_by)
    far = play.gateway(callee, gateway, by=far_by)
    near = play.caller(Caller().invite().answered().hear("BYE").answer(200), number, by=near_by)
    play.finish(near, far)
    assert play.town.stage.cdr(near.call_ids()[0])["hangup_by"] == "callee"


@pytest.mark.rule("SIP-6", "SIP-12")
@pytest.mark.parametrize(("near_by", "far_by"), [("udp", "tcp"), ("tcp", "udp"), ("tcp", "tcp")])
def test_the_caller_gives_up(play: Play, near_by: str, far_by: str) -> None:
    routes = 1 if near_by == far_by else 2
    number, gateway = number_by(far_by)
    far = play.gateway(Callee(routes=routes).invited().reply(180).cancelled(), gateway, by=far_by)
    near = play.caller(Caller().invite().rings().wait(100).cancel().refused(487), number, by=near_by)
    play.finish(near, far)
    assert play.town.stage.cdr(near.call_ids()[0])["code"] == "cancelled"


@pytest.mark.rule("SIP-10")
def test_nothing_is_repeated_over_tcp(play: Play) -> None:
    """An answer is, from end to end, until its ACK comes (RFC 3261 §13.3.1.4); requests are not."""
    callee = Callee().invited().wait(1200).reply(200, offer=True).hear("ACK").hear("INFO").wait(1200).answer(200)
    far = play.gateway(callee.hear("BYE").answer(200), "tcp", by="tcp")
    near = play.caller(Caller().invite().answered().say("INFO").expect(200).say("BYE").expect(200), BY_TCP, by="tcp")
    play.finish(near, far)
    assert [one.method for one in far.received() if not one.status] == ["INVITE", "ACK", "INFO", "BYE"]


@pytest.mark.rule("SIP-6")
@pytest.mark.parametrize(("pad", "by"), [(0, "udp"), (TOO_LARGE, "tcp")])
def test_a_gateway_gets_by_tcp_what_is_too_large_for_udp(play: Play, pad: int, by: str) -> None:
    routes = 1 if by == "udp" else 2
    callee = Callee(routes=routes).invited().reply(180).reply(200, offer=True).hear("ACK").hear("BYE").answer(200)
    far = play.gateway(callee, "size", by=by)
    near = play.caller(Caller().invite(pad=pad).answered().say("BYE").expect(200), BY_SIZE)
    play.finish(near, far)
    invite = far.received("INVITE")[0]
    assert invite.get("via").startswith(f"SIP/2.0/{by.upper()} ")
    assert len(invite.get("subject")) == pad
    assert len(play.town.stage.cdr(near.call_ids()[0])["attempts"]) == 1


@pytest.mark.rule("SIP-6", "SIP-12")
def test_what_is_too_large_is_taken_back_by_tcp_too(play: Play) -> None:
    far = play.gateway(Callee(routes=2).invited().reply(180).cancelled(), "size", by="tcp")
    near = play.caller(Caller().invite(pad=TOO_LARGE).rings().wait(100).cancel().refused(487), BY_SIZE)
    play.finish(near, far)
    assert far.received("CANCEL")[0].get("via") == far.received("INVITE")[0].get("via")


@pytest.mark.rule("SIP-6")
def test_a_gateway_that_refuses_tcp_gets_it_by_udp(play: Play) -> None:
    callee = Callee(routes=1).invited().reply(180).reply(200, offer=True).hear("ACK").hear("BYE").answer(200)
    far = play.gateway(callee, "size")
    near = play.caller(Caller().invite(pad=TOO_LARGE).answered().say("BYE").expect(200), BY_SIZE)
    play.finish(near, far)
    assert [one.get("via").split()[0] for one in far.received("INVITE")] == ["SIP/2.0/UDP"]


@pytest.mark.rule("SIP-6")
def test_a_gateway_that_is_deaf_by_tcp_gets_it_by_udp(play: Play) -> None:
    """Its connection is taken, and nothing comes by it."""
    callee = Callee(routes=1).invited().reply(180).reply(200, offer=True).hear("ACK").hear("BYE").answer(200)
    far = play.gateway(callee, "size")
    with socket.create_server((OFFICE, far.port)):
        near = play.caller(Caller().invite(pad=TOO_LARGE).answered().say("BYE").expect(200), BY_SIZE)
        play.finish(near, far)
    assert [one.get("via").split()[0] for one in far.received("INVITE")] == ["SIP/2.0/UDP"]
    assert play.town.stage.cdr(near.call_ids()[0])["code"] == "answered"


@pytest.mark.rule("SIP-6", "SIP-13")
def test_a_gateway_that_takes_no_connection_is_passed_over(play: Play) -> None:
    callee = Callee(routes=1).invited().reply(200, offer=True).hear("ACK").hear("BYE").answer(200)
    plain = play.gateway(callee, "plain")
    near = play.caller(Caller().invite().answered().say("BYE").expect(200), BY_REFUSED)
    play.finish(near, plain)
    cdr = play.town.stage.cdr(near.call_ids()[0])
    assert [(one["gateway"], one["left"]) for one in cdr["attempts"]] == [("refused", "transport"), ("plain", "")]


@pytest.mark.rule("SIP-6", "SIP-7", "SIP-16")
@pytest.mark.parametrize("far_by", ["udp", "tcp"])
@pytest.mark.parametrize("near_by", ["udp", "tcp"])
def test_over_ipv6(play: Play, near_by: str, far_by: str) -> None:
    callee = Callee(routes=1 if near_by == far_by else 2).invited().reply(180).reply(200, offer=True).hear("ACK")
    callee.say("INVITE", offer=True).expect(200).ack().hear("BYE").answer(200)
    caller = Caller().invite().answered().hear("INVITE").answer(200, offer=True).hear("ACK").say("BYE").expect(200)
    far = play.gateway(callee, "six" if far_by == "udp" else "six-tcp", by=far_by, six=True)
    near = play.caller(caller, BY_IPV6[far_by], by=near_by, six=True)
    play.finish(near, far)
    assert all("[::1]" in via for via in far.received("INVITE")[0].all("via"))
    assert play.town.stage.cdr(near.call_ids()[0])["code"] == "answered"


@pytest.mark.rule("SIP-6", "SIP-7", "SIP-16")
def test_from_ipv6_to_ipv4_and_back(play: Play) -> None:
    """The listeners differ, so there are two Record-Routes, of either family one."""
    callee = Callee(routes=2).invited().reply(180).reply(200, offer=True).hear("ACK")
    callee.say("INVITE", offer=True).expect(200).ack().hear("INFO").answer(200).say("BYE").expect(200)
    caller = Caller().invite().answered().hear("INVITE").answer(200, offer=True).hear("ACK")
    far = play.gateway(callee, "plain")
    near = play.caller(caller.say("INFO").expect(200).hear("BYE").answer(200), PLAIN, six=True)
    play.finish(near, far)
    first, second = far.received("INVITE")[0].all("record-route")
    assert "@127.0.0.1:" in first
    assert "@[::1]:" in second
