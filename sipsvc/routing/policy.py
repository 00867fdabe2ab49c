"""What a caller may show (SIP-23) and what nobody may dial (SIP-26)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sipsvc.directory import Block, CallerIds, Customer
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


def blocked(blocks: Mapping[str, Mapping[str, Block]], partner: str, number: str) -> Block | None:
    """The longest prefix of `number` that the platform or the partner blocks; of equal ones the platform's."""
    tables = [table for table in (blocks.get(""), blocks.get(partner)) if table]
    for length in range(len(number) if tables else 0, 0, -1):
        for table in tables:
            found = table.get(number[:length])
            if found is not None:
                return found
    return None
