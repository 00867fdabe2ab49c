"""Gateways that answer wrongly: what they distort is put right, what is not for us is dropped."""

from __future__ import annotations

import pytest

from tests.unit.wire import CUSTOMER, GATES, Wire, answer, directory, gateway, request


@pytest.mark.rule("SIP-31", "SIP-17")
@pytest.mark.parametrize("prefix", ["", "77"])
def test_the_caller_sees_its_own_request_answered_whatever_came_back(prefix: str) -> None:
    wire = Wire(directory(gateway(caller_prefix=prefix)))
    invite = wire.give(request())[-1].message
    ringing = answer(invite, 183)
    for there, changed in (
        ((invite.get("from") or "").encode(), b'"SBC" <sip:sbc@203.0.113.9>;tag=ann'),
        (b"CSeq: 1 INVITE", b"CSeq: 77 INVITE"),
        (f"To: {invite.get('to')}".encode(), b"To: <sip:b2bua@203.0.113.9>"),
    ):
        assert there in ringing
        back = wire.give(ringing.replace(there, changed, 1), GATES[0])[-1].message
        assert (back.get("from"), back.get("cseq")) == ('"Ann" <sip:442071838750@acme.example>;tag=ann', "1 INVITE")
        assert back.get("to") == "<sip:33123456789@192.0.2.1:5060>;tag=bob"
    wire.give(answer(invite, 200), GATES[0])
    wire.wait(14_400_000)
    bye = next(one.message for one in wire.sent if one.what == "BYE" and one.flow == CUSTOMER)
    assert bye.get("from") == "<sip:33123456789@192.0.2.1:5060>;tag=bob"


@pytest.mark.rule("SIP-9")
def test_a_response_on_our_branch_that_is_another_servers_is_dropped() -> None:
    wire = Wire()
    invite = wire.give(request())[-1].message
    good = answer(invite, 200)
    assert wire.give(good.replace(b"192.0.2.1:5060;branch", b"192.0.2.9:5060;branch"), GATES[0]) == []
    assert wire.engine.counters == {"foreign_via": 1}
    assert wire.give(good, GATES[0])[-1].what == "200 INVITE"


@pytest.mark.rule("law 8")
def test_an_answer_waits_for_the_disk_whatever_the_caller_sends_meanwhile() -> None:
    wire = Wire(disk=False)
    invite = wire.give(request())[-1].message
    early = wire.give(answer(invite, 183), GATES[0])[-1].message
    assert wire.give(answer(invite, 200), GATES[0]) == []
    routes = [f"Route: {one}" for one in early.all("record-route")]
    via = f"SIP/2.0/UDP {CUSTOMER.host}:5062;branch=z9hG4bK-u;rport"
    update = request("UPDATE", "sip:bob@203.0.113.77:5090", *routes, Via=via, To=early.get("to") or "", CSeq="2 UPDATE")
    assert [one.what for one in wire.give(update)] == ["UPDATE"]
    assert [one.what for one in wire.wait(20)] == ["200 INVITE"]
