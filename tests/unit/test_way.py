"""The way to a gateway: a name's addresses in turn within one deadline, and TCP for large requests (SIP-6, SIP-8)."""

from __future__ import annotations

from typing import Any

import pytest

from sipsvc.directory import Directory
from sipsvc.effects import Flow, Listener, Resolve, Target
from tests.unit.wire import (
    CALLEE,
    CUSTOMER,
    GATES,
    LISTENERS,
    Sent,
    Talk,
    Wire,
    answer,
    directory,
    gateway,
    request,
    talking,
)

NAME = "gw.carrier.example"
FIRST, SECOND, THIRD = (Target("UDP", f"203.0.113.{number}", 5060) for number in (51, 52, 53))
TCP = Listener("TCP", "192.0.2.1", 5070)
TLS = Listener("TLS", "192.0.2.1", 5071)
BIG = b"v" * 1_000


def named(*others: int, **changes: Any) -> Directory:
    """A gateway with a name before those of GATES with the numbers in `others`."""
    first = gateway(1, host=NAME, port=0, **changes)
    return directory(first, *(gateway(number) for number in others))


def firsts(sent: list[Sent]) -> list[Sent]:
    """Each INVITE as it was sent first."""
    return list({one.message.via.branch: one for one in reversed(sent) if one.what == "INVITE"}.values())[::-1]


def invites(sent: list[Sent]) -> list[tuple[int, str]]:
    """When INVITEs left first, and to whom."""
    return [(one.at, one.flow.host) for one in firsts(sent)]


def attempts(wire: Wire) -> list[str]:
    return [f"{one['gateway']} {one['address']} {one['status']} {one['left']}".strip() for one in wire.end["attempts"]]


def finish(wire: Wire) -> None:
    """Whatever was going on ends by itself and leaves nothing."""
    wire.wait(400_000)
    assert wire.engine.leftovers() == {"transactions": 0, "timers": 0, "calls": 0}
    assert wire.engine.core.lookups == {}


@pytest.mark.rule("SIP-8")
def test_a_gateway_by_address_is_not_looked_up() -> None:
    wire = Wire()
    assert wire.give(request())[-1].flow == GATES[0]
    assert wire.asked == []


@pytest.mark.rule("SIP-8")
def test_a_name_is_looked_up_and_its_address_tried() -> None:
    wire = Wire(named())
    assert [one.what for one in wire.give(request())] == ["100 INVITE"]
    assert wire.asked == [Resolve(wire.asked[0].ref, NAME, 0, "UDP")]
    (invite,) = wire.find(FIRST)
    assert invite.flow == Flow("UDP", "203.0.113.51", 5060)
    assert invite.message.uri == f"sip:{CALLEE}@{NAME}"
    wire.give(answer(invite.message, 486), invite.flow)
    assert attempts(wire) == ["gw1 udp:203.0.113.51:5060 486"]


@pytest.mark.rule("SIP-8")
def test_a_port_and_a_transport_are_told_to_the_look_up_and_in_the_uri() -> None:
    wire = Wire(directory(gateway(1, host=NAME, port=5080, transport="tls")), listeners=(*LISTENERS, TLS))
    wire.give(request())
    assert wire.asked[0][1:] == (NAME, 5080, "TLS")
    (invite,) = wire.find(Target("TLS", "203.0.113.51", 5080))
    # The certificate has to be that of the name, whatever address it led to (RFC 5922 §7).
    assert invite.flow == Flow("TLS", "203.0.113.51", 5080, 1, 0, NAME)
    assert invite.message.uri == f"sip:{CALLEE}@{NAME}:5080;transport=tls"
    assert (invite.message.get("via") or "").startswith("SIP/2.0/TLS 192.0.2.1:5071;")


