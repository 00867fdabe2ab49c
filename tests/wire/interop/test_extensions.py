"""SIPp on both sides: what happens inside a call and around its answer, and what is lost on the way."""

from __future__ import annotations

import pytest

from tests.wire.interop.conftest import Play
from tests.wire.interop.script import Callee, Caller
from tests.wire.interop.town import BY_CARRIER, BY_SLOW, OFFICE, PLAIN


@pytest.mark.rule("SIP-17")
def test_a_provisional_answer_is_made_reliable(play: Play) -> None:
    """RFC 3262: 183 with RSeq, PRACK inside the early dialog, then the answer; UPDATE while it still rings."""
    callee = Callee().invited(("Supported", "100rel")).reply(183, "Require: 100rel", "RSeq: 71", offer=True)
    callee.hear("PRACK", ("RAck", "71 1 INVITE")).answer(200).hear("UPDATE").answer(200, offer=True)
    callee.say("UPDATE", offer=True).expect(200).reply(200).hear("ACK").hear("BYE").answer(200)
    caller = Caller().invite("Supported: 100rel").answered(183, ("RSeq", "71"), ("Require", "100rel"))
    caller.say("PRACK", "RAck: 71 1 INVITE").expect(200).say("UPDATE", offer=True).expect(200)
    caller.hear("UPDATE").answer(200, offer=True).expect(200).ack().say("BYE").expect(200)
    plain = play.gateway(callee, "plain")
    near = play.caller(caller, PLAIN)
    play.finish(near, plain)
    assert play.town.stage.cdr(near.call_ids()[0])["code"] == "answered"


@pytest.mark.rule("SIP-17")
def test_requests_that_we_do_not_know_pass_inside_a_call(play: Play) -> None:
    callee = Callee().invited().reply(200, offer=True).hear("ACK").hear("OPTIONS").answer(200).hear("VENDOR")
    callee.answer(405).say("VENDOR", "X-Vendor: 2").expect(200).say("NOTIFY", "Event: x").expect(200)
    caller = Caller().invite().answered().say("OPTIONS").expect(200).say("VENDOR", "X-Vendor: 1").expect(405)
    caller.hear("VENDOR", ("X-Vendor", "2")).answer(200).hear("NOTIFY", ("Event", "x")).answer(200)
    plain = play.gateway(callee.hear("BYE").answer(200), "plain")
    near = play.caller(caller.say("BYE").expect(200), PLAIN)
    play.finish(near, plain)
    assert plain.received("VENDOR")[0].get("x-vendor") == "1"


@pytest.mark.rule("SIP-17")
def test_the_491_of_crossing_invites_passes(play: Play) -> None:
    callee = Callee().invited().reply(200, offer=True).hear("ACK").hear("INVITE").answer(491).hear("ACK")
    caller = Caller().invite().answered().say("INVITE", offer=True).turned_down(491).say("BYE").expect(200)
    plain = play.gateway(callee.hear("BYE").answer(200), "plain")
    near = play.caller(caller, PLAIN)
    play.finish(near, plain)
    assert len(plain.received("ACK")) == 2


@pytest.mark.rule("SIP-16")
def test_a_transfer_is_refused_and_the_call_goes_on(play: Play) -> None:
    callee = Callee().invited().reply(200, offer=True).hear("ACK").say("REFER", "Refer-To: <sip:1@127.0.0.9>")
    callee.expect(403).hear("BYE").answer(200)
    plain = play.gateway(callee, "plain")
    near = play.caller(Caller().invite().answered().wait(300).say("BYE").expect(200), PLAIN)
    play.finish(near, plain)
    assert near.received("REFER") == []


@pytest.mark.rule("SIP-16")
def test_a_strict_router_puts_our_own_route_into_the_request_line(play: Play) -> None:
    """Its successor's Route is what the next Request-URI is: what we wrote, the remote target stands last (§16.4)."""
    callee = Callee(strict=True).invited().reply(200, offer=True).hear("ACK").hear("INVITE")
    callee.answer(200, offer=True).hear("ACK").say("INFO").expect(200).hear("BYE").answer(200)
    caller = Caller(strict=True, far=1).invite().answered().say("INVITE", offer=True).expect(200).ack()
    plain = play.gateway(callee, "plain")
    near = play.caller(caller.hear("INFO").answer(200).say("BYE").expect(200), PLAIN)
    play.finish(near, plain)
    for one in plain.received()[1:]:
        if not one.status:
            assert (one.uri.partition(";")[0], one.get("route")) == (f"sip:{OFFICE}:{play.town.ports['plain']}", "")


@pytest.mark.rule("SIP-13")
@pytest.mark.parametrize("status", [603, 600])
def test_a_global_failure_ends_it_all(play: Play, status: int) -> None:
    carrier = play.gateway(Callee(hops=3, routes=2).invited().reply(status).hear("ACK"), "far")
    near = play.caller(Caller().invite().refused(status), BY_CARRIER)
    play.finish(near, carrier)


@pytest.mark.rule("SIP-13", "SIP-15")
def test_a_gateway_given_up_for_its_silence_answers_first_after_all(play: Play) -> None:
    late = Callee().invited().wait(1500).reply(200, offer=True).hear("ACK").hear("BYE").answer(200)
    slow = play.gateway(late, "slow")
    plain = play.gateway(Callee().invited().reply(180).cancelled(), "plain")
    near = play.caller(Caller().invite().answered().wait(300).say("BYE").expect(200), BY_SLOW)
    play.finish(near, slow, plain)
    cdr = play.town.stage.cdr(near.call_ids()[0])
    assert (cdr["gateway"], cdr["code"], len(cdr["attempts"])) == ("slow", "answered", 2)


@pytest.mark.rule("SIP-15")
def test_an_answer_after_another_gateways_is_ended_by_us(play: Play) -> None:
    late = Callee().invited().wait(1500).reply(200, offer=True).hear("ACK").hear("BYE").answer(200)
    slow = play.gateway(late, "slow")
    answer = Callee().invited().reply(200, offer=True).hear("ACK").hear("BYE").answer(200)
    plain = play.gateway(answer, "plain")
    near = play.caller(Caller().invite().answered().wait(1500).say("BYE").expect(200), BY_SLOW)
    play.finish(near, slow, plain)
    assert [one.method for one in near.received() if not one.status] == []
    cdr = play.town.stage.cdr(near.call_ids()[0])
    assert (cdr["gateway"], cdr["code"], len(cdr["attempts"])) == ("plain", "answered", 2)


@pytest.mark.rule("SIP-10", "SIP-15")
def test_every_call_gets_through_where_one_packet_in_ten_is_lost(play: Play) -> None:
    patient = ("-recv_timeout", "20000")
    callee = Callee(lost=10).invited().reply(180).wait(200).reply(200, offer=True).hear("ACK", maybe=True)
    # It stays to answer a BYE whose first answer is lost.
    plain = play.gateway(callee.hear("BYE").answer(200).linger(30_000), "plain", *patient, calls=20)
    # Time to have a lost ACK repeated before the BYE.
    caller = Caller().invite().answered().wait(1700).say("BYE").expect(200)
    near = play.caller(caller, PLAIN, *patient, "-lost", "10", calls=20)
    play.finish(near, calls=20)
    assert near.counters().retrans > 0
    for call_id in near.call_ids():
        assert play.town.stage.cdr(call_id)["code"] == "answered"
    assert len({one.get("call-id") for one in plain.received("BYE")}) == 20
