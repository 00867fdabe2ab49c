"""A small strict SIP reader and writer for the agents, written apart from sipsvc's so that it can disagree."""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import md5
from typing import NamedTuple

CRLF = "\r\n"
COMPACT = {
    "v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "l": "content-length",
    "c": "content-type", "k": "supported", "s": "subject", "e": "content-encoding",
}  # fmt: skip
SINGLE = frozenset({"from", "to", "call-id", "cseq", "max-forwards", "content-length", "content-type"})
LISTS = frozenset({"via", "route", "record-route", "contact"})
REQUEST_LINE = re.compile(r"([A-Z]+) (sips?:\S+|tel:\S+) SIP/2\.0")
STATUS_LINE = re.compile(r"SIP/2\.0 ([1-6]\d\d) (.*)")
HEADER = re.compile(r"([A-Za-z0-9.!%*_+`'~-]+)[ \t]*:[ \t]*(.*)")
URI = re.compile(r"(sips?|tel):(?:([^@;?]*)@)?(\[[^]]+\]|[^:;?]*)(?::(\d+))?((?:;[^?]*)?)(?:\?.*)?")
# Everything below the blank and DEL, the tab apart.
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Malformed(Exception):
    """A message no sender may put on the wire; the text says why."""


class Uri(NamedTuple):
    """A SIP or tel URI taken apart; `params` keeps the order, names in lower case."""

    scheme: str
    user: str
    host: str
    port: int
    params: tuple[tuple[str, str], ...]

    def has(self, name: str) -> bool:
        return any(key == name for key, _ in self.params)


class Name(NamedTuple):
    """A From, To, Contact or Route value: display name, URI text, header parameters."""

    display: str
    uri: str
    params: dict[str, str]

    @property
    def tag(self) -> str:
        return self.params.get("tag", "")


class Msg:
    """A parsed message; shared by everybody who reads it, so nobody changes it. `status` is 0 on a request."""

    __slots__ = ("_values", "body", "cseq", "headers", "method", "raw", "reason", "status", "uri")

    def __init__(self, raw: bytes, headers: list[tuple[str, str]], body: bytes) -> None:
        self.raw = raw
        self.headers = headers
        self.body = body
        self.status = 0
        self.reason = ""
        self.method = ""
        self.uri = ""
        self.cseq = 0
        self._values: dict[str, list[str]] = {}

    def all(self, name: str) -> list[str]:
        """Every value of a header by its long lower-case name; list headers are split at their commas."""
        found = self._values.get(name)
        if found is None:
            found = []
            for key, value in self.headers:
                if key == name:
                    found.extend(split(value) if name in LISTS else [value])
            self._values[name] = found
        return found

    def get(self, name: str) -> str:
        values = self.all(name)
        return values[0] if values else ""

    def name(self, name: str) -> Name:
        return parse_name(self.get(name))

    @property
    def call_id(self) -> str:
        return self.get("call-id")

    @property
    def branch(self) -> str:
        return params_of(self.get("via")).get("branch", "")

    @property
    def from_tag(self) -> str:
        return self.name("from").tag

    @property
    def to_tag(self) -> str:
        return self.name("to").tag

    @property
    def line(self) -> str:
        return f"{self.status} {self.reason}" if self.status else f"{self.method} {self.uri}"

    def __repr__(self) -> str:
        return f"<{self.line} {self.get('cseq')} {self.call_id}>"


def split(value: str) -> list[str]:
    """At the commas outside quotes and angle brackets."""
    if "," not in value:
        return [value.strip()]
    parts, quoted, angle, start, skip = [], False, False, 0, False
    for at, char in enumerate(value):
        if skip:
            skip = False
        elif char == "\\" and quoted:
            skip = True
        elif char == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif char in "<>":
            angle = char == "<"
        elif char == "," and not angle:
            parts.append(value[start:at].strip())
            start = at + 1
    return [*parts, value[start:].strip()]


def params_of(value: str) -> dict[str, str]:
    """The `;name=value` tail of a Via or of what follows a name-addr."""
    found = {}
    for part in value.split(";")[1:]:
        key, _, text = part.partition("=")
        found[key.strip().lower()] = text.strip()
    return found


