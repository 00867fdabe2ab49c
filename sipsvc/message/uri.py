"""SIP, SIPS and TEL URIs (RFC 3261 §19.1, RFC 3966)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from sipsvc.errors import SipError
from sipsvc.message.fields import MEMO, MEMO_LENGTH
from sipsvc.message.grammar import HOST, MAX_URI

# No blanks and no control characters.
_NO = r"\x00-\x20\x7f"
_SIP = re.compile(
    rf"(sips?):(?:([^@{_NO}<>\"]*)@)?({HOST})(?::([0-9]{{1,5}}))?((?:;[^?{_NO}<>]*)?)(\?[^{_NO}<>]*)?\Z", re.IGNORECASE
)
_TEL = re.compile(rf"tel:([0-9A-Fa-f+*#().\-]+)((?:;[^{_NO}<>]*)?)\Z", re.IGNORECASE)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*+):")
_ESCAPED = re.compile(r"%([0-9A-Fa-f]{2})")
# user = 1*( unreserved / escaped / user-unreserved )
_USER_OTHER = re.compile(r"[^A-Za-z0-9\-_.!~*'()&=+$,;?/]")


class Uri(NamedTuple):
    """The parts as they stand, still escaped. `port` is 0 when absent; `params` begins with `;` or is "".

    Of a tel: URI, `user` is the number and `host` is "".
    """

    scheme: str
    user: str
    host: str
    port: int
    params: str
    headers: str

    def __str__(self) -> str:
        if self.scheme == "tel":
            return f"tel:{self.user}{self.params}"
        at = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port else ""
        return f"{self.scheme}:{at}{self.host}{port}{self.params}{self.headers}"


def parse_uri(text: str) -> Uri:
    """Raises SipError 400 when `text` is no URI, 416 when its scheme is none of ours."""
    return _memo_uri(text) if len(text) <= MEMO_LENGTH else _uri(text)


def _uri(text: str) -> Uri:
    if len(text) > MAX_URI:
        raise SipError(400, "Bad URI: too long")
    match = _SIP.match(text)
    if match is not None:
        scheme, user, host, port, params, headers = match.groups()
        number = int(port) if port else 0
        if number > 65_535:
            raise SipError(400, "Bad URI: port")
        return Uri(scheme.lower(), user or "", host, number, params, headers or "")
    match = _TEL.match(text)
    if match is not None:
        return Uri("tel", match.group(1), "", 0, match.group(2), "")
    scheme = _SCHEME.match(text)
    if scheme is not None and scheme.group(1).lower() not in ("sip", "sips", "tel"):
        raise SipError(416, "Unsupported URI Scheme", "uri_scheme")
    raise SipError(400, "Bad URI")


_memo_uri = lru_cache(maxsize=MEMO)(_uri)


def unescape(text: str) -> str:
    """Undo %-escapes (RFC 3261 §19.1.2)."""
    if "%" not in text:
        return text
    return _ESCAPED.sub(lambda match: chr(int(match.group(1), 16)), text)


def escape_user(text: str) -> str:
    """Escape what the grammar does not allow in a user part: `9#` becomes `9%23` (SIP-30)."""
    return _USER_OTHER.sub(
        lambda match: "".join(f"%{byte:02X}" for byte in match.group(0).encode(errors="replace")), text
    )
