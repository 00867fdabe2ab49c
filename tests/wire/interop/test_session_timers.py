"""Session timers (RFC 4028) with SIPp on both sides."""

from __future__ import annotations

import pytest

from tests.wire.interop.conftest import Play
from tests.wire.interop.script import Callee, Caller
from tests.wire.interop.town import BY_CARRIER, PLAIN

THROUGH = {"hops": 3, "routes": 2}


@pytest.mark.rule("SIP-18")
def test_too_small_an_interval_is_refused_to_who_knows_timers(play: Play) -> None:
    caller = Caller().invite("Supported: timer", "Session-Expires: 60").refused(422, ("Min-SE", "90"))
    near = play.caller(caller, PLAIN)
    play.finish(near)
    assert play.town.stage.cdr(near.call_ids()[0])["code"] == "session_interval"


@pytest.mark.rule("SIP-18")
def test_and_raised_for_who_does_not(play: Play) -> None:
    callee = Callee().invited(("Session-Expires", "90"), ("Min-SE", "90")).reply(200, offer=True).hear("ACK")
    plain = play.gateway(callee.hear("BYE").answer(200), "plain")
    near = play.caller(Caller().invite("Session-Expires: 60").answered().say("BYE").expect(200), PLAIN)
    play.finish(near, plain)


@pytest.mark.rule("SIP-18")
def test_a_caller_that_knows_timers_refreshes_where_the_callee_does_not(play: Play) -> None:
    callee = Callee().invited(("Session-Expires", "1800")).reply(200, offer=True).hear("ACK")
    callee.hear("UPDATE", ("Session-Expires", "1800")).answer(200)
    plain = play.gateway(callee.hear("BYE").answer(200), "plain")
    ours = (("Session-Expires", "1800 *; *refresher=uac"), ("Require", "timer"))
    caller = Caller().invite("Supported: timer").answered(200, *ours)
    caller.say("UPDATE", "Supported: timer", "Session-Expires: 1800;refresher=uac").expect(200, *ours)
    near = play.caller(caller.say("BYE").expect(200), PLAIN)
    play.finish(near, plain)


@pytest.mark.rule("SIP-18")
def test_a_callee_that_knows_timers_refreshes_as_it_was_agreed(play: Play) -> None:
    agreed = "Session-Expires: 600;refresher=uas"
    callee = Callee().invited(("Session-Expires", "600")).reply(200, "Require: timer", agreed, offer=True).hear("ACK")
    callee.say("INVITE", "Supported: timer", "Session-Expires: 600;refresher=uac", offer=True).expect(200).ack()
    plain = play.gateway(callee.hear("BYE").answer(200), "plain")
    caller = Caller().invite("Supported: timer", "Session-Expires: 600")
    caller.answered(200, ("Session-Expires", "600 *; *refresher=uas"))
    caller.hear("INVITE", ("Session-Expires", "600")).answer(200, "Require: timer", agreed, offer=True).hear("ACK")
    near = play.caller(caller.say("BYE").expect(200), PLAIN)
    play.finish(near, plain)


@pytest.mark.rule("SIP-18")
def test_a_gateways_larger_minimum_goes_up(play: Play) -> None:
    callee = Callee(**THROUGH).invited(("Session-Expires", "200")).reply(422, "Min-SE: 300").hear("ACK")
    far = play.gateway(callee, "far")
    caller = Caller().invite("Supported: timer", "Session-Expires: 200").refused(422, ("Min-SE", "300"))
    near = play.caller(caller, BY_CARRIER)
    play.finish(near, far)
    assert [one["gateway"] for one in play.town.stage.cdr(near.call_ids()[0])["attempts"]] == ["carrier"]
