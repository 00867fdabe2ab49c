"""A party that means harm: no hang-up that leaves the other side talking, no packets for others (SIP-15..17, 19)."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from sipsvc.directory import Timing
from sipsvc.effects import Now
from tests.unit.test_digest import Phone
from tests.unit.test_digest import book as by_digest
from tests.unit.test_restart import reborn
from tests.unit.wire import (
    CUSTOMER,
    GATES,
    STRANGER,
    Talk,
    Wire,
    answer,
    directory,
    gateway,
    request,
    talking,
)


def acknowledged(wire: Wire | None = None) -> Talk:
    talk = talking(wire or Wire(directory(gateway())))
    talk.wire.give(talk.by_caller("ACK", 1))
    return talk


@pytest.mark.rule("SIP-19", "law 8")
def test_a_bye_in_the_callees_name_hangs_up_on_the_callee_too() -> None:
    talk = acknowledged()
    talk.wire.wait(2_000)
    sent = talk.wire.give(talk.by_callee("BYE", 1), CUSTOMER)
    assert [(one.what, one.flow.host) for one in sent] == [("BYE", "203.0.113.77"), ("BYE", CUSTOMER.host)]
    # As if from the caller, by its tags and behind what it said.
    ours = sent[0].message
    assert (ours.from_.tag, ours.to.tag, ours.cseq) == ("ann", "bob", 2)
    assert talk.wire.end["duration_ms"] == 2_000


@pytest.mark.rule("SIP-19", "law 8")
def test_a_bye_in_the_callers_name_hangs_up_on_the_caller_too() -> None:
    talk = acknowledged()
    sent = talk.wire.give(talk.by_caller("BYE", 2), STRANGER)
    assert [(one.what, one.flow.host) for one in sent] == [("BYE", CUSTOMER.host), ("BYE", "203.0.113.77")]


@pytest.mark.rule("SIP-17")
def test_a_callee_hangs_up_by_its_contact_or_by_the_address_it_was_called_at() -> None:
    for flow in (GATES[0], GATES[0]._replace(host="203.0.113.77", port=40_000)):
        talk = acknowledged()
        assert [one.what for one in talk.wire.give(talk.by_callee("BYE", 1), flow)] == ["BYE"]


@pytest.mark.rule("SIP-17", "SIP-19")
@pytest.mark.parametrize("status", [420, 500, 483, 401, 407, 603])
def test_a_bye_that_is_refused_is_followed_by_ours(status: int) -> None:
    talk = acknowledged()
    (bye,) = talk.wire.give(talk.by_caller("BYE", 2, "Require: nonsense"))
    ours, up = talk.wire.give(answer(bye.message, status), GATES[0])
    assert (up.what, up.flow) == (f"{status} BYE", CUSTOMER)
    assert (ours.what, ours.flow.host, ours.message.cseq) == ("BYE", "203.0.113.77", 3)
    assert ours.message.get("require") is None
    # Once, whatever comes back.
    assert talk.wire.give(answer(ours.message, status), GATES[0]) == []
    talk.wire.wait(100_000)
    assert talk.wire.engine.leftovers() == {"transactions": 0, "timers": 0, "calls": 0}
    assert talk.wire.kinds() == ["start", "answer", "end"]


@pytest.mark.rule("SIP-17")
@pytest.mark.parametrize("status", [200, 481])
def test_a_bye_that_ends_it_needs_no_other(status: int) -> None:
    talk = acknowledged()
    (bye,) = talk.wire.give(talk.by_caller("BYE", 2))
    assert [one.what for one in talk.wire.give(answer(bye.message, status), GATES[0])] == [f"{status} BYE"]


def stray(talk: Talk, tag: str, number: int = 0, cseq: int = 1) -> bytes:
    """A 2xx that names a transaction of this call which there never was."""
    found = re.search(r"z9hG4bK[0-9a-f]{16}", talk.forwarded.get("via") or "")
    assert found is not None
    ok = answer(talk.forwarded, 200, "Session-Expires: 90;refresher=uac", tag=tag, contact="sip:v@10.9.9.9:9999")
    return re.sub(rb"z9hG4bK[^;\r]+", f"{found[0]}{number:08x}.".encode(), ok, count=1).replace(
        b"CSeq: 1 ", f"CSeq: {cseq} ".encode(), 1
    )


@pytest.mark.rule("SIP-9", "SIP-15")
@pytest.mark.parametrize("tag", ["eve", "bob"])
def test_nobody_but_a_party_makes_us_answer_a_stray_2xx(tag: str) -> None:
    talk = acknowledged(Wire(directory(gateway(), timing=Timing(session_expires_s=1_800))))
    for number in range(100):
        assert talk.wire.give(stray(talk, tag, number, 7), STRANGER) == []
    assert talk.wire.engine.counters == {"stray_response": 100}
    assert talk.wire.kinds() == ["start", "answer"]


@pytest.mark.rule("SIP-15")
def test_a_stray_answer_of_a_gateways_is_hung_up_once_however_often_it_comes() -> None:
    talk = acknowledged()
    assert [one.what for one in talk.wire.give(stray(talk, "eve"), GATES[0])] == ["ACK", "BYE"]
    for number in range(1, 10):
        assert [one.what for one in talk.wire.give(stray(talk, "eve", number), GATES[0])] == ["ACK"]
    hung_up = [
        one.message.to.tag
        for number in range(100)
        for one in talk.wire.give(stray(talk, f"eve{number}", 100 + number), GATES[0])
        if one.what == "BYE"
    ]
    assert hung_up == [f"eve{number}" for number in range(31)]
    talk.wire.wait(40_000)
    assert talk.wire.engine.leftovers()["transactions"] == 0


@pytest.mark.rule("SIP-16")
def test_a_contact_that_names_ourselves_is_not_followed() -> None:
    """A callee's Contact may be our own route: by it an ACK would come back to us as often as its hops allow."""
    wire = Wire(directory(gateway()))
    invite = wire.give(request())[-1].message
    (route,) = invite.all("record-route")
    ok = wire.give(answer(invite, 200, contact=route.strip("<>")), GATES[0])[-1].message
    talk = Talk(wire, invite, ok)
    (ack,) = wire.give(talk.by_caller("ACK", 1))
    assert ack.flow == GATES[0]


