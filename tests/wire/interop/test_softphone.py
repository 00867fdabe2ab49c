"""baresip as a customer's phone and as a gateway that answers."""

from __future__ import annotations

from typing import Any

import pytest

from sipsvc.demo.sipp import Sipp
from tests.wire.interop.conftest import Play, heard
from tests.wire.interop.script import Callee, Caller
from tests.wire.interop.softphone import Softphone
from tests.wire.interop.town import BY_CARRIER, PLAIN, TO_SOFT


def record(play: Play, sipp: Sipp) -> dict[str, Any]:
    """The record of the call that `sipp` saw."""
    return play.town.stage.cdr(sipp.received("INVITE")[0].get("call-id"))


def dial(play: Play, phone: Softphone, number: str) -> None:
    phone.do("dial", f"sip:{number}@{play.town.targets['udp']}")


@pytest.mark.rule("SIP-17", "SIP-20", "SIP-21")
def test_it_calls_with_its_password_holds_and_hangs_up(play: Play) -> None:
    callee = Callee().invited(("User-Agent", "baresip")).reply(180).reply(200, offer=True).hear("ACK")
    for _ in ("hold", "resume"):
        callee.hear("INVITE").answer(200, offer=True).hear("ACK")
    plain = play.gateway(callee.hear("BYE").answer(200), "plain")
    phone = play.phone()
    dial(play, phone, PLAIN)
    phone.until("CALL_ESTABLISHED")
    phone.do("hold")
    heard(plain, "ACK", 2)
    phone.do("resume")
    heard(plain, "ACK", 3)
    phone.do("hangup")
    phone.until("CALL_CLOSED")
    play.finish(plain)
    first, hold, resume = plain.received("INVITE")
    assert "a=sendrecv" in first.body
    assert "a=sendonly" in hold.body
    assert "a=sendrecv" in resume.body
    assert all(one.get("proxy-authorization") == "" for one in plain.received())
    cdr = record(play, plain)
    assert (cdr["customer"], cdr["auth"], cdr["hangup_by"]) == ("phone", "digest", "caller")


@pytest.mark.rule("SIP-7", "SIP-17")
def test_the_gateway_holds_it_and_hangs_up(play: Play) -> None:
    callee = Callee().invited().reply(180).reply(200, offer=True).hear("ACK").wait(300)
    callee.say("INVITE", offer=True).expect(200, ("CSeq", "1 INVITE")).ack().wait(300).say("BYE").expect(200)
    plain = play.gateway(callee, "plain")
    phone = play.phone()
    dial(play, phone, PLAIN)
    phone.until("CALL_ESTABLISHED")
    phone.until("CALL_CLOSED")
    play.finish(plain)
    assert record(play, plain)["hangup_by"] == "callee"


@pytest.mark.rule("SIP-12")
def test_it_gives_up_while_it_rings(play: Play) -> None:
    plain = play.gateway(Callee().invited().reply(180).cancelled(), "plain")
    phone = play.phone()
    dial(play, phone, PLAIN)
    phone.until("CALL_RINGING")
    phone.do("hangup")
    play.finish(plain)
    cdr = record(play, plain)
    assert (cdr["status"], cdr["code"]) == (487, "cancelled")


@pytest.mark.rule("SIP-16")
def test_it_may_not_transfer_and_the_call_goes_on(play: Play) -> None:
    callee = Callee().invited().reply(200, offer=True).hear("ACK")
    plain = play.gateway(callee.hear("BYE").answer(200), "plain")
    phone = play.phone()
    dial(play, phone, PLAIN)
    phone.until("CALL_ESTABLISHED")
    phone.do("transfer", "sip:442079460019@127.0.0.9")
    assert "403" in phone.until("TRANSFER_FAILED")["param"]
    phone.do("hangup")
    play.finish(plain)
    assert plain.received("REFER") == []


@pytest.mark.rule("SIP-13")
def test_it_hears_that_the_callee_is_busy(play: Play) -> None:
    far = play.gateway(Callee(hops=3, routes=2).invited().reply(486).hear("ACK"), "far")
    phone = play.phone()
    dial(play, phone, BY_CARRIER)
    assert "486" in phone.until("CALL_CLOSED")["param"]
    play.finish(far)


@pytest.mark.rule("SIP-10", "SIP-12", "SIP-17")
def test_it_answers_as_a_gateway_and_hangs_up(play: Play) -> None:
    soft = play.soft_gateway(TO_SOFT["udp"])
    caller = Caller().invite().rings().answered().say("INVITE", offer=True).expect(200).ack()
    near = play.caller(
        caller.hear("INVITE").answer(200, offer=True).hear("ACK").hear("BYE").answer(200), TO_SOFT["udp"]
    )
    soft.until("CALL_INCOMING")
    soft.do("accept")
    soft.until("CALL_ESTABLISHED")
    soft.do("hold")
    heard(near, "ACK", 1)
    soft.do("hangup")
    play.finish(near)
    cdr = play.town.stage.cdr(near.call_ids()[0])
    assert (cdr["gateway"], cdr["hangup_by"]) == ("soft", "callee")


@pytest.mark.rule("SIP-12")
def test_as_a_gateway_its_call_is_taken_back(play: Play) -> None:
    soft = play.soft_gateway(TO_SOFT["udp"])
    near = play.caller(Caller().invite().rings().wait(200).cancel().refused(487), TO_SOFT["udp"])
    soft.until("CALL_CLOSED")
    play.finish(near)
    assert play.town.stage.cdr(near.call_ids()[0])["code"] == "cancelled"


@pytest.mark.rule("SIP-6", "SIP-7", "SIP-10", "SIP-17", "SIP-21")
@pytest.mark.parametrize("there", ["udp", "tcp", "tls"])
@pytest.mark.parametrize("here", ["udp", "tcp", "tls"])
def test_two_softphones_talk(play: Play, here: str, there: str) -> None:
    """One calls with its password, the other answers by itself; nothing of ours on either side."""
    soft, phone = play.soft_gateway(TO_SOFT[there], by=there, more=";answermode=auto"), play.phone(here)
    dial(play, phone, TO_SOFT[there])
    phone.until("CALL_ESTABLISHED")
    soft.until("CALL_ESTABLISHED")
    soft.do("hold")
    soft.saw("a=recvonly")
    phone.do("hold")
    phone.saw("a=inactive")
    soft.do("hangup")
    phone.until("CALL_CLOSED")
    soft.saw("SIP/2.0 200 OK", 2)
    for one, by in ((phone, here), (soft, there)):
        log = one.log.read_text(errors="replace")
        assert {line[:3] for line in log.splitlines() if " -> 127.0.0." in line} == {by.upper()}
    assert "Proxy-Authorization: Digest" in phone.log.read_text(errors="replace")
