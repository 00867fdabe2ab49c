"""The one function that decides a call. The proxy acts on it, explain prints it, the CDR keeps its trace."""

from __future__ import annotations

from typing import Any, NamedTuple

from sipsvc.directory import Customer, Directory, PriceList, PriceRow, ShortCode
from sipsvc.effects import Now
from sipsvc.errors import SipError
from sipsvc.headers import Caller, privacy_asked
from sipsvc.message import NameAddr, Uri, escape_user, parse_uri
from sipsvc.rating import first_minute
from sipsvc.routing.limits import limited
from sipsvc.routing.live import Live
from sipsvc.routing.number import by_plan, read
from sipsvc.routing.policy import ANONYMOUS, RESTRICTED, Shown, allowed, caller_id, diversions, level, verdict
from sipsvc.routing.select import Attempt, Wanted, select
from sipsvc.routing.shortcode import emergency_caller, free, named, short
from sipsvc.routing.terms import Terms, affordable, terms_of


class CallFacts(NamedTuple):
    """What the call says of itself. `dialled` is the raw user part (or tel: number) of the Request-URI; by `call_id`
    gateways are drawn where that goes by weight.

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
    call_id: str = ""
    remote: tuple[str, ...] = ()
    diversion: tuple[str, ...] = ()


class Decision(NamedTuple):
    """`code` is "" for a call that may go, else a key of REFUSALS. The trace is every rule looked at, in order.

    `terms` is None for a call that nothing but its price hangs on: no credit, no allowance.
    """

    code: str
    e164: str
    caller: str
    customer: Customer
    pricelist: PriceList | None
    sell: PriceRow | None
    attempts: tuple[Attempt, ...]
    trace: tuple[tuple[Any, ...], ...]
    terms: Terms | None = None


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
    dialled = read(call.dialled)
    code = short(directory, customer, dialled) if directory.shortcodes else None
    if code is not None and code.emergency and customer.status != "closed":
        return _emergency(directory, call, customer, code, trace)
    if customer.status not in ("active", "trial"):
        return refuse("customer_suspended" if customer.status == "suspended" else "customer_closed")
    if code is None:
        number = by_plan(dialled, customer.dial_plan)
        trace.append(("number", call.dialled, number))
        if not number:
            return refuse("number_invalid")
    else:
        number = code.number
        trace.append(("shortcode", call.dialled, code.code, number))
    from_uri = parse_uri(call.from_.uri)
    said = caller_id(customer, from_uri, _uri(call.preferred))
    shown, replaced = said
    trace.append(("caller", from_uri.user, shown, "replaced" if replaced else "kept" if shown else "not_allowed"))
    if not shown:
        return refuse("caller_not_allowed")
    block, allow, lifted = verdict(directory, customer, number)
    if block is not None:
        trace.append(("block", block.prefix, block.reason, level(block)))
        return refuse("dest_blocked")
    if lifted is not None:
        trace.append(("block_lifted", lifted.prefix, lifted.reason))
    if allow is not None:
        trace.append(("allowed", allow.prefix, allow.reason, level(allow)))
    package = directory.package_of(customer)
    pricelist = directory.pricelists[customer.pricelist if package is None else package.pricelist]
    leads = code if code is not None and code.gateways else None
    sell = pricelist.rows.find(number, shown, now.utc) if leads is None else free(leads)
    if sell is None:
        trace.append(("price", pricelist.id, ""))
        return refuse("no_price")
    trace.append(("price", pricelist.id, sell.prefix, str(sell.rate), str(sell.fee), pricelist.currency))
    if pricelist.expensive_at is not None:
        minute = first_minute(sell)
        if minute >= pricelist.expensive_at:
            may = customer.allow_expensive or (allow is not None and allow.lift_expensive)
            trace.append(("expensive", str(minute), str(pricelist.expensive_at), "lifted" if may else "refused"))
            if not may:
                return refuse("dest_expensive")
    over = limited(customer, directory.trunks.get(call.trunk), live, trace)
    if over:
        return refuse(over)
    terms = terms_of(customer, package, sell) if package is not None or customer.metered else None
    if terms is not None and not affordable(terms, sell, pricelist.minimum, live, trace):
        return refuse("credit_exhausted")
    caller = _caller(call, customer, from_uri, said, trace)
    if leads is None:
        gateways = directory.gateways_of.get(customer.partner, ())
        wanted = Wanted(number, caller, pricelist, sell, call.call_id)
        attempts, none_left = select(gateways, wanted, directory.platform.rates, live, now, trace)
    else:
        attempts, none_left = named(directory, leads, caller, trace), "no_route"
    if not attempts:
        return refuse(none_left)
    return Decision("", number, shown, customer, pricelist, sell, attempts, tuple(trace), terms)


def _emergency(
    directory: Directory, call: CallFacts, customer: Customer, code: ShortCode, trace: list[tuple[Any, ...]]
) -> Decision:
    """Past every rule (SIP-25): whose the call is, whom it shows, what it costs and how many there are."""
    from_uri = parse_uri(call.from_.uri)
    said = emergency_caller(customer, from_uri, _uri(call.preferred))
    trace.append(("shortcode", call.dialled, code.code, "emergency"))
    own = bool(said.number) and allowed(customer.caller_ids, said.number)
    told = "replaced" if said.replaced else "kept" if own else "let_through"
    trace.append(("caller", from_uri.user, said.number, told))
    # Whoever helps has to know who called, whatever was asked for.
    caller = _caller(call, customer, from_uri, said, trace, private=False)
    attempts = named(directory, code, caller, trace)
    refusal = "" if attempts else "no_route"
    if refusal:
        trace.append(("refused", refusal))
    pricelist = directory.pricelist_of(customer)
    return Decision(refusal, "", said.number, customer, pricelist, free(code), attempts, tuple(trace))


def _caller(
    call: CallFacts,
    customer: Customer,
    from_uri: Uri,
    shown: Shown,
    trace: list[tuple[Any, ...]],
    *,
    private: bool = True,
) -> Caller:
    """Who calls, with the diversions that may pass and, where `private`, the privacy that is asked for (SIP-32)."""
    who = from_uri.user.lower()
    privacy = privacy_asked(call.privacy, call.remote, who in RESTRICTED) if private else None
    if privacy is not None:
        trace.append(("privacy", call.privacy, privacy.remote_party))
    diverted = diversions(customer, call.diversion) if call.diversion else ()
    if diverted:
        trace.append(("diversion", *(one.number for one in diverted)))
    # One that shows no number, as an emergency call may, has nothing to put into an identity either.
    anonymous = who in ANONYMOUS or not shown.number
    # What leaves is escaped even where the database holds what is no number (SIP-5).
    digits = escape_user(shown.number)
    return Caller(call.from_, from_uri, digits, shown.replaced, anonymous, privacy, call.host, diverted)


def _uri(value: str) -> Uri | None:
    """A P-Preferred-Identity's URI; one that cannot be read counts as none."""
    if not value:
        return None
    try:
        return parse_uri(value.partition("<")[2].partition(">")[0] or value.partition(";")[0].strip())
    except SipError:
        return None
