"""Blocked numbers in every disguise, through the whole engine: none gets out, and only E.164 leaves (SIP-25)."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import pytest
from hypothesis import assume, event, example, given
from hypothesis import strategies as st

from sipsvc.directory import CallerIds, DialPlan, Directory, PrefixTable
from sipsvc.routing.number import e164
from tests.unit.wire import CUSTOMERS, RETAIL, US, Wire, directory, gateway, request, row

PLANS = (
    DialPlan(),
    DialPlan(("00",), "0", "44", "refuse"),
    DialPlan(("00", "0011"), "0", "44", "national"),
    DialPlan(("011",), "1", "1", "national"),
    DialPlan(("00", "9"), "0", "33", "international"),
    DialPlan((), "", "", "refuse"),
    DialPlan((), "8", "7", "international"),
)
BLOCKED = ("979", "881", "8835", "1900", "449", "33899", "49900", "3312", "7809", "9")
# Everything has a price and a gateway, so that nothing but a block keeps a number in.
ANYONE = CallerIds(("*",), "442071838750", "default")
EVERYWHERE = PrefixTable([row(digit, "0.01") for digit in "123456789"])


@cache
def book(plan: DialPlan, blocked: str) -> Directory:
    return directory(
        gateway(coverage=EVERYWHERE),
        customer=replace(CUSTOMERS, dial_plan=plan, caller_ids=ANYONE),
        pricelist=replace(RETAIL, rows=EVERYWHERE),
        blocks={blocked: "by the test"},
    )


SEPARATORS = st.text(" -.()\t/", max_size=2)
BLANKS = st.text(" \t", max_size=2)
URI_MORE = st.sampled_from([
    "", ";user=phone", ";user=phone;maddr=203.0.113.9", ";tgrp=x;trunk-context=y", ";npdi;rn=+33123456789",
    ";phone-context=+33", ";transport=tcp;lr", "?Route=%3Csip:evil.example%3E", ";x?To=sip:33123456789@h&a=b",
])  # fmt: skip
USER_MORE = st.sampled_from([
    "", ";npdi", ";rn=+33123456789", ";cic=+1288;npdi", ";isub=33", ";ext=33123", ";postd=p33", ";tgrp=x",
])  # fmt: skip


class Case(NamedTuple):
    plan: DialPlan
    blocked: str
    number: str
    uri: str


def ways(plan: DialPlan, number: str) -> list[tuple[str, str]]:
    """The ways to dial a number by a plan: digits, and what must stand behind them in the user part."""
    found = [(f"+{number}", ""), (f"+{number}", ";phone-context=+33"), (f"+{number}", ";phone-context=h.example")]
    found += [(lead + number, "") for lead in plan.international]
    # Without a lead it must not look like another way of dialling.
    if plan.bare == "international" and not number.startswith((*plan.international, plan.national or "x")):
        found.append((number, ""))
    found += [(number[size:], f";phone-context=+{number[:size]}") for size in (1, 2, 3)]
    if plan.country and number.startswith(plan.country):
        rest = number.removeprefix(plan.country)
        if plan.national and not f"{plan.national}{rest}".startswith(plan.international or ("x",)):
            found.append((plan.national + rest, ""))
        if plan.bare == "national" and not rest.startswith((*plan.international, plan.national or "x")):
            found.append((rest, ""))
    for country in ("44", "33", "49"):
        if number.startswith(country):
            rest = f"0{number.removeprefix(country)}"
            found += [(f"+{country}{rest}", ""), (rest, f";phone-context=+{country}")]
    return found


@st.composite
def escaped(draw: st.DrawFn, text: str) -> str:
    """Any character as an escape of either case; what the grammar does not allow always is."""
    made = ""
    for one in text:
        if one in " \t()" or draw(st.integers(0, 3)) == 0:
            made += f"%{ord(one):02{draw(st.sampled_from('xX'))}}"
        else:
            made += one
    return made


@st.composite
def disguised(draw: st.DrawFn) -> Case:
    """A blocked number in one of the ways its plan knows, dressed up."""
    plan, blocked = draw(st.sampled_from(PLANS)), draw(st.sampled_from(BLOCKED))
    number = e164(f"+{blocked}{draw(st.from_regex(r'[2-9][0-9]{4,8}', fullmatch=True))}", plan)
    assume(number.startswith(blocked))
    digits, behind = draw(st.sampled_from(ways(plan, number)))
    if draw(st.integers(0, 4)) == 0 and digits.startswith("+"):
        plain = "".join(one + draw(st.sampled_from(["", "", "-", ".", "(", ")"])) for one in digits[1:])
        return Case(plan, blocked, number, f"{draw(st.sampled_from(['tel', 'TEL']))}:+{plain}{draw(USER_MORE)}")
    written = draw(BLANKS) + "".join(one + draw(SEPARATORS) for one in digits) + draw(BLANKS)
    user = draw(escaped(written)) + behind.replace("+", draw(st.sampled_from(["+", "%2B", "%2b"]))) + draw(USER_MORE)
    password = draw(st.sampled_from(["", "", "", ":pw", ":", ":33123456789"]))
    scheme = draw(st.sampled_from(["sip", "SIP", "Sip"]))
    return Case(plan, blocked, number, f"{scheme}:{user}{password}@{US}{draw(URI_MORE)}")


@pytest.mark.rule("SIP-25", "SIP-26")
@given(disguised())
@example(Case(PLANS[0], "449", "44912345678", f"sip:%2B44%28%30%29912345678;phone-context=+33@{US}"))
@example(Case(PLANS[3], "1900", "19005551234", f"sip:900-555-1234:pw@{US};user=phone"))
@example(Case(PLANS[0], "979", "979123456", f"SIP:%09+979%2d123%2D456%20;npdi;rn=+1@{US}?To=x"))
def test_no_disguise_gets_past_a_block(case: Case) -> None:
    wire = Wire(book(case.plan, case.blocked))
    sent = wire.give(request("INVITE", case.uri))
    assert [one.what for one in sent] == ["100 INVITE", "403 INVITE"]
    assert (wire.end["code"], wire.records[0]["e164"]) == ("dest_blocked", case.number)
    assert "pw" not in wire.records[0]["dialled"]


PIECES = st.sampled_from([
    "+", "00", "011", "0", "1", "9", "44", "33", "979", "900", "1900", "%2B", "%30", "%2b", " ", "%20", "-", "(0)", ".",
    ";phone-context=+979", ";phone-context=+44", "%3Bphone-context=%2B1", ";phone-context=", ":pw", "%", "%2", "%00",
    "%EF%BC%99", "%C2%A0", "%B2", "*", "#", "%23", "tel:", ",", "&", "/", "?x=y", "p1", ";", "123456", "12345678",
])  # fmt: skip


@pytest.mark.rule("SIP-25", "SIP-26")
@given(st.sampled_from(PLANS), st.sampled_from(BLOCKED), st.lists(PIECES, max_size=7).map("".join), URI_MORE)
def test_whatever_is_dialled_what_leaves_is_a_number_that_no_block_holds(
    plan: DialPlan, blocked: str, user: str, more: str
) -> None:
    wire = Wire(book(plan, blocked))
    sent = wire.give(request("INVITE", f"sip:{user}@{US}{more}"))
    left = [one.message.uri for one in sent if one.what == "INVITE"]
    event("left" if left else "refused")
    if left:
        number = wire.records[0]["e164"]
        assert re.fullmatch(r"[1-9][0-9]{2,17}", number)
        assert not number.startswith(blocked)
        assert left == [f"sip:{number}@203.0.113.1:5080"]
        # It is nobody's disguise itself: dialled in full it stays the same.
        again = Wire(book(plan, blocked)).give(request("INVITE", f"sip:+{number}@{US}"))
        assert again[-1].message.uri == left[0]
