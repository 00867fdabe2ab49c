"""A decision in words and in JSON: what `POST /api/v1/explain` and `sipsvc explain` print."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sipsvc.directory import Directory, PriceRow
from sipsvc.effects import Now
from sipsvc.errors import SipError, SipsvcError
from sipsvc.message import NameAddr, escape_user
from sipsvc.rating import text
from sipsvc.routing.decision import Attempt, CallFacts, Decision, Live, decide
from sipsvc.routing.refusals import REFUSALS


class ExplainError(SipsvcError, ValueError):
    """A question that cannot be answered; `field` is what is wrong with it."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


_VERDICTS = {"kept": "its to show", "not_allowed": "not its to show"}
_WORDS = {
    "customer": "customer {0} is {1} (known by trunk {2})",
    "number": "dialled {0}: E.164 is {1}",
    "block": "prefix {0} is blocked: {1}",
    "price": "price list {0}: prefix {1} at {2}/min, fee {3} {4}",
    "expensive": "first minute costs {0}, threshold {1}: {2}",
    "channels": "{0} of {1} channels in use",
    "refused": "refused: {0}",
}


def trace_text(trace: Iterable[Sequence[Any]]) -> list[str]:
    """One sentence for each rule looked at."""
    return [_sentence(entry[0], list(entry[1:])) for entry in trace]


def _sentence(code: str, values: list[Any]) -> str:
    if code == "gateway":
        gateway, verdict, *more = values
        said = f"prefix {more[0]} at {more[1]} {more[2]}" if more else verdict.replace("_", " ")
        return f"gateway {gateway}: {said}"
    if code == "price" and not values[1]:
        return f"price list {values[0]}: no row for the number"
    if code == "number" and not values[1]:
        return f"dialled {values[0]}: no number by the account's dial plan"
    if code == "caller":
        said = f"not allowed, replaced by {values[1]}" if values[2] == "replaced" else _VERDICTS[values[2]]
        return f"caller shows {values[0] or 'nothing'}: {said}"
    if code == "order":
        return f"gateways in order ({values[0]}): {', '.join(values[1:])}"
    return _WORDS[code].format(*values)


def render(decision: Decision) -> dict[str, Any]:
    """JSON-ready; money as text."""
    refusal = REFUSALS.get(decision.code)
    return {
        "outcome": "refused" if decision.code else "route",
        "code": decision.code,
        "status": refusal.status if refusal else None,
        "reason": refusal.text if refusal else None,
        "customer": decision.customer.id,
        "e164": decision.e164,
        "caller": decision.caller,
        "sell": _price(decision.sell, decision.pricelist.currency) if decision.sell and decision.pricelist else None,
        "attempts": [_attempt(attempt) for attempt in decision.attempts],
        "trace": [list(entry) for entry in decision.trace],
        "trace_text": trace_text(decision.trace),
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "gateway": attempt.gateway.id,
        "name": attempt.gateway.name,
        "request_uri": attempt.dress.request_uri,
        "from": attempt.dress.from_value or None,
        "headers": list(attempt.dress.identity),
        "buy": _price(attempt.buy, attempt.gateway.currency),
    }


def _price(row: PriceRow, currency: str) -> dict[str, Any]:
    return {
        "prefix": row.prefix,
        "name": row.name,
        "rate": text(row.rate),
        "fee": text(row.fee),
        "initial": row.initial,
        "increment": row.increment,
        "currency": currency,
    }


def explain(directory: Directory, *, customer: str, dialled: str, caller: str, now: Now) -> dict[str, Any]:
    """How a call would be decided, by the very function that decides calls. Raises ExplainError."""
    if customer not in directory.customers:
        raise ExplainError("customer", f"no customer {customer!r}")
    if not dialled:
        raise ExplainError("dialled", "a number is needed")
    from_ = NameAddr("", f"sip:{escape_user(caller)}@explain.invalid", ";tag=explain")
    trunk = next((trunk.id for trunk in directory.trunks.values() if trunk.customer == customer), "")
    facts = CallFacts(customer, trunk, escape_user(dialled), from_, "", "", "explain.invalid")
    try:
        return render(decide(directory, facts, Live(), now))
    except SipError as error:
        raise ExplainError("caller", error.reason) from error
