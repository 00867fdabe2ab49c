"""After a restart a call without a session timer is asked after, and charged no further than there is evidence."""

from __future__ import annotations

import pytest

from tests.unit.test_restart import BOOK, moved, reborn
from tests.unit.wire import CUSTOMER, GATES, Sent, Talk, Wire, answer, talking

SPOKEN = 60_000
DOWN = 5_000
SILENCE = 32_000


def restarted(down: int = DOWN) -> Talk:
    """A call that was up for a minute when the server died."""
    talk = talking(Wire(BOOK))
    talk.wire.give(talk.by_caller("ACK", 1))
    talk.wire.wait(SPOKEN)
    return moved(talk, reborn(talk.wire, down))


def probes(wire: Wire) -> dict[str, Sent]:
    """The first OPTIONS to each side, by host."""
    found: dict[str, Sent] = {}
    for one in wire.wait(28_000):
        if one.what == "OPTIONS":
            found.setdefault(one.flow.host, one)
    assert found.keys() == {CUSTOMER.host, "203.0.113.77"}
    return found


def replied(wire: Wire, caller: int, gateway: int) -> list[Sent]:
    """Both sides answer, 0 is silence; what left because of it."""
    sent = []
    for host, probe in probes(wire).items():
        status = caller if host == CUSTOMER.host else gateway
        if status:
            sent += wire.give(answer(probe.message, status), CUSTOMER if host == CUSTOMER.host else GATES[0])
    return sent


@pytest.mark.rule("SIP-19", "law 8")
@pytest.mark.parametrize(("caller", "gateway"), [(200, 200), (500, 200), (405, 501), (200, 486)])
def test_a_call_that_both_sides_know_goes_on_like_any_other(caller: int, gateway: int) -> None:
    talk = restarted()
    wire = talk.wire
    assert replied(wire, caller, gateway) == []
    wire.wait(SILENCE)
    assert wire.engine.live_calls == 1
    wire.give(talk.by_caller("BYE", 2))
    assert (wire.end["recovered"], wire.end["duration_ms"]) == (False, SPOKEN + DOWN + 28_000 + SILENCE)


@pytest.mark.rule("SIP-19", "law 8", "law 6")
@pytest.mark.parametrize(
    ("caller", "gateway", "after"), [(481, 200, 0), (200, 481, 0), (481, 481, 0), (408, 200, 0), (0, 200, SILENCE)]
)
def test_a_call_that_one_side_does_not_know_is_over(caller: int, gateway: int, after: int) -> None:
    talk = restarted()
    wire = talk.wire
    sent = replied(wire, caller, gateway) + wire.wait(after)
    assert {one.flow.host for one in sent if one.what == "BYE"} == {CUSTOMER.host, "203.0.113.77"}
    end = wire.end
    assert (end["code"], end["hangup_by"], end["recovered"]) == ("probe_failed", "timeout", True)
    # The server ran for a minute of it and had no BYE; of what was afterwards nobody knows.
    assert (end["duration_ms"], end["sell"]["billed"]) == (SPOKEN, 60)
    wire.wait(100_000)
    assert wire.engine.leftovers() == {"transactions": 0, "timers": 0, "calls": 0}
    assert wire.kinds() == ["end"]


@pytest.mark.rule("SIP-19", "law 7")
def test_a_probe_uses_up_no_number_of_the_parties() -> None:
    """What they say next is behind it: the gateway said nothing before, the caller its INVITE."""
    talk = restarted()
    found = probes(talk.wire)
    assert found["203.0.113.77"].message.cseq == 1
    assert found[CUSTOMER.host].message.cseq == 0
    assert found["203.0.113.77"].message.get("from") == talk.forwarded.get("from")
    assert found[CUSTOMER.host].message.get("to") == talk.ok.get("from")


@pytest.mark.rule("SIP-19", "law 8")
def test_who_cannot_be_reached_may_be_talking_all_the_same() -> None:
    """A stream that is gone and cannot be opened is no answer: such a call ends by its own deadlines."""
    talk = restarted()
    wire = talk.wire
    found = probes(wire)
    wire.give(answer(found["203.0.113.77"].message, 200), GATES[0])
    wire.engine.send_failed(found[CUSTOMER.host].ref, wire.now)
    wire.wait(SILENCE)
    assert wire.engine.live_calls == 1
    wire.wait(3_600_000)
    assert (wire.end["code"], wire.end["recovered"], wire.end["duration_ms"]) == ("max_duration", True, SPOKEN)


@pytest.mark.rule("SIP-19", "SIP-17")
@pytest.mark.parametrize(("status", "alive"), [(200, True), (500, True), (481, False)])
def test_a_request_that_is_answered_inside_the_call_shows_it_alive(status: int, alive: bool) -> None:
    talk = restarted()
    wire = talk.wire
    (info,) = wire.give(talk.by_caller("INFO", 2))
    wire.give(answer(info.message, status), GATES[0])
    asked = [one for one in wire.wait(28_000) if one.what == "OPTIONS"]
    assert (asked == []) is alive


@pytest.mark.rule("SIP-19", "law 8")
def test_a_bye_says_itself_until_when_it_lasted() -> None:
    talk = restarted()
    talk.wire.wait(2_000)
    talk.wire.give(talk.by_callee("BYE", 1), GATES[0])
    end = talk.wire.end
    assert (end["recovered"], end["hangup_by"], end["duration_ms"]) == (False, "callee", SPOKEN + DOWN + 2_000)


@pytest.mark.rule("SIP-19", "law 8")
def test_a_call_that_an_administrator_ends_unseen_is_charged_no_further_either() -> None:
    talk = restarted()
    wire = talk.wire
    wire.wait(2_000)
    (call,) = wire.engine.core.calls.values()
    assert wire.engine.hang_up(call.cdr_id, "admin", wire.now)
    wire.drain()
    assert (wire.end["code"], wire.end["recovered"], wire.end["duration_ms"]) == ("admin", True, SPOKEN)


@pytest.mark.rule("SIP-19", "law 8")
@pytest.mark.parametrize("shown", [True, False])
def test_two_restarts_leave_what_was_known_before_the_first_or_was_shown_since(shown: bool) -> None:
    """A BYE may have come while the first server was dead: that the second heard none proves nothing."""
    talk = talking(Wire(BOOK))
    old = talk.wire
    old.wait(SPOKEN)
    first = reborn(old, DOWN)
    if shown:
        replied(first, 200, 200)
    else:
        first.wait(7_000)
    outages = [old.now.utc, first.now.utc]
    second = reborn(first, DOWN, records=[*old.records, *first.records], outages=outages)
    for host, probe in probes(second).items():
        second.give(answer(probe.message, 481), CUSTOMER if host == CUSTOMER.host else GATES[0])
    known = SPOKEN + DOWN + 28_000 if shown else SPOKEN
    assert (second.end["code"], second.end["recovered"], second.end["duration_ms"]) == ("probe_failed", True, known)
