"""A real `sipsvc serve` for each module, real SIPp as customers and gateways. Everything on loopback."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sipsvc.demo.api import ApiAway
from sipsvc.demo.server import Server, free_port
from sipsvc.demo.sipp import Sipp
from tests.waiting import until

NUMBER = "442079460018"
CALLER = "442079460100"
PASSWORD = "wire-Test-7"
BY_ADDRESS = "127.0.0.1"
BY_DIGEST = "127.0.0.2"
"""An address that is no customer's, so a call from there is challenged."""

BUNDLE = """\
[platform]
realm = "wire"
digest = ["MD5"]
[partner]
name = "Wire"
[[customer]]
id = "office"
name = "Office"
status = "active"
pricelist = "retail"
[customer.dial_plan]
international = ["00"]
bare = "international"
[customer.caller_ids]
allowed = ["4420*"]
[[customer.trunk]]
id = "office-address"
source = "127.0.0.1/32"
[[customer]]
id = "phone"
name = "Phone"
status = "active"
pricelist = "retail"
[customer.dial_plan]
international = ["00"]
bare = "international"
[customer.caller_ids]
allowed = ["4420*"]
[[customer.trunk]]
id = "phone-digest"
username = "phone"
password = "wire-Test-7"
[[gateway]]
id = "alpha"
name = "Alpha"
host = "127.0.0.1"
port = {alpha}
remote_party_id = true
p_asserted_identity = true
caller_prefix = "77"
caller_prefix_in = ["pai", "rpid"]
uri_prefix = "1001"
provisional_timeout_ms = 800
ring_timeout_s = 3
coverage = "alpha.csv"
[[gateway]]
id = "beta"
name = "Beta"
host = "127.0.0.1"
port = {beta}
uri_prefix = "1002"
ring_timeout_s = 3
coverage = "beta.csv"
[[pricelist]]
id = "retail"
name = "Retail"
initial = 1
increment = 1
minimum = "0.01"
expensive_at = "0.50"
rows = "prices.csv"
[[block]]
prefix = "979"
reason = "premium rate"
"""
COVERAGE = "prefix,name,rate\n44,United Kingdom,{}\n8816,Satellite,2.00\n"
PRICES = "prefix,name,rate\n44,United Kingdom,0.60\n4420,London,0.03\n8816,Satellite,5.00\n979,Premium,0.10\n"


@dataclass(slots=True)
class Outcome:
    """What one run of SIPp left: the caller and both gateways, ended."""

    uac: Sipp
    alpha: Sipp
    beta: Sipp

    @property
    def call_ids(self) -> list[str]:
        return self.uac.call_ids()

    def all_ok(self, calls: int = 1) -> None:
        counted = self.uac.counters()
        assert (counted.ok, counted.failed) == (calls, 0), f"{counted}\n{self.uac.errors()}"


@dataclass(slots=True)
class Stage:
    """One server and where its two gateways are expected; `alpha_options` are for the first one's SIPp."""

    server: Server
    alpha: int
    beta: int
    alpha_options: tuple[str, ...] = ()

    def gateways(self, folder: Path, alpha: str = "answer", beta: str = "answer") -> tuple[Sipp, Sipp]:
        """Start both, of the scenarios in sipp_scenarios/uas."""
        first = Sipp(f"uas/{alpha}.xml", folder, self.alpha, "-trace_msg", *self.alpha_options, label="alpha")
        try:
            return first, Sipp(f"uas/{beta}.xml", folder, self.beta, "-trace_msg", label="beta")
        except BaseException:
            first.stop()
            raise

    def caller(
        self,
        folder: Path,
        scenario: str,
        *more: str,
        calls: int = 1,
        source: str = BY_ADDRESS,
        number: str = NUMBER,
        talk_ms: int = 300,
        label: str = "",
    ) -> Sipp:
        return Sipp(
            f"uac/{scenario}.xml",
            folder,
            free_port(),
            "-s",
            number,
            "-key",
            "caller",
            CALLER,
            "-m",
            str(calls),
            "-r",
            "20",
            "-d",
            str(talk_ms),
            "-recv_timeout",
            "15000",
            "-trace_shortmsg",
            *more,
            target=self.server.target,
            address=source,
            label=label,
        )

    def call(
        self,
        folder: Path,
        scenario: str,
        *more: str,
        alpha: str = "answer",
        beta: str = "answer",
        calls: int = 1,
        source: str = BY_ADDRESS,
        number: str = NUMBER,
        talk_ms: int = 300,
    ) -> Outcome:
        """Gateways up, calls made, gateways down."""
        first, second = self.gateways(folder, alpha, beta)
        client: Sipp | None = None
        try:
            client = self.caller(folder, scenario, *more, calls=calls, source=source, number=number, talk_ms=talk_ms)
            client.wait(40)
        finally:
            for one in (client, first, second):
                if one is not None:
                    one.stop()
        return Outcome(client, first, second)

    def cdr(self, call_id: str, seconds: float = 45.0) -> dict[str, Any]:
        """The one record of a call that is over, waiting for it so long."""
        found = self.server.api.ended_cdrs(call_id, seconds)
        assert found, f"no record of {call_id}\n{self.server.tail()}"
        assert len(found) == 1, found
        return found[0]

    def no_cdr(self, call_id: str) -> None:
        """True of strangers: they are counted, not recorded. Waits out a delivery."""
        until(lambda: self._api_answers(call_id), 45)  # it starts beside the server that takes calls
        time.sleep(1.5)
        assert self.server.api.cdrs(call_id) == []

    def _api_answers(self, call_id: str) -> bool:
        with suppress(ApiAway):
            self.server.api.cdrs(call_id)
            return True
        return False


@contextmanager
def serving(server: Server) -> Iterator[None]:
    """It runs, and when it has ended its log tells of no fault of its own."""
    server.start()
    try:
        yield
    finally:
        server.stop()
    log = server.log.read_text(errors="replace")
    for fault in ("Traceback", "internal_error", "cdr_rejected"):
        assert fault not in log, server.tail()


def write_bundle(folder: Path, alpha: int, beta: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bundle.toml").write_text(BUNDLE.format(alpha=alpha, beta=beta))
    (folder / "alpha.csv").write_text(COVERAGE.format("0.010"))
    (folder / "beta.csv").write_text(COVERAGE.format("0.012"))
    (folder / "prices.csv").write_text(PRICES)
    return folder / "bundle.toml"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A server that runs; a module may kill and restart it, as long as it leaves one running."""
    folder = tmp_path_factory.mktemp("serve")
    alpha, beta = free_port(), free_port()
    server = Server(folder, write_bundle(folder / "bundle", alpha, beta))
    with serving(server):
        yield Stage(server, alpha, beta)
