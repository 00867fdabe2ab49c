"""Typed views of header values: Via, name-addr, parameters, lists."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from sipsvc.errors import SipError
from sipsvc.message.grammar import HOST, MAX_URI, QUOTED

# From, To and Via come again in every message of a dialog or transaction. Longer values are not remembered.
MEMO = 8_192
MEMO_LENGTH = 256
_WS = r"[ \t]*+"
# No blanks and no control characters. \s would be blanks of all alphabets, and so bytes of UTF-8 letters.
_NO = r"\x00-\x20\x7f"
_VIA = re.compile(
    rf"SIP{_WS}/{_WS}2\.0{_WS}/{_WS}([A-Za-z0-9\-]++)[ \t]++({HOST})(?:{_WS}:{_WS}([0-9]{{1,5}}))?{_WS}((?:;.*)?)\Z",
    re.IGNORECASE | re.DOTALL,
)
_NAME_ADDR = re.compile(rf"({QUOTED}{_WS}|[^<\"]*+)<([^<>]*+)>{_WS}((?:;.*)?)\Z", re.DOTALL)
# What may stand before the bracket without quotes: tokens and, as many phones send them, letters beyond ASCII.
_PLAIN_DISPLAY = re.compile(r"[A-Za-z0-9\-.!%*_+`'~ \t\x80-\xff]*+\Z")
_URI_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*+:[^\x00-\x20\x7f<>\"]++\Z")
_PARAM = re.compile(rf";{_WS}([^=;{_NO}\"]++){_WS}(?:={_WS}({QUOTED}|[^;{_NO}\"]++)?{_WS})?")
_PARAMS = re.compile(rf"(?:;{_WS}[^=;{_NO}\"]++{_WS}(?:={_WS}(?:{QUOTED}|[^;{_NO}\"]++)?{_WS})?)*+\Z")
# An unclosed quote or bracket takes in the rest, so that no text is looked at twice.
_LIST_SEPARATOR = re.compile(rf"({QUOTED}|\"[^\r\n]*+|<[^<>]*+>?)|,")


class Via(NamedTuple):
    """`port` 0 when absent; `params` begins with `;` or is ""; `sent_by` is host:port for comparing."""

    transport: str
    host: str
    port: int
    params: str
    branch: str
    sent_by: str


class NameAddr(NamedTuple):
    """`display` as it stood, quotes included; `params` are the header's, not the URI's; `tag` is one of them."""

    display: str
    uri: str
    params: str
    tag: str = ""


def params_get(params: str, name: str) -> str | None:
    """The value of a parameter ("" for a bare one), None when absent. Names are case-insensitive."""
    if not params:
        return None
    for match in _PARAM.finditer(params):
        if match.group(1).lower() == name:
            return match.group(2) or ""
    return None


def params_without(params: str, names: frozenset[str]) -> str:
    """The other parameters, as they stand."""
    return "".join(match.group(0) for match in _PARAM.finditer(params) if match.group(1).lower() not in names)


def parse_via(value: str) -> Via:
    """One Via value. Raises SipError 400."""
    return _memo_via(value) if len(value) <= MEMO_LENGTH else _via(value)


def parse_name_addr(value: str, header: str) -> NameAddr:
    """One value of From, To, Contact, Route and their like. Raises SipError 400 naming `header`.

    Without angle brackets everything behind the first `;` belongs to the header (RFC 3261 §20.10). From and To are
    read to the letter, for they go on as they came (SIP-5).
    """
    return _memo_name_addr(value, header) if len(value) <= MEMO_LENGTH else _name_addr(value, header)


def _via(value: str) -> Via:
    match = _VIA.match(value)
    if match is None or not _PARAMS.match(match.group(4)):
        raise SipError(400, "Bad Via header")
    transport, host, port, params = match.groups()
    branch = params_get(params, "branch") or ""
    return Via(transport.upper(), host, int(port or 0), params, branch, f"{host.lower()}:{port or 5060}")


def _name_addr(value: str, header: str) -> NameAddr:
    match = _NAME_ADDR.match(value)
    if match is not None:
        display, uri, params = match.groups()
    elif "<" in value or ">" in value or '"' in value:
        raise SipError(400, f"Bad {header} header")
    else:
        uri, semicolon, rest = value.partition(";")
        display, uri, params = "", uri.strip(" \t"), semicolon + rest
        if "?" in uri or "," in uri:
            raise SipError(400, f"Bad {header} header: URI needs angle brackets")
    if not uri or not _PARAMS.match(params):
        raise SipError(400, f"Bad {header} header")
    if len(uri) > MAX_URI:
        raise SipError(400, f"Bad {header} header: URI too long")
    if header in ("From", "To"):
        if not _URI_TEXT.match(uri):
            raise SipError(400, f"Bad {header} header: no URI")
        if display[:1] != '"' and not _PLAIN_DISPLAY.match(display):
            raise SipError(400, f"Bad {header} header: display name needs quotes")
    return NameAddr(display.rstrip(" \t"), uri.strip(" \t"), params, params_get(params, "tag") or "")


_memo_via = lru_cache(maxsize=MEMO)(_via)
_memo_name_addr = lru_cache(maxsize=MEMO)(_name_addr)


def split_values(value: str) -> list[str]:
    """Split a list header at commas outside quotes and angle brackets."""
    if "," not in value:
        return [value]
    parts: list[str] = []
    start = 0
    for match in _LIST_SEPARATOR.finditer(value):
        if match.group(1) is None:
            parts.append(value[start : match.start()].strip(" \t"))
            start = match.end()
    parts.append(value[start:].strip(" \t"))
    return parts
