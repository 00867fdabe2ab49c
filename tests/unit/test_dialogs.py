"""Early dialogs and parties that move: each keeps its own From, CSeq, route and place (SIP-16, SIP-17, law 7)."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from sipsvc.message import Message
from tests.unit.wire import CUSTOMER, GATES, Sent, Talk, Wire, answer, directory, gateway, request, talking

PLAIN = directory(gateway())
# The first gateway sees a prefixed caller, the second the caller's own From.
MIXED = directory(gateway(1, caller_prefix="77"), gateway(2), gateway(3, caller_prefix="55"))
RELIABLE = ("Require: 100rel", "RSeq: 1")


class Ringing(NamedTuple):
    """A gateway that rings: the INVITE it got and the dialog as the caller sees it."""

    number: int
    talk: Talk

    @property
    def gate(self) -> int:
        return self.number - 1


def ring(wire: Wire, forwarded: Message, number: int, tag: str) -> Ringing:
    contact = f"sip:{tag}@203.0.113.{70 + number}:5090"
    early = wire.give(answer(forwarded, 183, *RELIABLE, tag=tag, contact=contact), GATES[number - 1])[-1].message
    return Ringing(number, Talk(wire, forwarded, early))


def hunted(wire: Wire) -> tuple[Ringing, Ringing]:
    """Two gateways that rang, the second after the first was left because it failed."""
    first = ring(wire, wire.give(request())[-1].message, 1, "one")
    sent = wire.give(answer(first.talk.forwarded, 503, tag="one"), GATES[0])
    second = ring(wire, next(one.message for one in sent if one.what == "INVITE"), 2, "two")
    return first, second


def forwarded(sent: list[Sent]) -> Sent:
    (one,) = [one for one in sent if not one.message.status]
    return one


def on_branch(data: bytes, name: str) -> bytes:
    """A transaction of its own, where method and CSeq are another dialog's too."""
    return data.replace(b"branch=z9hG4bK-", f"branch=z9hG4bK-{name}-".encode(), 1)


@pytest.mark.rule("SIP-31", "SIP-17", "law 7")
def test_an_answer_from_an_early_dialog_comes_back_as_its_sender_wrote_it_whoever_took_over() -> None:
    """The PRACK to the first gateway is answered when the second, which sees another From, rings already."""
    wire = Wire(MIXED)
    first = ring(wire, wire.give(request())[-1].message, 1, "one")
    prack = forwarded(wire.give(first.talk.by_caller("PRACK", 2, "RAck: 1 1 INVITE")))
    assert prack.message.get("from") == first.talk.forwarded.get("from") != first.talk.ok.get("from")
    sent = wire.give(answer(first.talk.forwarded, 503, tag="one"), GATES[0])
    ring(wire, next(one.message for one in sent if one.what == "INVITE"), 2, "two")
    (back,) = wire.give(answer(prack.message, 200), GATES[0])
    assert (back.what, back.flow) == ("200 PRACK", CUSTOMER)
    assert (back.message.get("from"), back.message.get("to")) == (first.talk.ok.get("from"), first.talk.ok.get("to"))


@pytest.mark.rule("SIP-16", "SIP-17", "SIP-31", "law 7")
def test_requests_of_the_caller_reach_the_branch_whose_tag_they_carry() -> None:
    wire = Wire(MIXED)
    first, second = hunted(wire)
    for number, ringing in enumerate((first, second, first)):
        sent = forwarded(wire.give(ringing.talk.by_caller("UPDATE", 2 + number)))
        assert (sent.flow.host, sent.flow.port) == (f"203.0.113.{70 + ringing.number}", 5090)
        assert sent.message.get("from") == ringing.talk.forwarded.get("from")
        assert sent.message.to.tag == ringing.talk.ok.to.tag


@pytest.mark.rule("SIP-17", "SIP-31", "law 7")
def test_requests_of_an_early_callee_reach_the_caller_as_it_knows_that_dialog() -> None:
    wire = Wire(MIXED)
    for ringing in hunted(wire):
        tag = ringing.talk.ok.to.tag
        own = f"{ringing.talk.forwarded.get('to')};tag={tag}"
        update = on_branch(ringing.talk.by_callee("UPDATE", 1, From=own), tag)
        sent = forwarded(wire.give(update, GATES[ringing.gate]))
        assert (sent.flow, sent.message.from_.tag) == (CUSTOMER, tag)
        assert sent.message.get("to") == ringing.talk.ok.get("from")
        (back,) = wire.give(answer(sent.message, 200))
        assert back.message.get("to") == ringing.talk.forwarded.get("from")


