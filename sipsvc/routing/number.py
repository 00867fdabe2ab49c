"""From what was dialled to E.164 digits, so that no disguise gets past the rules below (SIP-25)."""

from __future__ import annotations

import re
from typing import NamedTuple

from sipsvc.directory import DialPlan
from sipsvc.message import params_get, unescape

_SEPARATORS = str.maketrans("", "", " -.()\t/")
_DIGITS = re.compile(r"[0-9]+\Z")
# E.164 allows 15 digits; some carriers' premium and test ranges run longer.
SHORTEST, LONGEST = 3, 18


class Read(NamedTuple):
    """What was dialled without its disguise; `context` is the phone-context, "" for none (RFC 3966 §5.1.5)."""

    number: str
    context: str


def read(user: str) -> Read:
    """`user` is the raw user part or tel: number, parameters such as `;phone-context=+44` included."""
    text = unescape(user)
    number, semicolon, rest = text.partition(";")
    context = (params_get(semicolon + rest, "phone-context") or "") if rest else ""
    return Read(number.strip().translate(_SEPARATORS), context.strip().translate(_SEPARATORS))


def e164(user: str, plan: DialPlan) -> str:
    """Digits with the country code, "" when `user`, as `read` takes it, is no number by this plan."""
    return by_plan(read(user), plan)


def by_plan(dialled: Read, plan: DialPlan) -> str:
    """The same of what was read already."""
    number, context = dialled
    if number.startswith("+"):
        digits = number[1:]
    elif context.startswith("+") and _DIGITS.match(context[1:]):
        digits = context[1:] + number
    else:
        digits = _by_plan(number, plan)
    if not digits.isascii() or not _DIGITS.match(digits) or not SHORTEST <= len(digits) <= LONGEST:
        return ""
    # No country code begins with 0: such a number has a prefix the plan does not know.
    return "" if digits.startswith("0") else digits


def _by_plan(number: str, plan: DialPlan) -> str:
    matching = [prefix for prefix in plan.international if number.startswith(prefix)]
    if matching:
        return number[max(map(len, matching)) :]
    if plan.national and number.startswith(plan.national):
        return plan.country + number[len(plan.national) :]
    if plan.bare == "international":
        return number
    return plan.country + number if plan.bare == "national" else ""
