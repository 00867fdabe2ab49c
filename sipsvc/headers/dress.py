"""One gateway's clothes for a call: request URI, From, identity headers. Pure, and always from the pristine call."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from sipsvc.directory import Gateway, Rewrite
from sipsvc.directory.rules import substitute
from sipsvc.effects import written
from sipsvc.headers.privacy import NOTHING, Privacy
from sipsvc.message import NameAddr, Uri, escape_user
from sipsvc.message.grammar import HOST

# What would end the URI or the line it stands in, whoever put it into a rule or the database (SIP-5).
_UNSENDABLE = re.compile(r'[\x00-\x20\x7f<>@"]')
_AS_IT_STANDS = re.compile(r"[!#-9;=?A-\[\]-~]*\Z")
_HOST = re.compile(rf"{HOST}\Z")
# Far more than anybody dials or shows: rules that double what they find must not fill the memory.
MOST_USER = 256
_DIGIT = re.compile(r"[0-9]")


class Diverted(NamedTuple):
    """A number of the customer's own that the call was diverted from (RFC 5806), as digits of a user part.

    `params` begin with `;`; `private` tells that gateways we do not trust may not see it.
    """

    number: str
    params: str
    private: bool


class Caller(NamedTuple):
    """Who the call is shown as coming from, after the ownership rule (SIP-23).

    `shown` is E.164 digits. `replaced` tells that From may not stay as it is, `anonymous` that it says nothing.
    `host` is the domain of the identities we write.
    """

    from_: NameAddr
    from_uri: Uri
    shown: str
    replaced: bool
    anonymous: bool
    privacy: Privacy | None
    host: str
    diverted: tuple[Diverted, ...] = ()


class Dress(NamedTuple):
    """`from_value` is "" where From stays as it came; `identity` are whole header lines, `off` the names of headers
    that stay behind for privacy."""

    request_uri: str
    user: str
    from_value: str
    identity: tuple[str, ...]
    off: frozenset[str] = NOTHING


def dress(gateway: Gateway, e164: str, caller: Caller, *, verbatim: bool = False) -> Dress | None:
    """None when the gateway's settings leave nothing that could be sent; with `verbatim` it is dialled as it stands.

    Order (TG-6): E.164 digits, rewrites in turn, then the prefix. Raises nothing.
    """
    rules = () if verbatim else gateway.rewrites
    user = _rewritten(rules, e164) if rules or verbatim else e164
    place = place_of(gateway.host, gateway.port, gateway.transport)
    if not user or not place:
        return None
    if gateway.uri_prefix and not verbatim:
        prefix = _escaped(gateway.uri_prefix) if gateway.uri_prefix_escaped else gateway.uri_prefix
        user = prefix + user if _AS_IT_STANDS.match(prefix) else ""
    number = prefixed = "+" + caller.shown if gateway.plus_in_caller else caller.shown
    if gateway.caller_prefix:
        prefixed = _escaped(gateway.caller_prefix) + number
    if not user or len(user) > MOST_USER or len(prefixed) > MOST_USER:
        return None
    privacy, off = caller.privacy, NOTHING
    identity: tuple[str, ...] = ()
    # Towards a gateway we do not trust, privacy means saying nothing (SIP-32).
    if caller.shown and (privacy is None or not privacy.number or gateway.trusted):
        if gateway.p_asserted_identity:
            value = prefixed if "pai" in gateway.caller_prefix_in else number
            identity = (f"P-Asserted-Identity: <sip:{value}@{caller.host}>",)
        if gateway.remote_party_id:
            value = prefixed if "rpid" in gateway.caller_prefix_in else number
            hides = "off" if privacy is None else privacy.remote_party
            # Screened: it has passed the ownership rule.
            identity += (f"Remote-Party-ID: <sip:{value}@{caller.host}>;party=calling;screen=yes;privacy={hides}",)
    if gateway.diversion and caller.diverted:
        identity += _diversion(gateway, caller)
    if privacy is not None:
        off, lines = privacy.trusted if gateway.trusted else privacy.others
        identity += lines
    from_value = _from(gateway, caller, prefixed if "from" in gateway.caller_prefix_in else number)
    return Dress(f"sip:{user}@{place}", user, from_value, identity, off)


def _from(gateway: Gateway, caller: Caller, number: str) -> str:
    """`number` is as this gateway wants it in From."""
    from_, uri, privacy = caller.from_, caller.from_uri, caller.privacy
    if privacy is not None and privacy.number and (privacy.user or caller.replaced or not gateway.trusted):
        # It may be anonymous already; how is the caller's affair unless it wants us to see to it.
        unnamed = uri.host.lower() == "anonymous.invalid" and from_.display.strip('"').lower() in ("", "anonymous")
        if caller.anonymous and (unnamed or not privacy.user):
            return ""
        # Neither the number that is not its own nor the one it wants hidden (RFC 3323 §4.1), nor a name that holds it.
        hidden = privacy.name or caller.replaced or not from_.display or _DIGIT.search(from_.display)
        display = '"Anonymous"' if hidden else from_.display
        tag = f";tag={from_.tag}" if from_.tag else ""
        return f"{display} <sip:anonymous@anonymous.invalid>{tag}"
    in_from = gateway.caller_prefix and "from" in gateway.caller_prefix_in
    unnamed = privacy is not None and privacy.name and not gateway.trusted and from_.display != ""
    plus = gateway.plus_in_caller and uri.user != number
    if caller.anonymous or not (in_from or caller.replaced or unnamed or plus):
        return ""
    port = f":{uri.port}" if uri.port else ""
    # A display name may hold the number that was not allowed; it goes with it.
    display = f"{from_.display} " if from_.display and not (caller.replaced or unnamed) else ""
    return f"{display}<sip:{number}@{uri.host or caller.host}{port}>{from_.params}"


def _diversion(gateway: Gateway, caller: Caller) -> tuple[str, ...]:
    plus = "+" if gateway.plus_in_caller else ""
    hidden = caller.privacy is not None and caller.privacy.history
    return tuple(
        f"Diversion: <sip:{plus}{one.number}@{caller.host}>{one.params}"
        for one in caller.diverted
        if gateway.trusted or not (hidden or one.private)
    )


def _rewritten(rules: tuple[Rewrite, ...], digits: str) -> str:
    """The user part, escaped; "" where there is none that could be sent."""
    user = digits
    for rule in rules:
        try:
            user = substitute(rule.regex, rule.replacement, user)
        except ValueError:
            return ""  # it is none that would be saved: a group that is not there, half a character
        if len(user) > MOST_USER:
            return ""
    return "" if _UNSENDABLE.search(user) else escape_user(user)


@lru_cache(maxsize=4_096)
def place_of(host: str, port: int, transport: str) -> str:
    """What stands behind the user part of a gateway's URI, the same on every call; "" for what is no host."""
    name = written(host)
    if not _HOST.match(name) or not 0 <= port <= 65_535:
        return ""
    # Without it the URI would stand for UDP (RFC 3263 §4.1).
    return f"{name}{f':{port}' if port else ''}{'' if transport == 'udp' else f';transport={transport}'}"


_escaped = lru_cache(maxsize=4_096)(escape_user)
