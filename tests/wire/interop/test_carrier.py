"""Kamailio in front of the gateway: it record-routes, and everything between the two sides passes it."""

from __future__ import annotations

import pytest

from tests.wire.interop.conftest import Play
from tests.wire.interop.script import Callee, Caller
from tests.wire.interop.town import BY_CARRIER, BY_FORK, BY_LIMIT, BY_STATELESS, BY_STRICT, LOOP, OFFICE, PLAIN, SPIRAL

THROUGH = {"hops": 3, "routes": 2}
"""A call from the customer by us and the carrier's Kamailio."""


@pytest.mark.rule("SIP-16", "SIP-17")
@pytest.mark.parametrize(("number", "strict"), [(BY_CARRIER, False), (BY_STRICT, True)])
def test_both_sides_speak_inside_the_call_and_the_caller_ends_it(play: Play, number: str, strict: bool) -> None:
    callee = Callee(**THROUGH, strict=strict).invited().reply(180).reply(200, offer=True).hear("ACK")
    callee.hear("INVITE").answer(200, offer=True).hear("ACK")
    callee.say("INVITE", offer=True).expect(200).ack()
    callee.say("INFO").expect(200).hear("UPDATE").answer(200, offer=True).hear("BYE").answer(200)
    caller = Caller().invite().answered()
    caller.say("INVITE", offer=True).expect(200).ack()
    caller.hear("INVITE").answer(200, offer=True).hear("ACK")
    caller.hear("INFO").answer(200).say("UPDATE", offer=True).expect(200).say("BYE").expect(200)
    far = play.gateway(callee, "far")
    near = play.caller(caller, number)
    play.finish(near, far)
    invite = far.received("INVITE")[0]
    assert [";lr" in route for route in invite.all("record-route")] == [not strict, True]
    for one in far.received()[1:]:
        if not one.status:
            # The strict router has put the remote target back, and no Route is left to follow.
            assert one.uri.startswith(f"sip:{OFFICE}:"), one.start
            assert one.get("route") == ""
    cdr = play.town.stage.cdr(near.call_ids()[0])
    assert (cdr["status"], cdr["code"], cdr["hangup_by"]) == (200, "answered", "caller")


@pytest.mark.rule("SIP-16")
@pytest.mark.parametrize(("number", "strict"), [(BY_CARRIER, False), (BY_STRICT, True)])
def test_the_callee_ends_the_call(play: Play, number: str, strict: bool) -> None:
    callee = Callee(**THROUGH, strict=strict).invited().reply(180).reply(200, offer=True).hear("ACK")
    far = play.gateway(callee.wait(200).say("BYE").expect(200), "far")
    near = play.caller(Caller().invite().answered().hear("BYE").answer(200), number)
    play.finish(near, far)
    cdr = play.town.stage.cdr(near.call_ids()[0])
    assert (cdr["code"], cdr["hangup_by"]) == ("answered", "callee")


@pytest.mark.rule("SIP-12")
def test_the_caller_gives_up(play: Play) -> None:
    far = play.gateway(Callee(**THROUGH).invited().reply(180).cancelled(), "far")
    near = play.caller(Caller().invite().rings().wait(200).cancel().refused(487), BY_CARRIER)
    play.finish(near, far)
    cdr = play.town.stage.cdr(near.call_ids()[0])
    assert (cdr["status"], cdr["code"], cdr["hangup_by"]) == (487, "cancelled", "caller")


@pytest.mark.rule("SIP-16", "SIP-17")
def test_the_carrier_ends_the_call_itself(play: Play) -> None:
    """Its Kamailio says BYE to both sides, in the name of the other; for us it is the callee that hangs up."""
    callee = Callee(**THROUGH).invited().reply(180).reply(200, offer=True).hear("ACK").hear("BYE").answer(200)
    far = play.gateway(callee, "far")
    near = play.caller(Caller().invite().answered().hear("BYE").answer(200), BY_LIMIT)
    play.finish(near, far)
    cdr = play.town.stage.cdr(near.call_ids()[0])
    assert (cdr["code"], cdr["hangup_by"]) == ("answered", "callee")


