"""sipsak: pings, a trace, a flood and messages with random faults. Debian package sipsak."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from sipsvc.demo.server import answers
from tests.wire.interop.conftest import Play
from tests.wire.interop.script import Callee, Caller
from tests.wire.interop.town import PLAIN

INVITE = """\
INVITE sip:442179460018@{target} SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKsipsak;rport
Max-Forwards: {hops}
From: <sip:442079460100@127.0.0.1>;tag=sipsak
To: <sip:442179460018@{target}>
Call-ID: sipsak-{hops}
CSeq: 1 INVITE
Contact: <sip:127.0.0.1:9>
Content-Length: 0

"""


def sipsak(play: Play, *more: str, seconds: float = 20) -> subprocess.CompletedProcess[str]:
    """Run it against the server, with a user in the address as it asks for one."""
    assert shutil.which("sipsak"), "sipsak is missing: run `make deps` (Debian package sipsak)"
    return subprocess.run(
        ["sipsak", "-s", f"sip:{PLAIN}@{play.town.targets['udp']}", *more],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=seconds,
        check=False,
    )


def shoot(play: Play, hops: int) -> str:
    """Send an INVITE with a hop count of its own; what was answered."""
    path = play.folder / "invite"
    path.write_text(INVITE.format(target=play.town.targets["udp"], hops=hops))
    return sipsak(play, "-f", str(path), "-i", "-vv").stdout


@pytest.mark.rule("SIP-9")
def test_its_ping_is_answered(play: Play) -> None:
    ping = sipsak(play, "-v")
    assert ping.returncode == 0, ping.stdout
    assert "200 OK" in ping.stdout


@pytest.mark.rule("SIP-9", "SIP-11")
def test_its_trace_ends_at_us(play: Play) -> None:
    """A trace is OPTIONS with Max-Forwards 0: the first hop that is asked for is ourselves."""
    trace = sipsak(play, "-T")
    assert trace.returncode == 0, trace.stdout
    assert "200 OK" in trace.stdout
    assert "0: " in trace.stdout


@pytest.mark.rule("SIP-11")
def test_a_call_without_hops_left_goes_no_further(play: Play) -> None:
    assert "SIP/2.0 483 Too Many Hops" in shoot(play, 0)


@pytest.mark.rule("SIP-3")
def test_a_flood_and_random_faults_leave_the_server_at_work(play: Play) -> None:
    flood = sipsak(play, "-F", "-e", "500")
    assert "flood end reached" in flood.stdout
    for faults in (3, 30, 300):
        with pytest.raises(subprocess.TimeoutExpired):  # it goes on until it is stopped
            sipsak(play, "-R", "-t", str(faults), seconds=1.5)
    assert answers(play.town.stage.server.sip, 2.0)
    plain = play.gateway(Callee().invited().reply(200, offer=True).hear("ACK").hear("BYE").answer(200), "plain")
    near = play.caller(Caller().invite().answered().say("BYE").expect(200), PLAIN)
    play.finish(near, plain)
