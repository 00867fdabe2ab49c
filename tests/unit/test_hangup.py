"""Calls that we end ourselves, for credit or for an administrator (SIP-19)."""

from __future__ import annotations

import pytest

from sipsvc.directory import Timing
from tests.unit.test_restart import reborn
from tests.unit.wire import CUSTOMER, GATES, Sent, Talk, Wire, answer, directory, gateway, request, talking

DRESSED = directory(gateway(caller_prefix="77", uri_prefix="9#"))
BOB = "203.0.113.77"
CODES = {"admin": 480, "credit_exhausted": 402}


def hang_up(wire: Wire, code: str = "admin", cdr_id: str = "") -> tuple[bool, list[Sent]]:
    done = wire.engine.hang_up(cdr_id or wire.records[0]["cdr_id"], code, wire.now)
    return done, wire.drain()


def acked(wire: Wire) -> Talk:
    talk = talking(wire)
    wire.give(talk.by_caller("ACK", 1))
    return talk


@pytest.mark.rule("SIP-19", "law 7")
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("restarted", [False, True])
def test_a_call_that_is_up_is_hung_up_on_both_sides(code: str, restarted: bool) -> None:
    talk = acked(Wire(DRESSED))
    talk.wire.give(talk.by_caller("INFO", 4))
    talk.wire.wait(40_000)  # whether the caller's ACK came is not in the log; after 64·T1 it does not matter
    wire = talk.wire
    cdr_id = wire.records[0]["cdr_id"]
    if restarted:
        wire = reborn(talk.wire, 0)
    done, sent = hang_up(wire, code, cdr_id)
    assert done
    byes = {one.flow.host: one.message for one in sent}
    assert {one.what for one in sent} == {"BYE"}
    assert byes.keys() == {CUSTOMER.host, BOB}
    assert (byes[CUSTOMER.host].get("from"), byes[CUSTOMER.host].get("to")) == (talk.ok.get("to"), talk.ok.get("from"))
    assert (byes[BOB].get("from"), byes[BOB].to.tag) == (talk.forwarded.get("from"), "bob")
    assert byes[BOB].cseq > 4
    end = wire.end
    assert (end["code"], end["hangup_by"], end["status"], end["duration_ms"]) == (code, "proxy", 200, 40_000)
    assert end["recovered"] is restarted  # nothing has shown since that it was still alive
    assert wire.engine.live_calls == 0
    assert hang_up(wire, code, cdr_id) == (False, [])


@pytest.mark.rule("SIP-19")
@pytest.mark.parametrize("status", [200, 401, 407, 408, 481, 500])
def test_whatever_our_bye_is_answered_the_call_is_over(status: int) -> None:
    wire = acked(Wire(DRESSED)).wire
    _, sent = hang_up(wire)
    for bye in sent:
        flow = CUSTOMER if bye.flow == CUSTOMER else GATES[0]
        assert wire.give(answer(bye.message, status), flow) == []
    assert wire.wait(100_000) == []
    assert wire.engine.leftovers() == {"transactions": 0, "timers": 0, "calls": 0}
    assert wire.kinds().count("end") == 1


@pytest.mark.rule("SIP-19", "SIP-10")
def test_our_bye_is_repeated_until_it_is_answered_or_given_up() -> None:
    wire = acked(Wire(DRESSED)).wire
    _, sent = hang_up(wire)
    to_callee = next(one for one in sent if one.flow.host == BOB)
    wire.give(answer(to_callee.message, 200), GATES[0])
    again = wire.wait(100_000)
    assert {one.flow for one in again} == {CUSTOMER}
    assert [one.at for one in again] == [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]
    assert wire.engine.leftovers() == {"transactions": 0, "timers": 0, "calls": 0}


@pytest.mark.rule("SIP-19")
def test_a_hangup_that_crosses_ours_is_answered_and_counts_no_more() -> None:
    talk = acked(Wire(DRESSED))
    hang_up(talk.wire)
    assert [one.what for one in talk.wire.give(talk.by_caller("BYE", 2))] == ["200 BYE"]
    assert [one.what for one in talk.wire.give(talk.by_caller("INFO", 3))] == ["481 INFO"]
    assert talk.wire.end["hangup_by"] == "proxy"


@pytest.mark.rule("SIP-19")
def test_a_caller_that_has_not_acknowledged_is_hung_up_when_it_does() -> None:
    talk = talking(Wire(DRESSED))
    _, sent = hang_up(talk.wire)
    assert [(one.what, one.flow.host) for one in sent] == [("BYE", BOB)]
    ack, bye = talk.wire.give(talk.by_caller("ACK", 1))
    assert (ack.what, ack.flow.host, bye.what, bye.flow) == ("ACK", BOB, "BYE", CUSTOMER)


@pytest.mark.rule("SIP-19", "SIP-12")
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("ringing", [False, True])
def test_a_call_in_set_up_is_taken_back(code: str, ringing: bool) -> None:
    wire = Wire(DRESSED)
    invite = wire.give(request())[-1].message
    if ringing:
        wire.give(answer(invite, 180), GATES[0])
    wire.wait(1_000)
    done, sent = hang_up(wire, code)
    assert done
    assert [one.what for one in sent] == [*(["CANCEL"] if ringing else []), f"{CODES[code]} INVITE"]
    assert sent[-1].message.all("warning")
    assert (wire.end["code"], wire.end["hangup_by"], wire.end["status"]) == (code, "proxy", CODES[code])
    assert (wire.end["duration_ms"], wire.engine.live_calls) == (None, 0)
    assert hang_up(wire, code)[0] is False
    wire.give(request("ACK", To=sent[-1].message.get("to") or ""))
    # An answer that crosses finds nobody.
    ack, bye = wire.give(answer(invite, 200), GATES[0])
    assert (ack.what, bye.what) == ("ACK", "BYE")
    wire.give(answer(bye.message, 200), GATES[0])
    wire.wait(200_000)
    assert wire.engine.leftovers() == {"transactions": 0, "timers": 0, "calls": 0}
    assert wire.kinds() == ["start", "end", "late"]  # what that answer cost


@pytest.mark.rule("SIP-19", "law 8")
def test_an_answer_that_waits_for_its_record_goes_up_and_is_hung_up() -> None:
    wire = Wire(directory(gateway(), timing=Timing(durable_wait_ms=20)), disk=False)
    invite = wire.give(request())[-1].message
    assert wire.give(answer(invite, 200), GATES[0]) == []
    assert [one.what for one in hang_up(wire)[1]] == ["BYE"]
    (up,) = wire.wait(20)
    assert up.what == "200 INVITE"
    talk = Talk(wire, invite, up.message)
    assert [one.what for one in wire.give(talk.by_caller("ACK", 1))] == ["ACK", "BYE"]


@pytest.mark.rule("SIP-19")
def test_no_other_call_is_hung_up() -> None:
    wire = acked(Wire(DRESSED)).wire
    assert hang_up(wire, cdr_id="018bcfe5-6800-7000-8000-000000000000") == (False, [])
    with pytest.raises(ValueError, match="none of credit_exhausted, admin"):
        wire.engine.hang_up(wire.records[0]["cdr_id"], "mood", wire.now)
    assert wire.engine.live_calls == 1
