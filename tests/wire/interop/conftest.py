"""One `sipsvc serve` for all of this folder, and round it programs of other makers. Everything on loopback."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sipsvc.demo.server import free_port
from sipsvc.demo.sipp import Sipp
from tests.wire.conftest import CALLER, PASSWORD
from tests.wire.interop.script import Script
from tests.wire.interop.softphone import Softphone
from tests.wire.interop.town import OFFICE, PHONE, SOFT, Town
from tests.wire.interop.town import town as running

SIPP = {"udp": ("-t", "u1"), "tcp": ("-t", "t1"), "tcp-each": ("-t", "tn", "-max_socket", "100")}
"""One socket for all calls, or a connection for each."""


@dataclass(slots=True)
class Play:
    """The programs of one test; all end with it."""

    town: Town
    folder: Path
    running: list[Sipp | Softphone] = field(default_factory=list)

    def gateway(
        self, script: Script, name: str, *more: str, calls: int = 1, by: str = "udp", six: bool = False
    ) -> Sipp:
        """A SIPp where the gateway `name` is expected."""
        path = script.write(self.folder / f"{name}.xml")
        one = Sipp(
            path, self.folder, self.town.ports[name], *SIPP[by], "-m", str(calls),
            "-recv_timeout", "9000", "-trace_msg", *more, label=name, address="::1" if six else OFFICE,
        )  # fmt: skip
        self.running.append(one)
        return one

    def caller(
        self,
        script: Script,
        number: str,
        *more: str,
        target: str = "",
        calls: int = 1,
        by: str = "udp",
        six: bool = False,
    ) -> Sipp:
        """A SIPp that calls `number`; without a target, at the server itself."""
        path = script.write(self.folder / "caller.xml")
        transport = by.partition("-")[0]
        one = Sipp(
            path, self.folder, free_port(), *SIPP[by], "-s", number, "-key", "caller", CALLER,
            "-m", str(calls), "-r", "20", "-recv_timeout", "9000", "-trace_shortmsg", "-trace_msg", *more,
            target=target or self.town.targets[f"{transport}6" if six else transport],
            address="::1" if six else OFFICE, label="caller",
        )  # fmt: skip
        self.running.append(one)
        return one

    def phone(self, by: str = "udp") -> Softphone:
        """A softphone with a customer's password."""
        target = self.town.targets[by]
        proxy = f"sip:{target};transport={by}"
        account = (
            f'<sip:{CALLER}@{target};transport={by}>;regint=0;outbound="{proxy}";auth_user=phone;auth_pass={PASSWORD}'
        )
        return self._softphone("phone", f"{PHONE}:{free_port()}", account)

    def soft_gateway(self, number: str, *, by: str = "udp", more: str = "") -> Softphone:
        """A softphone where the gateway `soft` is expected, by whichever transport."""
        here = f"{SOFT}:{self.town.ports['soft']}"
        return self._softphone("soft", here, f"<sip:{number}@{here};transport={by}>;regint=0{more}")

    def _softphone(self, name: str, listen: str, account: str) -> Softphone:
        certificates = self.town.certificates
        pem = self.folder / f"{name}.pem"
        pem.write_text("".join(part.read_text() for part in certificates.phone))
        more = f"sip_certificate {pem}\nsip_cafile {certificates.ca}"
        one = Softphone(self.folder / name, listen, account, more)
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


@pytest.fixture(scope="package")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with running(tmp_path_factory.mktemp("town")) as one:
        yield one


@pytest.fixture
def play(town: Town, tmp_path: Path) -> Iterator[Play]:
    one = Play(town, tmp_path)
    try:
        yield one
    finally:
        for program in reversed(one.running):
            program.stop()
