"""Short codes: what a few digits stand for, looked at before the dial plan, and emergency numbers (SIP-25)."""

from __future__ import annotations

from typing import Any

from sipsvc.directory import Customer, Directory, PriceRow, ShortCode
from sipsvc.headers import Caller, dress
from sipsvc.message import Uri
from sipsvc.rating import ZERO
from sipsvc.routing.number import Read, e164
from sipsvc.routing.policy import ANONYMOUS, Shown, caller_id
from sipsvc.routing.select import Attempt


def short(directory: Directory, customer: Customer, dialled: Read) -> ShortCode | None:
    """The customer's own short code, else its partner's.

    A number that is local to a country (RFC 3966) is none of theirs, but an emergency number is one everywhere.
    """
    number, context = dialled
    for table in (directory.codes_for.get(customer.id), directory.codes.get(customer.partner)):
        found = table.get(number) if table else None
        if found is not None and (found.emergency or not context.startswith("+")):
            return found
    return None


def free(code: ShortCode) -> PriceRow:
    """What a call to the gateways of a code is sold and bought at: nothing, under the code as its prefix."""
    return PriceRow(0, code.code, code.name, ZERO, ZERO, 1, 1)


def named(directory: Directory, code: ShortCode, caller: Caller, trace: list[tuple[Any, ...]]) -> tuple[Attempt, ...]:
    """The code's gateways in its order, each dialled what the code says, without their rewrites and prefix.

    Calls to them cost nothing, and only emergency calls go past their limits.
    """
    row, found = free(code), []
    for name in code.gateways:
        gateway = directory.gateways.get(name)
        if gateway is None or not gateway.enabled:
            trace.append(("gateway", name, "disabled"))
            continue
        clothes = dress(gateway, code.dial or code.code, caller, verbatim=True)
        if clothes is not None:
            trace.append(("gateway", name, "named"))
            found.append(Attempt(gateway, clothes, row, code.emergency))
    if found:
        trace.append(("order", "named", *(attempt.gateway.id for attempt in found)))
    return tuple(found)


def emergency_caller(customer: Customer, from_uri: Uri, preferred: Uri | None) -> Shown:
    """Who calls an emergency number: nobody is refused for it.

    What the account may show or its default, else its number as it is, "" where that is no number.
    """
    ids = customer.caller_ids
    shown = caller_id(customer, from_uri, preferred)
    if shown.number:
        return shown
    if ids.default:
        return Shown(ids.default, from_uri.user.lower() not in ANONYMOUS)
    return Shown(e164(from_uri.user, customer.dial_plan), False)
