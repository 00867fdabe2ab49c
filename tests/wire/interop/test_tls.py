"""Kamailio, openssl and baresip over TLS, and Kamailio over TCP; their certificates are made for the run."""

from __future__ import annotations

import os
import select
import subprocess
import time
from pathlib import Path

import pytest

from tests.wire.interop.conftest import Play
from tests.wire.interop.script import Callee, Caller
from tests.wire.interop.town import BRANCH, BY_LIAR, BY_TLS, PLAIN

PING = """\
OPTIONS sip:{target} SIP/2.0
Via: SIP/2.0/TLS 127.0.0.1:9;branch=z9hG4bKping;rport
Max-Forwards: 70
From: <sip:ping@127.0.0.1>;tag=ping
To: <sip:{target}>
Call-ID: ping
CSeq: 1 OPTIONS
Content-Length: 0

"""


def s_client(play: Play, *more: str, seconds: float = 5.0) -> str:
    """Send OPTIONS by `openssl s_client`; what it says and hears until the answer is whole or the connection over."""
    target = play.town.targets["tls"]
    client = subprocess.Popen(
        ["openssl", "s_client", "-connect", target, "-quiet", "-verify_return_error", *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert client.stdin is not None and client.stdout is not None
    heard, end = b"", time.monotonic() + seconds
    with client:
        try:
            client.stdin.write(PING.format(target=target).replace("\n", "\r\n").encode())
            client.stdin.flush()
            while b"\r\n\r\n" not in heard and time.monotonic() < end:
                if select.select([client.stdout], [], [], 0.1)[0]:
                    part = os.read(client.stdout.fileno(), 65536)
                    if not part:
                        break
                    heard += part
        finally:
            client.kill()
    return heard.decode("utf-8", "replace")


def certificate(pair: tuple[Path, Path]) -> tuple[str, ...]:
    return "-cert", str(pair[0]), "-key", str(pair[1])


@pytest.mark.rule("SIP-6", "SIP-9")
def test_openssl_trusts_our_certificate_and_is_answered(play: Play) -> None:
    trust = ("-CAfile", str(play.town.certificates.ca), "-verify_ip", "127.0.0.1")
    assert "SIP/2.0 200 OK" in s_client(play, *trust)
    assert "SIP/2.0 200 OK" in s_client(play, *trust, "-tls1_2")
    assert "SIP/2.0 200 OK" in s_client(play, *trust, "-servername", "sip.example.org")
    assert "SIP/2.0" not in s_client(play, *trust, "-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0")


@pytest.mark.rule("SIP-6")
def test_a_client_may_show_a_certificate_but_no_wrong_one(play: Play) -> None:
    ours = play.town.certificates
    trust = ("-CAfile", str(ours.ca))
    assert "SIP/2.0 200 OK" in s_client(play, *trust, *certificate(ours.phone))
    assert "SIP/2.0" not in s_client(play, *trust, *certificate(ours.liar))


@pytest.mark.rule("SIP-6", "SIP-7", "SIP-16")
@pytest.mark.parametrize("near_by", ["udp", "tcp"])
def test_a_carrier_by_tls(play: Play, near_by: str) -> None:
    """Two Record-Routes of ours and two of the carrier's Kamailio, for each goes from one transport to another."""
    callee = Callee(hops=3, routes=4).invited().reply(180).reply(200, offer=True).hear("ACK")
    callee.say("INVITE", offer=True).expect(200).ack().hear("INFO").answer(200).say("BYE").expect(200)
    caller = Caller().invite().answered().hear("INVITE").answer(200, offer=True).hear("ACK")
    far = play.gateway(callee, "far")
    near = play.caller(caller.say("INFO").expect(200).hear("BYE").answer(200), BY_TLS, by=near_by)
    play.finish(near, far)
    assert far.received("INVITE")[0].all("via")[1].startswith("SIP/2.0/TLS ")
    cdr = play.town.stage.cdr(near.call_ids()[0])
    assert (cdr["gateway"], cdr["hangup_by"]) == ("tls", "callee")


@pytest.mark.rule("SIP-6", "SIP-13")
def test_a_carrier_whose_certificate_nobody_vouches_for_is_passed_over(play: Play) -> None:
    play.gateway(Callee(hops=3).invited(), "far")
    callee = Callee().invited().reply(200, offer=True).hear("ACK").hear("BYE").answer(200)
    plain = play.gateway(callee, "plain")
    near = play.caller(Caller().invite().answered().say("BYE").expect(200), BY_LIAR)
    play.finish(near, plain)
    cdr = play.town.stage.cdr(near.call_ids()[0])
    assert [(one["gateway"], one["left"]) for one in cdr["attempts"]] == [("liar", "transport"), ("plain", "")]


@pytest.mark.rule("SIP-6", "SIP-7", "SIP-16", "SIP-20")
@pytest.mark.parametrize("by", ["tcp", "tls"])
def test_a_customers_kamailio_by_tcp_or_tls(play: Play, by: str) -> None:
    """It is known by its address; what the gateway says goes back by the connection that the call came by."""
    callee = Callee(hops=3, routes=4).invited().reply(180).reply(200, offer=True).hear("ACK")
    callee.say("INVITE", offer=True).expect(200).ack().hear("INVITE").answer(200, offer=True).hear("ACK")
    callee.say("INFO").expect(200).say("BYE").expect(200)
    caller = Caller().invite().answered().hear("INVITE").answer(200, offer=True).hear("ACK")
    caller.say("INVITE", offer=True).expect(200).ack().hear("INFO").answer(200).hear("BYE").answer(200)
    plain = play.gateway(callee, "plain")
    near = play.caller(caller, PLAIN, target=play.town.branches[by])
    play.finish(near, plain)
    assert plain.received("INVITE")[0].all("via")[1].startswith(f"SIP/2.0/{by.upper()} {BRANCH}:")
    cdr = play.town.stage.cdr(near.call_ids()[0])
    assert (cdr["customer"], cdr["auth"], cdr["hangup_by"]) == ("branch", "ip", "callee")


@pytest.mark.rule("SIP-12")
@pytest.mark.parametrize("by", ["tcp", "tls"])
def test_a_customers_kamailio_takes_its_call_back(play: Play, by: str) -> None:
    plain = play.gateway(Callee(hops=3, routes=4).invited().reply(180).cancelled(), "plain")
    caller = Caller().invite().rings().wait(100).cancel().refused(487)
    near = play.caller(caller, PLAIN, target=play.town.branches[by])
    play.finish(near, plain)
    assert play.town.stage.cdr(near.call_ids()[0])["code"] == "cancelled"