@pytest.mark.rule("SIP-8", "SIP-13")
@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["fail", "200"], ["gw1 udp:203.0.113.51:5060 503 transport", "gw1 udp:203.0.113.52:5060 200"]),
        (["503", "200"], ["gw1 udp:203.0.113.51:5060 503 503", "gw1 udp:203.0.113.52:5060 200"]),
        (["fail", "fail", "200"], [f"gw1 udp:203.0.113.5{n}:5060 503 transport" for n in (1, 2)]
         + ["gw1 udp:203.0.113.53:5060 200"]),
        # Any other failure is the gateway's own, not the address's: it hunts on by the list of codes.
        (["500", "200"], ["gw1 udp:203.0.113.51:5060 500 500", "gw2 udp:203.0.113.2:5080 200"]),
        (["486"], ["gw1 udp:203.0.113.51:5060 486"]),
        (["fail", "fail", "503", "200"], [f"gw1 udp:203.0.113.5{n}:5060 503 transport" for n in (1, 2)]
         + ["gw1 udp:203.0.113.53:5060 503 503", "gw2 udp:203.0.113.2:5080 200"]),
    ],
)  # fmt: skip
def test_addresses_in_turn(words: list[str], left: list[str]) -> None:
    wire = Wire(named(2))
    wire.give(request())
    sent = wire.find(FIRST, SECOND, THIRD)
    for word in words:
        invite = next(one for one in sent if one.what == "INVITE")
        sent = wire.fail(invite) if word == "fail" else wire.give(answer(invite.message, int(word)), invite.flow)
    if words[-1] == "200":
        wire.wait(1_000)
        wire.give(request("BYE", "sip:x", *_routes(wire), To=f"{_answer(wire).get('to')}"))
    assert attempts(wire) == left
    branches = [one.message.via.branch for one in wire.sent if one.what == "INVITE"]
    assert len(set(branches)) == len(branches) == len(left)
    assert {len(one.message.all("via")) for one in wire.sent if one.what == "INVITE"} == {2}
    finish(wire)


def _answer(wire: Wire) -> Any:
    return next(one.message for one in wire.sent if one.what == "200 INVITE" and one.flow == CUSTOMER)


def _routes(wire: Wire) -> list[str]:
    return [f"Route: {one}" for one in reversed(_answer(wire).all("record-route"))]


@pytest.mark.rule("SIP-8", "SIP-13")
def test_a_503_goes_to_the_next_address_but_not_to_another_gateway_that_is_not_to_be_hunted() -> None:
    wire = Wire(named(2, hunt_codes=frozenset()))
    wire.give(request())
    (first,) = wire.find(FIRST, SECOND)
    second = wire.give(answer(first.message, 503), first.flow)[-1]
    assert second.flow.host == SECOND.host
    up = wire.give(answer(second.message, 503), second.flow)[-1]
    assert (up.flow, up.what) == (CUSTOMER, "500 INVITE")


@pytest.mark.rule("SIP-8", "SIP-13")
def test_silent_addresses_share_the_gateways_time() -> None:
    wire = Wire(named(2))
    wire.give(request())
    sent = wire.find(FIRST, SECOND) + wire.wait(4_000)
    assert invites(sent) == [(0, FIRST.host), (2_000, SECOND.host), (4_000, GATES[1].host)]


@pytest.mark.rule("SIP-8")
def test_the_look_up_is_part_of_the_gateways_time() -> None:
    wire = Wire(named(2))
    wire.give(request())
    wire.wait(1_000)
    sent = wire.find(FIRST, SECOND, THIRD)
    sent += wire.fail(sent[-1])  # what it did not need is the others'
    sent += wire.wait(3_000)
    assert invites(sent) == [(1_000, FIRST.host), (1_000, SECOND.host), (2_500, THIRD.host), (4_000, GATES[1].host)]


@pytest.mark.rule("SIP-8")
def test_an_address_left_behind_is_cancelled_at_its_first_word_and_wins_with_an_answer() -> None:
    wire = Wire(named())
    wire.give(request())
    (first,) = wire.find(FIRST, SECOND)
    (second,) = [one for one in wire.wait(2_000) if one.flow.host == SECOND.host]
    (cancel,) = wire.give(answer(first.message, 180), first.flow)
    assert (cancel.what, cancel.flow, cancel.message.via.branch) == ("CANCEL", first.flow, first.message.via.branch)
    wire.give(answer(second.message, 180, tag="second"), second.flow)
    sent = wire.give(answer(first.message, 200), first.flow)
    assert [(one.what, one.flow) for one in sent] == [("CANCEL", second.flow), ("200 INVITE", CUSTOMER)]
    record = next(one for one in wire.records if one["kind"] == "answer")
    assert [(one["address"], one["status"], one["left"]) for one in record["attempts"]] == [
        ("udp:203.0.113.51:5060", 200, ""),
        ("udp:203.0.113.52:5060", 0, ""),
    ]
    again = Wire(named(), begin=wire.now)
    again.engine.restore(wire.records, again.now)
    (revived,) = again.engine.core.calls.values()
    assert revived.winner is not None and revived.winner.address == "udp:203.0.113.51:5060"


