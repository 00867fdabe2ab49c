"""A `sipsvc serve` of one's own: free loopback ports, a folder of its own, a bundle, kill and restart."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from sipsvc.demo.agent import Message, new_branch
from sipsvc.demo.api import Api, Credentials, DemoError

READY = 60.0
"""Seconds a start may take."""


def free_port(kind: socket.SocketKind = socket.SOCK_DGRAM) -> int:
    """A port of 127.0.0.1 that nobody holds now."""
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def answers(address: tuple[str, int], seconds: float = 0.2) -> bool:
    """True when `address` answers an OPTIONS request, with any status."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.bind(("127.0.0.1", 0))
        link.settimeout(seconds)
        here, there = "{}:{}".format(*link.getsockname()), "{}:{}".format(*address)
        ping = Message(
            f"OPTIONS sip:{there} SIP/2.0",
            (
                ("Via", f"SIP/2.0/UDP {here};branch={new_branch()};rport"),
                ("Max-Forwards", "70"),
                ("From", f"<sip:probe@{here}>;tag=probe"),
                ("To", f"<sip:{there}>"),
                ("Call-ID", new_branch()),
                ("CSeq", "1 OPTIONS"),
            ),
        )
        try:
            link.sendto(ping.encode(), address)
            return link.recv(4096).startswith(b"SIP/2.0 ")
        except OSError:
            return False


class Server:
    """`serve` as a child process. `bundle` is the path of a bundle, stored at the first start; None begins empty.

    `database` is a URL, "" SQLite in the server's folder. With `streams` it listens by TCP too, on the same port;
    `listen` are listeners besides, `sip` more lines of the settings' section of that name, and tables below it.
    """

    def __init__(
        self,
        folder: Path,
        bundle: Path | None,
        *,
        api: bool = True,
        database: str = "",
        streams: bool = False,
        listen: Sequence[str] = (),
        sip: str = "",
    ) -> None:
        self.folder, self.bundle = folder, bundle
        self.data = folder / "data"
        self.sip = ("127.0.0.1", free_port())
        self.config = folder / "sipsvc.toml"
        self.log = folder / "serve.log"
        self.metrics = f"127.0.0.1:{free_port(socket.SOCK_STREAM)}"
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        transports = ("udp", "tcp") if streams else ("udp",)
        listeners = [*(f"{transport}:127.0.0.1:{self.sip[1]}" for transport in transports), *listen]
        self.config.write_text(
            f"[sip]\nlisten = {json.dumps(listeners)}\n{sip}\n"
            f'[api]\nenabled = {str(api).lower()}\nlisten = "127.0.0.1:{free_port(socket.SOCK_STREAM)}"\n'
            f'[data]\ndir = "{self.data}"\ndatabase = "{database}"\n'
            f'[metrics]\nlisten = "{self.metrics}"\n[log]\nlevel = "info"\nformat = "json"\n'
        )

    @property
    def target(self) -> str:
        return f"{self.sip[0]}:{self.sip[1]}"

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "sipsvc", *words]

    def start(self) -> None:
        """Start it and wait until it answers. Raises DemoError with the end of its log."""
        demo = [] if self.bundle is None else ["--demo", str(self.bundle)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command("serve", "--config", str(self.config), *demo),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(os.environ),
            )
        end = time.monotonic() + READY
        while not answers(self.sip):
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise DemoError(f"sipsvc serve did not start:\n{self.tail()}")

    def tail(self, lines: int = 30) -> str:
        """The end of its log, for a message to a person."""
        return "\n".join(line[:400] for line in self.log.read_text(errors="replace").splitlines()[-lines:])

    def kill(self) -> None:
        """kill -9 of the server; its children see their parent's pipe close and go by themselves."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def interrupt(self) -> None:
        """Ctrl-C."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)

    def wait(self, seconds: float = 60.0) -> int:
        """Its exit code. Raises subprocess.TimeoutExpired."""
        assert self.process is not None
        return self.process.wait(seconds)

    def stop(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(45)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    @property
    def credentials(self) -> Credentials:
        return Credentials.read(self.data)

    @property
    def api(self) -> Api:
        return Api(self.credentials.api_url, self.credentials.api_token)
