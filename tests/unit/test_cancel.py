"""A caller that gives up, and Timer C: what is taken back, what is said, and what crosses (SIP-12, SIP-14)."""

from __future__ import annotations

import pytest

from tests.unit.test_hunting import finals, play
from tests.unit.wire import CALLEE, CUSTOMER, GATES, US, Talk, Wire, answer, directory, gateway, request

# When the caller cancels, what the gateway does then, and what comes of it.
CANCELS: dict[str, tuple[list[str], str, int, list[str], str]] = {
    "ringing": (["180"], "200c 487", 487, ["487 "], "cancelled"),
    "trying": (["100"], "200c 487", 487, ["487 "], "cancelled"),
    "before any word: it waits for one": ([], "100 200c 487", 487, ["487 "], "cancelled"),
    "the gateway fails instead": (["180"], "503", 487, ["503 "], "cancelled"),
    "the gateway declines instead": (["180"], "603", 487, ["603 "], "cancelled"),
    "the answer crosses": (["180"], "200", 200, ["200 "], "answered"),
    "the gateway goes silent": (["180"], "wait", 487, ["408 "], "cancelled"),
    "the gateway was always silent": ([], "wait", 487, ["408 "], "cancelled"),
}


@pytest.mark.rule("SIP-12", "SIP-15")
@pytest.mark.parametrize("name", CANCELS)
def test_cancel(name: str) -> None:
    before, after, status, tried, code = CANCELS[name]
    wire = Wire()
    invite = wire.give(request())[-1].message
    for word in before:
        wire.give(answer(invite, int(word)), GATES[0])
    said = wire.give(request("CANCEL"))
    assert said[0].what == "200 CANCEL"
    assert said[0].message.to.tag
    assert [one.what for one in said[1:]] == (["CANCEL"] if before else [])
    for word in after.split():
        if word == "wait":
            wire.wait(40_000)
        elif word == "200c":
            cancel = next(one.message for one in wire.sent if one.what == "CANCEL")
            assert (cancel.via, cancel.cseq, cancel.to.tag) == (invite.via, invite.cseq, "")
            assert wire.give(answer(cancel, 200), GATES[0]) == []
        else:
            wire.give(answer(invite, int(word)), GATES[0])
    assert finals(wire)[1].status == status
    assert finals(wire)[1].cseq == 1
    if code == "answered":
        assert wire.records[-1]["kind"] == "answer"
        return
    assert (wire.end["code"], wire.end["hangup_by"], wire.end["status"]) == (code, "caller", 487)
    assert [f"{one['status']} {one['left']}" for one in wire.end["attempts"]] == tried
    assert not [one for one in wire.sent if one.what == "INVITE" and one.flow != GATES[0]]
    wire.give(request("ACK", To=finals(wire)[1].get("to") or ""))
    wire.wait(100_000)
    assert wire.engine.leftovers() == {"transactions": 0, "timers": 0, "calls": 0}


@pytest.mark.rule("SIP-12")
def test_cancel_of_nothing_and_too_late() -> None:
    wire = Wire()
    assert [one.what for one in wire.give(request("CANCEL"))] == ["481 CANCEL"]
    play(wire, ["486"])
    assert [one.what for one in wire.give(request("CANCEL"))] == ["200 CANCEL"]
    assert [one.what for one in wire.give(request("CANCEL", Via="SIP/2.0/UDP h;branch=z9hG4bKx"))] == ["481 CANCEL"]
    assert wire.end["code"] == "rejected"


@pytest.mark.rule("SIP-12")
@pytest.mark.parametrize("when", ["ringing", "before any word"])
def test_why_the_caller_cancels_is_passed_on_and_recorded(when: str) -> None:
    wire = Wire()
    invite = wire.give(request())[-1].message
    if when == "ringing":
        wire.give(answer(invite, 180), GATES[0])
    why = ['SIP;cause=200;text="Call completed elsewhere"', 'Q.850;cause=26;text="taken, there"']
    sent = wire.give(request("CANCEL", f"sip:{CALLEE}@{US}", f"Reason: {why[0]}, {why[1]}"))
    if when != "ringing":
        sent = wire.give(answer(invite, 100), GATES[0])
    assert sent[-1].message.all("reason") == why
    wire.give(answer(invite, 487), GATES[0])
    assert (wire.end["code"], wire.end["q850"]) == ("cancelled", 26)


@pytest.mark.rule("SIP-12", "SIP-15")
def test_who_rings_in_vain_is_told_that_the_call_went_elsewhere() -> None:
    wire = Wire()
    first = wire.give(request())[-1].message
    second = next(one.message for one in wire.wait(4_000) if one.flow == GATES[1])
    wire.give(answer(second, 180, tag="two"), GATES[1])
    (early,) = wire.give(answer(first, 180, tag="one"), GATES[0])
    assert (early.what, early.message.all("reason")) == ("CANCEL", [])
    sent = wire.give(answer(first, 200, tag="one"), GATES[0])
    (cancel,) = [one.message for one in sent if one.what == "CANCEL"]
    assert cancel.all("reason") == ['SIP;cause=200;text="Call completed elsewhere"']


