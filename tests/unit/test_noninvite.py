"""What a request other than INVITE hears from us while its other side takes its time (RFC 4320, SIP-10)."""

from __future__ import annotations

import pytest

from tests.unit.wire import CUSTOMER, GATES, Sent, Talk, Wire, answer, directory, gateway, talking


def asked(method: str = "INFO") -> tuple[Talk, Sent]:
    """A call whose caller sent one request; with the request as the gateway got it."""
    talk = talking(Wire(directory(gateway())))
    talk.wire.give(talk.by_caller("ACK", 1))
    (forwarded,) = talk.wire.give(talk.by_caller(method, 2))
    return talk, forwarded


def heard(sent: list[Sent]) -> list[tuple[int, str]]:
    return [(one.at, one.what) for one in sent if one.message.status and one.flow == CUSTOMER]


@pytest.mark.rule("SIP-10")
def test_100_only_late_and_never_forwarded() -> None:
    talk, forwarded = asked()
    wire = talk.wire
    assert wire.give(answer(forwarded.message, 100), GATES[0]) == []
    assert wire.give(answer(forwarded.message, 183), GATES[0]) == []
    assert heard(wire.wait(3_499)) == []
    assert heard(wire.wait(1)) == [(3_500, "100 INFO")]
    assert [one.what for one in wire.give(talk.by_caller("INFO", 2))] == ["100 INFO"]
    assert [one.what for one in wire.give(answer(forwarded.message, 200), GATES[0])] == ["200 INFO"]
    assert heard(wire.wait(40_000)) == []


@pytest.mark.rule("SIP-10")
def test_no_100_to_what_is_answered_in_time() -> None:
    talk, forwarded = asked("BYE")
    talk.wire.give(answer(forwarded.message, 200), GATES[0])
    assert heard(talk.wire.wait(70_000)) == []
    assert talk.wire.engine.leftovers() == {"transactions": 0, "timers": 0, "calls": 0}


@pytest.mark.rule("SIP-10")
def test_a_408_goes_no_further_and_its_request_is_not_asked_again() -> None:
    talk, forwarded = asked()
    assert talk.wire.give(answer(forwarded.message, 408), GATES[0]) == []
    assert talk.wire.give(talk.by_caller("INFO", 2)) == []
    assert heard(talk.wire.wait(31_000)) == [(3_500, "100 INFO")]
    assert [one.what for one in talk.wire.give(talk.by_caller("INFO", 2))] == ["100 INFO"]


@pytest.mark.rule("SIP-10")
def test_what_cannot_be_sent_is_answered_at_once() -> None:
    talk, forwarded = asked()
    assert [one.what for one in talk.wire.fail(forwarded)] == ["500 INFO"]
    assert [one.what for one in talk.wire.give(talk.by_caller("INFO", 2))] == ["500 INFO"]
