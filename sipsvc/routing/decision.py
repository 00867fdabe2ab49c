"""The one function that decides a call. The proxy acts on it, explain prints it, the CDR keeps its trace."""

from __future__ import annotations

from typing import Any, NamedTuple

from sipsvc.directory import Customer, Directory, PriceList, PriceRow
from sipsvc.effects import Now
from sipsvc.errors import SipError
from sipsvc.headers import Caller
from sipsvc.message import NameAddr, Uri, parse_uri
from sipsvc.rating import first_minute
from sipsvc.routing.limits import limited
from sipsvc.routing.live import Live
from sipsvc.routing.number import e164
from sipsvc.routing.policy import ANONYMOUS, blocked, caller_id
from sipsvc.routing.select import Attempt, Wanted, select


class CallFacts(NamedTuple):
    """What the call says of itself. `dialled` is the raw user part (or tel: number) of the Request-URI; by `call_id`
    gateways are drawn where that goes by weight.
    """

    customer: str
    trunk: str
    dialled: str
    from_: NameAddr
    preferred: str
    privacy: str
    host: str
    call_id: str = ""


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
    # An emergency call is to go by this (SIP-25).
    code = limited(customer, directory.trunks.get(call.trunk), live, trace)
    if code:
        return refuse(code)
    anonymous = from_uri.user.lower() in ANONYMOUS
    caller = Caller(call.from_, from_uri, shown, replaced, anonymous, "id" in call.privacy.lower(), call.host)
    gateways = directory.gateways_of.get(customer.partner, ())
    wanted = Wanted(number, caller, pricelist, sell, call.call_id)
    attempts, code = select(gateways, wanted, directory.platform.rates, live, now, trace)
    if code:
        return refuse(code)
    return Decision("", number, shown, customer, pricelist, sell, attempts, tuple(trace))


def _uri(value: str) -> Uri | None:
    """A P-Preferred-Identity's URI; one that cannot be read counts as none."""
    if not value:
        return None
    try:
        return parse_uri(value.partition("<")[2].partition(">")[0] or value.partition(";")[0].strip())
    except SipError:
        return None
