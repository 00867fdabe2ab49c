"""Rubbish from outside: packets like those of the run, cut, bitten and under Call-IDs nobody uses (SIP-3, SIP-10)."""

from __future__ import annotations

import re
from random import Random

from tests.sim.network import Address
from tests.sim.sipmsg import Msg
from tests.sim.sipua import World

SOURCE: Address = ("10.99.0.99", 5999)
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
        if BROKEN_LINE.search(data.partition(b"\r\n\r\n")[0]):
            self.world.report("well-formed", "", f"rubbish came back broken: {data!r}")

    def _send(self) -> None:
        net = self.world.net
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

    def weigh(self) -> None:
        if self.got > MOST_AMPLIFIED * self.bytes_sent:
            self.world.report("noise", "", f"{self.bytes_sent} bytes of rubbish brought {self.got} back")
