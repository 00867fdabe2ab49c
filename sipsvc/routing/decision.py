"""The one function that decides a call. The proxy acts on it, explain prints it, the CDR keeps its trace."""

from __future__ import annotations

from typing import Any, NamedTuple

from sipsvc.directory import Customer, Directory, Gateway, PriceList, PriceRow
from sipsvc.effects import Now
from sipsvc.errors import SipError
from sipsvc.headers import Caller, Dress, dress, privacy_asked
from sipsvc.message import NameAddr, Uri, escape_user, parse_uri
from sipsvc.rating import first_minute
from sipsvc.routing.number import e164
from sipsvc.routing.policy import ANONYMOUS, RESTRICTED, blocked, caller_id, diversions


class CallFacts(NamedTuple):
    """What the call says of itself. `dialled` is the raw user part (or tel: number) of the Request-URI.

    `remote` are the values of Remote-Party-ID, of which only the privacy it asks for is believed, `diversion` those of
    Diversion.
    """

    customer: str
    trunk: str
    dialled: str
    from_: NameAddr
    preferred: str
    privacy: str
    host: str
    remote: tuple[str, ...] = ()
    diversion: tuple[str, ...] = ()


class Live(NamedTuple):
    """What is true only now: the customer's calls in progress, this one not counted (law 6).

    `closed` is "" or why the server takes no calls at all: `draining`, `log_full`.
    """

    channels: int = 0
    closed: str = ""


class Attempt(NamedTuple):
    """One gateway to try, dressed. `buy` is its price for this number."""

    gateway: Gateway
    dress: Dress
    buy: PriceRow


class Decision(NamedTuple):
    """`code` is "" for a call that may go, else a key of REFUSALS. The trace is every rule looked at, in order."""

    code: str
    e164: str
    caller: str
    customer: Customer
    pricelist: PriceList | None
    sell: PriceRow | None
    attempts: tuple[Attempt, ...]
    trace: tuple[tuple[Any, ...], ...]


def decide(directory: Directory, call: CallFacts, live: Live, now: Now) -> Decision:
    """Pure: the same arguments give the same decision, whoever asks.

    Prices are those in force at `now`. Raises KeyError when `call.customer` is not in the directory and SipError when
    From holds no URI.
    """
    customer = directory.customers[call.customer]
    trace: list[tuple[Any, ...]] = [("customer", customer.id, customer.status, call.trunk)]
    number = shown = ""
    pricelist: PriceList | None = None
    sell: PriceRow | None = None

    def refuse(code: str) -> Decision:
        trace.append(("refused", code))
        return Decision(code, number, shown, customer, pricelist, sell, (), tuple(trace))

    if live.closed:
        return refuse(live.closed)
    if customer.status not in ("active", "trial"):
        return refuse("customer_suspended" if customer.status == "suspended" else "customer_closed")
    number = e164(call.dialled, customer.dial_plan)
    trace.append(("number", call.dialled, number))
    if not number:
        return refuse("number_invalid")
    from_uri = parse_uri(call.from_.uri)
    shown, replaced = caller_id(customer, from_uri, _uri(call.preferred))
    trace.append(("caller", from_uri.user, shown, "replaced" if replaced else "kept" if shown else "not_allowed"))
    if not shown:
        return refuse("caller_not_allowed")
    block = blocked(directory.blocked, customer.partner, number)
    if block is not None:
        trace.append(("block", block.prefix, block.reason))
        return refuse("dest_blocked")
    pricelist = directory.pricelists[customer.pricelist]
    sell = pricelist.rows.find(number, shown, now.utc)
    if sell is None:
        trace.append(("price", pricelist.id, ""))
        return refuse("no_price")
    trace.append(("price", pricelist.id, sell.prefix, str(sell.rate), str(sell.fee), pricelist.currency))
    if pricelist.expensive_at is not None:
        minute = first_minute(sell)
        if minute >= pricelist.expensive_at:
            verdict = "lifted" if customer.allow_expensive else "refused"
            trace.append(("expensive", str(minute), str(pricelist.expensive_at), verdict))
            if not customer.allow_expensive:
                return refuse("dest_expensive")
    if customer.max_channels:
        trace.append(("channels", live.channels, customer.max_channels))
        if live.channels >= customer.max_channels:
            return refuse("channels_full")
    who = from_uri.user.lower()
    privacy = privacy_asked(call.privacy, call.remote, who in RESTRICTED)
    if privacy is not None:
        trace.append(("privacy", call.privacy, privacy.remote_party))
    diverted = diversions(customer, call.diversion) if call.diversion else ()
    if diverted:
        trace.append(("diversion", *(one.number for one in diverted)))
    # What leaves is escaped even where the database holds what is no number (SIP-5).
    digits = escape_user(shown)
    caller = Caller(call.from_, from_uri, digits, replaced, who in ANONYMOUS, privacy, call.host, diverted)
    gateways = directory.gateways_of.get(customer.partner, ())
    attempts = _candidates(gateways, pricelist, number, caller, now, trace)
    if not attempts:
        private = any(entry[-1] == "privacy_critical" for entry in trace)
        return refuse("privacy_critical" if private else "no_route")
    trace.append(("order", pricelist.strategy, *(attempt.gateway.id for attempt in attempts)))
    return Decision("", number, shown, customer, pricelist, sell, attempts, tuple(trace))


def _candidates(
    gateways: tuple[Gateway, ...],
    pricelist: PriceList,
    number: str,
    caller: Caller,
    now: Now,
    trace: list[tuple[Any, ...]],
) -> tuple[Attempt, ...]:
    """Of `gateways`, those that serve the number, in the order they are to be tried (SIP-28). Equals go by id.

    Prices in another currency than the price list's cannot be compared: those gateways come last.
    """
    found: list[tuple[Any, Attempt]] = []
    for gateway in gateways:
        if not gateway.enabled:
            trace.append(("gateway", gateway.id, "disabled"))
            continue
        buy = gateway.coverage.find(number, caller.shown, now.utc)
        if buy is None:
            trace.append(("gateway", gateway.id, "no_coverage"))
            continue
        if caller.privacy is not None and caller.privacy.unmet and not gateway.trusted:
            # What we cannot hide may only go to who answers for it (RFC 3323 §4.2).
            trace.append(("gateway", gateway.id, "privacy_critical"))
            continue
        clothes = dress(gateway, number, caller)
        if clothes is None:
            trace.append(("gateway", gateway.id, "rewritten_to_nothing"))
            continue
        trace.append(("gateway", gateway.id, "serves", buy.prefix, str(buy.rate), gateway.currency))
        price = (gateway.currency != pricelist.currency, first_minute(buy))
        by_priority = pricelist.strategy == "priority"
        order = (gateway.priority, price, gateway.id) if by_priority else (price, gateway.priority, gateway.id)
        found.append((order, Attempt(gateway, clothes, buy)))
    found.sort(key=lambda one: one[0])
    return tuple(attempt for _, attempt in found)


def _uri(value: str) -> Uri | None:
    """A P-Preferred-Identity's URI; one that cannot be read counts as none."""
    if not value:
        return None
    try:
        return parse_uri(value.partition("<")[2].partition(">")[0] or value.partition(";")[0].strip())
    except SipError:
        return None
