"""What a caller may show (SIP-23) and what nobody may dial (SIP-26)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sipsvc.directory import Block, CallerIds, Customer, Directory
from sipsvc.errors import SipError
from sipsvc.headers import Diverted
from sipsvc.message import Uri, escape_user, params_get, parse_name_addr, parse_uri
from sipsvc.message.grammar import TOKEN
from sipsvc.routing.number import e164

# Users of a From that is no number to be shown; the first two ask that none be.
RESTRICTED = frozenset({"anonymous", "restricted"})
ANONYMOUS = RESTRICTED | {"unavailable", ""}
# Of how many diversions we tell; a call has hardly come by more.
MOST_DIVERSIONS = 5


class Shown(NamedTuple):
    """The caller's number as it leaves, "" when the call is refused for it; `replaced` by the account's default."""

    number: str
    replaced: bool


def caller_id(customer: Customer, from_uri: Uri, preferred: Uri | None) -> Shown:
    """The first allowed of P-Preferred-Identity and From, else the account's default, else nothing."""
    ids, plan = customer.caller_ids, customer.dial_plan
    anonymous = from_uri.user.lower() in ANONYMOUS
    number = "" if anonymous else e164(from_uri.user, plan)
    own = bool(number) and allowed(ids, number)
    if preferred is not None:
        wanted = e164(preferred.user, plan)
        if wanted and allowed(ids, wanted):
            return Shown(wanted, not anonymous and not own)
    if own:
        return Shown(number, False)
    if ids.otherwise == "default" and ids.default:
        return Shown(ids.default, not anonymous)
    return Shown("", False)


def allowed(ids: CallerIds, number: str) -> bool:
    for entry in ids.allowed:
        if number.startswith(entry[:-1]) if entry.endswith("*") else number == entry:
            return True
    return number == ids.default


def diversions(customer: Customer, values: Iterable[str]) -> tuple[Diverted, ...]:
    """Those of a call's Diversion values that name a number of the customer's own, where its setting lets them pass.

    They are written anew: nothing of the name, the host or a parameter we do not know goes on.
    """
    ids, found = customer.caller_ids, []
    for value in values if ids.diversion else ():
        try:
            part = parse_name_addr(value, "Diversion")
            number = e164(parse_uri(part.uri).user, customer.dial_plan)
        except SipError:
            continue  # what cannot be read is nobody's number
        if not number or not allowed(ids, number):
            continue
        params, hidden = "", "off"
        for name in ("reason", "counter", "privacy"):
            said = (params_get(part.params, name) or "").strip('"')
            if TOKEN.match(said) and (name != "counter" or said.isdigit()):
                params += f";{name}={said}"
                hidden = said.lower() if name == "privacy" else hidden
        found.append(Diverted(escape_user(number), f"{params};screen=yes", hidden != "off"))
    return tuple(found[:MOST_DIVERSIONS])


class Verdict(NamedTuple):
    """`block` is what the call may not pass, None where it may go. `lifted` is the platform's block that `allow` undid.

    `allow` is the entry that lets the number through, None where none speaks of it.
    """

    block: Block | None
    allow: Block | None = None
    lifted: Block | None = None


UNSAID = Verdict(None)


def level(block: Block) -> str:
    """Who says it: `platform`, `partner` or `customer`."""
    return "customer" if block.customer else "partner" if block.partner else "platform"


def verdict(directory: Directory, customer: Customer, number: str) -> Verdict:
    """What the platform, and what the partner for all or for this customer, say of a number (SIP-26).

    Of each of the two the longest prefix counts, of the partner's equal ones the customer's; what either blocks is
    blocked. A block of the platform's that is liftable gives way to an allow of the partner's that is no shorter.
    """
    tables = directory.blocked
    platform, own = tables.get(""), tables.get(customer.partner)
    special = directory.blocked_for.get(customer.id)
    if not (platform or own or special):
        return UNSAID
    theirs: Block | None = None
    ours: Block | None = None
    for length in range(len(number), 0, -1):
        prefix = number[:length]
        if platform and theirs is None:
            theirs = platform.get(prefix)
        if ours is None:
            if special:
                ours = special.get(prefix)
            if own and ours is None:
                ours = own.get(prefix)
    if theirs is None and ours is None:
        return UNSAID
    allow = ours if ours is not None and ours.action == "allow" else None
    refused = ours if allow is None else None
    if theirs is not None and theirs.action == "block":
        if refused is not None and len(refused.prefix) > len(theirs.prefix):
            return Verdict(refused)
        if not theirs.liftable or allow is None or len(allow.prefix) < len(theirs.prefix):
            return Verdict(theirs)
        return Verdict(None, allow, theirs)
    return Verdict(refused) if refused is not None else Verdict(None, allow or theirs)
