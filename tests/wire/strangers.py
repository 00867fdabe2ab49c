"""Strangers for a real server: a flood of requests from many loopback addresses, and the tools that guess."""

from __future__ import annotations

import os
import re
import select
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

from sipsvc.demo.agent import digest

Address = tuple[str, int]
# What a stranger sends, in turn.
KINDS = ("plain", "forged", "guess", "register", "options", "inside", "broken")
TIMEOUT_S = 60.0


def invite(here: str, there: str, call_id: str, cseq: int, *, user: str = "1000", credentials: str = "") -> bytes:
    """An INVITE to a number that has a price, from somebody who says to be `user`."""
    return _request("INVITE", f"sip:442079460018@{there}", here, call_id, cseq, user, credentials)


def _request(
    method: str, uri: str, here: str, call_id: str, cseq: int, user: str, credentials: str, to: str = ""
) -> bytes:
    lines = [
        f"{method} {uri} SIP/2.0",
        f"Via: SIP/2.0/UDP {here};branch=z9hG4bK{call_id}{cseq}{method};rport",
        "Max-Forwards: 70",
        f"From: <sip:{user}@{here}>;tag={call_id}",
        f"To: <{uri}>{to}",
        f"Call-ID: {call_id}@{here}",
        f"CSeq: {cseq} {method}",
        f"Contact: <sip:{user}@{here}>",
    ]
    if credentials:
        lines.append(f"Proxy-Authorization: {credentials}")
    return "\r\n".join([*lines, "Content-Length: 0", "", ""]).encode()


def challenge_of(answer: bytes) -> str:
    """The value of its first challenge, "" for none."""
    found = re.search(rb"^Proxy-Authenticate: (.*)\r$", answer, re.MULTILINE)
    return found[1].decode() if found else ""


class Stranger:
    """One address that asks and listens. Responses are counted by status; a challenge is kept to guess with."""

    def __init__(self, host: str, target: Address) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.socket.setblocking(False)
        self.here = "{}:{}".format(*self.socket.getsockname())
        self.there = "{}:{}".format(*target)
        self.target = target
        self.challenge = ""
        self.sent = 0

    def send(self, kind: str, users: tuple[str, ...]) -> None:
        self.sent += 1
        number, user = self.sent, users[self.sent % len(users)]
        call_id = f"{kind}{number}"
        uri = f"sip:442079460018@{self.there}"
        credentials = ""
        if kind == "guess" and self.challenge:
            credentials = digest(
                self.challenge, method="INVITE", uri=uri, username=user, password=f"guess{number}", cnonce=str(number)
            )
        elif kind in ("forged", "guess"):
            credentials = (
                f'Digest username="{user}", realm="wire", nonce="{number:037x}", uri="{uri}", '
                f'response="{number:032x}", algorithm=MD5, qop=auth, nc=00000001, cnonce="{number}"'
            )
        if kind in ("plain", "forged", "guess"):
            data = invite(self.here, self.there, call_id, number, user=user, credentials=credentials)
        elif kind == "broken":
            data = b"INVITE sip:x SIP/2.0\r\nVia: SIP/2.0/UDP " + self.here.encode() + b"\r\nFrom: \xff<>\r\n\r\n"
        else:
            method = {"register": "REGISTER", "options": "OPTIONS", "inside": "BYE"}[kind]
            to = ";tag=nobody" if kind == "inside" else ""
            data = _request(method, f"sip:{self.there}", self.here, call_id, number, user, credentials, to)
        self.socket.sendto(data, self.target)

    def listen(self, heard: Counter[str]) -> None:
        while True:
            try:
                answer = self.socket.recv(65_535)
            except (BlockingIOError, ConnectionRefusedError):
                return
            heard[answer[8:11].decode("ascii", "replace")] += 1
            self.challenge = challenge_of(answer) or self.challenge


class Flood:
    """`rate` requests a second from `hosts` in turn, for so long; `users` are whom they say to be.

    `heard` are the statuses of what came back, `sent` how much went out, `took` how long that was.
    """

    def __init__(self, target: Address, hosts: list[str], users: tuple[str, ...], rate: int, seconds: float) -> None:
        self.strangers = [Stranger(host, target) for host in hosts]
        self.users = users
        self.wanted = round(rate * seconds)
        self.rate = rate
        self.sent = 0
        self.took = 0.0
        self.heard: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Flood:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._thread.join()
        for stranger in self.strangers:
            stranger.socket.close()

    def _run(self) -> None:
        kinds, who = cycle(KINDS), cycle(self.strangers)
        began = time.monotonic()
        while self.sent < self.wanted:
            due = round((time.monotonic() - began) * self.rate)
            while self.sent < min(due, self.wanted):
                next(who).send(next(kinds), self.users)
                self.sent += 1
            for stranger in self.strangers:
                stranger.listen(self.heard)
            time.sleep(0.01)
        self.took = time.monotonic() - began
        time.sleep(0.5)
        for stranger in self.strangers:
            stranger.listen(self.heard)


class Asked(NamedTuple):
    """What a stranger hears to one request; `shorn` has no nonces."""

    status: int
    data: bytes
    shorn: bytes


def ask(host: str, target: Address, make: list[tuple[str, str]], call_id: str) -> list[Asked]:
    """What each of `make` (user, password) hears to the same INVITE from `host`, one behind the other."""
    heard = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.bind((host, 0))
        here, there = "{}:{}".format(*link.getsockname()), "{}:{}".format(*target)
        challenge = ""
        for user, password in [("", ""), *make]:
            uri = f"sip:442079460018@{there}"
            credentials = (
                digest(challenge, method="INVITE", uri=uri, username=user, password=password) if challenge else ""
            )
            link.sendto(invite(here, there, call_id, 1, credentials=credentials), target)
            ready, _, _ = select.select([link], [], [], 5.0)
            assert ready, "no answer"
            data = link.recv(65_535)
            challenge = challenge or challenge_of(data)
            heard.append(Asked(int(data[8:11]), data, re.sub(rb'nonce="[^"]+"', b"", data)))
    return heard[1:]


# Their option to bind to an address does nothing, so they are begun with sockets that do.
TOOL = """
import importlib, socket, sys
host, name = sys.argv[1:3]
class Bound(socket.socket):
    def bind(self, address):
        super().bind((host, address[1]))
socket.socket = Bound
tool = importlib.import_module(f"sipvicious.{name}")
sys.argv = [name, *sys.argv[3:]]
tool.main()
"""


def run_tool(name: str, host: str, folder: Path, *options: str) -> str:
    """What one of the sipvicious commands (svwar, svcrack) says when it is run at the address `host`."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", TOOL, host, name, *options],
        cwd=folder,
        env={**os.environ, "HOME": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=TIMEOUT_S,
        check=False,
    )
    return done.stdout.decode("utf-8", "replace")
