"""Records of calls as the engine makes them, for the tests of the log and of the delivery."""

from __future__ import annotations

from typing import Any

BASE_MS = 1_790_000_000_000


def priced(rate: str, billed: int = 0, amount: str = "0.000000") -> dict[str, Any]:
    return {
        "row": 17,
        "prefix": "44",
        "name": "United Kingdom",
        "rate": rate,
        "fee": "0.000000",
        "initial": 1,
        "increment": 1,
        "minimum": "0.000000",
        "currency": "USD",
        "billed": billed,
        "amount": amount,
    }


def attempt(status: int = 200) -> dict[str, Any]:
    return {
        "gateway": "carrier-a",
        "name": "Carrier A",
        "request_uri": "sip:442071838750@192.0.2.10",
        "started_at": BASE_MS,
        "status": status,
        "left": "",
        "buy_rate": "0.010000",
    }


def start(number: int, at: int = 0, **changes: Any) -> dict[str, Any]:
    """Call `number` is admitted `at` milliseconds after BASE_MS."""
    return {
        "kind": "start",
        "cdr_id": f"cdr-{number:06d}",
        "call_id": f"call-{number}@192.0.2.1",
        "customer": "acme",
        "customer_name": "Acme Ltd",
        "partner": "demo",
        "trunk": "acme-1",
        "auth": "ip",
        "source": "192.0.2.1:5060",
        "dialled": "00442071838750",
        "e164": "442071838750",
        "caller": "442079460000",
        "caller_shown": "442079460000",
        "invite_at": BASE_MS + at,
        "directory": 3,
        "trace": [["customer", "acme"], ["number", "442071838750"], ["price", "44"]],
        "live": {"channels": 1},
        **changes,
    }


def half(port: int) -> dict[str, Any]:
    return {
        "flow": ["UDP", "192.0.2.1", port, 0],
        "contact": f"sip:192.0.2.1:{port}",
        "routes": [],
        "tag": f"tag{port}",
        "identity": "sip:442079460000@192.0.2.1",
        "cseq": 1,
    }


def answer(number: int, at: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "kind": "answer",
        "cdr_id": f"cdr-{number:06d}",
        "answer_at": BASE_MS + at,
        "progress_at": BASE_MS + at - 1,
        "status": 200,
        "gateway": "carrier-a",
        "gateway_name": "Carrier A",
        "sent_to": "442071838750",
        "attempts": [attempt()],
        "sell": priced("0.020000"),
        "buy": priced("0.010000"),
        "ref": f"r{number}",
        "caller_half": half(5060),
        "gateway_half": half(5080),
        **changes,
    }


def end(number: int, at: int = 0, **changes: Any) -> dict[str, Any]:
    """An answered call of 60 seconds, ended `at` milliseconds after BASE_MS."""
    return {
        "kind": "end",
        "cdr_id": f"cdr-{number:06d}",
        "end_at": BASE_MS + at,
        "duration_ms": 60_000,
        "status": 200,
        "reason": "OK",
        "code": "answered",
        "hangup_by": "caller",
        "q850": 16,
        "recovered": False,
        "progress_at": BASE_MS + at - 60_001,
        "answer_at": BASE_MS + at - 60_000,
        "gateway": "carrier-a",
        "gateway_name": "Carrier A",
        "sent_to": "442071838750",
        "attempts": [attempt()],
        "sell": priced("0.020000", 60, "0.020000"),
        "buy": priced("0.010000", 60, "0.010000"),
        "margin": "0.010000",
        **changes,
    }


def late(number: int, tag: str = "ghost", attempt: int = 0) -> dict[str, Any]:
    """An answer of the call's first gateway that nobody waited for."""
    cost = {
        "tag": tag,
        "answered_at": BASE_MS,
        "duration_ms": 250,
        "billed": 1,
        "amount": "0.000167",
        "currency": "USD",
    }
    return {"kind": "late", "cdr_id": f"cdr-{number:06d}", "attempt": attempt, "late": cost}


def refused(number: int, at: int = 0, **changes: Any) -> dict[str, Any]:
    """A call refused at the door: the start's fields and the end's in one record."""
    over: dict[str, Any] = {
        "duration_ms": None,
        "status": 403,
        "reason": "Forbidden",
        "code": "dest_expensive",
        "hangup_by": "",
        "q850": None,
        "progress_at": None,
        "answer_at": None,
        "gateway": "",
        "gateway_name": "",
        "sent_to": "",
        "attempts": [],
        "sell": None,
        "buy": None,
        "margin": None,
    }
    return {**start(number, at), **end(number, at), **over, **changes}


def whole_call(number: int, at: int = 0) -> list[dict[str, Any]]:
    """Start, answer and end of a call admitted at `at`, answered a second later, 60 seconds long."""
    return [start(number, at), answer(number, at + 1_000), end(number, at + 61_000)]
