"""What a caller asks to be kept private, and what of it is left for others to do (SIP-32).

RFC 3323 and RFC 3325 with their Privacy header, RFC 7044 for History-Info, and the Remote-Party-ID draft, by which
older phones ask for the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

from sipsvc.errors import SipError
from sipsvc.message import params_get, parse_name_addr
from sipsvc.message.grammar import TOKEN

NOTHING: frozenset[str] = frozenset()
# Of these, From apart, RFC 3323 §5.3 says that a privacy service takes them out for `user`.
_TELLING = frozenset({"subject", "call-info", "organization", "user-agent", "reply-to", "in-reply-to"})
# What a gateway we do not trust could read the number in all the same: RFC 8224 seals it together with From.
_NUMBERED = frozenset({"history-info", "identity"})
_HISTORY = frozenset({"history-info"})
_PRIVACY = frozenset({"privacy"})
# What asks for the caller's number to be hidden. `header` wants nothing added that tells of the caller (§5.1).
_HIDES_NUMBER = frozenset({"id", "user", "header"})
_HIDES_HISTORY = frozenset({"id", "user", "header", "session", "history"})
# What is done when we have done our part; Via, Contact and media are not ours to hide.
_DONE = frozenset({"id", "user", "history", "critical", "none"})
_SEPARATORS = re.compile(r"[;,\s]+")


class Onward(NamedTuple):
    """What privacy changes in a request: `off` are headers that do not go on, `lines` are put in."""

    off: frozenset[str]
    lines: tuple[str, ...]


class Privacy(NamedTuple):
    """`number` and `name` are hidden from gateways we do not trust, with `user` from all in From; `history` hides whom
    the call came by. `unmet` is what only others could do and the caller will not go without (`critical`).
    """

    number: bool
    name: bool
    user: bool
    history: bool
    unmet: str
    trusted: Onward
    others: Onward

    @property
    def remote_party(self) -> str:
        """As Remote-Party-ID has it (draft-ietf-sip-privacy-04 §5)."""
        return ("full" if self.name else "uri") if self.number else "name" if self.name else "off"


def privacy_asked(header: str, remote: Sequence[str], anonymous: bool, party: str = "calling") -> Privacy | None:
    """What the Privacy header asks for, or `remote`, which are values of Remote-Party-ID, or an anonymous From.

    `party` is whose: in a response it is the `called` one's.

    None where nothing is asked. `none` alone says that nothing is to be hidden, whatever else asks for it; beside
    others, where it must not stand (RFC 3323 §4.2), it does not undo them.
    """
    if not (header or remote or anonymous):
        return None
    values = [value for value in _SEPARATORS.split(header.lower()) if TOKEN.match(value)]
    wants = frozenset(values)
    if wants == {"none"}:
        return None
    by_remote = _of_remote(remote, party)
    if not wants and not by_remote and not anonymous:
        return None
    user = "user" in wants
    number = anonymous or not wants.isdisjoint(_HIDES_NUMBER) or not by_remote.isdisjoint({"full", "uri"})
    name = anonymous or not wants.isdisjoint(_HIDES_NUMBER) or not by_remote.isdisjoint({"full", "name"})
    history = number or not wants.isdisjoint(_HIDES_HISTORY)
    left = [value for value in values if value not in _DONE]
    off = _TELLING if user else NOTHING
    # Whom we trust has to go on hiding what it is told, also where the caller asked in another way (RFC 3325 §9.3).
    told = [*values, "id"] if number and "id" not in wants else values
    hidden = _NUMBERED if number else _HISTORY if history else NOTHING
    unmet = ";".join(left) if "critical" in wants else ""
    return Privacy(
        number, name, user, history, unmet, _onward(off, values, told), _onward(off | hidden, values, left)
    )  # fmt: skip


def _onward(off: frozenset[str], values: list[str], told: list[str]) -> Onward:
    if told == values:
        return Onward(off, ())
    return Onward(off | _PRIVACY, (f"Privacy: {';'.join(told)}",) if told else ())


def _of_remote(values: Iterable[str], party: str) -> frozenset[str]:
    """What a party's own Remote-Party-ID asks for: `full`, `uri`, `name`. Of it nothing else is believed."""
    found = set()
    for value in values:
        with suppress(SipError):
            params = parse_name_addr(value, "Remote-Party-ID").params
            if (params_get(params, "party") or party).lower() == party:
                found.add((params_get(params, "privacy") or "").strip('"').lower().partition("-")[0])
    return frozenset(found & {"full", "uri", "name"})
