"""A virtual clock and links that lose, double and delay datagrams."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import NamedTuple, Protocol

from tests.sim.sipmsg import Malformed, Msg, parse

MS = 1_000_000
# Half a minute before a month ends in UTC, and so in no zone whose clock is elsewhere.
UTC0 = 1_769_903_970_000
START = 10**12
Address = tuple[str, int]


def utc_of(at: int) -> int:
    """The wall clock in milliseconds at the monotonic instant `at`."""
    return UTC0 + (at - START) // MS


class Faults(NamedTuple):
    """What the links do: probabilities of loss and doubling, least delay and jitter in milliseconds."""

    loss: float = 0.0
    double: float = 0.0
    delay_ms: float = 5.0
    jitter_ms: float = 5.0


class Handle:
    """A pending call on the virtual clock; `cancel()` forgets it."""

    __slots__ = ("run",)

    def __init__(self, run: Callable[[], None]) -> None:
        self.run: Callable[[], None] | None = run

    def cancel(self) -> None:
        self.run = None


class Datagram:
    """One packet as sent; `arrivals` are the virtual instants (ns) it was delivered, none when lost."""

    __slots__ = ("arrivals", "copies", "dst", "fault", "msg", "sent", "serial", "src")

    def __init__(self, serial: int, sent: int, src: Address, dst: Address, msg: Msg | None, fault: str) -> None:
        self.serial = serial
        self.sent = sent
        self.src = src
        self.dst = dst
        self.msg = msg
        self.fault = fault
        self.copies = 1
        self.arrivals: list[int] = []


class Node(Protocol):
    """Whoever is reached at an address; one that is down loses what comes."""

    up: bool

    def on_datagram(self, data: bytes, msg: Msg | None, src: Address, dst: Address) -> None: ...


class Network:
    """The event heap and the links. Time is monotonic nanoseconds from START; UTC runs beside it."""

    def __init__(self, seed: int, faults: Faults) -> None:
        self.rng = Random(seed)
        self.faults = faults
        self.time = START
        self.nodes: dict[Address, Node] = {}
        self.record: list[Datagram] = []
        self.counts = {"sent": 0, "lost": 0, "doubled": 0, "reordered": 0, "unreachable": 0}
        self._heap: list[tuple[int, int, Handle]] = []
        self._serial = 0
        self._newest: dict[tuple[Address, Address], int] = {}

    @property
    def utc(self) -> int:
        """The wall clock, milliseconds since 1970."""
        return utc_of(self.time)

    def at(self, when: int, run: Callable[[], None]) -> Handle:
        handle = Handle(run)
        self._serial += 1
        heappush(self._heap, (max(when, self.time), self._serial, handle))
        return handle

    def after(self, delay_ms: float, run: Callable[[], None]) -> Handle:
        return self.at(self.time + int(delay_ms * MS), run)

    def send(self, data: bytes, src: Address, dst: Address) -> bool:
        """Put a datagram on its link; False when nobody lives at `dst` (a refused port)."""
        self.counts["sent"] += 1
        try:
            msg, fault = parse(data), ""
        except Malformed as error:
            msg, fault = None, str(error)
        packet = Datagram(len(self.record), self.time, src, dst, msg, fault)
        self.record.append(packet)
        if dst not in self.nodes:
            self.counts["unreachable"] += 1
            packet.copies = 0
            return False
        rng, faults = self.rng, self.faults
        if rng.random() < faults.loss:
            self.counts["lost"] += 1
            packet.copies = 0
            return True
        if rng.random() < faults.double:
            self.counts["doubled"] += 1
            packet.copies = 2
        for _ in range(packet.copies):
            self.after(faults.delay_ms + rng.random() * faults.jitter_ms, lambda: self._arrive(packet, data))
        return True

    def _arrive(self, packet: Datagram, data: bytes) -> None:
        node = self.nodes[packet.dst]
        if not node.up:
            self.counts["lost"] += 1
            return
        link = (packet.src, packet.dst)
        newest = self._newest.get(link, -1)
        if packet.serial < newest and not packet.arrivals:
            self.counts["reordered"] += 1
        self._newest[link] = max(newest, packet.serial)
        packet.arrivals.append(self.time)
        node.on_datagram(data, packet.msg, packet.src, packet.dst)
        if not node.up:
            packet.arrivals.pop()  # it died with its receiver, who did nothing more about it
            self.counts["lost"] += 1

    def run(self, until: int, done: Callable[[], bool] = lambda: False) -> None:
        """Work the heap up to the instant `until`, or till `done()` or nothing is left."""
        heap = self._heap
        while heap and heap[0][0] <= until and not done():
            when, _, handle = heappop(heap)
            if handle.run is not None:
                self.time = when
                handle.run()
        if not done():
            self.time = until
