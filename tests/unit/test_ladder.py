"""The ladder of a call: every message of it once, in order, bounded, and kept when the call is over (SIP-38)."""

from __future__ import annotations

import pytest

from sipsvc.effects import Flow, Now
from sipsvc.engine.watched import Finished
from sipsvc.ladder import BLOCK, FIRST, HEAD, LARGE, MOST, Ladder, Rung
from sipsvc.message import Message, parse
from tests.unit.wire import BEGIN, CUSTOMER, GATES, STRANGER, Wire, answer, directory, gateway, request, talking

US_TO = "udp:198.51.100.10:5062"
GATE = "udp:203.0.113.1:5080"


def ladder(wire: Wire, key: str = "call-1") -> list[Rung]:
    (one,) = wire.engine.watched(key)
    return one.ladder.rungs()


def drawn(wire: Wire, key: str = "call-1") -> list[str]:
    """`<INVITE` came, `>100 INVITE` went."""
    return [
        (">" if rung.sent else "<")
        + (f"{rung.what.partition(' ')[0]} {rung.method}" if rung.what[0].isdigit() else rung.method)
        for rung in ladder(wire, key)
    ]


def test_every_message_of_an_answered_call() -> None:
    wire = Wire(directory(gateway()))
    forwarded = wire.give(request())[-1].message
    wire.give(answer(forwarded, 100), GATES[0])
    wire.give(answer(forwarded, 180), GATES[0])
    talk_ok = wire.give(answer(forwarded, 200), GATES[0])[-1].message
    assert drawn(wire) == [
        "<INVITE", ">100 INVITE", ">INVITE", "<100 INVITE", "<180 INVITE", ">180 INVITE", "<200 INVITE", ">200 INVITE",
    ]  # fmt: skip
    rungs = ladder(wire)
    assert rungs[0] == Rung(BEGIN.utc, False, US_TO, "INVITE sip:33123456789@192.0.2.1:5060", "INVITE", len(request()))
    assert rungs[2].what == f"INVITE {forwarded.uri}"
    assert (rungs[2].peer, rungs[2].size) == (GATE, len(wire.sent[1].data))
    assert (rungs[-1].peer, rungs[-1].what) == (US_TO, f"200 {talk_ok.reason}")


@pytest.mark.rule("SIP-38")
def test_the_messages_of_a_finished_call_are_kept() -> None:
    wire = Wire(directory(gateway()))
    talk = talking(wire)
    wire.give(talk.by_caller("ACK", 1))
    bye = wire.give(talk.by_caller("BYE", 2))[-1]
    wire.give(answer(bye.message, 200), GATES[0])
    wire.wait(100_000)
    assert wire.engine.leftovers() == {"transactions": 0, "timers": 0, "calls": 0}
    (by_call_id,) = wire.engine.watched("call-1")
    (by_cdr_id,) = wire.engine.watched(wire.end["cdr_id"])
    assert by_call_id == by_cdr_id
    assert (by_call_id.state, by_call_id.status, by_call_id.code) == ("ended", 200, "answered")
    assert by_call_id.end_at == wire.end["end_at"]
    assert list(by_call_id.trace) == list(wire.records[0]["trace"])
    assert drawn(wire)[-6:] == ["<ACK", ">ACK", "<BYE", ">BYE", "<200 BYE", ">200 BYE"]


def test_repetitions_and_what_becomes_of_gateways_are_seen() -> None:
    wire = Wire()
    first = wire.give(request())[-1].message
    wire.give(request())
    wire.wait(600)
    second = wire.give(answer(first, 503), GATES[0])[-1].message
    wire.give(answer(second, 486), GATES[1])
    assert drawn(wire) == [
        "<INVITE", ">100 INVITE", ">INVITE",
        "<INVITE", ">100 INVITE",
        ">INVITE",
        "<503 INVITE", ">ACK", ">INVITE",
        "<486 INVITE", ">ACK", ">486 INVITE",
    ]  # fmt: skip
    wire.give(request("ACK", Via=f"SIP/2.0/UDP {CUSTOMER.host}:{CUSTOMER.port};branch=z9hG4bK-1;rport", CSeq="1 ACK"))
    assert drawn(wire)[-1] == "<ACK"


