"""What a caller may show (SIP-23) and what nobody may dial (SIP-26)."""

from __future__ import annotations

from typing import NamedTuple

from sipsvc.directory import Block, CallerIds, Customer, Directory
from sipsvc.message import Uri
from sipsvc.routing.number import e164

ANONYMOUS = frozenset({"anonymous", "restricted", "unavailable", ""})


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
