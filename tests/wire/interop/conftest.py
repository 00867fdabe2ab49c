"""One `sipsvc serve` for all of this folder, and round it programs of other makers. Everything on loopback."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sipsvc.demo.server import Server, free_port
from sipsvc.demo.sipp import Sipp
from tests.wire.conftest import CALLER, PASSWORD, Stage
from tests.wire.interop.kamailio import Kamailio, Leg
from tests.wire.interop.script import Script
from tests.wire.interop.softphone import Softphone

OFFICE = "127.0.0.1"
"""A customer's address, from which SIPp calls."""
PHONE = "127.0.0.2"
"""Nobody's address: a softphone there has to give its password."""
BRANCH = "127.0.0.3"
"""Another customer's address: its own Kamailio."""
CARRIER = "127.0.0.4"
"""A carrier's address: Kamailio before the gateway."""
SOFT = "127.0.0.5"
"""A softphone that is a gateway."""

# Which gateways have a number, the cheapest first.
BY_CARRIER = "442079460018"
"""Kamailio, then the plain gateway."""
PLAIN = "442179460018"
"""The plain gateway alone."""
BY_STRICT = "442279460018"
"""Kamailio as a strict router."""
TO_SOFT = "442379460018"
SPIRAL = "442479460018"
"""A carrier that sends the call back to us with another number, as the branch's Kamailio."""
LOOP = "442579460018"
"""The same with the number as it was."""
BY_SLOW = "442679460018"
"""A gateway that is given up after 0.8 s of silence, then the plain one."""

CUSTOMER = """\
[[customer]]
id = "{id}"
name = "{id}"
status = "active"
pricelist = "retail"
[customer.dial_plan]
international = ["00"]
bare = "international"
[customer.caller_ids]
allowed = ["4420*"]
[[customer.trunk]]
id = "{id}-trunk"
{trunk}
"""
CARRIER_MORE = """\
uri_prefix = "1001"
hunt_codes = [408, 500, 502, 503, 504]
"""
GATEWAY = """\
[[gateway]]
id = "{id}"
name = "{id}"
host = "{host}"
port = {port}
{more}
coverage = "{id}.csv"
"""
TAIL = """\
[[pricelist]]
id = "retail"
name = "Retail"
initial = 1
increment = 1
minimum = "0.01"
expensive_at = "0.50"
rows = "prices.csv"
"""


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway of the bundle: `coverage` is prefix and rate."""

    id: str
    host: str
    port: int
    coverage: dict[str, str]
    more: str = ""


def write_bundle(folder: Path, customers: dict[str, str], gateways: list[Gateway]) -> Path:
    """A bundle of customers (id and the lines of its trunk) and gateways."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = ['[platform]\nrealm = "wire"\n[partner]\nname = "Interop"\n']
    parts += [CUSTOMER.format(id=name, trunk=trunk) for name, trunk in customers.items()]
    for one in gateways:
        parts.append(GATEWAY.format(id=one.id, host=one.host, port=one.port, more=one.more))
        rows = "".join(f"{prefix},Somewhere,{rate}\n" for prefix, rate in one.coverage.items())
        (folder / f"{one.id}.csv").write_text(f"prefix,name,rate\n{rows}")
    (folder / "prices.csv").write_text("prefix,name,rate\n44,United Kingdom,0.03\n")
    (folder / "bundle.toml").write_text("".join([*parts, TAIL]))
    return folder / "bundle.toml"


@dataclass(slots=True)
class Town:
    """The server, and the places round it.

    `far`, `plain`, `slow` and `soft` are ports where a test may put its gateways: `far` where the carrier's Kamailio
    sends calls, `plain` and `slow` without one, `soft` the softphone's. `branch` and `strict_branch` are where a
    customer finds its own Kamailio, host:port.
    """

    stage: Stage
    far: int
    plain: int
    slow: int
    soft: int
    branch: str
    strict_branch: str

    @property
    def target(self) -> str:
        return self.stage.server.target


