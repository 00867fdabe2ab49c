"""What an answer that nobody waited for cost: with the call's end, behind it, or after a restart (SIP-15)."""

from __future__ import annotations

from typing import Any

import pytest

from sipsvc.message import Message
from tests.unit.wire import BEGIN, GATES, Sent, Wire, answer, directory, gateway, request

# All at what the call is sold at.
DEAR = (gateway(1, "0.06"), gateway(2, "0.03"), gateway(3, "0.02"))


def answered_twice(wire: Wire) -> tuple[Message, Sent]:
    """The second gateway answered; then the first, which got this BYE at once."""
    first = wire.give(request())[-1].message
    second = next(one.message for one in wire.wait(4_000) if one.flow == GATES[1])
    wire.give(answer(second, 200, tag="two"), GATES[1])
    ack, bye = wire.give(answer(first, 200, tag="one"), GATES[0])
    assert (ack.what, bye.what) == ("ACK", "BYE")
    return first, bye


def hang_up(wire: Wire) -> None:
    """The caller ends the call."""
    ok = next(one.message for one in wire.sent if one.what == "200 INVITE")
    routes = [f"Route: {one}" for one in ok.all("record-route")]
    via = "SIP/2.0/UDP 198.51.100.10:5062;branch=z9hG4bK-bye"
    wire.give(request("BYE", "sip:x@h", *routes, Via=via, To=ok.get("to") or "", CSeq="2 BYE"))


def cost(tag: str, at: int, duration_ms: int, billed: int, amount: str) -> dict[str, Any]:
    return {
        "tag": tag,
        "answered_at": BEGIN.utc + at,
        "duration_ms": duration_ms,
        "billed": billed,
        "amount": amount,
        "currency": "USD",
    }


@pytest.mark.rule("SIP-15")
@pytest.mark.parametrize(
    ("after", "duration_ms", "billed", "amount"),
    [(0, 0, 1, "0.001000"), (1_500, 1_500, 2, "0.002000"), (70_000, 32_000, 32, "0.032000")],
)
def test_until_the_bye_is_answered_or_never_will_be(after: int, duration_ms: int, billed: int, amount: str) -> None:
    wire = Wire(directory(*DEAR))
    _, bye = answered_twice(wire)
    wire.wait(after)
    wire.give(answer(bye.message, 200), GATES[0])
    hang_up(wire)
    first, second = wire.end["attempts"]
    assert first["late"] == [cost("one", 4_000, duration_ms, billed, amount)]
    assert (first["status"], first["left"]) == (200, "no_provisional")
    assert "late" not in second
    assert wire.end["gateway"] == "gw2"
    assert "late" not in wire.kinds()


@pytest.mark.rule("SIP-15")
def test_a_provisional_response_to_the_bye_ends_nothing_and_a_transport_error_does() -> None:
    wire = Wire(directory(*DEAR))
    _, bye = answered_twice(wire)
    wire.wait(1_000)
    wire.give(answer(bye.message, 100), GATES[0])
    wire.wait(1_000)
    wire.fail(bye)
    hang_up(wire)
    assert wire.end["attempts"][0]["late"] == [cost("one", 4_000, 2_000, 2, "0.002000")]


@pytest.mark.rule("SIP-15", "TP-3")
def test_behind_the_end_in_a_record_of_its_own() -> None:
    wire = Wire(directory(gateway(1, rate="0.06")))
    invite = wire.give(request())[-1].message
    wire.wait(4_000)
    for tag in ("one", "fork"):
        _, bye = wire.give(answer(invite, 200, tag=tag), GATES[0])
        wire.wait(200)
        wire.give(answer(bye.message, 200), GATES[0])
    assert wire.kinds() == ["start", "end", "late", "late"]
    late = wire.records[-1]
    assert (late["cdr_id"], late["attempt"]) == (wire.end["cdr_id"], 0)
    assert late["late"] == cost("fork", 4_200, 200, 1, "0.001000")
    assert late["late"]["tag"] != wire.records[-2]["late"]["tag"]
    assert (wire.end["status"], wire.end["sell"]["amount"]) == (408, "0.000000")
    wire.wait(200_000)
    assert wire.engine.leftovers() == {"transactions": 0, "timers": 0, "calls": 0}


@pytest.mark.rule("SIP-15")
def test_a_call_that_ends_while_the_other_is_still_being_hung_up() -> None:
    wire = Wire(directory(*DEAR))
    _, bye = answered_twice(wire)
    hang_up(wire)
    assert "late" not in wire.end["attempts"][0]
    wire.wait(500)
    wire.give(answer(bye.message, 200), GATES[0])
    assert wire.records[-1]["late"]["duration_ms"] == 500


@pytest.mark.rule("SIP-15")
def test_a_fork_of_the_gateway_that_won() -> None:
    wire = Wire(directory(*DEAR))
    invite = wire.give(request())[-1].message
    wire.give(answer(invite, 200, tag="one"), GATES[0])
    _, bye = wire.give(answer(invite, 200, tag="fork"), GATES[0])
    wire.give(answer(bye.message, 200), GATES[0])
    hang_up(wire)
    assert [one["tag"] for one in wire.end["attempts"][0]["late"]] == ["fork"]
    assert wire.end["buy"]["amount"] == "0.001000"  # the call alone


@pytest.mark.rule("SIP-15", "SIP-12")
def test_a_gateway_that_rang_heard_no_cancel_and_answers_when_it_was_given_up() -> None:
    wire = Wire(directory(gateway(1, rate="0.06")))
    invite = wire.give(request())[-1].message
    wire.give(answer(invite, 180, tag="one"), GATES[0])
    wire.give(request("CANCEL"))
    wire.wait(32_000)
    assert wire.end["code"] == "cancelled"
    ack, bye = wire.give(answer(invite, 200, tag="one"), GATES[0])
    assert (ack.what, bye.what) == ("ACK", "BYE")
    assert [one.what for one in wire.give(answer(invite, 200, tag="one"), GATES[0])] == ["ACK"]
    wire.give(answer(bye.message, 200), GATES[0])
    assert wire.records[-1]["late"] == cost("one", 32_000, 0, 1, "0.001000")


@pytest.mark.rule("SIP-15", "SIP-12")
def test_the_same_while_another_gateway_has_the_call() -> None:
    wire = Wire(directory(*DEAR))
    first = wire.give(request())[-1].message
    second = next(one.message for one in wire.wait(4_000) if one.flow == GATES[1])
    wire.give(answer(first, 180, tag="one"), GATES[0])  # and no more, not to the CANCEL either
    wire.give(answer(second, 200, tag="two"), GATES[1])
    wire.wait(33_000)
    assert [one.what for one in wire.give(answer(first, 200, tag="one"), GATES[0])] == ["ACK", "BYE"]


@pytest.mark.rule("SIP-15", "law 8")
def test_a_restart_knows_of_it() -> None:
    wire = Wire(directory(*DEAR))
    _, bye = answered_twice(wire)
    wire.give(answer(bye.message, 200), GATES[0])
    assert wire.kinds() == ["start", "answer", "answer"]
    again = Wire(directory(*DEAR), begin=wire.now, seed=2)
    again.engine.restore([wire.records[0], wire.records[-1]], again.now)
    again.sent = wire.sent
    hang_up(again)
    assert again.end["attempts"][0]["late"] == [cost("one", 4_000, 0, 1, "0.001000")]
