"""From what was dialled to E.164: plans, and every disguise somebody may put over a blocked number (SIP-25)."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sipsvc.directory import DialPlan
from sipsvc.message import escape_user
from sipsvc.routing.number import LONGEST, SHORTEST, e164
from tests.unit.wire import US, Wire, request

OPEN = DialPlan()
BRITISH = DialPlan(("00",), "0", "44", "refuse")
AMERICAN = DialPlan(("011",), "1", "1", "national")
AUSTRALIAN = DialPlan(("00", "0011"), "0", "61", "refuse")
STRICT = DialPlan((), "", "", "refuse")

# plan, what was dialled, E.164
ROWS: list[tuple[DialPlan, str, str]] = [
    (OPEN, "33123456", "33123456"),
    (OPEN, "+33123456", "33123456"),
    (OPEN, "%2B33123456", "33123456"),
    (OPEN, "%2b33123456", "33123456"),
    (OPEN, "0033123456", "33123456"),
    (OPEN, "+33 (1) 23-45.6", "33123456"),
    (OPEN, "%2B33%2D12%2F3456", "33123456"),
    (OPEN, "+33123456;npdi;rn=999", "33123456"),
    (OPEN, "123456;phone-context=+33", "33123456"),
    (OPEN, "1-2;phone-context=%2B33-1", "33112"),
    (OPEN, "+33123456;phone-context=+44", "33123456"),
    (OPEN, "33123456;phone-context=example.com", "33123456"),
    (OPEN, "33123456;phone-context=+", ""),
    (OPEN, "33123456;phone-context=+4x", ""),
    (OPEN, "01133123456", ""),
    (OPEN, "0", ""),
    (OPEN, "00", ""),
    (OPEN, "+", ""),
    (OPEN, "", ""),
    (OPEN, "12", ""),
    (OPEN, "123", "123"),
    (OPEN, "2" * LONGEST, "2" * LONGEST),
    (OPEN, "2" * (LONGEST + 1), ""),
    (OPEN, "+44 (0)20 7183 8750", "442071838750"),
    (OPEN, "+4400912345678", "44912345678"),
    (OPEN, "+3530151234", "353151234"),
    (OPEN, "+390668", "390668"),
    (OPEN, "+2250712345678", "2250712345678"),
    (OPEN, "+80000123456", "80000123456"),
    (OPEN, "+44 0", ""),
    (OPEN, "+11900555", ""),
    (OPEN, "+1011979123", ""),
    (OPEN, "112", ""),
    (OPEN, "911", "911"),
    (OPEN, "+0033123456", ""),
    (OPEN, "++33123456", ""),
    (OPEN, "+033123456", ""),
    (OPEN, "33123456#", ""),
    (OPEN, "*33123456", ""),
    (OPEN, "33123456:pw", ""),
    (OPEN, "alice", ""),
    (OPEN, "3312345a", ""),
    (OPEN, "33%00123456", ""),
    (OPEN, "33123456%0D%0AX:%20y", ""),
    (OPEN, "%252B33123456", ""),
    (OPEN, "33123\xb2", ""),
    (OPEN, "33123%B2", ""),
    (BRITISH, "02071838750", "442071838750"),
    (BRITISH, "00442071838750", "442071838750"),
    (BRITISH, "+442071838750", "442071838750"),
    (BRITISH, "442071838750", ""),
    (BRITISH, "0 20 7183-8750", "442071838750"),
    (BRITISH, "12;phone-context=+4420", "442012"),
    (AMERICAN, "01133123456", "33123456"),
    (AMERICAN, "12125550100", "12125550100"),
    (AMERICAN, "2125550100", "12125550100"),
    (AMERICAN, "0033123456", ""),
    (AUSTRALIAN, "001133123456", "33123456"),
    (AUSTRALIAN, "0033123456", "33123456"),
    (STRICT, "+33123456", "33123456"),
    (STRICT, "33123456", ""),
    (STRICT, "0033123456", ""),
]


@pytest.mark.rule("SIP-25")
@pytest.mark.parametrize(("plan", "dialled", "number"), ROWS, ids=[f"{p.country or '-'} {d}" for p, d, _ in ROWS])
def test_dial_plans(plan: DialPlan, dialled: str, number: str) -> None:
    assert e164(dialled, plan) == number


PLANS = st.sampled_from([OPEN, BRITISH, AMERICAN, STRICT])
# Nothing that begins as a trunk prefix behind its country code would.
NUMBERS = st.from_regex(re.compile(r"[1-9][2-9]{2}([1-9][0-9]{0,11})?"), fullmatch=True)
SEPARATORS = st.text(" -.()\t/", max_size=3)


@st.composite
def disguised(draw: st.DrawFn) -> tuple[DialPlan, str, str]:
    """A number, and one of the ways to dial it by a plan that knows the way."""
    plan, number = draw(PLANS), draw(NUMBERS)
    lead = draw(st.sampled_from(["+", *plan.international, *([""] if plan.bare == "international" else [])]))
    # Without a lead the digits alone say which number it is; they must not look like another way of dialling.
    assume(lead or not plan.national or not number.startswith(plan.national))
    text = "".join(draw(SEPARATORS) + digit for digit in lead + number) + draw(SEPARATORS)
    text = "".join(f"%{ord(one):02{draw(st.sampled_from('xX'))}}" if draw(st.booleans()) else one for one in text)
    # A context makes a local number of what has no plus, and so another number.
    more = [";phone-context=+33"] if lead == "+" else []
    return plan, number, text + draw(st.sampled_from(["", ";npdi", ";rn=+33999;cic=1", ";x=y", *more]))


@pytest.mark.rule("SIP-25")
@given(disguised())
def test_no_disguise_changes_the_number(case: tuple[DialPlan, str, str]) -> None:
    plan, number, dialled = case
    assert e164(dialled, plan) == number


@pytest.mark.rule("SIP-25")
@given(NUMBERS, st.text(max_size=4), st.text(max_size=4), st.integers(0, 15))
def test_whatever_is_put_into_a_number_it_is_digits_or_nothing(number: str, one: str, two: str, at: int) -> None:
    found = e164(escape_user(one + number[:at] + two + number[at:]), OPEN)
    assert found == "" or re.fullmatch(rf"[1-9][0-9]{{{SHORTEST - 1},{LONGEST - 1}}}", found)


@pytest.mark.rule("SIP-25", "SIP-26")
@pytest.mark.parametrize(
    "uri",
    [
        f"sip:979123456@{US}",
        f"sip:+979123456@{US};user=phone",
        f"sip:00979123456@{US}",
        f"sip:%2B979123456@{US}",
        f"sip:%39%37%39123456@{US}",
        f"sip:+9-7(9)12.3456@{US}",
        f"sip:+979123456;phone-context=+33@{US}",
        f"sip:123456;phone-context=+979@{US}",
        "tel:+979123456",
        "tel:+979-123-456;isub=1",
        "tel:123456;phone-context=+979",
        f"sip:%20+979123456@{US}",
    ],
)
def test_no_disguise_gets_past_a_block(uri: str) -> None:
    wire = Wire()
    assert [one.what for one in wire.give(request("INVITE", uri))] == ["100 INVITE", "403 INVITE"]
    assert (wire.end["code"], wire.records[0]["e164"]) == ("dest_blocked", "979123456")


@pytest.mark.rule("SIP-25")
@pytest.mark.parametrize(
    "uri",
    [
        f"sip:+33123456;rn=+44999;cic=+1;npdi@{US};maddr=10.0.0.1;tgrp=x;user=phone?Route=%3Csip:evil%3E",
        "tel:+33-123-456;rn=999;phone-context=+1",
    ],
)
def test_nothing_rides_along_into_the_request_uri(uri: str) -> None:
    sent = Wire().give(request("INVITE", uri))[-1]
    assert sent.message.uri == "sip:33123456@203.0.113.1:5080"