def test_a_cancelled_call() -> None:
    wire = Wire(directory(gateway()))
    forwarded = wire.give(request())[-1].message
    wire.give(answer(forwarded, 180), GATES[0])
    wire.give(request("CANCEL", CSeq="1 CANCEL"))
    assert drawn(wire)[-3:] == ["<CANCEL", ">200 CANCEL", ">CANCEL"]


def test_what_we_say_ourselves_is_seen() -> None:
    wire = Wire(directory(gateway()))
    talk = talking(wire)
    wire.give(talk.by_caller("ACK", 1))
    wire.engine.hang_up(wire.records[0]["cdr_id"], "admin", wire.now)
    wire.drain()
    assert drawn(wire)[-2:] == [">BYE", ">BYE"]


def test_a_refused_call_has_one_and_a_stranger_none() -> None:
    wire = Wire()
    wire.give(request(uri="sip:979123456@192.0.2.1:5060"))
    assert [*drawn(wire)] == ["<INVITE", ">100 INVITE", ">403 INVITE"]
    wire.give(request(Call_ID="nobody"), STRANGER)
    assert wire.engine.watched("nobody") == []


def test_nobody_writes_into_the_ladder_of_another_call() -> None:
    wire = Wire(directory(gateway()))
    talking(wire)
    before = drawn(wire)
    wire.give(
        request("BYE", To="<sip:x@y>;tag=guess", CSeq="2 BYE", Via="SIP/2.0/UDP 1.2.3.4;branch=z9hG4bK-9"), STRANGER
    )
    assert drawn(wire) == before


def message(reason: str) -> Message:
    text = f"SIP/2.0 180 {reason}\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:b@c>\r\n"
    return parse(f"{text}Call-ID: x\r\nCSeq: 1 INVITE\r\n\r\n".encode("latin-1"))


def test_a_very_long_one_keeps_its_beginning_and_its_end() -> None:
    one = Ladder()
    for number in range(MOST + 3 * BLOCK + 5):
        one.went(b"BYE sip:%d SIP/2.0\r\n\r\n" % number, "", CUSTOMER, Now(0, number))
        assert len(one) < MOST
    told = [rung.at for rung in one.rungs()]
    assert told[:FIRST] == list(range(FIRST))
    assert told[FIRST:] == list(range(FIRST + one.missing, MOST + 3 * BLOCK + 5))
    assert one.missing == 4 * BLOCK


def test_long_lines_are_cut_and_odd_ones_told_readably() -> None:
    one = Ladder()
    one.came(message(reason="r" * LARGE), Flow("TLS", "2001:db8::1", 5061), BEGIN)
    one.came(message(reason="\N{SNOWMAN}".encode().decode("latin-1")), CUSTOMER, BEGIN)
    one.went(b"INVITE sip:" + b"9" * 500 + b" SIP/2.0\r\n\r\n", "", CUSTOMER, BEGIN)
    first, second, third = one.rungs()
    assert (first.peer, first.what) == ("tls:[2001:db8::1]:5061", "180 " + "r" * HEAD)
    assert second.what == "180 \N{SNOWMAN}"
    assert (third.what, third.size) == ("INVITE sip:" + "9" * (HEAD - 11), 523)


def test_of_finished_calls_the_oldest_go_first_by_count_and_by_bytes() -> None:
    wire = Wire()
    for number in range(6):
        wire.give(request(Call_ID=f"c{number}", Via=f"SIP/2.0/UDP 198.51.100.10;branch=z9hG4bK{number}"))
    calls = list(wire.engine.core.calls.values())
    few = Finished(most=4)
    small = Finished(most_bytes=10_000)
    for call in calls:
        few.add(call)
        small.add(call)
    assert [one.call_id for one in few] == ["c2", "c3", "c4", "c5"]
    kept = list(small)
    assert 0 < len(kept) < 6
    assert kept[-1].call_id == "c5"
    assert kept[0].call_id > "c0"
