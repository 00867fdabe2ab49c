"""Kamailio as the customer's own proxy: known by its address, it record-routes towards us."""

from __future__ import annotations

import pytest

from tests.wire.interop.conftest import Play
from tests.wire.interop.script import Callee, Caller
from tests.wire.interop.town import BRANCH, BY_CARRIER, BY_STRICT, CARRIER, OFFICE, PLAIN

THROUGH = {"hops": 3, "routes": 2}
ALL_THE_WAY = {"hops": 4, "routes": 3}
"""By the customer's Kamailio, us, and the carrier's."""


@pytest.mark.rule("SIP-7", "SIP-16", "SIP-17", "SIP-20")
@pytest.mark.parametrize("strict", [False, True])
def test_requests_of_either_side_follow_the_customers_route(play: Play, strict: bool) -> None:
    callee = Callee(**THROUGH).invited().reply(180).reply(200, offer=True).hear("ACK")
    callee.say("INVITE", offer=True).expect(200).ack().hear("INVITE").answer(200, offer=True).hear("ACK")
    callee.say("INFO").expect(200).hear("INFO").answer(200).say("BYE").expect(200)
    caller = Caller(strict=strict).invite().answered()
    caller.hear("INVITE").answer(200, offer=True).hear("ACK").say("INVITE", offer=True).expect(200).ack()
    caller.hear("INFO").answer(200).say("INFO").expect(200).hear("BYE").answer(200)
    plain = play.gateway(callee, "plain")
    town = play.town
    near = play.caller(caller, PLAIN, target=town.branches["strict" if strict else "udp"])
    play.finish(near, plain)
    for one in near.received():
        if not one.status:
            # It came by the customer's Kamailio, which is the last to have touched it, to its remote target.
            assert BRANCH in one.get("via")
            assert f"{OFFICE}:{near.port}" in one.uri, one.start
            assert one.get("route") == ""
    cdr = town.stage.cdr(near.call_ids()[0])
    assert (cdr["customer"], cdr["auth"], cdr["hangup_by"]) == ("branch", "ip", "callee")


@pytest.mark.rule("SIP-16")
@pytest.mark.parametrize("number", [BY_CARRIER, BY_STRICT])
@pytest.mark.parametrize("strict", [False, True])
def test_a_proxy_on_either_side(play: Play, number: str, strict: bool) -> None:
    callee = Callee(**ALL_THE_WAY, strict=number == BY_STRICT).invited().reply(180).reply(200, offer=True).hear("ACK")
    callee.say("INVITE", offer=True).expect(200).ack().hear("UPDATE").answer(200, offer=True).hear("BYE").answer(200)
    caller = Caller(strict=strict, far=3).invite().answered().hear("INVITE").answer(200, offer=True).hear("ACK")
    caller.say("UPDATE", offer=True).expect(200).say("BYE").expect(200)
    far = play.gateway(callee, "far")
    near = play.caller(caller, number, target=play.town.branches["strict" if strict else "udp"])
    play.finish(near, far)
    assert all(CARRIER in one.get("via") for one in far.received() if not one.status)
    cdr = play.town.stage.cdr(near.call_ids()[0])
    assert (cdr["customer"], cdr["code"], cdr["hangup_by"]) == ("branch", "answered", "caller")


@pytest.mark.rule("SIP-16", "SIP-17")
def test_the_customers_proxy_ends_the_call_itself(play: Play) -> None:
    callee = Callee(**THROUGH).invited().reply(180).reply(200, offer=True).hear("ACK").hear("BYE").answer(200)
    plain = play.gateway(callee, "plain")
    caller = Caller().invite().answered().hear("BYE").answer(200)
    near = play.caller(caller, PLAIN, target=play.town.branches["limit"])
    play.finish(near, plain)
    cdr = play.town.stage.cdr(near.call_ids()[0])
    assert (cdr["customer"], cdr["code"], cdr["hangup_by"]) == ("branch", "answered", "caller")


@pytest.mark.rule("SIP-12")
def test_a_call_taken_back_behind_the_customers_proxy(play: Play) -> None:
    far = play.gateway(Callee(**ALL_THE_WAY).invited().reply(180).cancelled(), "far")
    near = play.caller(
        Caller().invite().rings().wait(100).cancel().refused(487), BY_CARRIER, target=play.town.branches["udp"]
    )
    play.finish(near, far)
    assert play.town.stage.cdr(near.call_ids()[0])["code"] == "cancelled"


@pytest.mark.rule("SIP-15")
def test_an_answer_comes_again_by_the_customers_proxy(play: Play) -> None:
    callee = Callee(**THROUGH).invited().reply(200, offer=True).hear("ACK").hear("BYE").answer(200)
    plain = play.gateway(callee, "plain")
    caller = Caller().invite().answered(ack_after=1200).say("BYE").expect(200)
    near = play.caller(caller, PLAIN, target=play.town.branches["udp"])
    play.finish(near, plain)
    assert len([one for one in near.received() if (one.status, one.method) == (200, "INVITE")]) >= 2


@pytest.mark.rule("SIP-10", "SIP-16", "SIP-21")
def test_a_kamailio_gives_its_password(play: Play) -> None:
    """It answers our challenge with the INVITE as it was, CSeq included: that is no second call, nor a merged one."""
    callee = Callee(**THROUGH).invited().reply(180).reply(200, offer=True).hear("ACK")
    plain = play.gateway(callee.say("INFO").expect(200).hear("BYE").answer(200), "plain")
    caller = Caller().invite().answered().hear("INFO").answer(200).say("BYE").expect(200)
    near = play.caller(caller, PLAIN, target=play.town.branches["digest"])
    play.finish(near, plain)
    assert len(plain.received("INVITE")) == 1
    assert all(one.get("proxy-authorization") == "" for one in plain.received())
    cdr = play.town.stage.cdr(near.call_ids()[0])
    assert (cdr["customer"], cdr["auth"], cdr["code"]) == ("phone", "digest", "answered")
