"""A name server: a look-up is answered at once, late, never, with nothing, or with several addresses (SIP-8)."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from sipsvc.effects import Resolve, Target
from tests.sim.network import Address, Network

# How a look-up ends, and how often.
ENDS = {"at once": 50, "dead first": 15, "silent first": 15, "late": 6, "never": 5, "nothing": 6}
# Half of the 4 s a gateway has: what takes longer is given up.
PATIENCE_MS = 2_000.0


class Lookup(NamedTuple):
    """One that was asked for: when, for which name, how it ends, and after how many milliseconds."""

    at: int
    host: str
    end: str
    took_ms: float

    @property
    def failed(self) -> bool:
        return self.end in ("never", "nothing") or self.took_ms >= PATIENCE_MS


class Names:
    """`places` says where each name leads; the addresses before it are those of nobody, or of somebody mute."""

    def __init__(self, net: Network, seed: int, places: dict[str, Address]) -> None:
        self.net, self.places = net, places
        self.rng = Random(f"names {seed}")
        self.asked: list[Lookup] = []
        self.answered = 0
        for host, _ in places.values():
            Mute(net, (spare(host, "silent first"), 5080))

    def look_up(self, question: Resolve, answer: Callable[[tuple[Target, ...]], None]) -> None:
        """Draw how it ends. `answer` is for the rim to bring back, or to drop if the engine has died."""
        rng = self.rng
        end = rng.choices(list(ENDS), list(ENDS.values()))[0]
        took = rng.uniform(2_100, 6_000) if end == "late" else rng.choice((0.0, rng.uniform(1, 400), 1_500.0))
        self.asked.append(Lookup(self.net.time, question.host, end, took))
        if end == "never":
            return
        host, port = self.places[question.host]
        found = [Target("UDP", host, port)]
        if end in ("dead first", "silent first"):
            found.insert(0, Target("UDP", spare(host, end), port))

        def give() -> None:
            self.answered += 1
            answer(() if end == "nothing" else tuple(found))

        self.net.after(took, give)


class Mute:
    """Somebody who takes every packet and says nothing."""

    up = True

    def __init__(self, net: Network, address: Address) -> None:
        net.nodes[address] = self

    def on_datagram(self, data: bytes, msg: object, src: Address, dst: Address) -> None:
        return


def spare(host: str, end: str) -> str:
    """The address that stands before a gateway's own in such an answer."""
    return host.replace("10.2.0.", "10.2.8." if end == "dead first" else "10.2.9.")


def spares(host: str) -> tuple[str, str]:
    return spare(host, "dead first"), spare(host, "silent first")
