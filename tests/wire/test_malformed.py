"""Whatever arrives, the server goes on and its log shows no traceback (the fixture looks)."""

from __future__ import annotations

import random
import socket
from pathlib import Path

import pytest

from sipsvc.demo.server import answers
from tests.wire.conftest import Stage

INVITE = (
    "INVITE sip:442079460018@{server} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK{n}\r\nMax-Forwards: 70\r\n"
    "From: <sip:442079460100@{here}>;tag=a\r\nTo: <sip:442079460018@{server}>\r\nCall-ID: bad-{n}\r\n"
    "CSeq: 1 INVITE\r\nContact: <sip:{here}>\r\n{more}Content-Length: 0\r\n\r\n"
)


def send(stage: Stage, datagrams: list[bytes], wait: float = 0.3) -> list[bytes]:
    """Send all from one socket; the answers that came."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.bind(("127.0.0.1", 0))
        link.settimeout(wait)
        for one in datagrams:
            link.sendto(one.replace(b"{here}", b"127.0.0.1:%d" % link.getsockname()[1]), stage.server.sip)
        while True:
            try:
                found.append(link.recv(65535))
            except TimeoutError:
                return found


def invite(stage: Stage, number: int, more: str = "") -> bytes:
    return INVITE.format(server=stage.server.target, here="{here}", n=number, more=more).encode()


@pytest.mark.rule("SIP-3")
def test_garbage_is_dropped(stage: Stage, tmp_path: Path) -> None:
    whole, draw = invite(stage, 1), random.Random(4)
    garbage = [
        b"",
        b"\r\n\r\n",
        b"\x00" * 200,
        b"SIP/2.0",
        b"INVITE",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"INVITE sip:x SIP/2.0\r\n" + b"a" * 60000,
        b"SIP/2.0 200 OK\r\nVia: x\r\n\r\n",
        b"\xff\xfe" * 500,
        b"INVITE sip:a SIP/2.0\r\n" + b"".join(b"X%d: y\r\n" % n for n in range(5000)) + b"\r\n",
        *(whole[:cut] for cut in range(10, len(whole) - 80, 23)),
        *(draw.randbytes(draw.randrange(1, 1400)) for _ in range(300)),
    ]
    for start in range(0, len(garbage), 50):
        send(stage, garbage[start : start + 50], 0.05)
    assert answers(stage.server.sip, 2.0)
    stage.call(tmp_path, "ip_call").all_ok()


@pytest.mark.rule("SIP-3", "SIP-4")
@pytest.mark.parametrize(
    "more",
    ["From: <sip:b@example.org>;tag=b\r\n", "CSeq: 2 INVITE\r\n", "Content-Length: 9999\r\n", "Max-Forwards: x\r\n"],
)
def test_a_broken_request_that_can_be_answered_gets_400(stage: Stage, more: str) -> None:
    found = send(stage, [invite(stage, 2 + len(more), more)])
    assert any(one.startswith(b"SIP/2.0 400 ") for one in found), found


@pytest.mark.rule("SIP-9")
def test_an_ack_of_no_call_is_swallowed(stage: Stage) -> None:
    assert send(stage, [invite(stage, 99).replace(b"INVITE", b"ACK")]) == []
    assert answers(stage.server.sip, 2.0)