@pytest.mark.rule("SIP-11")
def test_an_ack_goes_no_further_than_its_hops() -> None:
    talk = talking(Wire(directory(gateway())))
    assert talk.wire.give(talk.by_caller("ACK", 1, Max_Forwards="0")) == []
    (ack,) = talk.wire.give(talk.by_caller("ACK", 1, Max_Forwards="1"))
    assert ack.message.get("max-forwards") == "0"
    assert talk.wire.engine.counters == {"too_many_hops": 1}


@pytest.mark.rule("SIP-16")
@pytest.mark.parametrize("status", [183, 200])
def test_a_callee_that_takes_the_callers_tag_for_its_own_is_not_heard(status: int) -> None:
    wire = Wire(directory(gateway()))
    invite = wire.give(request())[-1].message
    assert wire.give(answer(invite, status, tag="ann"), GATES[0]) == []
    assert wire.engine.counters == {"same_tag": 1}


@pytest.mark.rule("SIP-8", "law 8")
def test_addresses_that_come_when_the_time_is_up_end_the_call() -> None:
    """The clock may jump over every deadline before anybody is asked: a machine that was halted."""
    wire = Wire(directory(gateway(host="gw.carrier.example", port=0)))
    wire.give(request())
    wire.now = Now(wire.now.mono + 60_000_000_000, wire.now.utc + 60_000)
    wire.engine.resolved(wire.asked[0].ref, (("UDP", "203.0.113.51", 5060),), wire.now)  # type: ignore[arg-type]
    assert [one.what for one in wire.drain()] == ["500 INVITE"]
    assert [one["left"] for one in wire.end["attempts"]] == ["dns"]
    assert wire.engine.live_calls == 0


@pytest.mark.rule("SIP-18", "law 7")
def test_what_is_said_in_an_early_dialog_that_lost_settles_nothing() -> None:
    wire = Wire(directory(gateway(1, provisional_timeout_ms=500), gateway(2), timing=Timing(session_expires_s=1_800)))
    first = wire.give(request("INVITE", "sip:33123456789@192.0.2.1:5060", "Supported: timer"))[-1].message
    second = wire.wait(600)[-1].message
    early = wire.give(answer(second, 183, tag="loser"), GATES[1])[-1].message
    update = Talk(wire, second, early).by_callee("UPDATE", 1)
    (asked,) = wire.give(update.replace(b";tag=bob", b";tag=loser"), GATES[1])
    wire.give(answer(first, 200), GATES[0])
    wire.give(answer(asked.message, 200, contact="sip:ann@198.51.100.10:5062"))
    (answered,) = [record for record in wire.records if record["kind"] == "answer"]
    assert answered["session_expires_at"] is not None
    wire.wait(1_900_000)
    assert wire.end["code"] == "session_expired"


@pytest.mark.rule("law 8", "SIP-10", "SIP-21")
@pytest.mark.parametrize("answered", [True, False])
def test_an_invite_repeated_to_a_new_life_is_the_call_it_was_however_old_its_nonce(answered: bool) -> None:
    """Who was let in is not asked again for saying the same: asked, the phone would begin another call."""
    book = by_digest()
    book = replace(book, platform=replace(book.platform, nonce_lifetime_ms=30_000))
    phone = Phone(Wire(book))
    line = phone.line(phone.nonce())
    invite = phone.say([line])
    wire = phone.wire
    if answered:
        wire.give(answer(invite.message, 200), invite.flow)
    again = reborn(wire, 31_000, book=book)
    phone.wire, phone.cseq = again, phone.cseq - 1
    said = phone.say([line])
    assert said.what == ("100 INVITE" if answered else "INVITE")
    starts = [one["cdr_id"] for one in (*wire.records, *again.records) if one["kind"] == "start"]
    assert len(set(starts)) == 1


@pytest.mark.rule("SIP-22", "law 8")
def test_whoever_repeats_it_without_the_password_is_asked() -> None:
    book = by_digest()
    phone = Phone(Wire(book))
    phone.say([phone.line(phone.nonce())])
    again = reborn(phone.wire, 1_000, book=book)
    phone.wire, phone.cseq = again, phone.cseq - 1
    assert phone.say([]).what == "407 INVITE"
