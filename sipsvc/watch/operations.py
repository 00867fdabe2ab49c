"""What can be asked over the control socket. Each answers in pieces small enough for a wake-up of the SIP loop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sipsvc.control.server import Handler, Refused
from sipsvc.engine.watched import STATES, Watched, watched
from sipsvc.proxy import Call, Phase
from sipsvc.rating import charge, text
from sipsvc.watch.facts import Facts

# Calls that are told at a time.
PAGE = 50


def handlers(facts: Facts) -> dict[str, Handler]:
    """By name: `status`, `calls`, `trace`, `gateway`, `hangup`, `drain`, `undrain`."""
    engine = facts.engine

    def status(asked: dict[str, Any]) -> Iterator[Any]:
        yield facts.status()

    def calls(asked: dict[str, Any]) -> Iterator[Any]:
        customer = asked.get("customer")
        there = [call for call in engine.core.calls.values() if call.phase is not Phase.OVER]
        if customer:
            there = [call for call in there if call.who.customer == customer]
        for at in range(0, len(there), PAGE):
            # Those that ended while we were writing are live no more.
            yield [_live(facts, call) for call in there[at : at + PAGE] if call.phase is not Phase.OVER]

    def trace(asked: dict[str, Any]) -> Iterator[Any]:
        key = _needed(asked, "call")
        found = engine.watched(key)
        if not found:
            raise Refused(f"there is no live call {key!r}, and none is among the last that ended")
        for one in found:
            yield _told(one)

    def gateway(asked: dict[str, Any]) -> Iterator[Any]:
        name = _needed(asked, "gateway")
        known = engine.gateway_health().get(name)
        if known is None:
            raise Refused(f"there is no gateway {name!r} among those that calls go by")
        yield known

    def hangup(asked: dict[str, Any]) -> Iterator[Any]:
        cdr_id = _needed(asked, "call")
        if not facts.hang_up(cdr_id):
            raise Refused(f"there is no live call with the cdr_id {cdr_id!r}")
        yield {"cdr_id": cdr_id}

    def drain(asked: dict[str, Any]) -> Iterator[Any]:
        yield _door(True)

    def undrain(asked: dict[str, Any]) -> Iterator[Any]:
        yield _door(False)

    def _door(closed: bool) -> dict[str, Any]:
        reason = facts.drain(closed)
        if reason:
            raise Refused(reason)
        return {
            "draining": engine.draining,
            "live_calls": engine.live_calls,
            "calls_in_setup": engine.core.in_setup,
        }

    return {
        "status": status,
        "calls": calls,
        "trace": trace,
        "gateway": gateway,
        "hangup": hangup,
        "drain": drain,
        "undrain": undrain,
    }


def _needed(asked: dict[str, Any], name: str) -> str:
    value = asked.get(name)
    if not isinstance(value, str) or not value:
        raise Refused(f"`{name}` must be text")
    return value


def _live(facts: Facts, call: Call) -> dict[str, Any]:
    """A live call as it stands; `cost` is what the customer would be charged if it ended now."""
    one = watched(call)
    duration = call.duration_ms(facts.now())
    cost = charge(duration, call.sell.row, call.sell.minimum).amount if call.sell is not None else None
    return {
        **_which(one),
        "phase": STATES[call.phase],
        "since": one.answer_at or one.invite_at,
        "duration_ms": duration,
        "cost": text(cost) if cost is not None else None,
        "currency": call.sell.currency if call.sell is not None else None,
    }


def _told(one: Watched) -> dict[str, Any]:
    return {
        **_which(one),
        "state": one.state,
        "invite_at": one.invite_at,
        "answer_at": one.answer_at,
        "end_at": one.end_at,
        "status": one.status,
        "code": one.code,
        "trace": one.trace,
        "ladder": [rung._asdict() for rung in one.ladder.rungs()],
        "missing": one.ladder.missing,
    }


def _which(one: Watched) -> dict[str, Any]:
    """What every account of a call begins with."""
    return {
        "cdr_id": one.cdr_id,
        "call_id": one.call_id,
        "customer": one.customer,
        "number": one.e164 or one.dialled,
        "gateway": one.gateway,
    }
