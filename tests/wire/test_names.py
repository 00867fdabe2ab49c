"""Gateways by name, end to end: a real name server, `sipsvc serve`, SIPp at two addresses (SIP-8)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from sipsvc.demo.server import Server, free_port
from sipsvc.demo.sipp import Sipp
from tests.nameserver import Nameserver
from tests.wire.conftest import CALLER, NUMBER, serving

BUNDLE = """\
[partner]
name = "Names"
[[customer]]
id = "office"
name = "Office"
pricelist = "retail"
[customer.caller_ids]
allowed = ["4420*"]
[[customer.trunk]]
id = "office-address"
source = "127.0.0.1/32"
[[gateway]]
id = "named"
name = "Named"
host = "carrier.test"
provisional_timeout_ms = 2000
coverage = "named.csv"
[[gateway]]
id = "slow"
name = "Slow"
host = "carrier.slow.test"
coverage = "slow.csv"
[[pricelist]]
id = "retail"
name = "Retail"
rows = "prices.csv"
"""


@dataclass(slots=True)
class Stage:
    """A server that asks `names`, which says that `carrier.test` is at two ports, the first of which is nobody's."""

    server: Server
    names: Nameserver
    dead: int
    alive: int

    def caller(self, folder: Path, scenario: str, number: str, *more: str) -> Sipp:
        words = ("-s", number, "-key", "caller", CALLER, "-d", "300", "-recv_timeout", "20000", "-trace_shortmsg")
        return Sipp(f"uac/{scenario}.xml", folder, free_port(), *words, *more, target=self.server.target)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("names")
    bundle = folder / "bundle"
    bundle.mkdir()
    (bundle / "bundle.toml").write_text(BUNDLE)
    for name, prefix in (("named", "44"), ("slow", "33"), ("prices", "44")):
        (bundle / f"{name}.csv").write_text(f"prefix,name,rate\n{prefix},Somewhere,0.01\n")
    (bundle / "prices.csv").write_text("prefix,name,rate\n44,Here,0.02\n33,There,0.02\n")
    names = Nameserver(folder)
    dead, alive = free_port(), free_port()
    names.start(
        f"srv-host=_sip._udp.carrier.test,a.carrier.test,{dead},10,0",
        f"srv-host=_sip._udp.carrier.test,b.carrier.test,{alive},20,0",
        "host-record=a.carrier.test,127.0.0.1",
        "host-record=b.carrier.test,127.0.0.2",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIPSVC_SIP__NAMESERVER", "{}:{}".format(*names.address))
        server = Server(folder, bundle / "bundle.toml")
        with closing(names), serving(server):
            yield Stage(server, names, dead, alive)


@pytest.mark.rule("SIP-8", "SIP-13")
def test_the_second_address_takes_the_call(stage: Stage, tmp_path: Path) -> None:
    gateway = Sipp("uas/answer.xml", tmp_path, stage.alive, "-trace_msg", address="127.0.0.2")
    try:
        caller = stage.caller(tmp_path, "ip_call", NUMBER, "-m", "3")
        caller.wait(60)
    finally:
        gateway.stop()
    assert (caller.counters().ok, caller.counters().failed) == (3, 0), caller.errors()
    invites = gateway.received("INVITE")
    assert {invite.uri for invite in invites} == {f"sip:{NUMBER}@carrier.test"}
    assert len({invite.get("call-id") for invite in invites}) == 3
    for call_id in caller.call_ids():
        cdr = stage.server.api.ended_cdr(call_id, 45)
        assert cdr is not None
        assert (cdr["code"], cdr["gateway"]) == ("answered", "named")
        assert [(one["gateway"], one["address"], one["status"], one["left"]) for one in cdr["attempts"]] == [
            ("named", f"udp:127.0.0.1:{stage.dead}", 0, "no_provisional"),
            ("named", f"udp:127.0.0.2:{stage.alive}", 200, ""),
        ]
    # The name was looked up once for all of them.
    assert stage.names.asked("SRV", "_sip._udp.carrier.test") == 1


@pytest.mark.rule("SIP-8")
def test_a_slow_name_holds_no_other_call_up(stage: Stage, tmp_path: Path) -> None:
    gateway = Sipp("uas/answer.xml", tmp_path, stage.alive, address="127.0.0.2")
    slow = stage.caller(tmp_path, "no_answer", "33123456789", "-m", "30", "-r", "3")
    try:
        while not slow.lines() and slow.process.poll() is None:
            time.sleep(0.05)
        fast = stage.caller(tmp_path, "ip_call", NUMBER, "-m", "1")
        fast.wait(60)
        slow.wait(60)  # its scenario expects another failure than this
    finally:
        slow.stop()
        gateway.stop()
    assert fast.counters().ok == 1, fast.errors()
    through = stage.server.api.ended_cdr(fast.call_ids()[0], 45)
    assert through is not None and through["code"] == "answered"
    held = []
    assert len(slow.call_ids()) == 30
    for call_id in slow.call_ids():
        cdr = stage.server.api.ended_cdr(call_id, 45)
        assert cdr is not None
        assert (cdr["status"], cdr["code"]) == (500, "gateways_failed")
        assert [(one["address"], one["left"]) for one in cdr["attempts"]] == [("", "dns")]
        held.append((cdr["invite_at"], cdr["end_at"]))
    # While names were waited for, the call came, was answered and ended.
    assert any(begun < through["answer_at"] < ended for begun, ended in held)
