"""Between a Call and its records: what is written at admission, answer and end, and how a call comes back."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from sipsvc.cdr.record import Answer, Attempt, End, Late, LateCharge, Priced, Start
from sipsvc.dialog import Half
from sipsvc.directory import Gateway, PriceRow
from sipsvc.effects import Now, written
from sipsvc.message import parse_name_addr, parse_uri
from sipsvc.proxy import Call, Core, LateAnswer
from sipsvc.proxy.call import Tried, Who
from sipsvc.proxy.credentials import Leg, answers_for
from sipsvc.proxy.probe import due
from sipsvc.rating import ZERO, Charge, Price, Settled, charge, half_up, text

NOTHING = Charge(0, ZERO)


def readable(value: str) -> str:
    """A Latin-1 view of the wire as the UTF-8 it was, for people and databases to read."""
    if value.isascii():
        return value
    return value.encode("latin-1", "replace").decode("utf-8", "replace")


def start(call: Call) -> Start:
    decision = call.decision
    source = call.who.source
    return {
        "kind": "start",
        "cdr_id": call.cdr_id,
        "call_id": readable(call.call_id),
        "customer": call.who.customer,
        "customer_name": call.who.customer_name,
        "partner": decision.customer.partner if decision else "",
        "trunk": call.who.trunk,
        "auth": call.who.auth,
        "source": f"{written(source.host)}:{source.port}",
        "dialled": readable(call.dialled),
        "e164": decision.e164 if decision else "",
        "caller": readable(parse_uri(parse_name_addr(call.caller.own, "From").uri).user),
        "caller_shown": decision.caller if decision else "",
        "invite_at": call.invite_at,
        "directory": call.directory,
        "trace": decision.trace if decision else (),
        "live": call.live,
        "from_tag": call.caller_tag,
        "cseq": call.invite_cseq,
    }


def answer(call: Call) -> Answer:
    assert call.answer_at is not None and call.gateway is not None and call.winner is not None and call.sell is not None
    record: Answer = {
        "kind": "answer",
        "cdr_id": call.cdr_id,
        "answer_at": call.answer_at,
        "progress_at": call.progress_at,
        "status": call.status,
        "gateway": call.winner.gateway,
        "gateway_name": call.winner.name,
        "sent_to": call.winner.user,
        "attempts": _attempts(call),
        "sell": _priced(call.sell, NOTHING),
        "buy": _priced(call.winner.buy, NOTHING),
        "ref": call.ref,
        "caller_tag": call.caller_tag,
        "callee_tag": next(iter(call.dialogs)),
        "rewritten": call.gateway.rewritten,
        "caller_half": call.caller.to_record(),  # type: ignore[typeddict-item]
        "gateway_half": call.gateway.to_record(),  # type: ignore[typeddict-item]
        "token": call.token,
        "session_expires_at": call.expires.utc if call.expires is not None else None,
        "session_one_sided": call.one_sided,
        "shown_at": call.shown_at,
    }
    hold = call.hold
    if hold is not None and hold.granted_s is not None:
        record["granted_s"] = hold.granted_s
    if hold is not None and hold.minutes is not None:
        record["month"], record["minutes"], record["held_s"] = hold.month, hold.minutes, hold.allowance
    return record


def end(call: Call, settled: Settled | None, now: Now) -> End:
    """`settled` is what it costs its customer, None where it has no price."""
    duration = call.duration_ms(now)
    last = call.winner or (call.tried[-1] if call.tried else None)
    sell = _priced(call.sell, settled) if call.sell is not None and settled is not None else None
    buy = _priced(last.buy, charge(duration, last.buy.row, last.buy.minimum)) if last is not None else None
    margin = None
    if sell is not None and buy is not None and sell["currency"] == buy["currency"]:
        margin = text(Decimal(sell["amount"]) - Decimal(buy["amount"]))
    record: End = {
        "kind": "end",
        "cdr_id": call.cdr_id,
        "call_id": readable(call.call_id),
        "customer": call.who.customer,
        "end_at": call.end_at,
        "duration_ms": duration,
        "status": call.status,
        "reason": readable(call.reason),
        "code": call.code,
        "hangup_by": call.hangup_by,
        "q850": call.q850,
        "recovered": call.recovered,
        "progress_at": call.progress_at,
        "answer_at": call.answer_at,
        "gateway": last.gateway if last else "",
        "gateway_name": last.name if last else "",
        "sent_to": last.user if last else "",
        "attempts": _attempts(call),
        "sell": sell,
        "buy": buy,
        "margin": margin,
    }
    hold = call.hold
    if hold is not None and call.answer_at is not None:
        if hold.granted_s is not None:
            record["granted_s"] = hold.granted_s
        if hold.minutes is not None:
            record["month"], record["trunk"] = hold.month, call.who.trunk
    return record


def lost(record: dict[str, Any], now: Now) -> End:
    """The end of a call that was in set-up when the server stopped: nobody answered it, so it costs nothing."""
    return {
        "kind": "end",
        "cdr_id": record["cdr_id"],
        "call_id": record["call_id"],
        "customer": record["customer"],
        "end_at": now.utc,
        "duration_ms": None,
        "status": 500,
        "reason": "Server Internal Error",
        "code": "server_restart",
        "hangup_by": "proxy",
        "q850": None,
        "recovered": True,
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


def revive(
    core: Core,
    first: dict[str, Any],
    answered: dict[str, Any],
    gateway: Gateway | None,
    now: Now,
    outages: Sequence[int],
) -> Call:
    """A call that was up when the server stopped, as it was (law 8). `gateway` as it is now, None where it is gone.

    Until the first of the `outages` since it was answered, or shown alive, its end would have been noticed.
    """
    call = Call(
        core,
        answered["ref"],
        first["cdr_id"],
        first["call_id"],
        answered["caller_tag"],
        Half.from_record(answered["caller_half"]),
    )
    call.token = answered.get("token") or core.tokens.make_first(call.ref, call.caller_tag)
    call.gateway = Half.from_record(answered["gateway_half"])
    call.gateway.rewritten = answered["rewritten"]
    if "leg" in answered["gateway_half"]:
        # Nonces are learnt anew; the log holds no password.
        answers = answers_for(gateway) if gateway is not None and gateway.auth_username else None
        leg = call.gateway.leg = Leg(core, answered["gateway"], answers, first["cseq"])
        leg.restore(answered["gateway_half"]["leg"])
    for half in (call.caller, call.gateway):
        half.flow = core.by_now(half.flow)
    call.dialogs = {answered["callee_tag"]: call.gateway}
    call.who = Who(first["customer"], first["customer_name"], first["trunk"], first["auth"], call.caller.flow)
    call.invite_at, call.progress_at = first["invite_at"], answered["progress_at"]
    call.status, call.reason, call.code = answered["status"], "OK", "answered"
    call.answer_at = answered["answer_at"]
    # The monotonic clock began anew with this process; only the wall clock spans both.
    call.answer_mono = now.mono - (now.utc - answered["answer_at"]) * 1_000_000
    call.sell = _price(answered["sell"])
    for attempt in answered["attempts"]:
        buy = Price(_row({**answered["buy"], "rate": attempt["buy_rate"]}), answered["buy"]["currency"], ZERO)
        tried = Tried(
            attempt["gateway"],
            attempt["name"],
            attempt["request_uri"],
            answered["sent_to"],
            buy,
            attempt["started_at"],
            attempt.get("address", ""),  # before gateways had names none was written
        )
        tried.status, tried.left = attempt["status"], attempt["left"]
        tried.late = attempt.get("late", [])
        call.tried.append(tried)
        # One gateway may have been tried at several addresses; the one that was not left is the one that answered.
        if attempt["gateway"] == answered["gateway"] and not tried.left and 200 <= tried.status < 300:
            tried.buy = _price(answered["buy"])
            call.winner = tried
    call.revived = True
    known = max(answered["answer_at"], answered.get("shown_at") or 0)
    seen = next((begun for begun in outages if begun >= known), known)
    call.shown_at = answered.get("shown_at")
    call.unshown = now.mono - (now.utc - min(seen, now.utc)) * 1_000_000
    core.admit(call)
    core.move(call, answered["gateway"])
    core.up(call, now)
    expires_at = answered.get("session_expires_at")
    if expires_at is not None:
        call.one_sided = answered.get("session_one_sided", False)
        call.expires = Now(now.mono + (expires_at - now.utc) * 1_000_000, expires_at)
        call.expiry = core.timers.set(call.expires.mono, call, Call.EXPIRY)
    else:
        call.probe = core.timers.set(due(call.ref, now), call, Call.PROBE)
    return call


def late(call: Call, attempt: int, charge: LateCharge) -> Late:
    """An answer that came, or was hung up, when the end was written already."""
    return {"kind": "late", "cdr_id": call.cdr_id, "attempt": attempt, "late": charge}


def _attempts(call: Call) -> list[Attempt]:
    return [_attempt(one) for one in call.tried]


def _attempt(one: Tried) -> Attempt:
    record: Attempt = {
        "gateway": one.gateway,
        "name": one.name,
        "request_uri": one.request_uri,
        "address": one.address,
        "started_at": one.started_at,
        "status": one.status,
        "left": one.left,
        "buy_rate": text(one.buy.row.rate),
    }
    if one.late:
        record["late"] = list(one.late)
    return record


def late_charge(tried: Tried, late: LateAnswer) -> LateCharge:
    billed, amount = charge(late.duration_ms, tried.buy.row, tried.buy.minimum)
    return {
        "tag": readable(late.tag),
        "answered_at": late.at,
        "duration_ms": late.duration_ms,
        "billed": billed,
        "amount": text(amount),
        "currency": tried.buy.currency,
    }


def _priced(price: Price, due: Charge | Settled) -> Priced:
    row = price.row
    record: Priced = {
        "row": row.id,
        "prefix": row.prefix,
        "name": row.name,
        "rate": text(row.rate),
        "fee": text(row.fee),
        "initial": row.initial,
        "increment": row.increment,
        "minimum": text(price.minimum),
        "currency": price.currency,
        "billed": due.billed,
        "amount": text(due.amount),
    }
    if isinstance(due, Settled) and due.allowance:
        record["allowance"] = due.allowance
    return record


def _price(record: dict[str, Any]) -> Price:
    return Price(_row(record), record["currency"], Decimal(record["minimum"]))


def _row(record: dict[str, Any]) -> PriceRow:
    return PriceRow(
        record["row"],
        record["prefix"],
        record.get("name", ""),  # version 0.1 wrote none
        half_up(Decimal(record["rate"])),
        half_up(Decimal(record["fee"])),
        record["initial"],
        record["increment"],
    )
