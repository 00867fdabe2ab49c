"""After a crash: calls that were up are up, calls in set-up go on or are closed, none is lost or doubled (law 8)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sipsvc.directory import Directory, Timing
from sipsvc.effects import Now
from tests.unit.wire import (
    BEGIN,
    CUSTOMER,
    GATES,
    Talk,
    Wire,
    answer,
    directory,
    gateway,
    request,
    talking,
)

BOOK = directory(gateway(caller_prefix="77"), timing=Timing(max_call_ms=3_600_000))


def reborn(
    old: Wire,
    after_ms: int = 1_000,
    *,
    records: list[dict[str, Any]] | None = None,
    book: Directory = BOOK,
    outages: list[int] | None = None,
) -> Wire:
    """A new engine with the old one's log, as it reads after JSON. Its monotonic clock begins somewhere else.

    The old one ran until its present moment.
    """
    wire = Wire(book, begin=Now(5, old.now.utc + after_ms), seed=2)
    log = old.records if records is None else records
    ended = {record["cdr_id"] for record in log if record["kind"] == "end"}
    text = json.dumps([record for record in log if record["cdr_id"] not in ended])
    wire.engine.restore(json.loads(text), wire.now, [old.now.utc] if outages is None else outages)
    assert wire.drain() == []
    return wire


def moved(talk: Talk, wire: Wire) -> Talk:
    """The same two parties, talking through the new engine."""
    return talk._replace(wire=wire)


@pytest.mark.rule("law 8", "SIP-16", "SIP-31")
@pytest.mark.parametrize("side", ["caller", "callee"])
def test_a_call_that_was_up_is_hung_up_as_if_nothing_had_happened(side: str) -> None:
    talk = talking(Wire(BOOK))
    talk.wire.give(talk.by_caller("ACK", 1))
    talk.wire.wait(60_000)
    wire = reborn(talk.wire, 5_000)
    assert wire.engine.live_calls == 1
    assert wire.engine.idle
    talk = moved(talk, wire)
    wire.wait(10_000)
    data = talk.by_caller("BYE", 2) if side == "caller" else talk.by_callee("BYE", 1)
    (bye,) = wire.give(data, CUSTOMER if side == "caller" else GATES[0])
    assert bye.flow.host == ("203.0.113.77" if side == "caller" else CUSTOMER.host)
    if side == "caller":
        assert bye.message.get("from") == talk.forwarded.get("from")
    else:
        assert bye.message.get("to") == talk.ok.get("from")
    end = wire.end
    assert (end["duration_ms"], end["hangup_by"], end["code"]) == (75_000, side, "answered")
    assert end["cdr_id"] == talk.wire.records[0]["cdr_id"]
    assert (end["sell"]["billed"], end["sell"]["amount"]) == (78, "0.078000")
    assert (end["buy"]["billed"], end["buy"]["amount"], end["margin"]) == (75, "0.012500", "0.065500")
    assert end["recovered"] is False
    wire.give(answer(bye.message, 200), GATES[0])
    wire.wait(100_000)
    assert wire.engine.leftovers() == {"transactions": 0, "timers": 0, "calls": 0}
    assert wire.kinds() == ["end"]


@pytest.mark.rule("law 8", "SIP-10", "SIP-15")
def test_an_answer_that_was_under_way_gets_through_and_its_invite_makes_no_second_call() -> None:
    talk = talking(Wire(BOOK))
    wire = reborn(talk.wire, 200)
    assert [one.what for one in wire.give(request())] == ["100 INVITE"]
    (up,) = wire.give(answer(talk.forwarded, 200), GATES[0])
    assert (up.what, up.flow, up.message.get("from")) == ("200 INVITE", CUSTOMER, talk.ok.get("from"))
    (ack,) = wire.give(moved(talk, wire).by_caller("ACK", 1))
    assert ack.message.get("from") == talk.forwarded.get("from")
    assert wire.records == []
    assert wire.engine.live_calls == 1


@pytest.mark.rule("law 8", "SIP-15")
def test_an_answer_to_a_re_invite_is_still_passed_on_when_the_call_is_over() -> None:
    """Whoever gave it repeats it until its ACK comes, and only the other side can send that."""
    talk = talking(Wire(BOOK))
    talk.wire.give(talk.by_caller("ACK", 1))
    reinvite = talk.wire.give(talk.by_callee("INVITE", 1), GATES[0])[-1].message
    talk = moved(talk, reborn(talk.wire))
    wire = talk.wire
    wire.give(talk.by_caller("BYE", 2))
    (up,) = wire.give(answer(reinvite, 200))
    assert (up.what, up.flow) == ("200 INVITE", GATES[0])


@pytest.mark.rule("law 8", "SIP-15", "SIP-16")
def test_a_late_answer_of_the_gateways_is_acknowledged_by_its_route() -> None:
    """A 2xx to a re-INVITE has no Record-Route: the way to its sender is the one the call knows."""
    old = Wire(BOOK)
    invite = old.give(request())[-1].message
    ok = old.give(
        answer(invite, 200).replace(b"Record-Route: ", b"Record-Route: <sip:203.0.113.50;lr>, ", 1), GATES[0]
    )[-1].message
    talk = Talk(old, invite, ok)
    old.give(talk.by_caller("ACK", 1))
    reinvite = old.give(talk.by_caller("INVITE", 2))[-1].message
    wire = reborn(old)
    wire.give(moved(talk, wire).by_caller("BYE", 3))
    (ack,) = wire.give(answer(reinvite, 200), GATES[0])
    assert (ack.what, ack.flow.host, ack.message.all("route")) == ("ACK", "203.0.113.50", ["<sip:203.0.113.50;lr>"])


@pytest.mark.rule("law 8", "law 6", "SIP-19")
@pytest.mark.parametrize("asleep", [60_000, 3_600_000, 9_000_000])
def test_the_longest_a_call_may_last_spans_the_restart(asleep: int) -> None:
    """It is charged to its end where it is shown alive before, else as far as the server ran."""
    talk = talking(Wire(BOOK))
    talk.wire.wait(20_000)
    wire = reborn(talk.wire, asleep - 20_000)
    sent = wire.wait(30_000)
    for probe in (one for one in sent if one.what == "OPTIONS"):
        wire.give(answer(probe.message, 200), probe.flow)
    sent += wire.wait(3_600_000)
    assert {one.flow.host for one in sent if one.what == "BYE"} == {CUSTOMER.host, "203.0.113.77"}
    end = wire.end
    alive = asleep < 3_600_000
    assert (end["code"], end["hangup_by"], end["recovered"]) == ("max_duration", "timeout", not alive)
    assert end["duration_ms"] == (3_600_000 if alive else 20_000)
    assert wire.engine.live_calls == 0


SETUPS = {"just begun": [], "trying": ["100"], "ringing": ["180"], "between gateways": ["503"]}


@pytest.mark.rule("law 8")
@pytest.mark.parametrize("name", SETUPS)
def test_a_call_nobody_asks_for_again_is_closed_and_costs_nothing(name: str) -> None:
    old = Wire(BOOK)
    invite = old.give(request())[-1].message
    for word in SETUPS[name]:
        old.give(answer(invite, int(word)), GATES[0])
    wire = reborn(old, records=[record for record in old.records if record["kind"] == "start"])
    assert wire.wait(31_999) == []
    assert wire.records == []
    wire.wait(1)
    end = wire.end
    assert end["cdr_id"] == old.records[0]["cdr_id"]
    assert (end["recovered"], end["duration_ms"], end["code"], end["status"]) == (True, None, "server_restart", 500)
    assert (end["sell"], end["buy"], end["margin"]) == (None, None, None)
    assert (end["call_id"], end["customer"]) == ("call-1", "acme")
    assert wire.engine.leftovers() == {"transactions": 0, "timers": 0, "calls": 0}
    wire.wait(100_000)
    assert wire.kinds() == ["end"]


@pytest.mark.rule("law 8", "SIP-10")
def test_a_call_that_is_asked_for_again_goes_on_under_its_record() -> None:
    old = Wire(BOOK)
    old.give(request())
    wire = reborn(old)
    trying, forwarded = wire.give(request())
    assert (trying.what, forwarded.what) == ("100 INVITE", "INVITE")
    assert wire.records[0]["cdr_id"] == old.records[0]["cdr_id"]
    assert [one.what for one in wire.give(request())] == ["100 INVITE"]
    wire.wait(3_000)
    wire.give(answer(forwarded.message, 486), GATES[0])
    wire.give(request("ACK", To="<sip:33123456789@192.0.2.1:5060>;tag=bob"))
    wire.wait(100_000)
    assert wire.kinds() == ["start", "end"]
    assert (wire.end["code"], wire.end["recovered"]) == ("rejected", False)


@pytest.mark.rule("law 8")
@pytest.mark.parametrize("changes", [
    {"Call_ID": "another"}, {"From": "<sip:442071838750@acme.example>;tag=other"}, {"CSeq": "2 INVITE"},
])  # fmt: skip
def test_another_call_does_not_take_its_record(changes: dict[str, Any]) -> None:
    old = Wire(BOOK)
    old.give(request())
    wire = reborn(old)
    wire.give(request(**changes))
    assert wire.records[0]["cdr_id"] != old.records[0]["cdr_id"]
    wire.wait(32_000)
    ends = [record["cdr_id"] for record in wire.records if record["kind"] == "end"]
    assert sorted(ends) == sorted({old.records[0]["cdr_id"], wire.records[0]["cdr_id"]})


@pytest.mark.rule("law 8", "law 6")
def test_many_calls_at_once_and_a_second_crash() -> None:
    old = Wire(BOOK)
    talks = []
    for number in range(4):
        via = f"SIP/2.0/UDP 198.51.100.10:5062;branch=z9hG4bK-{number}"
        call = request(Call_ID=f"c{number}", Via=via)
        if number % 2:
            old.give(call)
        else:
            talks.append(talking(old, invite=call))
    first = reborn(old)
    assert first.engine.live_calls == 2
    first.give(moved(talks[0], first).by_caller("BYE", 2, Call_ID="c0"))
    second = reborn(first, records=old.records + first.records)
    assert second.engine.live_calls == 1
    second.give(moved(talks[1], second).by_caller("BYE", 2, Call_ID="c2"))
    second.wait(40_000)
    everything = old.records + first.records + second.records
    ids = {record["cdr_id"] for record in everything if record["kind"] == "start"}
    ends = [record["cdr_id"] for record in everything if record["kind"] == "end"]
    assert len(ids) == 4
    assert sorted(ends) == sorted(ids)


@pytest.mark.rule("law 8", "SIP-16")
def test_the_callers_tag_and_contact_survive_whatever_bytes_they_hold() -> None:
    odd = request(From='"caf\xe9 \x80" <sip:442071838750@acme.example>;tag=a\xe9', Contact="<sip:\xe9@198.51.100.10>")
    talk = talking(Wire(BOOK), invite=odd)
    wire = reborn(talk.wire)
    (bye,) = wire.give(moved(talk, wire).by_callee("BYE", 1), GATES[0])
    assert bye.message.get("to") == talk.ok.get("from")
    assert "\xe9@198.51.100.10" in bye.message.uri
    old = Wire(BOOK)
    old.give(odd)
    again = reborn(old)
    again.give(odd)
    assert again.records[0]["cdr_id"] == old.records[0]["cdr_id"]


@pytest.mark.rule("SIP-10")
def test_a_new_call_gets_an_id_of_its_own_time() -> None:
    wire = Wire(BOOK)
    wire.give(request())
    cdr_id = wire.records[0]["cdr_id"]
    assert int(cdr_id.replace("-", "")[:12], 16) == BEGIN.utc
    assert (cdr_id[14], cdr_id[19] in "89ab", len(cdr_id)) == ("7", True, 36)


@pytest.mark.rule("law 7", "SIP-19")
def test_our_own_hangup_after_a_restart_is_behind_whatever_was_said_before() -> None:
    talk = talking(Wire(BOOK))
    talk.wire.give(talk.by_caller("ACK", 1))
    talk.wire.give(talk.by_caller("INFO", 4))
    talk.wire.give(talk.by_callee("INFO", 8), GATES[0])
    byes = {one.flow.host: one.message.cseq for one in reborn(talk.wire).wait(100_000) if one.what == "BYE"}
    assert byes[CUSTOMER.host] > 8
    assert byes["203.0.113.77"] > 4
