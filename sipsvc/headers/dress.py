"""One gateway's clothes for a call: request URI, From, identity headers. Pure, and always from the pristine call."""

from __future__ import annotations

import re
from typing import NamedTuple

from sipsvc.directory import Gateway
from sipsvc.directory.rules import substitute
from sipsvc.message import NameAddr, Uri, escape_user

# What would end the URI or the line it stands in, whoever put it into a rule or the database (SIP-5).
_UNSENDABLE = re.compile(r'[\x00-\x20\x7f<>@"]')


class Caller(NamedTuple):
    """Who the call is shown as coming from, after the ownership rule (SIP-23).

    `shown` is E.164 digits. `replaced` tells that From may not stay as it is, `anonymous` that it says nothing.
    `private` is RFC 3323's `id`; `host` the domain of the identities we write.
    """

    from_: NameAddr
    from_uri: Uri
    shown: str
    replaced: bool
    anonymous: bool
    private: bool
    host: str


class Dress(NamedTuple):
    """`from_value` is "" where From stays as it came; `identity` are whole header lines."""

    request_uri: str
    user: str
    from_value: str
    identity: tuple[str, ...]


def dress(gateway: Gateway, e164: str, caller: Caller, *, verbatim: bool = False) -> Dress | None:
    """None when the gateway's rewrite rules leave nothing to dial; with `verbatim` it is sent as it stands.

    Order (TG-6): E.164 digits, rewrites in turn, then the prefix. Raises nothing.
    """
    user = e164
    for rule in () if verbatim else gateway.rewrites:
        user = substitute(rule.regex, rule.replacement, user)
    digits = escape_user(user)
    uri_prefix = "" if verbatim else gateway.uri_prefix
    prefix = escape_user(uri_prefix) if gateway.uri_prefix_escaped else uri_prefix
    if not user or _UNSENDABLE.search(user) or _UNSENDABLE.search(prefix):
        return None
    host = f"[{gateway.host}]" if ":" in gateway.host else gateway.host
    port = f":{gateway.port}" if gateway.port else ""
    # Without it the URI would stand for UDP (RFC 3263 §4.1).
    transport = "" if gateway.transport == "udp" else f";transport={gateway.transport}"
    where = gateway.caller_prefix_in
    prefixed = escape_user(gateway.caller_prefix + caller.shown)
    identity: list[str] = []
    # Towards a gateway we do not trust, privacy means saying nothing (SIP-32).
    if caller.shown and (not caller.private or gateway.trusted):
        if gateway.p_asserted_identity:
            number = prefixed if "pai" in where else caller.shown
            identity.append(f"P-Asserted-Identity: <sip:{number}@{caller.host}>")
        if gateway.remote_party_id:
            number = prefixed if "rpid" in where else caller.shown
            privacy = "full" if caller.private else "off"
            identity.append(f"Remote-Party-ID: <sip:{number}@{caller.host}>;party=calling;screen=yes;privacy={privacy}")
    return Dress(
        f"sip:{prefix}{digits}@{host}{port}{transport}",
        prefix + digits,
        _from(gateway, caller, prefixed),
        tuple(identity),
    )


def _from(gateway: Gateway, caller: Caller, prefixed: str) -> str:
    in_from = bool(gateway.caller_prefix) and "from" in gateway.caller_prefix_in
    if caller.anonymous or not (in_from or caller.replaced):
        return ""
    if caller.private and caller.replaced:
        # Neither the number that is not its own nor the one it wants hidden (RFC 3323 §4.1).
        return f'"Anonymous" <sip:anonymous@anonymous.invalid>{caller.from_.params}'
    user = prefixed if in_from else caller.shown
    host = caller.from_uri.host or caller.host
    port = f":{caller.from_uri.port}" if caller.from_uri.port else ""
    # A display name may hold the number that was not allowed; it goes with it.
    display = f"{caller.from_.display} " if caller.from_.display and not caller.replaced else ""
    return f"{display}<sip:{user}@{host}{port}>{caller.from_.params}"
