"""A carrier's Kamailio that dies and comes back, and one that wants us registered (SIP-34, TG-1)."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sipsvc.demo.agent import Message, new_branch, parse
from sipsvc.demo.server import Server, free_port
from sipsvc.demo.sipp import Sipp
from tests.wire.conftest import CALLER, Stage, serving
from tests.wire.interop.kamailio import Kamailio, Leg
from tests.wire.interop.script import Callee, Caller
from tests.wire.interop.town import CARRIER, OFFICE, Gateway, write_bundle

NUMBER = "442079460018"
# Looked for every second, given up after 0.8 s: two pings in vain, or two that are answered.
SECONDS = 15.0
PINGED = "ping_interval_s = 1\ndown_after = 2\nprovisional_timeout_ms = 800"
REGISTERED = 'registration = true\nauth_username = "trunk"\nauth_password = "wire-Test-9"\nregistration_expires_s = 60'
MODULES = """\
loadmodule "usrloc.so"
loadmodule "registrar.so"
"""
ANSWERS_PINGS = 'if (is_method("OPTIONS")) { sl_send_reply("200", "Here"); exit; }'
REGISTRAR = """\
if (is_method("REGISTER")) {
    if (!pv_www_authenticate("carrier.test", "wire-Test-9", "0")) { www_challenge("carrier.test", "1"); exit; }
    consume_credentials();
    save("location");
    exit;
}
# The test asks who is there.
if (is_method("OPTIONS")) {
    if (registered("location", "sip:trunk@carrier.test")) sl_send_reply("200", "There");
    else sl_send_reply("404", "Nobody");
    exit;
}
"""


@dataclass(slots=True)
class Place:
    """A server with a gateway behind Kamailio that is pinged, a dearer one that is not, and a registrar. Each is
    expected at its port, the first gateway at `far`."""

    stage: Stage
    folder: Path
    pinged: int
    far: int
    plain: int
    registrar: int

    def carrier(self, name: str) -> Kamailio:
        legs = [Leg(CARRIER, self.pinged, f"sip:{OFFICE}:{self.far}", before=ANSWERS_PINGS)]
        return Kamailio(self.folder / name, legs)

    def logged(self, event: str, gateway: str, since: int = 0, seconds: float = SECONDS) -> dict[str, Any]:
        """The line of that event, waiting for it so long; `since` is how many there were before."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = [one for one in self.lines() if (one.get("event"), one.get("gateway")) == (event, gateway)]
            if len(found) > since:
                return found[since]
            time.sleep(0.1)
        raise AssertionError(f"no {event} of {gateway}\n{self.stage.server.tail()}")

    def lines(self) -> list[dict[str, Any]]:
        text = self.stage.server.log.read_text(errors="replace")
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def call(self, folder: Path, port: int, hops: int) -> dict[str, Any]:
        """The record of a call whose gateway is expected at `port`."""
        callee = Callee(hops=hops, routes=hops - 1).invited().reply(180).reply(200, offer=True).hear("ACK")
        folder.mkdir()
        words = ("-m", "1", "-recv_timeout", "15000", "-trace_shortmsg", "-trace_msg")
        far = Sipp(callee.hear("BYE").answer(200).write(folder / "far.xml"), folder, port, *words, address=OFFICE)
        try:
            caller = Caller().invite().answered().wait(200).say("BYE").expect(200).write(folder / "near.xml")
            near = Sipp(caller, folder, free_port(), *words, "-s", NUMBER, "-key", "caller", CALLER,
                        target=self.stage.server.target, address=OFFICE)  # fmt: skip
            assert near.wait(40) == 0, near.errors()
        finally:
            far.stop()
        return self.stage.cdr(near.call_ids()[0])

    def known(self) -> int:
        """Whether the registrar knows us: 200, or 404."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
            link.bind((OFFICE, 0))
            link.settimeout(5)
            here = "{}:{}".format(*link.getsockname())
            fields = (
                ("Via", f"SIP/2.0/UDP {here};branch={new_branch()};rport"),
                ("Max-Forwards", "70"),
                ("From", f"<sip:test@{here}>;tag=test"),
                ("To", "<sip:trunk@carrier.test>"),
                ("Call-ID", new_branch()),
                ("CSeq", "1 OPTIONS"),
            )
            question = Message(f"OPTIONS sip:trunk@{CARRIER}:{self.registrar} SIP/2.0", fields)
            link.sendto(question.encode(), (CARRIER, self.registrar))
            return parse(link.recv(4096)).status


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("health")
    pinged, far, plain, registrar = (free_port() for _ in range(4))
    bundle = write_bundle(
        folder / "bundle",
        [
            Gateway("pinged", CARRIER, pinged, {"44": "0.010"}, PINGED),
            Gateway("plain", OFFICE, plain, {"44": "0.012"}),
            Gateway("registrar", CARRIER, registrar, {"4499": "0.010"}, REGISTERED),
        ],
    )
    server = Server(folder, bundle)
    leg = Leg(CARRIER, registrar, f"sip:{OFFICE}", before=REGISTRAR)
    carrier = Kamailio(folder / "registrar", [leg], modules=MODULES)
    try:
        with serving(server):
            yield Place(Stage(server, far, plain), folder, pinged, far, plain, registrar)
    finally:
        carrier.stop()


@pytest.mark.rule("SIP-34")
def test_calls_avoid_a_carrier_that_died_and_find_it_when_it_is_back(place: Place, tmp_path: Path) -> None:
    carrier = place.carrier("first")
    try:
        assert place.call(tmp_path / "1", place.far, 3)["gateway"] == "pinged"
    finally:
        carrier.stop()
    down = place.logged("gateway_down", "pinged")
    assert down["reason"] in ("ping_no_response", "ping_transport")
    cdr = place.call(tmp_path / "2", place.plain, 2)
    # No time is lost at the one that is down, and the record says why it was passed over.
    assert [one["gateway"] for one in cdr["attempts"]] == ["plain"]
    assert ["gateway", "pinged", "down"] in cdr["trace"]
    assert cdr["live"]["down"] == ["pinged"]
    carrier = place.carrier("second")
    try:
        assert place.logged("gateway_up", "pinged")["reason"] == "ping_answered"
        assert place.call(tmp_path / "3", place.far, 3)["gateway"] == "pinged"
    finally:
        carrier.stop()


@pytest.mark.rule("TG-1")
def test_we_are_registered_as_long_as_we_are_there(place: Place) -> None:
    """At Kamailio's registrar, by digest; and forgotten there when the server stops."""
    line = place.logged("gateway_registered", "registrar")
    assert line["expires_s"] == 60
    assert place.known() == 200
    place.stage.server.stop()
    try:
        assert place.logged("gateway_unregistered", "registrar")["answer"] == 200
        assert place.known() == 404
    finally:
        place.stage.server.start()
    place.logged("gateway_registered", "registrar", since=1)
    assert place.known() == 200
