"""A stream is cut where its messages end, in whatever pieces it comes, and given up where nobody can tell (SIP-4)."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipsvc.message.stream import MAX_MESSAGE, PING, Framer
from tests.unit.wire import request

INVITE = request(body=b"v=0\r\n\r\nm=audio\r\n")
BYE = request("BYE")
OK = b"SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP h;branch=z9hG4bKx\r\n\r\n"


def headed(*lines: str, body: bytes = b"") -> bytes:
    return "\r\n".join(["INVITE sip:x SIP/2.0", "Via: SIP/2.0/TCP h;branch=z9hG4bKx", *lines, "", ""]).encode() + body


def fed(*pieces: bytes) -> tuple[list[bytes], Framer]:
    framer = Framer()
    return [message for piece in pieces for message in framer.feed(piece)], framer


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


WHOLE = {
    "a body with an empty line in it": INVITE,
    "no body": BYE,
    "a response without the header": OK,
    "the compact form": headed("l: 3", body=b"abc"),
    "any case and blanks": headed("cOnTeNt-LeNgTh \t:\t 3  ", body=b"abc"),
    "folded": headed("Content-Length:\r\n  3", body=b"abc"),
    "folded behind": headed("Content-Length: 3\r\n ", body=b"abc"),
    "leading zeros": headed("Content-Length: 003", body=b"abc"),
    "twice the same": headed("Content-Length: 3", "l: 03", body=b"abc"),
    "the name inside another value": headed("Subject: Content-Length: 9", "Content-Length: 3", body=b"abc"),
    "the name on a folded line": headed("Subject: x\r\n l: 9", "Content-Length: 3", body=b"abc"),
    "no SIP, but framed": b"\x00\x01\r\nl: 2\r\n\r\nhi",
}


@pytest.mark.rule("SIP-4")
@pytest.mark.parametrize("name", WHOLE)
def test_a_message_is_whole_at_its_last_byte(name: str) -> None:
    data = WHOLE[name]
    assert fed(data)[0] == [data]
    assert fed(data + data)[0] == [data, data]
    framer = Framer()
    for piece in bytewise(data)[:-1]:
        assert framer.feed(piece) == []
        assert framer.inside
    assert framer.feed(data[-1:]) == [data]
    assert not framer.inside and framer.fault is None


@pytest.mark.rule("SIP-9")
def test_keepalives_between_messages() -> None:
    assert fed(PING)[0] == [PING]
    assert fed(*bytewise(PING))[0] == [PING]
    assert fed(b"\r\n")[0] == []
    # Three line ends are a ping and half of the next.
    assert fed(b"\r\n\r\n\r\n", b"\r\n")[0] == [PING, PING]
    assert fed(BYE + PING + INVITE)[0] == [BYE, PING, INVITE]
    # What was half a ping before a message is none behind it.
    assert fed(b"\r\n" + BYE + b"\r\n")[0] == [BYE]
    assert not fed(b"\r\n\r\n\r\n")[1].inside


@pytest.mark.rule("SIP-9")
def test_a_flood_of_keepalives_is_answered_once_a_read() -> None:
    assert fed(PING * 10_000, PING * 10_000)[0] == [PING, PING]


@pytest.mark.rule("SIP-3", "SIP-4")
@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        (headed(), 400, "No Content-Length header"),
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", 400, "No Content-Length header"),
        (headed("Content-Length: -1"), 400, "Bad Content-Length header"),
        (headed("Content-Length: 3, 3"), 400, "Bad Content-Length header"),
        (headed("Content-Length: 0x3"), 400, "Bad Content-Length header"),
        (headed("Content-Length:"), 400, "Bad Content-Length header"),
        (headed("Content-Length: 1\r\n 2"), 400, "Bad Content-Length header"),
        (headed("Content-Length: 3", "l: 4"), 400, "Content-Length headers contradict each other"),
        (headed("Content-Length: 65536"), 513, "Message Too Large"),
        (headed("Content-Length: 99999999999999999999"), 513, "Message Too Large"),
        (headed(*["X: y"] * 511, "Content-Length: 0"), 513, "Message Too Large"),
    ],
)
def test_a_frame_that_cannot_be_trusted_ends_the_stream(data: bytes, status: int, reason: str) -> None:
    for pieces in ([BYE + data + BYE], bytewise(BYE + data)):
        messages, framer = fed(*pieces)
        assert messages == [BYE]
        assert framer.fault is not None
        assert (framer.fault.status, framer.fault.reason) == (status, reason)
        assert framer.head == data
        assert framer.feed(BYE) == [] and not framer.inside


@pytest.mark.rule("SIP-3")
def test_what_is_just_small_enough_passes() -> None:
    folded = headed(*["X: y\r\n z"] * 510, "Content-Length: 0")  # 512 headers with the Via
    assert fed(folded)[0] == [folded]
    room = MAX_MESSAGE - len(headed("Content-Length: 12345"))
    full = headed(f"Content-Length: {room}", body=b"x" * room)
    assert len(full) == MAX_MESSAGE and fed(full)[0] == [full]
    messages, framer = fed(headed(f"Content-Length: {room + 1}"))
    assert messages == [] and framer.fault is not None and framer.fault.status == 513


@pytest.mark.rule("SIP-3")
@pytest.mark.parametrize("size", [1_000, 100_000])
def test_a_head_without_end_is_given_up_with_its_whole_lines_to_answer_from(size: int) -> None:
    begin = b"INVITE sip:x SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bKx\r\nX: "
    data = begin + b"y" * 100_000
    messages, framer = fed(*(data[at : at + size] for at in range(0, len(data), size)))
    assert messages == []
    assert framer.fault is not None and framer.fault.status == 513
    assert framer.head == begin[:-3] + b"\r\n"
    assert fed(b"y" * 100_000)[1].head == b""


PIECES = st.lists(
    st.sampled_from(
        [*WHOLE.values(), PING, b"\r\n", headed(), headed("l: 1", "l: 2"), headed("l: 70000"), b"\r", b"x"]
    ),
    max_size=12,
).map(b"".join)


@pytest.mark.rule("SIP-4")
@given(PIECES, st.data())
def test_any_chunking_gives_the_same_messages(stream: bytes, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=20).map(sorted))
    whole, at_once = fed(stream)
    pieces, piecewise = fed(*(stream[a:b] for a, b in pairwise([0, *cuts, len(stream)])))
    assert [one for one in pieces if one != PING] == [one for one in whole if one != PING]
    assert (PING in pieces) == (PING in whole)
    assert piecewise.head == at_once.head and piecewise.inside == at_once.inside
    assert repr(piecewise.fault) == repr(at_once.fault)
    # Nothing is lost or made up: what came out is what went in, in order.
    at = 0
    for message in whole:
        at = stream.index(message, at) + len(message)


@given(st.binary(max_size=300))
def test_any_bytes_only_ever_give_messages_or_a_fault(data: bytes) -> None:
    messages, framer = fed(data)
    assert sum(map(len, messages)) <= len(data)
    assert framer.fault is None or framer.fault.status in (400, 513)
