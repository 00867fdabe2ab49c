"""Calls as they are shown."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, JsonValue

from portal_api.schemas import Instant, InstantIn, Money, View, examples
from sipsvc.store.values import Section

PRICED_EXAMPLE: dict[str, JsonValue] = {
    "row": 17,
    "prefix": "4420",
    "name": "United Kingdom, London",
    "rate": "0.012500",
    "fee": "0.000000",
    "initial": 60,
    "increment": 60,
    "minimum": "0.000000",
    "currency": "USD",
    "billed": 120,
    "amount": "0.025000",
}


class CdrView(View):
    """One call (law 8). `sell` and `buy` hold the price rows as they stood; amounts are null until the end.

    `sell_prefix` and `sell_name` are the destination as it was sold. `counted_at` says which day and month the call is
    counted in; null while it is up. `rated_before` has in order what the call was sold at before it was rated again.
    `allowance_s` are those of the billed seconds that the account's allowance paid for, `granted_s` what its credit and
    allowance were good for, null where nothing limits it. An attempt's `late` lists answers that came when nobody
    waited for them any more, and what each cost; they are in no margin.
    """

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "examples": [
                {
                    "cdr_id": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e01",
                    "state": "ended",
                    "call_id": "a84b4c76e66710@192.0.2.10",
                    "partner": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e02",
                    "customer": "acme",
                    "customer_name": "Acme Ltd",
                    "trunk": "acme-office",
                    "auth": "ip",
                    "source": "192.0.2.10:5060",
                    "dialled": "00442079460123",
                    "e164": "442079460123",
                    "caller": "442079460000",
                    "caller_shown": "442079460000",
                    "invite_at": "2026-11-22T23:23:05.120Z",
                    "progress_at": "2026-11-22T23:23:05.410Z",
                    "answer_at": "2026-11-22T23:23:09.002Z",
                    "end_at": "2026-11-22T23:24:36.730Z",
                    "duration_ms": 87728,
                    "status": 200,
                    "reason": "OK",
                    "code": "answered",
                    "hangup_by": "caller",
                    "q850": 16,
                    "recovered": False,
                    "gateway": "carrier-a",
                    "gateway_name": "Carrier A",
                    "sent_to": "442079460123",
                    "directory": 3,
                    "answered": True,
                    "counted_at": "2026-11-22T23:23:09.002Z",
                    "sell_prefix": "4420",
                    "sell_name": "United Kingdom, London",
                    "rating_version": 1,
                    "rated_before": [],
                    "billed_s": 120,
                    "allowance_s": 0,
                    "granted_s": None,
                    "sell_amount": "0.025000",
                    "sell_currency": "USD",
                    "buy_amount": "0.018000",
                    "buy_currency": "USD",
                    "margin": "0.007000",
                    "sell": PRICED_EXAMPLE,
                    "buy": PRICED_EXAMPLE | {"rate": "0.009000", "amount": "0.018000"},
                    "attempts": [
                        {
                            "gateway": "carrier-a",
                            "name": "Carrier A",
                            "request_uri": "sip:442079460123@192.0.2.80:5060",
                            "address": "udp:192.0.2.80:5060",
                            "started_at": 1795389785130,
                            "status": 200,
                            "left": "",
                            "buy_rate": "0.009000",
                        }
                    ],
                    "trace": [["customer", "acme", "active"], ["number", "00442079460123", "442079460123"]],
                    "live": {"channels": 1},
                }
            ]
        },
    )

    cdr_id: str
    state: str
    call_id: str
    partner: str
    customer: str
    customer_name: str
    trunk: str
    auth: str
    source: str
    dialled: str
    e164: str
    caller: str
    caller_shown: str
    invite_at: Instant
    progress_at: Instant | None
    answer_at: Instant | None
    end_at: Instant | None
    duration_ms: int | None
    status: int
    reason: str
    code: str
    hangup_by: str
    q850: int | None
    recovered: bool
    gateway: str
    gateway_name: str
    sent_to: str
    directory: int
    answered: bool
    counted_at: Instant | None
    sell_prefix: str
    sell_name: str
    rating_version: int
    rated_before: list[dict[str, Any]]
    billed_s: int | None
    allowance_s: int
    granted_s: int | None
    sell_amount: Money | None
    sell_currency: str
    buy_amount: Money | None
    buy_currency: str
    margin: Money | None
    sell: dict[str, Any] | None
    buy: dict[str, Any] | None
    attempts: list[dict[str, Any]]
    trace: list[list[Any]]
    live: dict[str, Any]


class HangupAsked(View):
    """The end of a call was asked for; its record tells when it came."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"cdr_id": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e01", "asked_at": "2026-11-22T10:00:00.000Z"}]
        }
    )

    cdr_id: str
    asked_at: Instant


class RerateIn(Section):
    """By the prices in force at `at`; without it by those in force when the call was answered."""

    model_config = Section.model_config | examples({}, {"at": "2026-11-22T00:00:00Z"})

    at: InstantIn | None = None


class RungView(View):
    """One message. `peer` is whom it went to (`sent`) or came from; `what` is its start line, `size` is in bytes."""

    at: Instant
    sent: bool
    peer: str
    what: str
    method: str
    size: int


class LadderView(View):
    """What came and went for a call, in order. `missing` messages in the middle of a very long one were not kept.

    `trace` is why the call went where it went; null for a customer, who sees the messages of its own side only.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "cdr_id": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e01",
                    "call_id": "a84b4c76e66710@192.0.2.10",
                    "state": "ended",
                    "trace": [["customer", "acme", "active"], ["number", "00442079460123", "442079460123"]],
                    "missing": 0,
                    "messages": [
                        {
                            "at": "2026-11-22T23:23:05.120Z",
                            "sent": False,
                            "peer": "udp:192.0.2.10:5060",
                            "what": "INVITE sip:00442079460123@192.0.2.1:5060",
                            "method": "INVITE",
                            "size": 812,
                        },
                        {
                            "at": "2026-11-22T23:23:05.121Z",
                            "sent": True,
                            "peer": "udp:192.0.2.10:5060",
                            "what": "100 Trying",
                            "method": "INVITE",
                            "size": 301,
                        },
                    ],
                }
            ]
        }
    )

    cdr_id: str
    call_id: str
    state: str
    trace: list[list[Any]] | None
    missing: int
    messages: list[RungView]
