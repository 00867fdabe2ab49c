"""Questions as people type them, and answers that say line for line what a call would be (EX-1)."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from sipsvc.directory import DialPlan, Directory
from sipsvc.routing.explain import ExplainError, explain, printed
from sipsvc.routing.question import Question, number_of
from tests.unit.wire import BEGIN, CALLER, CUSTOMERS, RETAIL, US, Wire, answer, directory, gateway, request

BOOK = directory()
HOST = "192.0.2.1"


def ask(book: Directory = BOOK, dialled: str = "33123456789", caller: str = CALLER, **more: Any) -> dict[str, Any]:
    return explain(book, Question("acme", dialled, caller, **more), host=HOST, now=BEGIN)


DRESSED = directory(
    gateway(1, caller_prefix="77", caller_prefix_in=frozenset({"from", "pai"}), p_asserted_identity=True),
    gateway(2, remote_party_id=True, uri_prefix="9#", trusted=True),
    gateway(3, currency="EUR"),
    customer=replace(CUSTOMERS, dial_plan=DialPlan(national="0", country="33")),
    pricelist=replace(RETAIL, minimum=Decimal("0.10")),
)


@pytest.mark.rule("EX-1", "law 4")
def test_all_there_is_to_say_of_a_call() -> None:
    said = ask(DRESSED, "0123456789", f'"Ann" <sip:{CALLER}@acme.example>;tag=x', channels=3)
    assert (said["outcome"], said["code"], said["status"], said["reason"]) == ("route", "", None, None)
    assert (said["e164"], said["caller"], said["directory"], said["live"]) == (
        "33123456789",
        CALLER,
        7,
        {"channels": 3},
    )
    assert said["at"] == "2023-11-14T22:13:20.000Z"
    assert said["sell"] == {
        "row": 33, "prefix": "33", "origin": "", "name": "to 33", "rate": "0.060000", "fee": "0.000000",
        "initial": 30, "increment": 6, "minimum": "0.100000", "currency": "USD", "first_minute": "0.100000",
    }  # fmt: skip
    first, second, third = said["attempts"]
    assert first["request_line"] == "INVITE sip:33123456789@203.0.113.1:5080 SIP/2.0"
    assert first["from"] == f'From: "Ann" <sip:77{CALLER}@acme.example>;tag=x'
    assert first["p_asserted_identity"] == f"P-Asserted-Identity: <sip:77{CALLER}@192.0.2.1>"
    assert (first["remote_party_id"], first["margin"], first["buy"]["first_minute"]) == (None, "0.090000", "0.010000")
    assert second["request_line"] == "INVITE sip:9%2333123456789@203.0.113.2:5080 SIP/2.0"
    assert second["from"] == f'From: "Ann" <sip:{CALLER}@acme.example>;tag=x'
    rpid = f"Remote-Party-ID: <sip:{CALLER}@192.0.2.1>;party=calling;screen=yes;privacy=off"
    assert (second["remote_party_id"], second["p_asserted_identity"]) == (rpid, None)
    assert (third["margin"], third["buy"]["currency"]) == (None, "EUR")


@pytest.mark.rule("EX-1", "SIP-32")
def test_privacy_is_considered() -> None:
    said = ask(DRESSED, "0123456789", privacy="id")
    first, second, _ = said["attempts"]
    assert (said["privacy"], first["p_asserted_identity"]) == ("id", None)
    assert second["remote_party_id"].endswith("privacy=full")


@pytest.mark.rule("EX-1", "SIP-23")
def test_a_preferred_identity_is_considered() -> None:
    other = "442071838751"
    assert ask(caller="15550000000", preferred=f"<sip:{other}@h>")["caller"] == other
    assert ask(caller="15550000000")["code"] == "caller_not_allowed"


@pytest.mark.rule("EX-1", "law 6")
def test_channels_are_what_the_question_says() -> None:
    book = directory(customer=replace(CUSTOMERS, max_channels=2))
    assert ask(book, channels=1)["outcome"] == "route"
    said = ask(book, channels=2)
    assert (said["code"], said["status"], said["reason"]) == ("channels_full", 486, "Busy Here")


@pytest.mark.rule("EX-1", "SIP-25")
@pytest.mark.parametrize(
    "dialled",
    ["+33 123 456 789", "0033123456789", "(0033) 123-456-789", "tel:+33-123-456-789", "sip:0033123456789@somewhere",
     "sip:123456789;phone-context=+33@somewhere", "tel:123456789;phone-context=+33"],
)  # fmt: skip
def test_a_number_can_be_written_in_many_ways(dialled: str) -> None:
    assert ask(dialled=dialled)["e164"] == "33123456789"
    assert number_of(Question("acme", dialled))(CUSTOMERS, directory()) == "33123456789"


@pytest.mark.rule("EX-1", "law 4")
@pytest.mark.parametrize(
    "caller", [f'"Ann" <sip:{CALLER}@acme.example>;tag=ann', f"<sip:{CALLER}@h>;tag=1", f'"Zoë" <sip:{CALLER}@h>;tag=1']
)
def test_the_wire_does_what_explain_says(caller: str) -> None:
    wire = Wire(DRESSED)
    on_the_wire = caller.encode().decode("latin-1")
    sent = wire.give(request(uri=f"sip:0123456789@{US}", From=on_the_wire))[-1]
    said = ask(DRESSED, "0123456789", caller)
    for attempt in said["attempts"]:
        lines = sent.data.decode().split("\r\n")
        assert lines[0] == attempt["request_line"]
        assert attempt["from"] in lines
        for name in ("p_asserted_identity", "remote_party_id"):
            there = [line for line in lines if line.lower().replace("-", "_").startswith(f"{name}:")]
            assert there == ([attempt[name]] if attempt[name] else [])
        sent = wire.give(answer(sent.message, 503), sent.flow)[-1]
    assert json.loads(json.dumps(wire.records[0]["trace"])) == said["trace"]
    assert (wire.records[0]["directory"], wire.records[0]["live"]) == (said["directory"], said["live"])


@pytest.mark.rule("EX-1")
@pytest.mark.parametrize(
    ("question", "field"),
    [
        (Question("nobody", "33"), "customer"),
        (Question("acme", ""), "dialled"),
        (Question("acme", "sip:<>"), "dialled"),
        (Question("acme", "3\r\n3"), "dialled"),
        (Question("acme", "33", "<sip:44"), "caller"),
        (Question("acme", "33", "<mailto:ann@acme.example>"), "caller"),
        (Question("acme", "33", "44\0"), "caller"),
        (Question("acme", "33", "\ud800"), "caller"),
        (Question("acme", "33", privacy="id\nVia: x"), "privacy"),
        (Question("acme", "33", preferred="\x7f"), "preferred"),
    ],
)
def test_a_question_that_cannot_be_answered_names_the_field(question: Question, field: str) -> None:
    with pytest.raises(ExplainError) as caught:
        explain(BOOK, question, host=HOST, now=BEGIN)
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: ")


@pytest.mark.rule("EX-1")
def test_it_is_told_in_words() -> None:
    said = "\n".join(printed(ask(DRESSED, "0123456789")))
    assert f"acme may call 33123456789, showing {CALLER}" in said
    assert "sold at 0.060000 USD/min, 30/6 s (33 to 33), the first minute 0.100000" in said
    assert "1. Gateway 1 (gw1)\n   INVITE sip:33123456789@203.0.113.1:5080 SIP/2.0\n   From: " in said
    assert "bought at 0.010000 USD/min, 1/1 s (33 to 33), the first minute 0.010000, margin 0.090000" in said
    assert "no margin: other currency" in said
    assert "gateways in order (cheapest): gw1, gw2, gw3" in said
    refused = "\n".join(printed(ask(dialled="979123")))
    assert "acme is refused: 403 Forbidden (dest_blocked)\n  Calls to this destination are blocked" in refused
