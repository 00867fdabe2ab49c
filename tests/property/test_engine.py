"""Broken messages at every moment of a call: nothing is raised, and what leaves can be read again (SIP-3, SIP-5)."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipsvc.directory import Directory, Timing, Trunk
from tests.fuzz.check import wrong
from tests.unit.wire import CUSTOMER, GATES, STRANGER, Wire, answer, directory, gateway, request, talking

BOOK: Directory = directory(
    gateway(1, caller_prefix="77", p_asserted_identity=True),
    gateway(2, remote_party_id=True),
    trunks=[Trunk("alice", "acme", username="alice", ha1_md5="0" * 32)],
    timing=Timing(max_call_ms=120_000),
)
FULL = (
    "Route: <sip:192.0.2.1:5060;lr>", "Record-Route: <sip:198.51.100.20;lr>", "Privacy: id", "Identity: x",
    "P-Preferred-Identity: <sip:442071838751@h>", "Supported: timer, 100rel", "Reason: Q.850;cause=16",
    'Proxy-Authorization: Digest username="alice", realm="sipsvc", nonce="n", uri="sip:h", response="r", nc=00000001',
)  # fmt: skip

# A moment of a call: what the peers have said so far, and the messages that may come next.
Next = list[tuple[bytes, str]]


def begun(wire: Wire) -> Next:
    invite = wire.give(request())[-1].message
    replies = [answer(invite, status, "Record-Route: <sip:p;lr>") for status in (100, 180, 200, 302, 486, 503, 603)]
    return [(data, "gateway") for data in replies] + [(request("CANCEL"), "caller"), (request(), "caller")]


def nothing(wire: Wire) -> Next:
    uri = "sip:+33123456789@192.0.2.1"
    return [
        (request("INVITE", uri, *FULL, body=b"v=0"), "caller"),
        (request("INVITE", uri, *FULL), "stranger"),
        (request("INVITE", "tel:+33-123", Via="SIP/2.0/UDP h;branch=1, SIP/2.0/UDP i;branch=2"), "caller"),
        (request("OPTIONS"), "stranger"),
        (request("CANCEL"), "caller"),
    ]


def answered(wire: Wire) -> Next:
    talk = talking(wire)
    extra = ("Reason: Q.850;cause=16", "Max-Forwards: 9", "Route: <sip:x;lr>")
    by_caller = [talk.by_caller(method, 2, *extra) for method in ("ACK", "BYE", "INVITE", "UPDATE", "REFER")]
    by_callee = [talk.by_callee(method, 2, *extra[:1]) for method in ("BYE", "INVITE", "INFO")]
    return [
        *((data, "caller") for data in by_caller),
        *((data, "gateway") for data in by_callee),
        (answer(talk.forwarded, 200), "gateway"),
        (answer(talk.forwarded, 200, tag="fork"), "gateway"),
    ]


def reinvited(wire: Wire) -> Next:
    talk = talking(wire)
    forwarded = wire.give(talk.by_caller("INVITE", 2))[-1].message
    return [(answer(forwarded, status), "gateway") for status in (180, 200, 491)]


def cancelled(wire: Wire) -> Next:
    invite = wire.give(request())[-1].message
    wire.give(answer(invite, 180), GATES[0])
    cancel = wire.give(request("CANCEL"))[-1].message
    return [(answer(cancel, 200), "gateway"), (answer(invite, 487), "gateway"), (answer(invite, 200), "gateway")]


def left(wire: Wire) -> Next:
    first = wire.give(request())[-1].message
    second = wire.wait(4_000)[-1].message
    wire.give(answer(second, 200), GATES[1])
    return [(answer(first, status, tag="late"), "gateway") for status in (180, 200, 486)]


MOMENTS: list[Callable[[Wire], Next]] = [nothing, begun, answered, reinvited, cancelled, left]
PLACES = {"caller": CUSTOMER, "gateway": GATES[0], "stranger": STRANGER}

JUNK = st.sampled_from([
    b"", b"\r\n", b"\r", b"\n", b"\0", b"\r\n ", b"\t", b" ", b",", b";", b'"', b"\\", b"<", b">", b"@", b":", b"=",
    b"%0D", b"\xb2", b"\xff", b"99999999999", b"-1", b"*", b"tag=", b";tag=x", b";lr", b"branch=", b"sip:", b"tel:",
    b"[::1]", b"\r\nl: 9", b"\r\nRoute: <sip:", b"\r\nContact: <>", b'\r\nRecord-Route: "', b"\r\nVia: ",
    b"\r\nReason: Q.850;cause=\xb2",
])  # fmt: skip


@st.composite
def broken(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """A way to break a message: a few places where something is put in, over, or out; lines swapped or doubled."""
    steps = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["put", "over", "cut", "double", "drop", "swap", "value"]),
                st.integers(0, 10_000),
                st.integers(0, 40),
                JUNK | st.binary(max_size=6),
            ),
            min_size=1,
            max_size=4,
        )
    )

    def apply(data: bytes) -> bytes:
        for what, place, width, junk in steps:
            at = place % (len(data) + 1)
            lines = data.split(b"\r\n")
            index = place % len(lines)
            if what == "put":
                data = data[:at] + junk + data[at:]
            elif what == "over":
                data = data[:at] + junk + data[at + len(junk) :]
            elif what == "cut":
                data = data[:at] + data[at + width :]
            else:
                if what == "double":
                    lines.insert(index, lines[index])
                elif what == "drop":
                    lines.pop(index)
                elif what == "swap":
                    lines[index], lines[width % len(lines)] = lines[width % len(lines)], lines[index]
                else:
                    lines[index] = lines[index].partition(b":")[0] + b": " + junk
                data = b"\r\n".join(lines)
        return data

    return apply


@pytest.mark.rule("SIP-3", "SIP-5", "law 8")
@pytest.mark.parametrize("moment", MOMENTS, ids=[moment.__name__ for moment in MOMENTS])
@given(choices=st.lists(st.tuples(st.integers(0, 99), broken()), min_size=1, max_size=3), seed=st.integers(0, 9))
def test_no_broken_message_does_harm(
    moment: Callable[[Wire], Next], choices: list[tuple[int, Callable[[bytes], bytes]]], seed: int
) -> None:
    wire = Wire(BOOK, seed=seed)
    coming = moment(wire)
    for number, breaks in choices:
        data, side = coming[number % len(coming)]
        wire.give(breaks(data), PLACES[side])  # every datagram that leaves is read again on its way
        wire.wait(300)
    wire.wait(400_000)
    assert [fault for fault in (wrong(sent.data) for sent in wire.sent) if fault] == []
    assert wire.engine.leftovers() == {"transactions": 0, "timers": 0, "calls": 0}
    assert wire.engine.live_calls == 0
    json.dumps(wire.records)
    starts = [record["cdr_id"] for record in wire.records if record["kind"] == "start"]
    ends = [record["cdr_id"] for record in wire.records if record["kind"] == "end"]
    assert sorted(starts) == sorted(ends)
    assert len(set(starts)) == len(starts)


@pytest.mark.rule("SIP-3", "SIP-5")
@given(st.lists(st.tuples(st.binary(max_size=200), st.sampled_from(sorted(PLACES))), max_size=5))
def test_no_bytes_at_all_do_harm(datagrams: list[tuple[bytes, str]]) -> None:
    wire = Wire(BOOK)
    for data, side in datagrams:
        wire.give(data, PLACES[side])
    assert [fault for fault in (wrong(sent.data) for sent in wire.sent) if fault] == []
    assert wire.records == []
    assert wire.engine.leftovers() == {"transactions": 0, "timers": 0, "calls": 0}