@pytest.mark.rule("SIP-12", "SIP-10")
def test_a_cancel_is_known_by_its_transaction_and_not_by_where_it_comes_from() -> None:
    wire = Wire()
    invite = wire.give(request())[-1].message
    wire.give(answer(invite, 180), GATES[0])
    branch = request("CANCEL", Via="SIP/2.0/UDP 198.51.100.10:5062;branch=z9hG4bK-2;rport")
    sent_by = request("CANCEL", Via="SIP/2.0/UDP 198.51.100.11:5062;branch=z9hG4bK-1;rport")
    assert [one.what for one in wire.give(branch) + wire.give(sent_by)] == ["481 CANCEL"] * 2
    elsewhere = CUSTOMER._replace(port=40_000)
    said, cancel = wire.give(request("CANCEL"), elsewhere)
    assert (said.what, said.flow, cancel.what, cancel.flow) == ("200 CANCEL", elsewhere, "CANCEL", GATES[0])


@pytest.mark.rule("SIP-12", "SIP-10")
def test_a_cancel_of_an_rfc_2543_caller() -> None:
    wire = Wire()
    via = "SIP/2.0/UDP 198.51.100.10:5062"
    invite = wire.give(request(Via=via))[-1].message
    wire.give(answer(invite, 180), GATES[0])
    assert [one.what for one in wire.give(request("CANCEL", Via=via, CSeq="2 CANCEL"))] == ["481 CANCEL"]
    assert [one.what for one in wire.give(request("CANCEL", Via=via))] == ["200 CANCEL", "CANCEL"]


@pytest.mark.rule("SIP-12")
def test_a_repeated_cancel_is_answered_alike_and_goes_on_once() -> None:
    wire = Wire()
    invite = wire.give(request())[-1].message
    wire.give(answer(invite, 180), GATES[0])
    first, _ = wire.give(request("CANCEL"))
    (again,) = wire.give(request("CANCEL"))
    assert (again.data, again.what) == (first.data, "200 CANCEL")
    assert len([one for one in wire.wait(400) if one.what == "CANCEL"]) == 0


@pytest.mark.rule("SIP-12", "SIP-15")
def test_a_cancel_while_the_answer_waits_for_the_disk() -> None:
    wire = Wire(disk=False)
    invite = wire.give(request())[-1].message
    assert wire.give(answer(invite, 200), GATES[0]) == []
    assert [one.what for one in wire.give(request("CANCEL"))] == ["200 CANCEL"]
    assert [one.what for one in wire.wait(20)] == ["200 INVITE"]
    assert wire.kinds() == ["start", "answer"]


@pytest.mark.rule("SIP-12", "law 8")
@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ("180 CANCEL 200 ACK BYE", "cancel_crossed"),
        ("CANCEL 200 ACK BYE", "cancel_crossed"),
        ("180 200 CANCEL ACK BYE", "cancel_crossed"),
        ("180 200 ACK CANCEL BYE", "answered"),
        ("180 200 ACK BYE", "answered"),
    ],
)
def test_the_record_says_that_a_cancel_and_the_answer_crossed(steps: str, code: str) -> None:
    wire = Wire(directory(gateway()))
    invite = wire.give(request())[-1].message
    for step in steps.split():
        if step.isdigit():
            wire.give(answer(invite, int(step)), GATES[0])
        elif step == "CANCEL":
            assert wire.give(request("CANCEL"))[0].what == "200 CANCEL"
        else:
            (ok,) = [message for message in finals(wire) if message.method == "INVITE"]
            wire.give(Talk(wire, invite, ok).by_caller(step, 1 if step == "ACK" else 2))
    assert (wire.end["code"], wire.end["hangup_by"], wire.end["status"]) == (code, "caller", 200)
    assert wire.end["duration_ms"] == 0


@pytest.mark.rule("SIP-12", "SIP-13")
def test_a_cancel_between_gateways_ends_the_one_that_was_left_and_the_one_that_is_tried() -> None:
    wire = Wire()
    first = wire.give(request())[-1].message
    second = next(one.message for one in wire.wait(4_000) if one.flow == GATES[1])
    wire.give(answer(second, 100), GATES[1])
    said = wire.give(request("CANCEL"))
    assert [(one.what, one.flow) for one in said] == [("200 CANCEL", CUSTOMER), ("CANCEL", GATES[1])]
    (late,) = wire.give(answer(first, 180), GATES[0])
    assert (late.what, late.flow) == ("CANCEL", GATES[0])
    assert [one.what for one in wire.give(answer(second, 503), GATES[1])] == ["ACK", "487 INVITE"]
    assert not [one for one in wire.sent if one.flow == GATES[2]]


@pytest.mark.rule("SIP-14")
def test_timer_c_starts_anew_with_every_word_but_100() -> None:
    wire = Wire()
    invite = wire.give(request())[-1].message
    wire.give(answer(invite, 180), GATES[0])
    for _ in range(3):
        assert wire.wait(180_001) == []
        wire.give(answer(invite, 183), GATES[0])
    wire.wait(100_000)
    wire.give(answer(invite, 100), GATES[0])
    (cancel, *_) = wire.wait(85_000)
    assert (cancel.what, cancel.flow) == ("CANCEL", GATES[0])
    assert gateway().ring_timeout_ms > 180_000


@pytest.mark.rule("SIP-14", "SIP-15")
@pytest.mark.parametrize(
    ("word", "what"), [("200", "200 INVITE"), ("487", "408 INVITE"), ("486", "408 INVITE"), ("503", "408 INVITE")]
)
def test_what_crosses_the_cancel_of_timer_c(word: str, what: str) -> None:
    wire = Wire()
    invite = wire.give(request())[-1].message
    wire.give(answer(invite, 180), GATES[0])
    wire.wait(185_000)
    up = [one.what for one in wire.give(answer(invite, int(word)), GATES[0]) if one.flow == CUSTOMER]
    assert up == [what]