@dataclass(slots=True)
class Play:
    """The programs of one test; all end with it."""

    town: Town
    folder: Path
    running: list[Sipp | Softphone] = field(default_factory=list)

    def gateway(self, script: Script, port: int, *more: str, calls: int = 1, name: str = "far") -> Sipp:
        """A SIPp that is called."""
        path = script.write(self.folder / f"{name}.xml")
        one = Sipp(
            path, self.folder, port, "-m", str(calls), "-recv_timeout", "9000", "-trace_msg", *more, label=name
        )  # fmt: skip
        self.running.append(one)
        return one

    def caller(
        self,
        script: Script,
        number: str,
        *more: str,
        target: str = "",
        source: str = OFFICE,
        calls: int = 1,
        name: str = "caller",
    ) -> Sipp:
        """A SIPp that calls `number`; without a target, at the server itself."""
        path = script.write(self.folder / f"{name}.xml")
        one = Sipp(
            path, self.folder, free_port(), "-s", number, "-key", "caller", CALLER, "-m", str(calls), "-r", "20",
            "-recv_timeout", "9000", "-trace_shortmsg", "-trace_msg", *more,
            target=target or self.town.target, address=source, label=name,
        )  # fmt: skip
        self.running.append(one)
        return one

    def phone(self, *, more: str = "") -> Softphone:
        """A softphone with a customer's password."""
        target = self.town.target
        account = f'<sip:{CALLER}@{target}>;regint=0;outbound="sip:{target}";auth_user=phone;auth_pass={PASSWORD}{more}'
        one = Softphone(self.folder / "phone", f"{PHONE}:{free_port()}", account)
        self.running.append(one)
        return one

    def soft_gateway(self, *, more: str = "") -> Softphone:
        """A softphone where the gateway `soft` is expected."""
        here = f"{SOFT}:{self.town.soft}"
        account = f"<sip:{TO_SOFT}@{here}>;regint=0{more}"
        one = Softphone(self.folder / "soft", here, account)
        self.running.append(one)
        return one

    def finish(self, *sipps: Sipp, calls: int = 1) -> None:
        """All of them come to the end of their scenarios, every call as written."""
        end = time.monotonic() + 30
        while any(one.process.poll() is None for one in sipps) and time.monotonic() < end:
            if any(one.process.poll() not in (None, 0) for one in sipps):
                break  # the others wait for it in vain
            time.sleep(0.05)
        for one in sipps:
            one.stop()
        for one in sipps:
            seen = one.counters()
            assert (seen.ok, seen.failed) == (calls, 0), f"{one.folder.name}: {seen}\n{one.errors()}"


def heard(sipp: Sipp, method: str, times: int, seconds: float = 5.0) -> None:
    """Wait until it has received so many requests of a method, repetitions included."""
    end = time.monotonic() + seconds
    while len(sipp.received(method)) < times:
        assert time.monotonic() < end, f"{sipp.folder.name} heard no {method} number {times}\n{sipp.errors()}"
        time.sleep(0.05)


def _towns(folder: Path) -> Iterator[Town]:
    ports = {
        name: free_port()
        for name in ("far", "plain", "slow", "soft", "carrier", "strict", "spiral", "loop", "b1", "b2")
    }
    gateways = [
        Gateway("carrier", CARRIER, ports["carrier"], {"4420": "0.010"}, CARRIER_MORE),
        Gateway("strict", CARRIER, ports["strict"], {"4422": "0.010"}),
        Gateway("spiral", CARRIER, ports["spiral"], {"4424": "0.010"}),
        Gateway("loop", CARRIER, ports["loop"], {"4425": "0.010"}),
        Gateway(
            "plain", OFFICE, ports["plain"], {"4420": "0.012", "4421": "0.012", "4426": "0.012"}, 'uri_prefix = "1002"'
        ),
        Gateway("slow", OFFICE, ports["slow"], {"4426": "0.010"}, "provisional_timeout_ms = 800"),
        Gateway("soft", SOFT, ports["soft"], {"4423": "0.010"}),
    ]
    customers = {
        "office": f'source = "{OFFICE}/32"',
        "branch": f'source = "{BRANCH}/32"',
        "phone": f'username = "phone"\npassword = "{PASSWORD}"',
    }
    server = Server(folder, write_bundle(folder / "bundle", customers, gateways))
    us, far = f"sip:{server.target}", f"sip:{OFFICE}:{ports['far']}"
    back = f'$fs = "udp:{BRANCH}:{ports["b1"]}";'
    carrier = [
        Leg(CARRIER, ports["carrier"], far),
        Leg(CARRIER, ports["strict"], far, strict=True),
        Leg(CARRIER, ports["spiral"], us, before=f'$rU = "{PLAIN}"; $rd = "{server.sip[0]}"; {back}'),
        Leg(CARRIER, ports["loop"], us, before=f'$ru = "sip:{LOOP}@{server.target}"; {back}'),
    ]
    branch = [Leg(BRANCH, ports["b1"], us), Leg(BRANCH, ports["b2"], us, strict=True)]
    kamailio: Kamailio | None = None
    server.start()
    try:
        # One process has all its sockets: the calls that come back leave by one of the branch's.
        kamailio = Kamailio(folder / "kamailio", [*carrier, *branch])
        stage = Stage(server, ports["far"], ports["plain"])
        places = [f"{leg.host}:{leg.port}" for leg in branch]
        yield Town(stage, ports["far"], ports["plain"], ports["slow"], ports["soft"], *places)
    finally:
        if kamailio is not None:
            kamailio.stop()
        server.stop()
    log = server.log.read_text(errors="replace")
    for fault in ("Traceback", "internal_error", "cdr_rejected"):
        assert fault not in log, server.tail()


@pytest.fixture(scope="package")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    yield from _towns(tmp_path_factory.mktemp("town"))


@pytest.fixture
def play(town: Town, tmp_path: Path) -> Iterator[Play]:
    one = Play(town, tmp_path)
    try:
        yield one
    finally:
        for program in reversed(one.running):
            program.stop()
