"""Diversion (RFC 5806): a customer's own passes where its setting and the gateway's both want it, nobody else's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sipsvc.directory import CallerIds, DialPlan
from tests.unit.test_restart import reborn
from tests.unit.wire import CALLEE, CUSTOMERS, GATES, US, Wire, answer, directory, gateway, request, talking

URI = f"sip:{CALLEE}@{US}"
OFFICE, OTHER = "442071838751", "15550000000"
OWN = CallerIds(("4420*",), diversion=True)
HERE = f"<sip:{OFFICE}@192.0.2.1>"

# Values as they came, and as they leave for a gateway we do not trust, and for one we do.
ROWS: list[tuple[str, list[str], list[str]]] = [
    (f"<sip:{OFFICE}@pbx>;reason=unconditional", *2 * [[f"{HERE};reason=unconditional;screen=yes"]]),
    (f'"Boss {OTHER}" <sip:+{OFFICE}@evil.example:5070;x=y>;counter=2;reason="no-answer";screen=no;tag=1',
     *2 * [[f"{HERE};reason=no-answer;counter=2;screen=yes"]]),
    ("<tel:+44-20-7183-8751>;privacy=off;reason=user-busy",
     *2 * [[f"{HERE};reason=user-busy;privacy=off;screen=yes"]]),
    ("<sip:02071838751@pbx>", *2 * [[f"{HERE};screen=yes"]]),
    (f"<sip:{OFFICE}@pbx>;privacy=full", [], [f"{HERE};privacy=full;screen=yes"]),
    (f'<sip:{OFFICE}@pbx>;counter=x;reason="a\\" b"', *2 * [[f"{HERE};screen=yes"]]),
    (f"<sip:{OTHER}@pbx>;reason=unconditional", [], []),
    ("<sip:anonymous@pbx>", [], []),
    ("<<", [], []),
    (f"<sip:{OFFICE}@pbx>, <sip:{OTHER}@pbx>, <sip:{OFFICE}@pbx>;counter=1",
     *2 * [[f"{HERE};screen=yes", f"{HERE};counter=1;screen=yes"]]),
    (", ".join(9 * [f"<sip:{OFFICE}@pbx>"]), *2 * [5 * [f"{HERE};screen=yes"]]),
]  # fmt: skip


def book(ids: CallerIds = OWN, **settings: Any) -> Any:
    plan = DialPlan(("00",), "0", "44", "international")
    return directory(gateway(**settings), customer=replace(CUSTOMERS, caller_ids=ids, dial_plan=plan))


def seen(value: str, *lines: str, ids: CallerIds = OWN, **settings: Any) -> list[str]:
    sent = Wire(book(ids, **settings)).give(request("INVITE", URI, f"Diversion: {value}", *lines))[-1]
    assert sent.what == "INVITE"
    return sent.message.all("diversion")


@pytest.mark.rule("SIP-23", "SIP-29")
@pytest.mark.parametrize(("value", "untrusted", "trusted"), ROWS)
def test_a_number_of_its_own_passes_and_nothing_else_of_it(
    value: str, untrusted: list[str], trusted: list[str]
) -> None:
    assert seen(value, diversion=True) == untrusted
    assert seen(value, diversion=True, trusted=True) == trusted


@pytest.mark.rule("SIP-23", "SIP-29")
def test_only_where_both_settings_say_so() -> None:
    value = ROWS[0][0]
    assert seen(value) == seen(value, trusted=True) == []
    assert seen(value, ids=replace(OWN, diversion=False), diversion=True, trusted=True) == []
    assert seen(value, diversion=True, plus_in_caller=True, caller_prefix="77") == [
        f"<sip:+{OFFICE}@192.0.2.1>;reason=unconditional;screen=yes"
    ]


@pytest.mark.rule("SIP-32")
@pytest.mark.parametrize("asks", ["id", "user", "history", "header", "session"])
def test_privacy_keeps_it_from_whom_we_do_not_trust(asks: str) -> None:
    assert seen(ROWS[0][0], f"Privacy: {asks}", diversion=True) == []
    assert seen(ROWS[0][0], f"Privacy: {asks}", diversion=True, trusted=True) == ROWS[0][2]


@pytest.mark.rule("SIP-23", "law 5")
def test_the_second_gateway_sees_it_by_its_own_setting_and_inside_the_call_none_goes_on() -> None:
    both = directory(gateway(1, diversion=True), gateway(2), customer=replace(CUSTOMERS, caller_ids=OWN))
    wire = Wire(both)
    first = wire.give(request("INVITE", URI, f"Diversion: {ROWS[0][0]}"))[-1].message
    second = wire.give(answer(first, 503), GATES[0])[-1].message
    assert (len(first.all("diversion")), second.all("diversion")) == (1, [])
    assert ("diversion", OFFICE) in [tuple(entry) for entry in wire.records[0]["trace"]]
    talk = talking(Wire(both), invite=request("INVITE", URI, f"Diversion: {ROWS[0][0]}"))
    for wire in (talk.wire, reborn(talk.wire, book=both)):
        sent = wire.give(talk.by_caller("INVITE", 2, f"Diversion: {ROWS[0][0]}"))[-1]
        assert (sent.what, sent.message.all("diversion")) == ("INVITE", [])
