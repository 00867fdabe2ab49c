"""A real name server on a loopback port of one's own: dnsmasq with the records it is given."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from sipsvc.demo.server import free_port

READY_S = 20.0


class Nameserver:
    """`records` are dnsmasq's options without dashes: `host-record=a.test,127.0.0.1`, `srv-host=…`, kept for an hour
    unless a `host-record` says otherwise behind its address.

    Everything under `test` is its own; what is not there is answered NXDOMAIN. Under `slow.test` nobody ever answers.
    """

    def __init__(self, folder: Path) -> None:
        self.port = _port_of_both()
        self._log = folder / "dnsmasq.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._deaf = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._deaf.bind(("127.0.0.1", 0))

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def start(self, *records: str) -> None:
        """It answers when this returns."""
        self.stop()
        command = [
            _program(), "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--no-poll",
            "--user=", "--group=", "--pid-file=", "--bind-interfaces", "--listen-address=127.0.0.1",
            f"--port={self.port}", "--local-ttl=3600",
            "--local=/test/", f"--server=/slow.test/127.0.0.1#{self._deaf.getsockname()[1]}",
            "--log-queries", f"--log-facility={self._log}", "--host-record=ready.test,127.0.0.1",
        ]  # fmt: skip
        self._process = subprocess.Popen([*command, *(f"--{record}" for record in records)])
        end = time.monotonic() + READY_S
        while not self._answers():
            assert self._process.poll() is None, f"dnsmasq ended: {self._text()}"
            assert time.monotonic() < end, f"dnsmasq does not answer: {self._text()}"
            time.sleep(0.02)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self.stop()
        self._deaf.close()

    def asked(self, kind: str, name: str) -> int:
        """How often it was asked for these records, over all its lives."""
        return self._text().count(f"query[{kind}] {name} from")

    def _text(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def _answers(self) -> bool:
        query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x05ready\x04test\x00\x00\x01\x00\x01"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
            link.settimeout(0.2)
            try:
                link.connect(self.address)
                link.send(query)
                return link.recv(512)[:2] == query[:2]
            except OSError:
                return False


def _program() -> str:
    # Debian keeps it where only root's PATH leads.
    found = shutil.which("dnsmasq", path=f"{os.environ['PATH']}:/usr/sbin")
    assert found is not None, "dnsmasq is missing: run `make deps` or install the Debian package dnsmasq-base"
    return found


def _port_of_both() -> int:
    """A port of 127.0.0.1 that is free for UDP and for TCP."""
    while True:
        port = free_port()
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
