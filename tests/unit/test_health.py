"""How gateways do by what calls tell: the down are passed over, and come back by themselves (SIP-34)."""

from __future__ import annotations

import pytest

from sipsvc.effects import Target
from tests.unit.carriers import listened, town
from tests.unit.wire import BEGIN, GATES, answer, gateway

# Live calls


@pytest.mark.rule("SIP-34")
@pytest.mark.parametrize(("word", "why"), [("503", "503"), ("fail", "transport"), ("", "no_response")])
def test_three_failed_calls_in_a_row_take_a_gateway_out(word: str, why: str) -> None:
    made = town()
    told = listened(made)
    made.says = {GATES[0].host: word, GATES[1].host: "486"}
    assert made.state() == "unknown"
    assert [made.call() for _ in range(3)] == [["gw1", "gw2"]] * 3
    assert made.state() == f"down {why}"
    assert made.state("gw2") == "up answered"
    assert told == [("gateway_down", {"gateway": "gw1", "reason": why, "failures": 3})]
    # Its first back-off has passed for all but the silent one, whose calls took longer.
    assert made.of()["since"] == BEGIN.utc + made.elapsed - 40_000 + (4_000 if not word else 0)


@pytest.mark.rule("SIP-34")
def test_who_is_down_is_passed_over_and_the_record_says_so() -> None:
    made = town(gateway(1, down_after=1), gateway(2))
    made.says = {GATES[0].host: "503", GATES[1].host: "486"}
    assert made.call(100) == ["gw1", "gw2"]
    assert made.call(100) == ["gw2"]
    start = [record for record in made.records if record["kind"] == "start"][-1]
    assert ("gateway", "gw1", "down") in start["trace"]
    assert start["live"] == {"channels": 0, "down": ["gw1"]}


@pytest.mark.rule("SIP-27", "SIP-34")
def test_where_all_are_down_a_call_is_refused_and_nobody_told_to_stop() -> None:
    made = town(gateway(1, down_after=1))
    made.says = {GATES[0].host: "503"}
    made.call(100)
    assert made.call(100) == []
    refused = [one for one in made.sent if one.what == "503 INVITE"][-1].message
    assert "No gateway to this destination can be reached" in (refused.get("warning") or "")
    assert refused.get("retry-after") is None
    assert made.records[-1]["code"] == "gateways_down"


@pytest.mark.rule("SIP-34")
def test_one_dead_number_takes_no_gateway_out_however_often_it_is_dialled() -> None:
    made = town(gateway(1, down_after=3), gateway(2, down_after=3))
    made.says = {GATES[0].host: "503", GATES[1].host: "503"}
    for _ in range(20):
        assert made.call(100, "33123456789") == ["gw1", "gw2"]
    made.call(100, "33123456780")
    assert made.call(100, "33123456781") == ["gw1", "gw2"]
    assert made.call(100, "33123456782") == [], "three numbers are no fault of a number's"


@pytest.mark.rule("SIP-34")
@pytest.mark.parametrize("word", ["486", "500", "404", "603", "200"])
def test_any_other_answer_counts_for_it(word: str) -> None:
    made = town(gateway(1, down_after=2))
    for said in ("503", word, "503", word, "503"):
        made.says = {GATES[0].host: said}
        assert made.call(100) == ["gw1"]
        made.hang_up()
        made.wait(40_000)
    assert made.of()["state"] != "down"
    assert made.of()["failures"] == 1


@pytest.mark.rule("SIP-34")
def test_a_408_says_nothing_either_way() -> None:
    made = town(gateway(1, down_after=2))
    for said in ("503", "408", "503"):
        made.says = {GATES[0].host: said}
        made.call()
    assert made.of()["state"] == "down"


@pytest.mark.rule("SIP-34")
def test_what_is_said_too_late_is_of_no_use_to_calls() -> None:
    made = town(gateway(1, down_after=2), gateway(2))
    made.says = {GATES[0].host: "", GATES[1].host: "486"}
    for number in (1, 2):
        made.call(5_000)
        late = [one for one in made.sent if one.what == "INVITE" and one.flow == GATES[0]][-1]
        made.give(answer(late.message, 180), late.flow)
        made.give(answer(late.message, 487), late.flow)
        assert made.of()["failures"] == number
    assert made.state() == "down no_response"