@pytest.mark.rule("SIP-17", "SIP-15", "law 7")
def test_a_gateway_that_forks_has_a_dialog_for_each_of_its_branches() -> None:
    wire = Wire(PLAIN)
    invite = wire.give(request())[-1].message
    fork = [ring(wire, invite, number, tag) for number, tag in ((1, "a"), (2, "b"))]
    for number, one in enumerate(fork):
        prack = on_branch(one.talk.by_caller("PRACK", 2, f"RAck: {number + 1} 1 INVITE"), str(number))
        sent = forwarded(wire.give(prack))
        assert (sent.flow.host, sent.message.to.tag) == (f"203.0.113.{71 + number}", "ab"[number])
        assert sent.message.get("rack") == f"{number + 1} 1 INVITE"
        (back,) = wire.give(answer(sent.message, 200), GATES[0])
        assert back.what == "200 PRACK"
    # The first answers; what the caller still says to the other has no dialog any more.
    ok = wire.give(answer(invite, 200, tag="a", contact="sip:a@203.0.113.71:5090"), GATES[0])[-1].message
    assert wire.give(Talk(wire, invite, ok).by_caller("ACK", 1))[0].flow.host == "203.0.113.71"
    late = wire.give(fork[1].talk.by_caller("UPDATE", 3))
    assert [one.what for one in late] == ["481 UPDATE"]
    # And its own answer is ACKed and hung up by us, behind what was said in its dialog.
    ack, bye = wire.give(answer(invite, 200, tag="b", contact="sip:b@203.0.113.72:5090"), GATES[0])
    assert (ack.what, ack.message.cseq, ack.flow.host) == ("ACK", 1, "203.0.113.72")
    assert (bye.what, bye.message.to.tag) == ("BYE", "b")
    assert bye.message.cseq > 2


@pytest.mark.rule("SIP-19", "law 7")
def test_an_early_dialog_keeps_its_numbers_when_it_is_confirmed() -> None:
    wire = Wire(PLAIN)
    early = ring(wire, wire.give(request())[-1].message, 1, "bob")
    wire.give(early.talk.by_callee("UPDATE", 40), GATES[0])
    wire.give(early.talk.by_caller("UPDATE", 30))
    wire.give(answer(early.talk.forwarded, 180, *RELIABLE, tag="bob"), GATES[0])
    ok = wire.give(answer(early.talk.forwarded, 200, tag="bob"), GATES[0])[-1].message
    wire.give(Talk(wire, early.talk.forwarded, ok).by_caller("ACK", 1))
    byes = {one.flow.host: one.message.cseq for one in wire.wait(14_400_000) if one.what == "BYE"}
    assert (byes[CUSTOMER.host], byes["203.0.113.77"]) == (41, 31)


@pytest.mark.rule("SIP-16", "SIP-17")
@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_an_answer_that_comes_again_moves_nobody_back(method: str) -> None:
    """The callee answers, moves, and its old answer is heard once more."""
    talk = talking(Wire(PLAIN))
    wire = talk.wire
    wire.give(talk.by_caller("ACK", 1))
    asked = forwarded(wire.give(talk.by_caller(method, 2))).message
    old = answer(asked, 200, contact="sip:bob@203.0.113.77:5090")
    wire.give(old, GATES[0])
    wire.give(talk.by_callee("UPDATE", 1, Contact="<sip:bob@203.0.113.78:5090>"), GATES[0])
    wire.give(old, GATES[0])
    bye = forwarded(wire.give(talk.by_caller("BYE", 3)))
    assert (bye.flow.host, bye.message.uri) == ("203.0.113.78", "sip:bob@203.0.113.78:5090")


@pytest.mark.rule("SIP-16", "SIP-17")
def test_an_answer_that_was_overtaken_moves_nobody_back() -> None:
    """The callee answers, moves at once, and what it says of that comes first."""
    talk = talking(Wire(PLAIN))
    wire = talk.wire
    asked = forwarded(wire.give(talk.by_caller("INVITE", 2))).message
    wire.give(talk.by_callee("INVITE", 1, Contact="<sip:bob@203.0.113.78:5090>"), GATES[0])
    wire.give(answer(asked, 200, contact="sip:bob@203.0.113.77:5090"), GATES[0])
    assert forwarded(wire.give(talk.by_caller("BYE", 3))).flow.host == "203.0.113.78"


@pytest.mark.rule("SIP-16")
def test_a_request_that_was_overtaken_moves_nobody_back() -> None:
    talk = talking(Wire(PLAIN))
    wire = talk.wire
    wire.give(talk.by_callee("UPDATE", 9, Contact="<sip:bob@203.0.113.79:5090>"), GATES[0])
    wire.give(talk.by_callee("UPDATE", 8, Contact="<sip:bob@203.0.113.78:5090>"), GATES[0])
    assert forwarded(wire.give(talk.by_caller("BYE", 3))).flow.host == "203.0.113.79"


@pytest.mark.rule("SIP-16")
def test_a_move_counts_though_another_request_overtook_it() -> None:
    """An OPTIONS sent behind the UPDATE came first; it says nothing of where its sender is."""
    talk = talking(Wire(PLAIN))
    wire = talk.wire
    wire.give(talk.by_callee("OPTIONS", 9, Contact=""), GATES[0])
    wire.give(talk.by_callee("UPDATE", 8, Contact="<sip:bob@203.0.113.78:5090>"), GATES[0])
    assert forwarded(wire.give(talk.by_caller("BYE", 3))).flow.host == "203.0.113.78"


@pytest.mark.rule("SIP-3", "law 7")
def test_a_gateway_that_rings_with_tag_after_tag_costs_bounded_memory() -> None:
    wire = Wire(PLAIN)
    invite = wire.give(request())[-1].message
    early = [ring(wire, invite, 1, f"t{number}") for number in range(100)]
    (call,) = wire.engine.core.calls.values()
    assert len(call.dialogs) == 32
    assert forwarded(wire.give(early[-1].talk.by_caller("UPDATE", 2))).message.to.tag == "t99"
    assert [one.what for one in wire.give(early[0].talk.by_caller("UPDATE", 3))] == ["481 UPDATE"]
