"""Runs SIPp and reads what it counted and logged. SIPp 3.6.1, Debian package sip-tester."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from sipsvc.demo.agent import Message, parse
from sipsvc.demo.api import DemoError

BUFFER = "2097152"
WATCHDOGS = ("-watchdog_minor_maxtriggers", "1000", "-watchdog_major_maxtriggers", "1000")


def scenarios() -> Path:
    """The folder `sipp_scenarios` of the source tree. Raises DemoError in an installation without it."""
    folder = Path(__file__).resolve().parents[2] / "sipp_scenarios"
    if not folder.is_dir():
        raise DemoError("sipp_scenarios is not here: run this from the source tree.")
    return folder


@dataclass(frozen=True, slots=True)
class Counters:
    """The last row of SIPp's statistics. `ok` and `failed` are calls, `retrans` messages sent again."""

    created: int = 0
    ok: int = 0
    failed: int = 0
    retrans: int = 0
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the short message log: time in seconds since 1970, direction, Call-ID, CSeq, first line."""

    at: float
    sent: bool
    call_id: str
    cseq: str
    start: str


def is_bound(port: int) -> bool:
    """True when somebody holds the UDP port, or listens at the TCP port, of any address."""
    needle = f":{port:04X}"
    for name in ("udp", "udp6", "tcp", "tcp6"):
        with Path(f"/proc/net/{name}").open(encoding="ascii") as table:
            for row in map(str.split, table.readlines()[1:]):
                if row[1].endswith(needle) and (name.startswith("udp") or row[3] == "0A"):
                    return True
    return False


class Sipp:
    """One SIPp process. With `target` it calls, else it is a gateway."""

    def __init__(
        self,
        scenario: str,
        folder: Path,
        port: int,
        *more: str,
        target: str = "",
        label: str = "",
        address: str = "127.0.0.1",
    ) -> None:
        if shutil.which("sipp") is None:
            raise DemoError("sipp is missing: run `make deps` or install the Debian package sip-tester.")
        self.folder = folder / (label or scenario.replace("/", "-").removesuffix(".xml"))
        self.folder.mkdir(parents=True)
        self.port = port
        command = [
            "sipp",
            "-sf",
            str(scenarios() / scenario),
            "-i",
            address,
            "-bind_local",
            "-p",
            str(port),
            "-nostdin",
            "-trace_stat",
            "-stf",
            str(self.folder / "stat.csv"),
            "-fd",
            "1",
            "-trace_err",
            "-buff_size",
            BUFFER,
            "-max_recv_loops",
            "1000",
            "-max_sched_loops",
            "1000",
            *WATCHDOGS,
            *more,
            *([target] if target else []),
        ]
        with (self.folder / "output").open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "TERM": "dumb"},
            )
        if not target:
            self._bound()

    def _bound(self) -> None:
        end = time.monotonic() + 5
        while time.monotonic() < end and self.process.poll() is None:
            if is_bound(self.port):
                return
            time.sleep(0.02)
        self.stop()
        raise DemoError(f"SIPp did not start on port {self.port}: {self.errors()}")

    def wait(self, seconds: float) -> int:
        """Its exit code: 0 when every call went as written. Ended by force after `seconds`: 97 (as SIPp's own)."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.stop()
            return 97

    def stop(self) -> None:
        """End it: first by its own soft signal, which lets it write its statistics."""
        for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is not None:
                return
            self.process.send_signal(number)
            try:
                self.process.wait(1.5)
            except subprocess.TimeoutExpired:
                continue

    def counters(self) -> Counters:
        try:
            with (self.folder / "stat.csv").open(newline="", encoding="ascii") as handle:
                rows = list(csv.reader(handle, delimiter=";"))
        except FileNotFoundError:
            return Counters()
        if len(rows) < 2:
            return Counters()
        last = dict(zip(rows[0], rows[-1], strict=False))
        reasons = [
            f"{name.removesuffix('(C)')} {count}"
            for name, count in last.items()
            if name.startswith("Failed") and name.endswith("(C)") and name != "FailedCall(C)" and count.strip("0")
        ]
        return Counters(
            int(last["TotalCallCreated"]),
            int(last["SuccessfulCall(C)"]),
            int(last["FailedCall(C)"]),
            int(last["Retransmissions(C)"]),
            tuple(reasons),
        )

    def lines(self) -> list[Line]:
        """The short message log; needs `-trace_shortmsg`."""
        found = []
        for path in self.folder.glob("*_shortmessages*.log"):
            for text in path.read_text(encoding="ascii", errors="replace").splitlines():
                parts = text.split("\t")
                if len(parts) >= 7:
                    found.append(Line(float(parts[2]), parts[3] == "S", parts[4], parts[5], parts[6]))
        return found

    def call_ids(self) -> list[str]:
        """The calls it made or saw, in order; needs `-trace_shortmsg`."""
        return list(dict.fromkeys(line.call_id for line in self.lines()))

    def received(self, method: str = "") -> list[Message]:
        """The messages that came in, in order, all or of one method; needs `-trace_msg`."""
        found = []
        for path in self.folder.glob("*_messages.log"):
            for part in path.read_bytes().split(b"-----------------------------------------------")[1:]:
                head, _, rest = part.partition(b"\n\n")
                if b" received " in head:
                    found.append(parse(rest.lstrip(b"\n")))
        return [one for one in found if not method or (not one.status and one.method == method)]

    def errors(self) -> str:
        """What SIPp complained of, for a message to a person."""
        texts = [path.read_text(errors="replace") for path in self.folder.glob("*_errors.log")]
        return "\n".join([*texts, (self.folder / "output").read_text(errors="replace")])[:2000]
