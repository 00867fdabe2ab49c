"""Any bytes at all, and any valid message: the parser fails only as it says, and loses nothing (SIP-1, SIP-3)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipsvc.errors import MessageDropped, SipError
from sipsvc.message import Message, parse, parse_name_addr, parse_uri, parse_via, split_values
from sipsvc.message.build import join, response, stamp_via, without_top_via
from tests.unit.wire import CUSTOMER, answer, request, reread

WORDS = [
    b"INVITE", b"sip:", b"@", b" ", b"SIP/2.0", b"\r\n", b"\r", b"\n", b"\0", b"\r\n ", b"Via:", b"v:", b"From:", b"t:",
    b"To: <sip:1@h>;tag=x", b"Call-ID: a", b"CSeq: 1 INVITE", b"Content-Length: 5", b";", b"=", b'"', b"\\", b"<", b">",
    b",", b"%", b"\xff", b"\r\n\r\n", b"Max-Forwards: 70", b"SIP/2.0/UDP h;branch=z9hG4bK", b"200 OK", b"tel:+1",
    b"[::1]",
]  # fmt: skip
SOUP = st.lists(st.sampled_from(WORDS) | st.binary(max_size=5), max_size=60).map(b"".join)


def read(data: bytes) -> Message | None:
    """A message, or None for what nobody can answer. Nothing else may come of it."""
    try:
        return parse(data)
    except MessageDropped:
        return None


@pytest.mark.rule("SIP-3")
@given(st.binary(max_size=400) | SOUP)
def test_any_bytes(data: bytes) -> None:
    message = read(data)
    if message is None:
        return
    assert len(message.names) == len(message.lines)
    assert {"via", "from", "to", "call-id", "cseq"} <= set(message.names)
    if message.fault is None:
        assert message.via.host and message.from_.uri and message.to.uri and message.call_id
        assert not any(set(line.replace("\r\n", "")) & set("\r\n\0") for line in message.lines)
    else:
        assert message.status == 0
        assert message.fault.status in (400, 414, 505)
        assert message.fault.reason


@pytest.mark.rule("SIP-3")
@given(st.text(st.characters(max_codepoint=255), max_size=80))
@pytest.mark.parametrize("view", [parse_uri, parse_via, lambda text: parse_name_addr(text, "To")])
def test_any_value(view: Callable[[str], object], text: str) -> None:
    try:
        view(text)
    except SipError as error:
        status = error.status
    else:
        status = 0
    assert status in (0, 400, 416)


TOKEN = st.text("abcXYZ019-.!%*_+`'~", min_size=1, max_size=12)
# What may stand in a line: anything but a line end and NUL; bytes travel as Latin-1.
TEXT = st.text(st.characters(min_codepoint=1, max_codepoint=255, exclude_characters="\r\n"), max_size=30)
FOLDED = st.lists(TEXT, min_size=1, max_size=3).map("\r\n ".join)
KNOWN = frozenset("via v from f to t call-id i cseq content-length l max-forwards content-type c b x".split())
HEADERS = st.lists(st.tuples(TOKEN, st.sampled_from(["", " ", "\t"]), FOLDED), max_size=12)
QUOTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30)
DISPLAY = QUOTABLE.map(lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '" ')
ADDRESS = st.builds(lambda name, user, tag: f"{name}<sip:{user}@h.example:5062;x=y>;tag={tag}", DISPLAY, TOKEN, TOKEN)


@st.composite
def valid(draw: st.DrawFn) -> tuple[str, list[str], bytes]:
    """Start line, raw lines and body of a request that breaks no rule."""
    method = draw(st.sampled_from(["INVITE", "BYE", "OPTIONS", "DANCE"]))
    spelt = {"v": ["Via", "v", "VIA"], "f": ["From", "f"], "t": ["To", "t"], "i": ["Call-ID", "i", "call-id"]}
    name = {short: draw(st.sampled_from(names)) for short, names in spelt.items()}
    lines = [
        f"{name['v']}: SIP/2.0/UDP h:5070;branch=z9hG4bK{draw(TOKEN)}",
        f"{name['f']}: {draw(ADDRESS)}",
        f"{name['t']}: {draw(ADDRESS)}",
        f"{name['i']}: {draw(TOKEN)}@h",
        f"CSeq: {draw(st.integers(0, 2**31 - 1))} {method}",
    ]
    for header, blank, value in draw(HEADERS):
        if header.lower() not in KNOWN:
            lines.insert(draw(st.integers(0, len(lines))), f"{header}{blank}:{blank}{value}")
    return f"{method} sip:{draw(TOKEN)}@h SIP/2.0", lines, draw(st.binary(max_size=30))


@pytest.mark.rule("SIP-1", "SIP-5")
@given(valid())
def test_a_valid_message_keeps_its_lines_to_the_byte(case: tuple[str, list[str], bytes]) -> None:
    start, lines, body = case
    data = join(start, lines, body)
    message = parse(data)
    assert message.fault is None
    assert (message.lines, message.body) == ([*lines, f"Content-Length: {len(body)}"], body)
    assert join(f"{message.method} {message.uri} SIP/2.0", message.lines[:-1], message.body) == data
    assert all(name == name.lower() and name for name in message.names)


@pytest.mark.rule("SIP-5", "SIP-10")
@given(valid(), st.sampled_from([100, 200, 404, 486]), TEXT)
def test_our_answer_to_a_valid_message_belongs_to_it(
    case: tuple[str, list[str], bytes], status: int, reason: str
) -> None:
    start, lines, body = case
    message = parse(join(start, lines, body))
    stamp_via(message, CUSTOMER)
    said = reread(response(message, status, reason, to_tag="ours"))
    assert (said.status, said.method) == (status, message.method)
    assert (said.cseq, said.call_id) == (message.cseq, message.call_id)
    assert (said.from_, said.to) == (message.from_, message.to)
    assert (said.via.branch, said.via.sent_by) == (message.via.branch, message.via.sent_by)


@pytest.mark.rule("SIP-1")
@given(st.lists(ADDRESS, min_size=1, max_size=5))
def test_a_list_comes_apart_where_it_was_put_together(values: list[str]) -> None:
    apart = split_values(", ".join(values))
    assert apart == [value.strip() for value in values]


@pytest.mark.rule("SIP-7")
@given(st.lists(TOKEN, min_size=1, max_size=4), st.booleans())
def test_taking_off_a_via_leaves_the_others(hosts: list[str], together: bool) -> None:
    vias = [f"SIP/2.0/UDP h;branch=z9hG4bK{host}" for host in hosts]
    lines = [f"Via: {', '.join(vias)}"] if together else [f"Via: {via}" for via in vias]
    data = answer(parse(request(Via="SIP/2.0/UDP x;branch=z9hG4bKx")), 180)
    whole = data.replace(b"Via: ", "\r\n".join([*lines, "Via: "]).encode(), 1)
    kept, names = without_top_via(parse(whole))
    rest = Message(kept, names, b"")
    assert rest.all("via") == [*vias[1:], "SIP/2.0/UDP x;branch=z9hG4bKx"]