def parse_name(value: str) -> Name:
    if "<" in value:
        display, _, rest = value.partition("<")
        uri, closed, tail = rest.partition(">")
        if not closed:
            raise Malformed(f"unclosed <: {value!r}")
        return Name(display.strip(), uri, params_of(tail))
    uri, _, _ = value.partition(";")
    return Name("", uri.strip(), params_of(value))


def parse_uri(text: str) -> Uri:
    match = URI.fullmatch(text)
    if match is None:
        raise Malformed(f"not a URI: {text!r}")
    scheme, user, host, port, tail = match.groups()
    params = [part.partition("=") for part in tail.split(";")[1:]]
    return Uri(scheme, user or "", host, int(port or 5060), tuple((key.lower(), value) for key, _, value in params))


def parse(raw: bytes) -> Msg:
    """Read one datagram; raises Malformed with the first fault found, strict where RFC 3261 is."""
    head, blank, body = raw.partition(b"\r\n\r\n")
    if not blank:
        raise Malformed("no blank line after the headers")
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(f"not UTF-8: {error}") from None
    first, *lines = text.split(CRLF)
    headers: list[tuple[str, str]] = []
    for line in lines:
        match = HEADER.fullmatch(line)
        if match is None or CONTROL.search(line):
            raise Malformed(f"bad header line {line!r}")
        key = match[1].lower()
        headers.append((COMPACT.get(key, key), match[2].rstrip()))
    msg = Msg(raw, headers, body)
    if CONTROL.search(first):
        raise Malformed(f"control character in {first!r}")
    if request := REQUEST_LINE.fullmatch(first):
        msg.method, msg.uri = request.groups()
    elif response := STATUS_LINE.fullmatch(first):
        msg.status, msg.reason = int(response[1]), response[2]
    else:
        raise Malformed(f"bad first line {first!r}")
    names = [key for key, _ in headers]
    for key in ("via", "from", "to", "call-id", "cseq"):
        if key not in names:
            raise Malformed(f"no {key}")
    for key in SINGLE:
        if names.count(key) > 1:
            raise Malformed(f"{key} stands twice")
    number, _, method = msg.get("cseq").partition(" ")
    if not number.isdigit() or not method or (msg.method and method != msg.method):
        raise Malformed(f"bad CSeq {msg.get('cseq')!r}")
    msg.cseq = int(number)
    if msg.status:
        msg.method = method
    length = msg.get("content-length")
    if (length or body) and length != str(len(body)):
        raise Malformed(f"Content-Length {length!r}, body has {len(body)}")
    if not msg.from_tag:
        raise Malformed("From without a tag")
    return msg


def build(first: str, headers: Iterable[tuple[str, str]], body: bytes = b"", compact: bool = False) -> bytes:
    """Write a message; Content-Length is set here. `compact` uses the short names (RFC 3261 §7.3.3)."""
    short = {long: key for key, long in COMPACT.items()} if compact else {}
    lines = [first, *(f"{short.get(name.lower(), name)}: {value}" for name, value in headers)]
    lines.append(f"{'l' if compact else 'Content-Length'}: {len(body)}")
    return CRLF.join(lines).encode() + b"\r\n\r\n" + body


def hexmd5(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()


def digest_answer(challenge: str, user: str, password: str, method: str, uri: str, nc: int, cnonce: str) -> str:
    """The credentials for a `Digest` challenge with MD5 and qop=auth (RFC 7616 §3.4)."""
    told = {key: quoted or bare for key, quoted, bare in re.findall(r'(\w+)=(?:"([^"]*)"|([^",\s]+))', challenge)}
    realm, nonce = told["realm"], told["nonce"]
    ha1 = hexmd5(f"{user}:{realm}:{password}")
    response = hexmd5(f"{ha1}:{nonce}:{nc:08x}:{cnonce}:auth:{hexmd5(f'{method}:{uri}')}")
    opaque = f', opaque="{told["opaque"]}"' if told.get("opaque") else ""
    return (
        f'Digest username="{user}", realm="{realm}", nonce="{nonce}", uri="{uri}", response="{response}", '
        f'algorithm=MD5, qop=auth, nc={nc:08x}, cnonce="{cnonce}"{opaque}'
    )