@pytest.mark.rule("SIP-8", "SIP-34")
def test_a_gateway_of_several_addresses_fails_when_all_of_them_do() -> None:
    made = town(gateway(1, host="gw.carrier.example", port=0, down_after=1))
    addresses = [Target("UDP", f"203.0.113.5{number}", 5060) for number in (1, 2)]
    made.says = {"203.0.113.51": "fail", "203.0.113.52": "486"}
    for after in ("up answered", "down 503"):
        made.call(0)
        made.find(*addresses)
        made.wait(40_000)
        assert made.state() == after
        made.says["203.0.113.52"] = "503"


# Coming back without pings


@pytest.mark.rule("SIP-34")
def test_one_call_at_a_time_tries_it_after_30_s_and_then_twice_as_late_up_to_ten_minutes() -> None:
    made = town(gateway(1, down_after=1), gateway(2))
    made.says = {GATES[0].host: "503", GATES[1].host: "486"}
    assert made.call(0) == ["gw1", "gw2"]
    waits = []
    for _ in range(7):
        waited = 0
        while made.call(0) == ["gw2"]:
            made.wait(1_000)
            waited += 1
        waits.append(waited)
    assert waits == [30, 60, 120, 240, 480, 600, 600]


@pytest.mark.rule("SIP-34")
def test_while_one_call_tries_it_others_pass_it_over() -> None:
    made = town(gateway(1, down_after=1), gateway(2))
    made.says = {GATES[0].host: "503", GATES[1].host: "486"}
    made.call(30_000)
    made.says[GATES[0].host] = ""
    assert made.call(1_000) == ["gw1"]
    assert made.call(1_000) == ["gw2"]


@pytest.mark.rule("SIP-34")
def test_two_answered_calls_bring_it_back() -> None:
    made = town(gateway(1, down_after=1), gateway(2))
    told = listened(made)
    made.says = {GATES[0].host: "503", GATES[1].host: "486"}
    made.call(30_000)
    made.says[GATES[0].host] = "486"
    assert made.call(0) == ["gw1"]
    assert made.of()["state"] == "down"
    assert made.call(0) == ["gw1"]
    assert made.state() == "up answered"
    assert [event for event, _ in told] == ["gateway_down", "gateway_up"]
    made.wait(40_000)
    assert made.engine.leftovers() == {"transactions": 0, "timers": 0, "calls": 0}


@pytest.mark.rule("SIP-34")
def test_a_try_of_which_nothing_comes_does_not_keep_it_out_for_ever() -> None:
    made = town(gateway(1, down_after=1, provisional_timeout_ms=600_000), gateway(2))
    made.says = {GATES[0].host: "503", GATES[1].host: "486"}
    made.call(30_000)
    made.says[GATES[0].host] = "100"
    assert made.call(0) == ["gw1"]
    assert made.call(30_000) == ["gw2"]
    assert made.call(0) == ["gw1"]


# Retry-After


@pytest.mark.rule("SIP-34")
@pytest.mark.parametrize(("said", "seconds"), [("120", 120), ("5 (maintenance)", 5), ("86400;duration=60", 600)])
def test_a_503_with_retry_after_takes_it_out_for_that_time(said: str, seconds: int) -> None:
    made = town(gateway(1), gateway(2))
    made.says, made.extra = {GATES[0].host: "503", GATES[1].host: "486"}, (f"Retry-After: {said}",)
    assert made.call(0) == ["gw1", "gw2"]
    assert made.state() == "down retry_after"
    made.says, made.extra = {GATES[0].host: "486"}, ()
    made.wait(seconds * 1_000 - 1)
    assert made.call(0) == ["gw2"]
    made.wait(1)
    assert made.state() == "up retry_after_over"
    assert made.call(0) == ["gw1"]
