"""What a caller may show (SIP-23) and what nobody may dial (SIP-26)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sipsvc.directory import Block, CallerIds, Customer
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


def blocked(blocks: Mapping[str, Mapping[str, Block]], partner: str, number: str) -> Block | None:
    """The longest prefix of `number` that the platform or the partner blocks; of equal ones the platform's."""
    tables = [table for table in (blocks.get(""), blocks.get(partner)) if table]
    for length in range(len(number) if tables else 0, 0, -1):
        for table in tables:
            found = table.get(number[:length])
            if found is not None:
                return found
    return None
