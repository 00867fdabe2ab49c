"""Whether a message of ours is well formed, by the grammar alone: nothing of `sipsvc` is used (SIP-5)."""

from __future__ import annotations

import re

TOKEN = rb"[A-Za-z0-9\-.!%*_+`'~]+"
QUOTED = rb'"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[^\x00\r\n])*+"'
HOST = rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.\-_]*[A-Za-z0-9.])?)"
PARAMS = rb"(?:[ \t]*;[ \t]*[^=;\x00-\x20\x7f\"]+[ \t]*(?:=[ \t]*(?:" + QUOTED + rb"|[^;\x00-\x20\x7f\"]+)?[ \t]*)?)*"
REQUEST = re.compile(rb"(" + TOKEN + rb") [A-Za-z][A-Za-z0-9+.\-]*:[^\x00-\x20\x7f<>\"]+ SIP/2\.0\Z")
RESPONSE = re.compile(rb"SIP/2\.0 ([1-6][0-9][0-9]) [^\x00-\x08\x0a-\x1f\x7f]*\Z")
HEADER = re.compile(rb"(" + TOKEN + rb")[ \t]*:(.*)\Z", re.DOTALL)
# Bytes beyond ASCII are borne where a peer put them; line ends, brackets, quotes and blanks are what would harm.
ADDRESS = re.compile(
    rb"(?:(?:" + QUOTED + rb"[ \t]*|[A-Za-z0-9\-.!%*_+`'~ \t\x80-\xff]*)"
    rb"<[A-Za-z][A-Za-z0-9+.\-]*:[^\x00-\x20\x7f<>\"]+>"
    rb"|[A-Za-z][A-Za-z0-9+.\-]*:[^\x00-\x20\x7f<>\",;?]+)" + PARAMS + rb"[ \t]*\Z"
)  # fmt: skip
VIA = re.compile(
    rb"SIP[ \t]*/[ \t]*2\.0[ \t]*/[ \t]*" + TOKEN + rb"[ \t]+" + HOST + rb"(?:[ \t]*:[ \t]*[0-9]{1,5})?[ \t]*"
    + PARAMS + rb"[ \t]*(?:,|\Z)", re.IGNORECASE,
)  # fmt: skip
VALUES = {
    "from": ADDRESS,
    "to": ADDRESS,
    "via": VIA,
    "cseq": re.compile(rb"[0-9]{1,10}[ \t]+(" + TOKEN + rb")\Z"),
    "call-id": re.compile(rb"[\x21-\x7e]+\Z"),
    "max-forwards": re.compile(rb"0*(?:[0-9]{1,2}|1[0-9]{2}|2[0-4][0-9]|25[0-5])\Z"),
    "content-length": re.compile(rb"[0-9]+\Z"),
}
COMPACT = {"v": "via", "f": "from", "t": "to", "i": "call-id", "l": "content-length"}
MUST = frozenset({"via", "from", "to", "call-id", "cseq"})
# Answers to what is broken repeat it: of them the lines have to be whole and single.
ECHOES = frozenset({b"400", b"414", b"505", b"513"})


def headers(head: bytes) -> tuple[bytes, list[tuple[str, bytes, bytes]]] | None:
    """The first line, and of every header its name, unfolded value and whole line; None when one is no header."""
    first, *lines = re.split(rb"\r\n(?![ \t])", head)
    out: list[tuple[str, bytes, bytes]] = []
    for line in lines:
        match = HEADER.match(line)
        if match is None:
            return None
        name = match[1].decode().lower()
        out.append((COMPACT.get(name, name), re.sub(rb"\r\n[ \t]+", b" ", match[2]).strip(b" \t"), line))
    return first, out


def wrong(data: bytes) -> str:
    """What is wrong with a message of ours, "" for nothing."""
    if data == b"\r\n":
        return ""
    head, blank, body = data.partition(b"\r\n\r\n")
    if not blank:
        return "no end of headers"
    if re.search(rb"\r(?!\n)|(?<!\r)\n|\x00", head):
        return "a bare CR or LF, or a NUL"
    read = headers(head)
    if read is None:
        return "a line that is no header"
    first, lines = read
    names = [name for name, _, _ in lines]
    if not set(names) >= MUST:
        return f"no {min(MUST - set(names))}"
    request, response = REQUEST.match(first), RESPONSE.match(first)
    if request is None and response is None:
        return "a bad first line"
    values: dict[str, bytes] = {}
    for name, value, _ in lines:
        if name in values:
            if name != "via" and name in VALUES:
                return f"{name} twice"
            continue
        values[name] = value
    length = values.get("content-length", b"")
    if length.isdigit() and int(length) != len(body):
        return "a wrong content-length"
    if response is not None and response[1] in ECHOES:
        return ""
    for name, pattern in VALUES.items():
        if name in values and not pattern.match(values[name]):
            return f"a bad {name}"
    if request is not None and "max-forwards" not in values:
        return "no max-forwards"
    if request is not None and values["cseq"].split()[-1] != request[1]:
        return "a cseq of another method"
    return ""
