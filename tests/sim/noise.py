"""Rubbish from outside: packets like those of the run, cut, bitten and under Call-IDs nobody uses (SIP-3, SIP-10)."""

from __future__ import annotations

import re
from random import Random

from tests.sim.network import Address
from tests.sim.sipmsg import Msg, build
from tests.sim.sipua import World

SOURCE: Address = ("10.99.0.99", 5999)
FORGED = "z9hG4bKforged"
# A token of ours in a route: what it says, and the last digit of its seal.
TOKEN = re.compile(r"(<sip:[0-9a-z]{20,})([0-9a-f])(?=@)")
MOST_AMPLIFIED = 4
# What rubbish may not smuggle into an answer (SIP-5).
BROKEN_LINE = re.compile(rb"\0|\r(?!\n)|(?<!\r)\n")


class Noise:
    """Sends altered copies of what was lately sent and weighs what comes back."""

    up = True

    def __init__(self, world: World, proxies: tuple[Address, ...], seed: int) -> None:
        self.world, self.proxies = world, proxies
        self.rng = Random(f"noise {seed}")
        self.got = 0
        self.bytes_sent = 0
        world.net.nodes[SOURCE] = self
        for _ in range(self.rng.randint(0, 40)):
            world.net.after(self.rng.uniform(1_000, 90_000), self._send)

    def on_datagram(self, data: bytes, msg: Msg | None, src: Address, dst: Address) -> None:
        """Strangers are answered small, or not at all."""
        self.got += len(data)
        self.world.counts["noise answered"] += 1
        if msg is not None and msg.branch.startswith(FORGED) and msg.status != 481:
            self.world.report("forged", msg.call_id, f"whoever forges a token is told {msg.line}")
        if BROKEN_LINE.search(data.partition(b"\r\n\r\n")[0]):
            self.world.report("well-formed", "", f"rubbish came back broken: {data!r}")

    def _send(self) -> None:
        net = self.world.net
        if self.rng.random() < 0.3 and self._forge():
            return
        # Nothing that bears on a transaction by its branch: who can see that can do as he likes.
        recent = [packet.msg for packet in net.record[-80:] if packet.msg is not None]
        mute = ("ACK", "CANCEL")
        candidates = [m for m in recent if not (m.status or m.method in mute or m.get("proxy-authorization"))]
        if not candidates:
            return
        msg = self.rng.choice(candidates)
        data = bytearray(msg.raw.replace(msg.call_id.encode(), f"noise{self.rng.random()}".encode()))
        data[:] = data.replace(b"=z9hG4bK", b"=z9hG4bKn")
        for _ in range(self.rng.choice((0, 1, 1, 2, 5, 40))):
            at = self.rng.randrange(len(data))
            data[at : at + 1] = self.rng.choice(
                (b"", bytes([self.rng.randrange(256)]), b"\r\n", b"\x00", b";", b"\xff<")
            )
        if self.rng.random() < 0.2:
            del data[self.rng.randrange(len(data)) :]
        self.bytes_sent += len(data) * 2  # each of them may be doubled on its way
        self.world.counts["noise"] += 1
        net.send(bytes(data), SOURCE, self.rng.choice(self.proxies))

    def _forge(self) -> bool:
        """A BYE inside a call that goes on, by somebody who knows all of it but the seal on its token (SIP-16)."""
        net = self.world.net
        last = (packet for packet in net.record[-60:] if packet.dst in self.proxies and packet.src != SOURCE)
        recent = [packet.msg for packet in last if packet.msg is not None]
        inside = [msg for msg in recent if not msg.status and msg.to_tag and msg.method != "BYE" and msg.get("route")]
        if not inside:
            return False
        msg = self.rng.choice(inside)
        host, port = SOURCE
        token, found = TOKEN.subn(lambda seal: seal[1] + ("0" if seal[2] != "0" else "1"), msg.get("route"), count=1)
        if not found:
            return False
        headers = [("Via", f"SIP/2.0/UDP {host}:{port};branch={FORGED}{self.rng.getrandbits(40):x};rport")]
        headers += [("Route", token), ("Max-Forwards", "70"), ("From", msg.get("from")), ("To", msg.get("to"))]
        headers += [("Call-ID", msg.call_id), ("CSeq", f"{msg.cseq + 50} BYE")]
        data = build(f"BYE {msg.uri} SIP/2.0", headers)
        self.bytes_sent += len(data) * 2
        self.world.counts["forged tokens"] += 1
        net.send(data, SOURCE, self.rng.choice(self.proxies))
        return True

    def weigh(self) -> None:
        if self.got > MOST_AMPLIFIED * self.bytes_sent:
            self.world.report("noise", "", f"{self.bytes_sent} bytes of rubbish brought {self.got} back")