@pytest.mark.rule("SIP-8", "SIP-13")
def test_a_failed_look_up_hunts_on() -> None:
    wire = Wire(named(2))
    wire.give(request())
    (invite,) = wire.find()
    assert invite.flow == GATES[1]
    wire.give(answer(invite.message, 486), GATES[1])
    assert attempts(wire) == ["gw1  0 dns", "gw2 udp:203.0.113.2:5080 486"]
    finish(wire)


@pytest.mark.rule("SIP-8", "SIP-13")
def test_a_failed_look_up_of_the_last_gateway() -> None:
    wire = Wire(named())
    wire.give(request())
    (up,) = wire.find()
    assert (up.what, up.flow) == ("500 INVITE", CUSTOMER)
    assert (wire.end["code"], attempts(wire)) == ("gateways_failed", ["gw1  0 dns"])
    finish(wire)


@pytest.mark.rule("SIP-8")
def test_an_answer_that_never_comes_and_one_that_comes_too_late() -> None:
    wire = Wire(named(2))
    wire.give(request())
    assert wire.wait(1_999) == []
    assert [one.flow for one in wire.wait(1)] == [GATES[1]]
    assert wire.find(FIRST) == []
    wire.engine.resolved("dns77", (FIRST,), wire.now)
    assert wire.drain() == []


@pytest.mark.rule("SIP-8", "SIP-12")
def test_cancel_during_the_look_up() -> None:
    wire = Wire(named(2))
    wire.give(request())
    assert [one.what for one in wire.give(request("CANCEL"))] == ["200 CANCEL", "487 INVITE"]
    assert (wire.end["status"], wire.end["code"], wire.end["hangup_by"]) == (487, "cancelled", "caller")
    assert wire.end["attempts"] == []
    assert wire.find(FIRST) == []
    finish(wire)


@pytest.mark.rule("SIP-8", "SIP-12", "SIP-15")
@pytest.mark.parametrize(("word", "up"), [("603", "603 INVITE"), ("200", "200 INVITE")])
def test_a_gateway_left_behind_decides_the_call_during_a_look_up(word: str, up: str) -> None:
    wire = Wire(directory(gateway(1), gateway(2, host=NAME, port=0)))
    (invite,) = wire.give(request())[1:]
    wire.wait(4_000)
    assert [one.host for one in wire.asked] == [NAME]
    assert up in [one.what for one in wire.give(answer(invite.message, int(word)), GATES[0])]
    assert wire.find(FIRST) == []
    assert not [one for one in wire.wait(10_000) if one.what == "INVITE"]


@pytest.mark.rule("SIP-8", "SIP-12")
def test_a_cancel_during_a_look_up_takes_back_what_was_said_before() -> None:
    wire = Wire(directory(gateway(1), gateway(2, host=NAME, port=0)))
    (invite,) = wire.give(request())[1:]
    wire.wait(4_000)
    assert [one.what for one in wire.give(request("CANCEL"))] == ["200 CANCEL", "487 INVITE"]
    assert [one.what for one in wire.give(answer(invite.message, 180), GATES[0])] == ["CANCEL"]
    assert "BYE" in [one.what for one in wire.give(answer(invite.message, 200), GATES[0])]


@pytest.mark.rule("SIP-6", "SIP-8")
def test_what_no_listener_reaches_is_left_out_and_counted() -> None:
    wire = Wire(named(2))
    wire.give(request())
    (invite,) = wire.find(Target("UDP", "2001:db8::7", 5060), FIRST)
    assert invite.flow.host == FIRST.host
    wire.give(answer(invite.message, 486), invite.flow)
    assert attempts(wire) == ["gw1 udp:[2001:db8::7]:5060 0 transport", "gw1 udp:203.0.113.51:5060 486"]
    assert wire.engine.counters["no_listener"] == 1


@pytest.mark.rule("SIP-6", "SIP-13")
def test_gateways_that_no_listener_reaches() -> None:
    book = directory(gateway(1, transport="tcp"), gateway(2, transport="tls"), gateway(3, host="2001:db8::7"))
    wire = Wire(book)
    assert [one.what for one in wire.give(request())] == ["100 INVITE", "500 INVITE"]
    assert attempts(wire) == [
        "gw1 tcp:203.0.113.1:5080 0 transport",
        "gw2 tls:203.0.113.2:5080 0 transport",
        "gw3 udp:[2001:db8::7]:5080 0 transport",
    ]
    finish(wire)


