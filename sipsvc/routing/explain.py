"""A decision in words and in JSON: what `POST /api/v1/explain` and `sipsvc explain` print."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sipsvc.directory import Directory
from sipsvc.effects import Now
from sipsvc.rating import ZERO, Price, expected, text
from sipsvc.routing.decision import Decision, decide
from sipsvc.routing.live import Live, live_facts
from sipsvc.routing.question import ExplainError, Question, asked, readable
from sipsvc.routing.refusals import refusal_of
from sipsvc.routing.select import Attempt

IDENTITIES = {"p_asserted_identity": "P-Asserted-Identity: ", "remote_party_id": "Remote-Party-ID: "}

_VERDICTS = {
    "kept": "its to show",
    "not_allowed": "not its to show",
    "let_through": "not its to show, but let through in an emergency",
}
_WORDS = {
    "customer": "customer {0} is {1} (known by trunk {2})",
    "number": "dialled {0}: E.164 is {1}",
    "block": "prefix {0} is blocked: {1}",
    "block_lifted": "prefix {0} is blocked by the platform, which lets it be lifted: {1}",
    "allowed": "prefix {0} is allowed by the {2}: {1}",
    "price": "price list {0}: prefix {1} at {2}/min, fee {3} {4}",
    "expensive": "first minute costs {0}, threshold {1}: {2}",
    "channels": "{0} of {1} channels in use",
    "trunk_channels": "trunk {0}: {1} of {2} channels in use",
    "cps": "{0} calls a second allowed: {1}",
    "spend": "spent in this {0}: {1} of {2}, {3}",
    "credit": "{0} is there for its calls, the least that is billed costs {1}: {2}",
    "exchanged": "gateway {0}: the expected call costs {1} {2}, which is {3} {4}",
    "no_rate": "gateway {0}: no exchange rate from {1} to {2}, so it comes last, and may lose money",
    "drawn": "gateway {0}: drew {2} by weight {1}, the lowest goes first",
    "refused": "refused: {0}",
}
_OF_GATEWAYS = {
    "serves": "prefix {0} at {1} {2}",
    "loss": "left out, for the expected call costs {0} and is sold at {1} {2}",
    "closed": "closed at this hour by its schedule",
    "full": "{0} of {1} channels in use",
    "over_rate": "has had its {0} calls a second",
}


def trace_text(trace: Iterable[Sequence[Any]]) -> list[str]:
    """One sentence for each rule looked at."""
    return [_sentence(entry[0], list(entry[1:])) for entry in trace]


def _sentence(code: str, values: list[Any]) -> str:
    if code == "gateway":
        gateway, verdict, *more = values
        said = _OF_GATEWAYS.get(verdict)
        return f"gateway {gateway}: {said.format(*more) if said else verdict.replace('_', ' ')}"
    if code == "price" and not values[1]:
        return f"price list {values[0]}: no row for the number"
    if code == "shortcode":
        stands = "an emergency number" if values[2] == "emergency" else values[2] or "a gateway of its own"
        return f"dialled {values[0]}: short code {values[1]} is {stands}"
    if code == "block" and len(values) > 2:
        return f"prefix {values[0]} is blocked by the {values[2]}: {values[1]}"
    if code == "allowance":
        minutes, left = values[1:]
        paid = f"{minutes} minutes a month pay first" if minutes else "pays without end"
        return f"package {values[0]}: {paid}" + ("" if left is None else f", {left} s are left")
    if code == "number" and not values[1]:
        return f"dialled {values[0]}: no number by the account's dial plan"
    if code == "caller":
        said = f"not allowed, replaced by {values[1]}" if values[2] == "replaced" else _VERDICTS[values[2]]
        return f"caller shows {values[0] or 'nothing'}: {said}"
    if code == "privacy":
        return f"privacy is asked for by {values[0] or 'From or Remote-Party-ID'}: {values[1]}"
    if code == "diversion":
        return f"diverted from {', '.join(values)}, which are its to show"
    if code == "order":
        return f"gateways in order ({values[0]}): {', '.join(values[1:])}"
    return _WORDS[code].format(*values)


def explain(directory: Directory, question: Question, *, host: str, now: Now) -> dict[str, Any]:
    """How a call would be decided at `now`, by the very function that decides calls; as JSON values.

    `host` is our name on the listener it would come by. Raises ExplainError.
    """
    if question.customer not in directory.customers:
        raise ExplainError("customer", f"there is no customer {question.customer!r}")
    # Any of its trunks: the decision is the same, but for the trunk's name in the trace.
    trunks = (trunk for trunk in directory.trunks.values() if trunk.customer == question.customer and trunk.enabled)
    trunk = min((trunk.id for trunk in trunks), default="")
    facts, from_value = asked(question, trunk, host)
    live = Live(question.channels)
    decision = decide(directory, facts, live, now)
    return render(decision, from_value) | {
        "privacy": question.privacy or None,
        "directory": directory.version,
        "live": live_facts(live),
        "at": _instant(now.utc),
    }


def render(decision: Decision, from_value: str) -> dict[str, Any]:
    """JSON-ready; money as text. `from_value` is the From the call came with."""
    refusal = refusal_of(decision.code, decision.customer.busy_status) if decision.code else None
    sell = _sell(decision)
    return {
        "outcome": "refused" if decision.code else "route",
        "code": decision.code,
        "status": refusal.status if refusal else None,
        "reason": refusal.reason if refusal else None,
        "text": refusal.text if refusal else None,
        "customer": decision.customer.id,
        "e164": decision.e164,
        "caller": decision.caller,
        "sell": None if sell is None else _price(sell),
        "attempts": [_attempt(attempt, decision, from_value) for attempt in decision.attempts],
        "trace": [list(entry) for entry in decision.trace],
        "trace_text": trace_text(decision.trace),
    }


def printed(answer: dict[str, Any]) -> Iterator[str]:
    """What `explain` answered, line by line for a terminal."""
    if answer["outcome"] == "route":
        shown = answer["caller"] or "its own number as it is"
        yield f"{answer['customer']} may call {answer['e164'] or answer['sell']['name']}, showing {shown}"
    else:
        yield f"{answer['customer']} is refused: {answer['status']} {answer['reason']} ({answer['code']})"
        yield f"  {answer['text']}"
    if answer["sell"]:
        yield f"  sold at {_said(answer['sell'])}"
    for number, attempt in enumerate(answer["attempts"], start=1):
        yield ""
        yield f"{number}. {attempt['name']} ({attempt['gateway']})"
        for name in ("request_line", "from", *IDENTITIES):
            if attempt[name]:
                yield f"   {attempt[name]}"
        margin = "no margin: other currency" if attempt["margin"] is None else f"margin {attempt['margin']}"
        yield f"   bought at {_said(attempt['buy'])}, {margin}"
    yield ""
    yield f"decided on catalogue {answer['directory']}, {answer['live']['channels']} channels in use, {answer['at']}:"
    yield from (f"  {line}" for line in answer["trace_text"])


def _said(price: dict[str, Any]) -> str:
    fee = f" and {price['fee']} a call" if price["fee"] != text(ZERO) else ""
    steps = f"{price['initial']}/{price['increment']} s"
    minute = f"the first minute {price['first_minute']}"
    return f"{price['rate']} {price['currency']}/min{fee}, {steps} ({price['prefix']} {price['name']}), {minute}"


def _sell(decision: Decision) -> Price | None:
    if decision.sell is None or decision.pricelist is None:
        return None
    return Price(decision.sell, decision.pricelist.currency, decision.pricelist.minimum)


def _attempt(attempt: Attempt, decision: Decision, from_value: str) -> dict[str, Any]:
    gateway, dress = attempt.gateway, attempt.dress
    buy = Price(attempt.buy, gateway.currency, ZERO)
    pricelist, sell = decision.pricelist, decision.sell
    margin = None
    if pricelist is not None and sell is not None and pricelist.currency == buy.currency:
        seconds = pricelist.expected_s
        margin = text(expected(sell, seconds, pricelist.minimum) - expected(buy.row, seconds))
    identity = {
        name: next((readable(line) for line in dress.identity if line.startswith(header)), None)
        for name, header in IDENTITIES.items()
    }
    return {
        "gateway": gateway.id,
        "name": gateway.name,
        "request_line": f"INVITE {readable(dress.request_uri)} SIP/2.0",
        "from": f"From: {readable(dress.from_value or from_value)}",
        **identity,
        "buy": _price(buy),
        "margin": margin,
    }


def _price(price: Price) -> dict[str, Any]:
    row = price.row
    return {
        "row": row.id,
        "prefix": row.prefix,
        "origin": row.origin,
        "name": row.name,
        "rate": text(row.rate),
        "fee": text(row.fee),
        "initial": row.initial,
        "increment": row.increment,
        "minimum": text(price.minimum),
        "currency": price.currency,
        "first_minute": text(expected(row, 60, price.minimum)),
    }


def _instant(utc_ms: int) -> str:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=utc_ms)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
