"""From what was dialled to E.164 digits, so that no disguise gets past the rules below (SIP-25)."""

from __future__ import annotations

import re
from typing import NamedTuple

from sipsvc.directory import DialPlan
from sipsvc.message import Uri, params_get, unescape

_SEPARATORS = str.maketrans("", "", " -.()\t/")
_DIGITS = re.compile(r"[0-9]+\Z")
# E.164 allows 15 digits; some carriers' premium and test ranges run longer.
SHORTEST, LONGEST = 3, 18
# Country codes whose national numbers never begin with 0, but are dialled with one at home. Carriers pass over it in
# an international number (+44 (0)20…), so kept it would hide a number from prices and blocks. Elsewhere (39, 225…) it
# is a digit as any other.
_TRUNK_ZERO = frozenset(
    "20 27 31 32 33 40 41 43 44 46 49 51 54 55 58 60 61 62 63 64 66 81 82 84 86 90 91 92 93 94 95 98 212 213 234 254 "
    "255 256 260 263 353 355 358 359 380 381 382 385 386 387 389 421 593 595 598 855 880 886 962 963 964 966 967 971 "
    "972 977 994 995 996".split()
)


class Read(NamedTuple):
    """What was dialled without its disguise; `context` is the phone-context, "" for none (RFC 3966 §5.1.5)."""

    number: str
    context: str


def dialled(uri: Uri) -> str:
    """What `read` takes, of a Request-URI: its number or user part, without a password (RFC 3261 §19.1.1)."""
    return uri.user + uri.params if uri.scheme == "tel" else uri.user.partition(":")[0]


def read(user: str) -> Read:
    """`user` is the raw user part or tel: number, parameters such as `;phone-context=+44` included."""
    text = unescape(user)
    if ";" not in text:
        return Read(text.strip().translate(_SEPARATORS), "")
    number, semicolon, rest = text.partition(";")
    context = params_get(semicolon + rest, "phone-context") or ""
    return Read(number.strip().translate(_SEPARATORS), context.strip().translate(_SEPARATORS))


def e164(user: str, plan: DialPlan) -> str:
    """Digits with the country code, "" when `user`, as `read` takes it, is no number by this plan."""
    return by_plan(read(user), plan)


def by_plan(dialled: Read, plan: DialPlan) -> str:
    """The same of what was read already."""
    number, context = dialled
    if number.startswith("+"):
        digits = number[1:]
    elif context.startswith("+"):
        # A "+" alone says of no country that the number is local to it.
        digits = context[1:] + number if len(context) > 1 else ""
    else:
        digits = _by_plan(number, plan)
    if not digits.isascii() or not _DIGITS.match(digits) or not SHORTEST <= len(digits) <= LONGEST:
        return ""
    # No country code begins with 0: such a number has a prefix the plan does not know. Nor has country code 1 numbers
    # that go on with 0 or 1: what is behind would be another number to whoever takes the 1 off.
    if digits[0] == "0" or digits[:2] in ("10", "11"):
        return ""
    return _without_trunk_zero(digits) if "0" in digits[2:4] else digits


def _without_trunk_zero(digits: str) -> str:
    for size in (2, 3):
        if digits[size : size + 1] == "0" and digits[:size] in _TRUNK_ZERO:
            digits = digits[:size] + digits[size:].lstrip("0")
            return digits if len(digits) >= SHORTEST else ""
    return digits


def _by_plan(number: str, plan: DialPlan) -> str:
    matching = [prefix for prefix in plan.international if number.startswith(prefix)]
    if matching:
        return number[max(map(len, matching)) :]
    if plan.national and number.startswith(plan.national):
        return plan.country + number[len(plan.national) :]
    if plan.bare == "international":
        return number
    return plan.country + number if plan.bare == "national" else ""