@pytest.mark.rule("SIP-6")
def test_a_gateway_over_tcp() -> None:
    wire = Wire(directory(gateway(1, transport="tcp")), listeners=(*LISTENERS, TCP))
    invite = wire.give(request())[-1]
    assert invite.flow == Flow("TCP", GATES[0].host, GATES[0].port, 1)
    assert invite.message.uri == f"sip:{CALLEE}@203.0.113.1:5080;transport=tcp"
    assert (invite.message.get("via") or "").startswith("SIP/2.0/TCP 192.0.2.1:5070;")


# Large requests


def large(wire: Wire, size: int = 1_000) -> list[Sent]:
    return wire.give(request(body=b"v" * size))


def sized(*numbers: int, **changes: Any) -> Wire:
    gateways = [gateway(number, tcp_if_large=True, **changes) for number in numbers]
    return Wire(directory(*gateways), listeners=(*LISTENERS, TCP))


@pytest.mark.rule("SIP-6")
def test_1300_bytes_go_by_udp_and_one_more_by_tcp() -> None:
    room = 1_300 - len(large(sized(1), 0)[-1].data) - 2  # Content-Length has two digits more
    for size, transport in ((room - 1, "UDP"), (room, "UDP"), (room + 1, "TCP")):
        invite = large(sized(1), size)[-1]
        assert invite.flow.transport == transport
        assert (invite.message.get("via") or "").startswith(f"SIP/2.0/{transport} ")
        assert (len(invite.data) > 1_300) == (transport == "TCP")


@pytest.mark.rule("SIP-6")
@pytest.mark.parametrize(("allowed", "listeners"), [(False, (*LISTENERS, TCP)), (True, LISTENERS)])
def test_not_by_tcp_where_that_is_not_wanted_or_cannot_be(allowed: bool, listeners: tuple[Listener, ...]) -> None:
    wire = Wire(directory(gateway(1, tcp_if_large=allowed)), listeners=listeners)
    assert large(wire)[-1].flow == GATES[0]
    assert invites(wire.wait(4_000)) == [(500, GATES[0].host)]  # the same branch again


@pytest.mark.rule("SIP-6", "SIP-13")
@pytest.mark.parametrize("how", ["refused", "silent"])
def test_by_udp_after_all(how: str) -> None:
    wire = sized(1, 2)
    first = large(wire)[-1]
    sent = wire.fail(first) if how == "refused" else wire.wait(1_000)
    (second,) = [one for one in sent if one.flow.transport == "UDP"]
    assert second.at == (0 if how == "refused" else 1_000)
    assert second.flow == GATES[0]
    assert second.message.via.branch != first.message.via.branch
    assert (second.message.get("via") or "").startswith("SIP/2.0/UDP 192.0.2.1:5060;")
    assert second.message.body == BIG
    wire.give(answer(second.message, 486), GATES[0])
    left = "503 transport" if how == "refused" else "0 no_provisional"
    assert attempts(wire) == [f"gw1 tcp:203.0.113.1:5080 {left}", "gw1 udp:203.0.113.1:5080 486"]


@pytest.mark.rule("SIP-6", "SIP-8", "SIP-13")
def test_tcp_and_udp_are_one_gateways_time() -> None:
    wire = sized(1, 2)
    sent = large(wire) + wire.wait(5_000)
    assert [(one.at, one.flow.transport, one.flow.host) for one in firsts(sent)] == [
        (0, "TCP", GATES[0].host),
        (1_000, "UDP", GATES[0].host),
        (4_000, "TCP", GATES[1].host),
        (5_000, "UDP", GATES[1].host),
    ]


@pytest.mark.rule("SIP-6", "SIP-8")
def test_a_large_request_to_a_name_tries_each_address_by_both() -> None:
    wire = Wire(named(tcp_if_large=True), listeners=(*LISTENERS, TCP))
    large(wire)
    sent = wire.find(FIRST, SECOND)
    sent += wire.fail(sent[-1])
    sent += wire.fail(sent[-1])
    assert [(one.flow.transport, one.flow.host) for one in sent] == [
        ("TCP", FIRST.host),
        ("UDP", FIRST.host),
        ("TCP", SECOND.host),
    ]