@pytest.mark.rule("SIP-12")
def test_an_answer_crosses_the_cancel(play: Play) -> None:
    """The answer goes up, and it is for the caller to end the call."""
    callee = Callee(**THROUGH).invited().reply(180).hear("CANCEL").answer(200).reply(200, offer=True).hear("ACK")
    far = play.gateway(callee.hear("BYE").answer(200), "far")
    near = play.caller(Caller().invite().rings().cancel().answered().say("BYE").expect(200), BY_CARRIER)
    play.finish(near, far)
    cdr = play.town.stage.cdr(near.call_ids()[0])
    assert (cdr["status"], cdr["code"], cdr["hangup_by"]) == (200, "cancel_crossed", "caller")


@pytest.mark.rule("SIP-15", "SIP-16")
def test_two_ring_and_one_answers(play: Play) -> None:
    """The carrier's Kamailio forks: two early dialogs, of which the one that is answered remains."""
    first = play.gateway(Callee(**THROUGH).invited().reply(180).cancelled(), "far")
    callee = Callee(**THROUGH).invited().wait(100).reply(180).wait(200).reply(200, offer=True).hear("ACK")
    callee.hear("INVITE").answer(200, offer=True).hear("ACK").say("INFO").expect(200).hear("BYE").answer(200)
    second = play.gateway(callee, "far-2")
    caller = Caller().invite().rings().answered().say("INVITE", offer=True).expect(200).ack()
    near = play.caller(caller.hear("INFO").answer(200).say("BYE").expect(200), BY_FORK)
    play.finish(near, first, second)
    assert len({one.get("to") for one in near.received() if one.status == 180}) == 2
    assert play.town.stage.cdr(near.call_ids()[0])["code"] == "answered"


@pytest.mark.rule("SIP-15")
def test_two_ring_and_both_answer(play: Play) -> None:
    """The second answer crosses the CANCEL of the carrier's Kamailio. We end that call ourselves."""
    late = Callee(**THROUGH).invited().reply(180).hear("CANCEL").answer(200).reply(200, offer=True).hear("ACK")
    first = play.gateway(late.hear("BYE").answer(200), "far")
    callee = Callee(**THROUGH).invited().wait(200).reply(200, offer=True).hear("ACK").hear("BYE").answer(200)
    second = play.gateway(callee, "far-2")
    near = play.caller(Caller().invite().answered().wait(500).say("BYE").expect(200), BY_FORK)
    play.finish(near, first, second)
    answers = [one.get("to") for one in near.received() if (one.status, one.method) == (200, "INVITE")]
    assert len(set(answers)) == 1
    assert play.town.stage.cdr(near.call_ids()[0])["hangup_by"] == "caller"


@pytest.mark.rule("SIP-10", "SIP-16")
def test_a_carrier_without_state(play: Play) -> None:
    """Its Kamailio sends everything on as it comes: no 100 of its own, and what is repeated is ours to repeat."""
    callee = Callee(**THROUGH).invited().wait(1200).reply(180).reply(200, offer=True).hear("ACK")
    far = play.gateway(callee.hear("BYE").answer(200), "far")
    near = play.caller(Caller().invite().answered().say("BYE").expect(200), BY_STATELESS)
    play.finish(near, far)
    invites = far.received("INVITE")
    assert len(invites) >= 2
    assert len({one.get("via") for one in invites}) == 1


@pytest.mark.rule("SIP-13")
@pytest.mark.parametrize("silent", [False, True])
def test_a_carrier_that_fails_is_passed_over(play: Play, silent: bool) -> None:
    # Nothing listens behind the carrier when it is silent: it gives up by itself, with a status of its own.
    if not silent:
        play.gateway(Callee(**THROUGH).invited().reply(503).hear("ACK"), "far")
    plain = play.gateway(Callee().invited().reply(200, offer=True).hear("ACK").hear("BYE").answer(200), "plain")
    near = play.caller(Caller().invite().answered().say("BYE").expect(200), BY_CARRIER)
    play.finish(near, plain)
    cdr = play.town.stage.cdr(near.call_ids()[0])
    assert [one["gateway"] for one in cdr["attempts"]] == ["carrier", "plain"]
    assert (cdr["gateway"], cdr["code"]) == ("plain", "answered")


