"""Calls at once, calls a second and money spent, on the wire (SIP-27, law 6)."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipsvc.directory import Directory, Gateway, Trunk
from sipsvc.effects import Flow, Notice, Now
from sipsvc.proxy.buckets import MANY, SECOND, Buckets
from tests.unit.wire import BEGIN, CUSTOMER, CUSTOMERS, GATES, MS, Sent, Wire, answer, directory, gateway, request

ELSEWHERE = Flow("UDP", "198.51.100.77", 5062)


def invite(number: int, uri: str = "sip:33123456@192.0.2.1") -> bytes:
    via = f"SIP/2.0/UDP 198.51.100.10:5062;branch=z9hG4bK-{number};rport"
    return request("INVITE", uri, Call_ID=f"call-{number}", Via=via)


def told(wire: Wire, number: int, flow: Flow = CUSTOMER) -> Sent:
    """What came last of a new call: an INVITE to a gateway or a refusal."""
    return wire.give(invite(number), flow)[-1]


def hang_up(wire: Wire, number: int, invited: Sent) -> None:
    """The caller gives up a call that rings."""
    wire.give(answer(invited.message, 180), invited.flow)
    cancel = invite(number).replace(b"INVITE sip", b"CANCEL sip", 1).replace(b"1 INVITE", b"1 CANCEL")
    (*_, taken_back) = wire.give(cancel)
    assert taken_back.what == "CANCEL"
    wire.give(answer(invited.message, 487), invited.flow)


def live(wire: Wire) -> dict[str, Any]:
    found: dict[str, Any] = [record for record in wire.records if record["kind"] == "start"][-1]["live"]
    return found


def code(wire: Wire) -> str:
    return str([record for record in wire.records if record["kind"] == "end"][-1]["code"])


@pytest.mark.rule("SIP-27", "law 6", "IP-3")
@pytest.mark.parametrize("status", [486, 503])
def test_a_trunk_and_its_customer_are_full_for_themselves(status: int) -> None:
    other = Trunk("other", "acme", source=f"{ELSEWHERE.host}/32")
    first = Trunk("acme-ip", "acme", source=f"{CUSTOMER.host}/32", max_channels=1)
    wire = Wire(directory(customer=replace(CUSTOMERS, max_channels=3, busy_status=status), trunks=[first, other]))
    ringing = told(wire, 1)
    assert ringing.what == "INVITE"
    refused = told(wire, 2).message
    assert (refused.status, code(wire)) == (status, "trunk_full")
    assert "retry-after" not in refused.names
    assert refused.get("warning") == '399 192.0.2.1 "All channels of this trunk are in use"'
    assert live(wire) == {"channels": 1, "trunk": 1}
    assert [told(wire, number, ELSEWHERE).what for number in (3, 4)] == ["INVITE", "INVITE"]
    assert (told(wire, 5, ELSEWHERE).message.status, code(wire)) == (status, "channels_full")
    hang_up(wire, 1, ringing)
    assert told(wire, 6).what == "INVITE"


def full(number: int, **changes: Any) -> Gateway:
    return gateway(number, max_channels=1, **changes)


@pytest.mark.rule("SIP-27", "SIP-28", "law 6")
def test_calls_go_past_a_gateway_that_is_full() -> None:
    wire = Wire(directory(full(1), full(2)))
    first, second = told(wire, 1), told(wire, 2)
    assert (first.flow, second.flow) == GATES[:2]
    refused = told(wire, 3).message
    assert (refused.status, code(wire)) == (503, "gateways_busy")
    assert "retry-after" not in refused.names
    assert live(wire) == {"channels": 2, "gateways": {"gw1": 1, "gw2": 1}}
    hang_up(wire, 2, second)
    assert told(wire, 4).flow == GATES[1]
    wire.wait(400_000)
    assert wire.engine.leftovers() == {"transactions": 0, "timers": 0, "calls": 0}
    assert (wire.engine.core.by_gateway, wire.engine.core.by_trunk) == ({}, {})


@pytest.mark.rule("SIP-27", "SIP-13", "law 6")
def test_a_gateway_that_was_left_is_free_and_one_that_filled_up_meanwhile_is_passed_over() -> None:
    wire = Wire(directory(full(1), full(2), gateway(3)))
    one = told(wire, 1)
    two = told(wire, 2)
    # The first is refused where it is, and finds the next one taken by the second call.
    (*_, third) = wire.give(answer(one.message, 503), one.flow)
    assert (two.flow, third.flow) == (GATES[1], GATES[2])
    assert told(wire, 3).flow == GATES[0], "which the first has left"
    wire.give(answer(third.message, 486), third.flow)
    (end,) = (record for record in wire.records if record["kind"] == "end")
    assert [(tried["gateway"], tried["left"], tried["status"]) for tried in end["attempts"]] == [
        ("gw1", "503", 503),
        ("gw2", "full", 0),
        ("gw3", "", 486),
    ]
    assert end["attempts"][1]["address"] == ""


@pytest.mark.rule("SIP-27", "SIP-15")
def test_an_answer_of_a_gateway_that_was_left_counts_there() -> None:
    wire = Wire(directory(full(1), full(2)))
    one = told(wire, 1)
    wire.wait(4_000)
    assert wire.engine.core.by_gateway.keys() == {"gw2"}
    wire.give(answer(one.message, 200), one.flow)
    assert wire.engine.core.by_gateway.keys() == {"gw1"}


@pytest.mark.rule("SIP-27", "law 6", "law 8")
def test_a_restart_and_a_swap_know_who_is_where() -> None:
    book = directory(full(1), full(2), trunks=[Trunk("acme-ip", "acme", source=f"{CUSTOMER.host}/32", max_channels=2)])
    wire = Wire(book)
    one = told(wire, 1)
    wire.give(answer(one.message, 200), one.flow)
    again = Wire(book, begin=Now(7, wire.now.utc + 1_000), seed=2)
    again.engine.restore(json.loads(json.dumps(wire.records)), again.now)
    assert told(again, 2).flow == GATES[1]
    assert live(again) == {"channels": 1, "trunk": 1, "gateways": {"gw1": 1, "gw2": 0}}
    assert (told(again, 3).message.status, code(again)) == (486, "trunk_full")
    again.engine.swap(directory(full(1), full(2), gateway(3)), again.now)
    assert told(again, 4).flow == GATES[2], "limits are new, the calls are not"


@pytest.mark.rule("SIP-27")
def test_a_gateway_that_is_down_is_passed_over() -> None:
    wire = Wire(directory(gateway(1), gateway(2)))
    wire.engine.admission.limits.health.down = frozenset({"gw1", "another's"})
    assert told(wire, 1).flow == GATES[1]
    assert live(wire) == {"channels": 0, "down": ["gw1"]}
    wire.engine.admission.limits.health.down = frozenset({"gw1", "gw2"})
    refused = told(wire, 2).message
    assert (refused.status, code(wire)) == (503, "gateways_down")
    assert "retry-after" not in refused.names


@pytest.mark.rule("SIP-27")
def test_more_calls_a_second_than_a_customer_may_make() -> None:
    wire = Wire(directory(customer=replace(CUSTOMERS, max_cps=2, busy_status=503)))
    assert [told(wire, number).what for number in (1, 2)] == ["INVITE", "INVITE"]
    refused = told(wire, 3).message
    assert (refused.status, code(wire)) == (503, "cps_exceeded")
    assert "retry-after" not in refused.names
    assert live(wire)["over_cps"] is True
    wire.wait(499)
    assert code(wire) == "cps_exceeded" and told(wire, 4).message.status == 503
    wire.wait(1)
    assert told(wire, 5).what == "INVITE"
    assert told(wire, 6).message.status == 503


@pytest.mark.rule("SIP-27", "SIP-28")
def test_more_calls_a_second_than_a_gateway_takes() -> None:
    wire = Wire(directory(gateway(1, max_cps=1), gateway(2, max_cps=1)))
    one, two = told(wire, 1), told(wire, 2)
    assert (one.flow, two.flow) == GATES[:2]
    assert (told(wire, 3).message.status, code(wire)) == (503, "gateways_busy")
    assert live(wire)["over_rate"] == ["gw1", "gw2"]
    (*_, refused) = wire.give(answer(one.message, 503), one.flow)
    assert refused.message.status == 500, "the next gateway has had its call of this second"
    wire.wait(1_000)
    assert told(wire, 4).flow == GATES[0]


@pytest.mark.rule("SIP-27")
@given(cps=st.integers(1, 50), gaps=st.lists(st.integers(0, 2_000), min_size=1, max_size=200))
def test_no_second_brings_more_than_its_tokens_and_those_left_over(cps: int, gaps: list[int]) -> None:
    buckets, at = Buckets(), 1
    taken: list[int] = []
    for gap in gaps:
        at += gap * MS
        now = Now(at, 0)
        if buckets.has("acme", cps, now):
            buckets.take("acme", cps, now)
            taken.append(at)
        else:
            # Refused only where the bucket is empty: as many as it holds were taken lately.
            assert len([one for one in taken if at - one < SECOND]) >= cps
    for index, first in enumerate(taken):
        within = [one for one in taken[index:] if one - first < SECOND]
        assert len(within) < 2 * cps + 1, "what a full bucket holds and what a second brings"


@pytest.mark.rule("SIP-27")
def test_full_buckets_are_not_kept() -> None:
    buckets = Buckets()
    for number in range(3 * MANY):
        now = Now(number * 10 * MS, 0)
        buckets.take(f"customer-{number}", 1, now)
    assert len(buckets) <= MANY


# Money. Sold at 0.06 a minute, 30 s at least and then by 6.


def spender(**limits: str) -> Directory:
    return directory(customer=replace(CUSTOMERS, **{name: Decimal(amount) for name, amount in limits.items()}))


def talk(wire: Wire, number: int, seconds: float) -> None:
    """A call that is answered, lasts so long and is hung up by the callee."""
    invited = told(wire, number)
    assert invited.what == "INVITE"
    wire.give(answer(invited.message, 200), invited.flow)
    wire.wait(seconds * 1_000)
    own, route = invited.message, [f"Route: {one}" for one in invited.message.all("record-route")]
    via = f"SIP/2.0/UDP gw:5080;branch=z9hG4bK-b{number};rport"
    bye = request(
        "BYE", f"sip:ann@{CUSTOMER.host}:{CUSTOMER.port}", *route, Via=via,
        From=f"{own.get('to')};tag=bob", To=own.get("from") or "", Call_ID=f"call-{number}", CSeq="1 BYE",
    )  # fmt: skip
    wire.give(bye, invited.flow)


@pytest.mark.rule("SIP-27")
def test_at_the_cap_of_an_hour_new_calls_are_refused_and_the_next_hour_is_new() -> None:
    wire = Wire(spender(spend_cap_hour="0.12", spend_alert_hour="0.06"), begin=Now(1, 1_700_002_800_000))
    assert wire.now.utc % 3_600_000 == 0
    talk(wire, 1, 60)
    assert wire.notices == [
        Notice("spend_alert", {"customer": "acme", "window": "hour", "spent": "0.060000", "limit": "0.060000",
                               "currency": "USD"})
    ]  # fmt: skip
    talk(wire, 2, 54)
    assert live(wire)["spent"] == ["0.060000", "0.060000"]
    talk(wire, 3, 6)
    assert [notice.event for notice in wire.notices] == ["spend_alert", "spend_cap"]
    refused = told(wire, 4).message
    assert (refused.status, refused.reason, code(wire)) == (402, "Payment Required", "spend_cap")
    assert refused.get("warning") == '399 192.0.2.1 "This account has spent what it may for now"'
    wire.wait(3_600_000)
    talk(wire, 5, 60)
    assert [notice.event for notice in wire.notices] == ["spend_alert", "spend_cap", "spend_alert"], "once a window"
    assert wire.engine.counters["spend_alert"] == 2


@pytest.mark.rule("SIP-27")
def test_what_live_calls_have_cost_so_far_counts_and_they_go_on() -> None:
    wire = Wire(spender(spend_cap_day="0.10"))
    one = told(wire, 1)
    wire.give(answer(one.message, 200), one.flow)
    wire.wait(90_000)
    two = told(wire, 2)
    assert (two.what, live(wire)["spent"][1]) == ("INVITE", "0.090000")
    wire.give(answer(two.message, 180), two.flow)
    wire.wait(12_000)
    assert (told(wire, 3).message.status, code(wire)) == (402, "spend_cap")
    assert live(wire)["spent"] == ["0.102000", "0.102000"]
    assert wire.engine.live_calls == 2


@pytest.mark.rule("SIP-27")
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["call", "answer", "end", "look"]), st.integers(0, 3), st.integers(0, 90_000)),
        max_size=25,
    )
)
def test_the_sum_is_of_ended_calls_and_live_ones_a_second_ago_at_most(steps: list[tuple[str, int, int]]) -> None:
    """By the CDRs: what ended cost in this day, and between what live calls had cost a second ago and now."""
    wire = Wire(spender(spend_alert_day="1000"))
    wire.engine.swap(replace(spender(spend_alert_day="1000"), version=8), wire.now)
    rung: list[tuple[int, Sent]] = []
    up: list[tuple[int, int]] = []
    number = 0
    for what, which, gap in steps:
        wire.wait(gap)
        if what == "call":
            number += 1
            rung.append((number, told(wire, number)))
        elif what == "answer" and rung:
            call, invited = rung.pop(which % len(rung))
            wire.give(answer(invited.message, 200, tag=f"bob-{call}"), invited.flow)
            up.append((call, wire.now.mono))
        elif what == "end" and up:
            call, _ = up.pop(which % len(up))
            wire.engine.hang_up(next(r["cdr_id"] for r in wire.records if r.get("call_id") == f"call-{call}"), "admin",
                                wire.now)  # fmt: skip
            wire.drain()
        spent = wire.engine.admission.limits.spent(wire.engine.admission.directory, CUSTOMERS, wire.now).day
        ends = [record for record in wire.records if record["kind"] == "end" and record["sell"] is not None]
        over = sum((Decimal(record["sell"]["amount"]) for record in ends), Decimal(0))
        answered = {record["cdr_id"] for record in wire.records if record["kind"] == "answer"}
        calls = [call for call in wire.engine.core.calls.values() if call.cdr_id in answered and call.phase == 1]

        def cost(at: int, calls: list[Any] = calls) -> Decimal:
            talked = [(at - call.answer_mono) // MS for call in calls if call.answer_mono < at]
            seconds = [max(30, 30 - (-max(0, -(-ms // 1000) - 30) // 6) * 6) for ms in talked]
            return sum((Decimal("0.001") * one for one in seconds), Decimal(0))

        assert over + cost(wire.now.mono - SECOND) <= spent <= over + cost(wire.now.mono)


@pytest.mark.rule("SIP-27")
def test_what_was_spent_before_a_restart_counts_in_its_window() -> None:
    wire = Wire(spender(spend_cap_hour="1", spend_cap_day="3"), begin=Now(1, 1_700_002_800_000 + 60_000))
    for amount, utc in (("0.4", 1_700_002_800_000), ("2", 1_700_002_799_999), ("50", BEGIN.utc - 86_400_000)):
        wire.engine.spent("acme", "USD", Decimal(amount), utc)
    assert told(wire, 1).what == "INVITE"
    assert live(wire)["spent"] == ["0.400000", "2.400000"]
    wire.engine.spent("acme", "EUR", Decimal(9), wire.now.utc)
    wire.engine.spent("harbour", "USD", Decimal(9), wire.now.utc)
    wire.engine.spent("acme", "USD", Decimal("0.6"), wire.now.utc)
    assert (told(wire, 2).message.status, code(wire)) == (402, "spend_cap")
