"""What the log says of a call: three records, their content to the letter, and the money in them (law 8, TP-2..3)."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any, get_type_hints

import pytest

from sipsvc.cdr.record import Answer, End, Start
from sipsvc.directory import Package, PrefixTable
from tests.unit.wire import (
    BEGIN,
    CALLEE,
    CALLER,
    CUSTOMER,
    CUSTOMERS,
    GATES,
    RETAIL,
    US,
    Talk,
    Wire,
    answer,
    directory,
    gateway,
    request,
    row,
    talking,
)


def answered_call(wire: Wire, ring_ms: int = 2_000, talk_ms: int = 75_000, by: str = "caller") -> list[dict[str, Any]]:
    """Ringing, talking, hanging up; the three records."""
    invite = wire.give(request())[-1].message
    wire.wait(500)
    wire.give(answer(invite, 180), GATES[0])
    wire.wait(ring_ms - 500)
    talk = Talk(wire, invite, wire.give(answer(invite, 200, reason="Fine"), GATES[0])[-1].message)
    wire.give(talk.by_caller("ACK", 1))
    wire.wait(talk_ms)
    if by == "caller":
        wire.give(talk.by_caller("BYE", 2, "Reason: Q.850;cause=16"))
    else:
        wire.give(talk.by_callee("BYE", 1), GATES[0])
    return wire.records


@pytest.mark.rule("law 8")
def test_the_records_of_an_answered_call() -> None:
    wire = Wire(directory(gateway(uri_prefix="9#", caller_prefix="77")))
    start, up, end = answered_call(wire)
    assert {name: start[name] for name in start if name not in ("cdr_id", "trace")} == {
        "kind": "start",
        "call_id": "call-1",
        "customer": "acme",
        "customer_name": "Acme Ltd",
        "partner": "partner",
        "trunk": "acme-ip",
        "auth": "ip",
        "source": f"{CUSTOMER.host}:{CUSTOMER.port}",
        "dialled": CALLEE,
        "e164": CALLEE,
        "caller": CALLER,
        "caller_shown": CALLER,
        "invite_at": BEGIN.utc,
        "directory": 7,
        "live": {"channels": 0},
        "from_tag": "ann",
        "cseq": 1,
    }
    attempts = [
        {
            "gateway": "gw1",
            "name": "Gateway 1",
            "request_uri": f"sip:9%23{CALLEE}@203.0.113.1:5080",
            "address": "udp:203.0.113.1:5080",
            "started_at": BEGIN.utc,
            "status": 200,
            "left": "",
            "buy_rate": "0.010000",
        }
    ]
    kept = ("kind", "answer_at", "progress_at", "status", "gateway", "gateway_name", "sent_to", "attempts", "rewritten",
            "caller_tag", "callee_tag")  # fmt: skip
    assert {name: up[name] for name in kept} == {
        "kind": "answer",
        "answer_at": BEGIN.utc + 2_000,
        "progress_at": BEGIN.utc + 500,
        "status": 200,
        "gateway": "gw1",
        "gateway_name": "Gateway 1",
        "sent_to": f"9%23{CALLEE}",
        "attempts": attempts,
        "rewritten": True,
        "caller_tag": "ann",
        "callee_tag": "bob",
    }
    assert {name: end[name] for name in end if name not in ("cdr_id", "sell", "buy")} == {
        "kind": "end",
        "call_id": "call-1",
        "customer": "acme",
        "end_at": BEGIN.utc + 77_000,
        "duration_ms": 75_000,
        "status": 200,
        "reason": "Fine",
        "code": "answered",
        "hangup_by": "caller",
        "q850": 16,
        "recovered": False,
        "progress_at": BEGIN.utc + 500,
        "answer_at": BEGIN.utc + 2_000,
        "gateway": "gw1",
        "gateway_name": "Gateway 1",
        "sent_to": f"9%23{CALLEE}",
        "attempts": attempts,
        "margin": "0.065500",
    }
    assert end["sell"] == {
        "row": 33,
        "prefix": "33",
        "name": "to 33",
        "rate": "0.060000",
        "fee": "0.000000",
        "initial": 30,
        "increment": 6,
        "minimum": "0.000000",
        "currency": "USD",
        "billed": 78,
        "amount": "0.078000",
    }
    assert up["sell"] == {**end["sell"], "billed": 0, "amount": "0.000000"}
    assert (end["buy"]["rate"], end["buy"]["billed"], end["buy"]["amount"]) == ("0.010000", 75, "0.012500")
    assert start["cdr_id"] == up["cdr_id"] == end["cdr_id"]


@pytest.mark.rule("law 8")
def test_the_records_are_plain_json_and_hold_every_field_they_promise() -> None:
    package = Package("free", "Free", "partner", "unlimited_domestic", "retail", minutes=1, default=True)
    bounded = directory(customer=replace(CUSTOMERS, prepaid=True, funds=Decimal(9)), packages=[package])
    for record, kind in zip(answered_call(Wire(bounded)), (Start, Answer, End), strict=True):
        assert set(json.loads(json.dumps(record))) == set(get_type_hints(kind))


# How a call ends: words of the gateways, or what the caller does; code, status, who, margin is there
ENDS: dict[str, tuple[list[str], str, int, str, str | None]] = {
    "busy": (["486"], "rejected", 486, "callee", "0.000000"),
    "declined": (["603"], "rejected", 603, "callee", "0.000000"),
    "gateways fail": (["503", "503", "503"], "gateways_failed", 500, "", "0.000000"),
    "silence": (["wait"], "gateways_failed", 408, "", "0.000000"),
    "no answer": (["180", "wait"], "no_answer", 408, "timeout", "0.000000"),
    "cancelled": (["180", "cancel", "487"], "cancelled", 487, "caller", "0.000000"),
}


@pytest.mark.rule("law 8", "SIP-13")
@pytest.mark.parametrize("name", ENDS)
def test_how_an_unanswered_call_ends(name: str) -> None:
    words, code, status, by, margin = ENDS[name]
    wire = Wire()
    sent = wire.give(request())
    for word in words:
        invite = next(one for one in reversed(wire.sent) if one.what == "INVITE")
        if word == "wait":
            wire.wait(300_000)
        elif word == "cancel":
            wire.give(request("CANCEL"))
        else:
            sent = wire.give(answer(invite.message, int(word)), invite.flow)
    assert sent
    end = wire.end
    assert (end["code"], end["status"], end["hangup_by"], end["margin"]) == (code, status, by, margin)
    assert (end["duration_ms"], end["answer_at"], end["q850"], end["recovered"]) == (None, None, None, False)
    assert (end["sell"]["billed"], end["sell"]["amount"], end["buy"]["amount"]) == (0, "0.000000", "0.000000")
    assert (end["progress_at"] is not None) == ("180" in words)
    assert wire.kinds() == ["start", "end"]


@pytest.mark.rule("law 8")
def test_a_refused_call_has_no_gateway_and_no_buy_price() -> None:
    wire = Wire()
    wire.give(request("INVITE", f"sip:979123@{US}"))
    end = wire.end
    assert (end["code"], end["attempts"], end["gateway"]) == ("dest_blocked", [], "")
    assert (end["sell"], end["buy"], end["margin"]) == (None, None, None)
    assert (end["duration_ms"], end["end_at"]) == (None, BEGIN.utc)
    assert wire.records[0]["e164"] == "979123"


# talk, sell row, least charge; seconds billed and amount
CHARGES: list[tuple[int, dict[str, Any], str, int, str]] = [
    (5_000, {"rate": "0.01"}, "0.01", 5, "0.010000"),
    (61_000, {"rate": "0.01"}, "0.01", 61, "0.010167"),
    (60_001, {"rate": "0.01", "initial": 60, "increment": 60}, "0.01", 120, "0.020000"),
    (32_000, {"rate": "0.006", "initial": 30, "increment": 6}, "0", 36, "0.003600"),
    (30_000, {"rate": "0.05", "fee": "0.15"}, "0", 30, "0.175000"),
    (3_600_000, {"rate": "0"}, "0.01", 3_600, "0.000000"),
    (0, {"rate": "0.01", "initial": 60, "increment": 60}, "0", 60, "0.010000"),
    (1, {"rate": "0.01"}, "0", 1, "0.000167"),
]


@pytest.mark.rule("TP-2", "TP-3", "law 8")
@pytest.mark.parametrize("by", ["caller", "callee"])
@pytest.mark.parametrize(("talk_ms", "sold", "minimum", "billed", "amount"), CHARGES)
def test_the_charge_in_the_record(
    talk_ms: int, sold: dict[str, Any], minimum: str, billed: int, amount: str, by: str
) -> None:
    rows = PrefixTable([row("33", **sold)])
    pricelist = replace(RETAIL, rows=rows, minimum=Decimal(minimum), expensive_at=None, allow_loss=True)
    book = directory(gateway(), pricelist=pricelist)
    end = answered_call(Wire(book), talk_ms=talk_ms, by=by)[-1]
    assert (end["duration_ms"], end["sell"]["billed"], end["sell"]["amount"]) == (talk_ms, billed, amount)
    assert end["hangup_by"] == by
    assert Decimal(end["margin"]) == Decimal(amount) - Decimal(end["buy"]["amount"])


@pytest.mark.rule("TG-2", "law 8")
def test_two_currencies_have_no_margin() -> None:
    end = answered_call(Wire(directory(gateway(currency="EUR"))))[-1]
    assert (end["sell"]["currency"], end["buy"]["currency"], end["margin"]) == ("USD", "EUR", None)


@pytest.mark.rule("law 8")
def test_a_wall_clock_that_jumps_changes_no_charge() -> None:
    wire = Wire(directory(gateway()))
    talk = talking(wire)
    wire.wait(75_000)
    wire.now = wire.now._replace(utc=wire.now.utc - 3_600_000)
    wire.give(talk.by_caller("BYE", 2))
    assert wire.end["duration_ms"] == 75_000


@pytest.mark.rule("law 8", "SIP-27")
def test_every_record_stands_before_what_it_is_about() -> None:
    wire = Wire(disk=False)
    wire.engine.receive(request(), CUSTOMER, wire.now)
    kinds = [type(effect).__name__ for effect in wire.engine.take()]
    assert kinds.index("WriteCdr") < len(kinds) - 1
    assert kinds[-1] == "Send"


@pytest.mark.rule("law 8", "SIP-5")
def test_bytes_that_are_no_ascii_are_readable_in_the_record() -> None:
    for sent, shown in (("Zo\xc3\xab", "Zoë"), ("\xff", "\ufffd")):
        wire = Wire()
        wire.give(request("INVITE", f"sip:{sent}@{US}", From=f"<sip:{sent}@h>;tag={sent}"))
        start = json.loads(json.dumps(wire.records[0]))
        assert (start["caller"], start["dialled"]) == (shown, shown)