@pytest.mark.rule("SIP-6")
@pytest.mark.parametrize(("word", "hunted"), [("503", True), ("486", False)])
def test_an_answer_by_tcp_is_the_gateways(word: str, hunted: bool) -> None:
    wire = sized(1, 2)
    first = large(wire)[-1]
    sent = wire.give(answer(first.message, int(word)), first.flow)
    assert (sent[0].what, sent[0].flow.transport) == ("ACK", "TCP")
    assert [(one.flow.transport, one.flow.host) for one in sent if one.what == "INVITE"] == (
        [("TCP", GATES[1].host)] if hunted else []
    )


@pytest.mark.rule("SIP-6", "SIP-12")
def test_cancel_takes_the_invites_way() -> None:
    wire = sized(1)
    first = large(wire)[-1]
    wire.give(answer(first.message, 180), first.flow)
    cancel = wire.give(request("CANCEL"))[-1]
    assert (cancel.what, cancel.flow) == ("CANCEL", first.flow)
    assert (cancel.message.get("via") or "").startswith("SIP/2.0/TCP ")


def talk_by_udp() -> Talk:
    """A call to a gateway that takes TCP too, set up by a request that was small enough."""
    return talking(sized(1), contact="sip:bob@203.0.113.77:5090")


@pytest.mark.rule("SIP-6")
@pytest.mark.parametrize(
    ("method", "how"),
    [("INVITE", "answered"), ("INVITE", "refused"), ("INVITE", "silent"), ("INFO", "answered"), ("INFO", "refused")],
)
def test_large_requests_inside_a_call(method: str, how: str) -> None:
    talk = talk_by_udp()
    wire = talk.wire
    there = ("203.0.113.77", 5090)
    first = wire.give(talk.by_caller(method, 2, body=BIG))[-1]
    assert first.flow == Flow("TCP", *there, 1)
    assert (first.message.get("via") or "").startswith("SIP/2.0/TCP 192.0.2.1:5070;")
    if how == "answered":
        answered = first
    elif how == "refused":
        (answered,) = [one for one in wire.fail(first) if one.what == method]
    else:
        (answered,) = [one for one in firsts(wire.wait(1_000)) if one.flow.transport == "UDP"]
    if how != "answered":
        assert answered.flow == Flow("UDP", *there)
        assert answered.message.via.branch != first.message.via.branch
        assert answered.message.body == BIG
    sent = wire.give(answer(answered.message, 200), answered.flow)
    assert [(one.what, one.flow) for one in sent] == [(f"200 {method}", CUSTOMER)]


@pytest.mark.rule("SIP-6", "SIP-12")
def test_what_came_too_late_by_tcp_is_not_the_answer() -> None:
    talk = talk_by_udp()
    wire = talk.wire
    first = wire.give(talk.by_caller("INVITE", 2, body=BIG))[-1]
    second = firsts(wire.wait(1_000))[-1]
    (cancel,) = wire.give(answer(first.message, 180), first.flow)[:1]
    assert (cancel.what, cancel.flow) == ("CANCEL", first.flow)
    assert [one.what for one in wire.give(answer(first.message, 487), first.flow)] == ["ACK"]
    assert [one.what for one in wire.give(answer(second.message, 200), second.flow)] == ["200 INVITE"]


@pytest.mark.rule("SIP-6")
def test_customers_and_gateways_that_do_not_want_it_keep_udp() -> None:
    talk = talk_by_udp()
    assert talk.wire.give(talk.by_callee("INFO", 1, body=BIG), GATES[0])[-1].flow == CUSTOMER
    talk = talking(Wire(listeners=(*LISTENERS, TCP)))
    assert talk.wire.give(talk.by_caller("INFO", 2, body=BIG))[-1].flow.transport == "UDP"


@pytest.mark.rule("SIP-6", "law 8")
def test_a_restart_remembers_who_takes_tcp() -> None:
    talk = talk_by_udp()
    again = Wire(directory(), begin=talk.wire.now, listeners=(*LISTENERS, TCP))
    again.engine.restore(talk.wire.records, again.now)
    assert again.give(talk.by_caller("INFO", 2, body=BIG))[-1].flow.transport == "TCP"
