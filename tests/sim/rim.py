"""The rim that holds the engine in a run: its sockets, its log, its disk, and its death and return."""

from __future__ import annotations

import json
import traceback
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from functools import partial
from random import Random
from typing import Any, NamedTuple, Protocol

from sipsvc.directory import Directory
from sipsvc.effects import Effect, Flow, Now, Resolve, Send, Target, WriteCdr
from tests.sim.names import Names
from tests.sim.network import MS, Address, Handle, Network
from tests.sim.sipmsg import Msg


class EngineLike(Protocol):
    """The engine's contract, as much of it as the rim here needs."""

    def receive(self, data: bytes, flow: Flow, now: Now) -> None: ...
    def handle_timer(self, now: Now) -> None: ...
    def next_timer(self) -> int | None: ...
    def take(self) -> list[Effect]: ...
    def durable(self, seq: int, now: Now) -> None: ...
    def send_failed(self, ref: str, now: Now) -> None: ...
    def resolved(self, ref: str, targets: tuple[Target, ...], now: Now) -> None: ...
    def charged(self, customer: str, currency: str, amount: Decimal) -> None: ...
    def allowance_used(self, trunk: str, month: str, seconds: int) -> None: ...
    def restore(self, records: Iterable[dict[str, Any]], now: Now, outages: Sequence[int] = ()) -> None: ...
    def drain(self, now: Now) -> None: ...
    def swap(self, directory: Directory, now: Now) -> None: ...
    def leftovers(self) -> dict[str, int]: ...
    @property
    def idle(self) -> bool: ...
    @property
    def live_calls(self) -> int: ...


class Logged(NamedTuple):
    """A record in the log: when it was appended, its place among the engine's doings, its life and number."""

    at: int
    order: int
    life: int
    seq: int
    record: dict[str, Any]


class Wire(NamedTuple):
    """One message at the engine's edge, with its place among everything the engine did."""

    at: int
    order: int
    out: bool
    peer: Address
    msg: Msg


