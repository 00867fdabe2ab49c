"""Which gateways a call is tried at, and in which order (SIP-28)."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from hashlib import blake2b
from math import log
from typing import Any, NamedTuple

from sipsvc.directory import Gateway, PriceList, PriceRow
from sipsvc.effects import Now
from sipsvc.headers import Caller, Dress, dress
from sipsvc.rating import exchanged, expected, text
from sipsvc.routing.live import Live

# Why no gateway is left, from what may be over soonest to what stays. One that would lose money is no route, for what a
# call costs the partner is none of its customer's business (EX-2).
NONE_LEFT = {
    "full": "gateways_busy",
    "over_rate": "gateways_busy",
    "down": "gateways_down",
    "closed": "gateways_closed",
    "privacy_critical": "privacy_critical",
}


class Attempt(NamedTuple):
    """One gateway to try, dressed. `buy` is its price for this number; `unlimited` goes past the gateway's limits."""

    gateway: Gateway
    dress: Dress
    buy: PriceRow
    unlimited: bool = False


class Wanted(NamedTuple):
    """A call that is allowed: the number, who is shown, and by what it is sold. `call_id` draws by weight."""

    number: str
    caller: Caller
    pricelist: PriceList
    sell: PriceRow
    call_id: str


def select(
    gateways: tuple[Gateway, ...],
    wanted: Wanted,
    rates: Mapping[str, Decimal],
    live: Live,
    now: Now,
    trace: list[tuple[Any, ...]],
) -> tuple[tuple[Attempt, ...], str]:
    """Of `gateways`, those that can take the call, in the order they are to be tried; or none, and the refusal's code.

    Equals go by id. Prices in a currency without an exchange rate cannot be compared: those gateways come last, and
    whether they lose money nobody can tell.
    """
    pricelist = wanted.pricelist
    sold = None
    if not pricelist.allow_loss:
        sold = expected(wanted.sell, pricelist.expected_s, pricelist.minimum)
    private = wanted.caller.privacy is not None and wanted.caller.privacy.unmet
    found: list[tuple[Any, Attempt]] = []
    passed_over: set[str] = set()
    for gateway in gateways:
        if not gateway.enabled:
            trace.append(("gateway", gateway.id, "disabled"))
            continue
        buy = gateway.coverage.find(wanted.number, wanted.caller.shown, now.utc)
        if buy is None:
            trace.append(("gateway", gateway.id, "no_coverage"))
            continue
        if private and not gateway.trusted:
            # What we cannot hide may only go to who answers for it (RFC 3323 §4.2).
            trace.append(("gateway", gateway.id, "privacy_critical"))
            passed_over.add("privacy_critical")
            continue
        clothes = dress(gateway, wanted.number, wanted.caller)
        if clothes is None:
            trace.append(("gateway", gateway.id, "rewritten_to_nothing"))
            continue
        cost, known = expected(buy, pricelist.expected_s), True
        if gateway.currency != pricelist.currency:
            cost, known = _exchanged(gateway, cost, pricelist, rates, trace)
        if sold is not None and known and cost > sold:
            trace.append(("gateway", gateway.id, "loss", text(cost), text(sold), pricelist.currency))
            continue
        if live.down or gateway.max_channels or gateway.max_cps or gateway.schedule:
            why = _shut(gateway, live, now)
            if why:
                trace.append(("gateway", gateway.id, *why))
                passed_over.add(str(why[0]))
                continue
        trace.append(("gateway", gateway.id, "serves", buy.prefix, str(buy.rate), gateway.currency))
        place: tuple[Any, ...] = (not known, cost, gateway.priority, gateway.id)
        if pricelist.strategy == "priority":
            place = (gateway.priority, *place)
        elif pricelist.strategy == "weight":
            place = _ticket(gateway, wanted.call_id, trace)
        found.append((place, Attempt(gateway, clothes, buy)))
    if not found:
        return (), next((code for why, code in NONE_LEFT.items() if why in passed_over), "no_route")
    found.sort(key=lambda one: one[0])
    attempts = tuple(attempt for _, attempt in found)
    trace.append(("order", pricelist.strategy, *(attempt.gateway.id for attempt in attempts)))
    return attempts, ""


def draw(call_id: str, gateway: str, weight: int) -> float:
    """The ticket of a gateway for this call; the lowest is first. A gateway of twice the weight is so twice as often.

    The tickets are exponential with the weight as their rate, so that the first of any set of gateways is drawn by
    weight, and behind it the first of the rest. The same call always draws alike.
    """
    number = int.from_bytes(blake2b(f"{call_id}\n{gateway}".encode(), digest_size=8).digest())
    return -log((number + 1) / 2**64) / weight


def _shut(gateway: Gateway, live: Live, now: Now) -> tuple[Any, ...]:
    """Why a gateway that serves the number takes no call at this moment, for the trace; () for nothing."""
    if gateway.schedule and not any(window.holds(now.utc) for window in gateway.schedule):
        return ("closed",)
    if gateway.id in live.down:
        return ("down",)
    if gateway.max_channels and live.gateways.get(gateway.id, 0) >= gateway.max_channels:
        return ("full", live.gateways[gateway.id], gateway.max_channels)
    if gateway.id in live.over_rate:
        return ("over_rate", gateway.max_cps)
    return ()


def _exchanged(
    gateway: Gateway, cost: Decimal, pricelist: PriceList, rates: Mapping[str, Decimal], trace: list[tuple[Any, ...]]
) -> tuple[Decimal, bool]:
    """A gateway's cost in the price list's currency; where no rate leads there, as it is, and False."""
    here, there = rates.get(pricelist.currency), rates.get(gateway.currency)
    if here is None or there is None:
        trace.append(("no_rate", gateway.id, gateway.currency, pricelist.currency))
        return cost, False
    ours = exchanged(cost, there, here)
    trace.append(("exchanged", gateway.id, text(cost), gateway.currency, text(ours), pricelist.currency))
    return ours, True


def _ticket(gateway: Gateway, call_id: str, trace: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    """A gateway's place where they are drawn."""
    if not gateway.weight:
        return (True, gateway.priority, gateway.id)
    ticket = draw(call_id, gateway.id, gateway.weight)
    trace.append(("drawn", gateway.id, gateway.weight, f"{ticket:.6f}"))
    return (False, ticket, gateway.id)
