"""The pieces of RFC 3261 §25 that the rest of the room matches with.

Messages are handled as `str` decoded from Latin-1, which maps every byte to one character and back: what we
do not touch leaves byte for byte as it came.
"""

from __future__ import annotations

import re

MAX_DATAGRAM = 65_535
MAX_HEADERS = 512
MAX_URI = 2_048

# token = 1*(alphanum / "-" / "." / "!" / "%" / "*" / "_" / "+" / "`" / "'" / "~")
TOKEN = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+\Z")
HOST = r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.\-_]*[A-Za-z0-9.])?)"
# Possessive, as every repetition over input is: no text makes a match take more than linear time.
QUOTED = r'"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[^\x00\r\n])*+"'
FOLD = re.compile(r"\r\n[ \t]+")
# A line end that does not begin a continuation line.
LINE_END = re.compile(r"\r\n(?![ \t])")
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

COMPACT = {
    "a": "accept-contact",
    "b": "referred-by",
    "c": "content-type",
    "d": "request-disposition",
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "j": "reject-contact",
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "n": "identity-info",
    "o": "event",
    "r": "refer-to",
    "s": "subject",
    "t": "to",
    "u": "allow-events",
    "v": "via",
    "x": "session-expires",
    "y": "identity",
}

_USUAL = (
    "Accept Accept-Encoding Accept-Language Alert-Info Allow Allow-Events Authorization Call-ID Call-Info Contact "
    "Content-Disposition Content-Encoding Content-Language Content-Length Content-Type CSeq Date Diversion "
    "Error-Info Event Expires From Identity In-Reply-To Max-Forwards MIME-Version Min-Expires Min-SE Organization "
    "P-Asserted-Identity P-Preferred-Identity Path Priority Privacy Proxy-Authenticate Proxy-Authorization "
    "Proxy-Require RAck RSeq Reason Record-Route Refer-To Referred-By Remote-Party-ID Replaces Reply-To Require "
    "Retry-After Route Server Session-Expires Subject Supported Timestamp To Unsupported User-Agent Via Warning "
    "WWW-Authenticate"
).split()

# From the name as it is usually spelt, colon included, to its canonical form: one dict look-up a line.
KNOWN_NAMES: dict[str, str] = {
    f"{written}:": name.lower() for name in _USUAL for written in (name, name.lower(), name.upper())
} | {f"{written}:": full for short, full in COMPACT.items() for written in (short, short.upper())}
_SPELT = {name.lower(): name for name in _USUAL}


def spelt(name: str) -> str:
    """A canonical name as it is usually written, for a reason phrase: `Call-ID`; "one" for a long or odd one."""
    return _SPELT.get(name) or (name.title() if len(name) <= 40 and name.replace("-", "").isalnum() else "one")


def canonical(name: str) -> str:
    """The lower-case long form of a header name; "" when it is no token."""
    name = name.rstrip(" \t")
    known = KNOWN_NAMES.get(f"{name}:")
    if known is not None:
        return known
    if not TOKEN.match(name):
        return ""
    lower = name.lower()
    return COMPACT.get(lower, lower)