class EngineHost:
    """Receive, take, append every WriteCdr, send every Send, in order; a slow disk; one timer.

    It can be killed between any two effects and come back with a monotonic clock of its own.
    """

    def __init__(self, net: Network, engine: EngineLike, hosts: list[Address], directory: Directory) -> None:
        self.net = net
        self.engine = engine
        self.hosts = hosts
        # What is in force: since when in the order of the engine's doings, and which version.
        self.directory = directory
        self.swaps: list[tuple[int, int]] = [(0, directory.version)]
        self.rng = Random(net.rng.random())
        self.log: list[Logged] = []
        self.wire: list[Wire] = []
        # Who is no party of any call, whatever their packets say.
        self.outsiders: frozenset[Address] = frozenset()
        self.broken: list[tuple[Address, bytes, str]] = []
        self.durable_at: dict[tuple[int, int], int] = {}
        self.raised: list[str] = []
        self.up = True
        self.life = 0
        self.drained_at: int | None = None
        # When each life ended.
        self.deaths: list[int] = []
        self.outages: list[int] = []
        self.names: Names | None = None
        # When it was tried to reach whom by TCP.
        self.tcp: list[tuple[int, str]] = []
        # A message that this is true of brings the end of this life about.
        self.doom: tuple[Callable[[Msg], bool], Callable[[], None]] | None = None
        self.effects_left: int | None = None
        self.on_death: Callable[[], None] = lambda: None
        # Looks at the engine after every input.
        self.look: Callable[[], None] = lambda: None
        self._order = 0
        self._shift = 0
        self._disk_free = 0
        self._alarm: Handle | None = None
        self._alarm_at: int | None = None
        for host in hosts:
            net.nodes[host] = self

    def life_at(self, at: int) -> int:
        """Which of its lives it was in."""
        return bisect_left(self.deaths, at)

    @property
    def now(self) -> Now:
        """The engine's clock: its monotonic part begins anew with every life."""
        return Now(self.net.time - self._shift, self.net.utc)

    def on_datagram(self, data: bytes, msg: Msg | None, src: Address, dst: Address) -> None:
        if msg is not None and src not in self.outsiders:
            self._order += 1
            self.wire.append(Wire(self.net.time, self._order, False, src, msg))
            if self.doom is not None and self.doom[0](msg):
                self.doom[1]()
                self.doom = None
        flow = Flow("UDP", src[0], src[1], self.hosts.index(dst))
        self.enter(lambda: self.engine.receive(data, flow, self.now))

    def enter(self, step: Callable[[], None]) -> None:
        """One input to the engine. Whatever it raises is a finding, and the run goes on (SIP-3)."""
        try:
            step()
        except Exception:
            self.raised.append(traceback.format_exc(limit=-4))
        self.look()
        self._pump()

    def _pump(self) -> None:
        """Carry out what the engine asked for, in its order, then set the alarm."""
        failed: list[str] = []
        for effect in self.engine.take():
            if self.effects_left is not None:
                if self.effects_left == 0:
                    self.kill()
                    return
                self.effects_left -= 1
            self._order += 1
            if isinstance(effect, WriteCdr):
                record = json.loads(json.dumps(effect.record))
                self.log.append(Logged(self.net.time, self._order, self.life, effect.seq, record))
                self._sync(effect.seq, effect.wait)
            elif isinstance(effect, Resolve) and self.names is not None:
                self.names.look_up(effect, partial(self._found, effect.ref, self.life))
            elif isinstance(effect, Send) and not self._send(effect) and effect.ref:
                failed.append(effect.ref)
        for ref in failed:
            self._later(int(0.1 * MS), partial(self._failed, ref))
        self._set_alarm()

    def _send(self, effect: Send) -> bool:
        peer = (effect.flow.host, effect.flow.port)
        if effect.flow.transport == "TCP":
            return self._connect(effect)
        reached = self.net.send(effect.data, self.hosts[effect.flow.listener], peer)
        sent = self.net.record[-1]
        if sent.msg is None:
            self.broken.append((peer, effect.data, sent.fault))
        elif peer not in self.outsiders:
            self.wire.append(Wire(self.net.time, self._order, True, peer, sent.msg))
        return reached

    def _connect(self, effect: Send) -> bool:
        """Nobody here takes TCP: it is refused, or nothing comes back for longer than anybody waits."""
        self.tcp.append((self.net.time, effect.flow.host))
        if self.rng.random() < 0.5:
            return False
        self._later(int(self.rng.uniform(1_500, 20_000) * MS), partial(self._failed, effect.ref))
        return True

    def _later(self, delay: int, step: Callable[[], None]) -> Handle:
        """Call `step` unless the engine has died by then."""
        life = self.life

        def run() -> None:
            if life == self.life and self.up:
                step()

        return self.net.at(self.net.time + delay, run)

    def _sync(self, seq: int, wait: bool) -> None:
        """A disk that takes 1 to 15 ms, now and then longer than the 20 ms an answer may wait for it."""
        took = self.rng.uniform(21, 60) if self.rng.random() < 0.05 else self.rng.uniform(1, 15)
        self._disk_free = max(self._disk_free, self.net.time + int(took * MS))
        self._later(self._disk_free - self.net.time, lambda: self._durable(seq, wait))

    def _durable(self, seq: int, wait: bool) -> None:
        self.durable_at[self.life, seq] = self.net.time
        if wait:
            self.enter(lambda: self.engine.durable(seq, self.now))

    def _found(self, ref: str, life: int, targets: tuple[Target, ...]) -> None:
        if life == self.life and self.up:
            self.enter(lambda: self.engine.resolved(ref, targets, self.now))

    def _failed(self, ref: str) -> None:
        self.enter(lambda: self.engine.send_failed(ref, self.now))

    def _set_alarm(self) -> None:
        due = self.engine.next_timer()
        if due == self._alarm_at:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = due
        self._alarm = None if due is None else self._later(max(0, due + self._shift - self.net.time), self._ring)

    def _ring(self) -> None:
        self._alarm = self._alarm_at = None
        self.enter(lambda: self.engine.handle_timer(self.now))

    def swap(self, directory: Directory) -> None:
        """Another directory is in force from here on; a server that is down begins with it."""
        self.directory = directory
        self._order += 1
        self.swaps.append((self._order, directory.version))
        if self.up:
            self.net.counts["swaps"] = self.net.counts.get("swaps", 0) + 1
            self.enter(lambda: self.engine.swap(directory, self.now))

    # Death and return

    def drain(self) -> None:
        """No new calls from here on."""
        self.drained_at = self.net.time
        self.enter(lambda: self.engine.drain(self.now))

    def kill(self) -> None:
        """As by kill -9: what was sent and appended stays, everything else is gone."""
        self.up, self.effects_left = False, None
        self.life += 1
        self.deaths.append(self.net.time)
        self.outages.append(self.net.utc)
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._alarm_at = None
        self.on_death()

    def open_records(self) -> list[dict[str, Any]]:
        """The log's records of calls without an end, in order, each kind once."""
        ended = {logged.record["cdr_id"] for logged in self.log if logged.record["kind"] == "end"}
        found = {(one.record["cdr_id"], one.record["kind"]): one.record for one in self.log}
        return [record for (cdr_id, _), record in found.items() if cdr_id not in ended]

    def revive(self, engine: EngineLike, clock: int) -> None:
        """Start `engine` on the log, with a monotonic clock that reads `clock` nanoseconds now."""
        self.engine, self.up = engine, True
        self._shift = self.net.time - clock
        for logged in self.log:
            record = logged.record
            if record["kind"] == "end" and record["sell"] is not None:
                sell = record["sell"]
                engine.charged(record["customer"], sell["currency"], Decimal(sell["amount"]))
                if "month" in record:
                    engine.allowance_used(record["trunk"], record["month"], sell.get("allowance", 0))
        self.enter(lambda: engine.restore(self.open_records(), self.now, self.outages))
