"""Our parser beside another's (`sipmessage`): where both take a message, they read the same in it (SIP-1).

Neither is always right. Where they differ for a good reason, the reason has a row in APART; where only one of them
takes a torture message, the reason has one in ALONE.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote

import pytest
import sipmessage
from hypothesis import given
from hypothesis import strategies as st

from sipsvc.errors import MessageDropped, SipError
from sipsvc.message import parse, parse_uri, parse_via
from tests.property.test_parser import valid
from tests.torture.table import ROWS
from tests.torture.test_torture import by_name

Address = tuple[str, str, str, int, str]


class Seen(NamedTuple):
    """What a message says, in the terms both have. `first` is the method, or the status as text."""

    first: str
    target: Address | None
    vias: list[tuple[str, str, int, str]]
    sender: Address
    to: Address
    cseq: tuple[int, str]
    call_id: str
    length: int | None


def ours(data: bytes) -> Seen | None:
    try:
        message = parse(data)
        if message.fault is not None:
            return None
        tags = [(part.uri, part.tag) for part in (message.from_, message.to)]
        length = message.get("content-length") if re.search(rb"(?im)^(?:content-length|l)[ \t]*:", data) else None
        return Seen(
            str(message.status or message.method),
            None if message.status else _ours(message.uri, ""),
            [
                (via.transport, via.host.lower(), via.port, _text(via.branch))
                for via in map(parse_via, message.all("via"))
            ],
            _ours(*tags[0]),
            _ours(*tags[1]),
            (message.cseq, message.method),
            message.call_id,
            int(length) if length is not None else None,
        )
    except (MessageDropped, SipError):
        return None


def _ours(uri: str, tag: str) -> Address:
    parsed = parse_uri(uri)
    return parsed.scheme, _text(parsed.user.partition(":")[0]), parsed.host.lower(), parsed.port, _text(tag)


def _text(raw: str) -> str:
    """As theirs shows it: of UTF-8, its escapes undone and its blanks made single."""
    return unquote(re.sub(r"\s+", " ", raw.encode("latin-1").decode()))


def theirs(data: bytes) -> Seen | None:
    try:
        message = sipmessage.Message.parse(data)
        is_request = isinstance(message, sipmessage.Request)
        return Seen(
            message.method if is_request else str(message.code),
            _theirs(message.uri, "") if is_request else None,
            [
                (via.transport.upper(), via.host.lower(), via.port or 0, _parameter(via.parameters, "branch"))
                for via in message.via
            ],
            _theirs(message.from_address.uri, _parameter(message.from_address.parameters, "tag")),
            _theirs(message.to_address.uri, _parameter(message.to_address.parameters, "tag")),
            (message.cseq.sequence, message.cseq.method),
            message.call_id,
            message.content_length,
        )
    except (ValueError, KeyError):
        return None


def _theirs(uri: sipmessage.URI, tag: str) -> Address:
    return uri.scheme, uri.user or "", uri.host.lower(), uri.port or 0, tag


def _parameter(parameters: sipmessage.Parameters, name: str) -> str:
    """Theirs knows a parameter by its spelling only; that is made good here."""
    return next((value or "" for key, value in parameters.items() if key.lower() == name), "")


# Where they may differ: why, and how such a message is known.
APART: list[tuple[str, re.Pattern[bytes]]] = [
    ("theirs does not unfold: a continuation with a colon in it is a header", re.compile(rb"\r\n[ \t]")),
    ("theirs keeps a blank before the colon as part of the name, and so misses the header",
     re.compile(rb"(?m)^[^\s:]+[ \t]+:")),
    ("theirs ends a parameter at a semicolon inside quotes", re.compile(rb'(?m);[^\r\n"]*"[^\r\n"]*;')),
    ("theirs takes the last of a parameter given twice, ours the first",
     re.compile(rb"(?mi);\s*(tag|branch)\b[^\r\n]*;\s*\1\b")),
]  # fmt: skip


def reason_to_differ(data: bytes) -> str:
    head = data.partition(b"\r\n\r\n")[0]
    return next((reason for reason, known in APART if known.search(head)), "")


def compare(data: bytes) -> tuple[Seen | None, Seen | None]:
    one, other = ours(data), theirs(data)
    if one is not None and other is not None and not reason_to_differ(data):
        assert one == other
    return one, other


# Torture messages that only one of the two takes: which, and why.
NO_LENGTH = ("theirs", "theirs takes any number for a Content-Length and does not look at the body")
NO_METHOD = ("theirs", "theirs does not compare the method of CSeq with that of the request")
ALONE: dict[str, tuple[str, str]] = {
    "wsinv": ("ours", "theirs neither unfolds nor takes a blank before the colon"),
    "semiuri": ("ours", "theirs does not unfold"),
    "escruri": ("ours", "theirs knows no headers in a URI; ours reads them, and never sends them"),
    "via-received-param-no-delim": ("ours", "theirs wants an IPv6 address in a parameter in brackets"),
    "ipv6-correct-abnf-2-colons": ("ours", "theirs has no :: before an IPv4 part"),
    "intmeth": ("theirs", "ours takes a NUL nowhere (SIP-1)"),
    "clerr": NO_LENGTH,
    "ncl": NO_LENGTH,
    "scalarlg": ("theirs", "theirs has no bound for CSeq"),
    "bigcode": ("theirs", "theirs takes any number for a status"),
    "mismatch01": NO_METHOD,
    "mismatch02": NO_METHOD,
    "multi01": ("theirs", "theirs takes the first of a header given twice"),
    "mcl01": ("theirs", "theirs takes the first of a header given twice"),
}


@pytest.mark.rule("SIP-1")
@pytest.mark.parametrize("name", [row.name for row in ROWS])
def test_torture(name: str) -> None:
    one, other = compare(by_name(name))
    who = {(True, False): "ours", (False, True): "theirs"}.get((one is not None, other is not None), "")
    assert who == ALONE.get(name, ("", ""))[0]


@pytest.mark.rule("SIP-1")
def test_most_torture_messages_are_taken_by_both() -> None:
    both = [row.name for row in ROWS if None not in compare(by_name(row.name))]
    assert len(both) >= 25
    assert {reason_to_differ(by_name(name)) for name in both} <= {"", APART[0][0], APART[1][0]}


# What both take: every part of a message by its grammar, but no folds and no blanks before a colon.
TOKEN = st.text("abcXYZ019-.!%*_+`'~", min_size=1, max_size=8).filter(lambda text: "%" not in text)
WORD = st.text("abcxyz019", min_size=1, max_size=6)
HOST = st.sampled_from(["h", "h.example", "a-b.example.", "192.0.2.7", "[2001:db8::9:1]", "[::1]", "H.EXAMPLE"])
PORT = st.sampled_from(["", ":5060", ":1", ":65535"])
USER = st.text("abc09-_.!~*'()&=+$,;?/", min_size=1, max_size=8) | st.sampled_from(["%41b", "a:pw", "+33-1", "%20%25"])
URI = st.builds(
    lambda scheme, user, host, port, more: f"{scheme}:{user}{host}{port}{more}",
    st.sampled_from(["sip", "sips"]),
    st.just("") | USER.map(lambda user: f"{user}@"),
    HOST,
    PORT,
    st.sampled_from(["", ";lr", ";transport=tcp", ";user=phone;x=%41"]),
) | st.sampled_from(["tel:+33-1.23(4)", "tel:112;phone-context=h", "tel:*21#;x=y"])
SPACE = st.sampled_from(["", " ", "\t", "  "])
QUOTED = st.text("ab <>@,:\u00e9\u0439", max_size=8).map(lambda text: f'"{text}"') | st.just('"a \\" b"')
PARAMETER = st.builds(
    lambda a, name, b, value: f"{a};{b}x{name}{value}",
    SPACE, WORD, SPACE, st.just("") | st.builds(lambda a, b, word: f"{a}={b}{word}", SPACE, SPACE, TOKEN | QUOTED),
)  # fmt: skip
MORE = st.lists(PARAMETER, max_size=2, unique_by=lambda text: text.strip()).map("".join)
TAG = st.builds(lambda a, name, tag: f"{a};{name}={tag}", SPACE, st.sampled_from(["tag", "TAG"]), TOKEN)
ADDRESS = st.builds(
    lambda display, space, uri, more, tag: f"{display}{space}<{uri}>{more}{tag}",
    st.just("") | TOKEN | QUOTED, SPACE, URI, MORE, st.just("") | TAG,
) | st.builds(
    lambda user, host, tag: f"sip:{user}@{host}{tag}", WORD, HOST, st.just("") | TAG
)  # fmt: skip
VIA = st.builds(
    lambda a, how, host, port, more, branch: f"SIP{a}/{a}2.0{a}/{a}{how} {host}{port}{more};branch={branch}",
    SPACE, st.sampled_from(["UDP", "tcp", "TLS", "X-1"]), HOST, PORT, MORE, TOKEN,
)  # fmt: skip


@st.composite
def common(draw: st.DrawFn) -> bytes:
    method = draw(st.sampled_from(["INVITE", "BYE", "x.y!"]))
    start = draw(st.sampled_from([f"{method} {draw(URI)} SIP/2.0", "SIP/2.0 180 Ringing", "SIP/2.0 603 "]))
    names = draw(st.sampled_from([("Via", "From", "To", "Call-ID"), ("v", "f", "t", "i"), ("VIA", "from", "TO", "I")]))
    via, sender, to, call_id = names
    vias = draw(st.lists(VIA, min_size=1, max_size=3))
    lines = [f"{via}: {value}" for value in vias] if draw(st.booleans()) else [f"{via}:{', '.join(vias)}"]
    body = draw(st.binary(max_size=9))
    lines += [
        f"{sender}:{draw(SPACE)}{draw(ADDRESS)}{draw(SPACE)}",
        f"{to}: {draw(ADDRESS)}",
        f"{call_id}: {draw(TOKEN)}@{draw(WORD)}",
        f"CSeq: {draw(st.integers(0, 2**31 - 1))}{draw(st.sampled_from([' ', '  ', chr(9)]))}{method}",
    ]
    if draw(st.booleans()):
        lines.append(f"{draw(st.sampled_from(['Content-Length', 'l', 'CONTENT-LENGTH']))}: {len(body)}")
    return "\r\n".join([start, *draw(st.permutations(lines)), "", ""]).encode() + body


@pytest.mark.rule("SIP-1")
@given(common())
def test_what_both_take_both_read_alike(data: bytes) -> None:
    one, other = compare(data)
    assert (one is None, other is None) == (False, False)


@pytest.mark.rule("SIP-1")
@given(
    common(), st.integers(0, 999), st.sampled_from([b"", b" ", b";", b",", b":", b'"', b"<", b">", b"=", b"\r\n", b"@"])
)
def test_what_both_still_take_when_broken_both_read_alike(data: bytes, place: int, junk: bytes) -> None:
    at = place % len(data)
    compare(data[:at] + junk + data[at + 1 :])
    compare(data[:at] + junk + data[at:])


@pytest.mark.rule("SIP-1")
@given(valid())
def test_of_messages_with_folds_and_odd_headers_too(case: tuple[str, list[str], bytes]) -> None:
    start, lines, body = case
    compare("\r\n".join([start, *lines, "", ""]).encode("latin-1") + body)
