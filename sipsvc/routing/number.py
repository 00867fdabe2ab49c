"""From what was dialled to E.164 digits, so that no disguise gets past the rules below (SIP-25)."""

from __future__ import annotations

import re

from sipsvc.directory import DialPlan
from sipsvc.message import params_get, unescape

_SEPARATORS = str.maketrans("", "", " -.()\t/")
_DIGITS = re.compile(r"[0-9]+\Z")
# E.164 allows 15 digits; some carriers' premium and test ranges run longer.
SHORTEST, LONGEST = 3, 18


def e164(user: str, plan: DialPlan) -> str:
    """Digits with the country code, "" when `user` is no number by this plan.

    `user` is the raw user part or tel: number, parameters such as `;phone-context=+44` included.
    """
    text = unescape(user)
    number, semicolon, rest = text.partition(";")
    number = number.strip().translate(_SEPARATORS)
    context = (params_get(semicolon + rest, "phone-context") or "").strip().translate(_SEPARATORS)
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