@pytest.mark.rule("SIP-13")
@pytest.mark.parametrize(("status", "upward"), [(302, 500), (404, 404), (486, 486), (603, 603)])
def test_an_answer_that_is_final_ends_the_hunt(play: Play, status: int, upward: int) -> None:
    fields = ("Contact: <sip:nobody@127.0.0.9:9>",) if status == 302 else ()
    far = play.gateway(Callee(**THROUGH).invited().reply(status, *fields).hear("ACK"), "far")
    near = play.caller(Caller().invite().refused(upward), BY_CARRIER)
    play.finish(near, far)
    cdr = play.town.stage.cdr(near.call_ids()[0])
    assert (cdr["status"], [one["gateway"] for one in cdr["attempts"]]) == (upward, ["carrier"])


@pytest.mark.rule("SIP-10", "SIP-15")
def test_an_answer_is_repeated_until_its_ack_comes(play: Play) -> None:
    callee = Callee(**THROUGH).invited().reply(180).reply(200, offer=True).hear("ACK").hear("BYE").answer(200)
    far = play.gateway(callee, "far")
    near = play.caller(Caller().invite().answered(ack_after=1200).say("BYE").expect(200), BY_CARRIER)
    play.finish(near, far)
    assert far.counters().retrans >= 1
    assert len([one for one in near.received() if (one.status, one.method) == (200, "INVITE")]) >= 2
    assert len(far.received("INVITE")) == len(far.received("ACK")) == 1
    cdr = play.town.stage.cdr(near.call_ids()[0])
    assert (cdr["code"], len(cdr["attempts"])) == ("answered", 1)


@pytest.mark.rule("SIP-13", "SIP-14")
def test_it_may_ring_for_long(play: Play) -> None:
    """Longer than a gateway's first word may take, and with no word at all in between."""
    callee = Callee(**THROUGH).invited().reply(180).wait(5500).reply(180).reply(200, offer=True)
    far = play.gateway(callee.hear("ACK").hear("BYE").answer(200), "far")
    near = play.caller(Caller().invite().rings().answered().say("BYE").expect(200), BY_CARRIER)
    play.finish(near, far)
    cdr = play.town.stage.cdr(near.call_ids()[0])
    assert (cdr["gateway"], len(cdr["attempts"])) == ("carrier", 1)


@pytest.mark.rule("SIP-11")
def test_a_call_that_comes_back_with_another_number_is_one_of_its_own(play: Play) -> None:
    """The office's call goes by the carrier to the branch, which calls on: two calls, two records, one dialog."""
    callee = Callee(hops=4, routes=4).invited().reply(180).reply(200, offer=True).hear("ACK")
    callee.hear("INVITE").answer(200, offer=True).hear("ACK").say("INFO").expect(200).say("BYE").expect(200)
    plain = play.gateway(callee, "plain")
    caller = Caller().invite().answered().say("INVITE", offer=True).expect(200).ack()
    near = play.caller(caller.hear("INFO").answer(200).hear("BYE").answer(200), SPIRAL)
    play.finish(near, plain)
    api = play.town.stage.server.api
    assert api.ended_cdr(near.call_ids()[0], 20)
    found = {one["customer"]: one for one in api.cdrs(near.call_ids()[0])}
    assert {name: (one["e164"], one["gateway"], one["hangup_by"]) for name, one in found.items()} == {
        "office": (SPIRAL, "spiral", "callee"),
        "branch": (PLAIN, "plain", "callee"),
    }


@pytest.mark.rule("SIP-11")
def test_a_call_that_comes_back_unchanged_is_a_loop(play: Play) -> None:
    near = play.caller(Caller().invite().refused(482), LOOP)
    play.finish(near)
    cdr = play.town.stage.cdr(near.call_ids()[0])
    assert (cdr["customer"], cdr["status"], cdr["attempts"][0]["status"]) == ("office", 482, 482)
