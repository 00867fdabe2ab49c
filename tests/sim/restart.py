"""The server killed at any instant, or drained and restarted, in the middle of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.sim.rim import EngineHost, EngineLike
from tests.sim.sipua import World

DRAIN_PATIENCE_MS = 10_000.0
POLL_MS = 50.0


@dataclass(frozen=True)
class Restart:
    """`kill`: dead after `effects` more effects from `at_ms` on; `drain`: no new calls, then a stop when idle.

    Back after `down_ms`, with a monotonic clock that begins at `clock` nanoseconds.
    """

    kind: str
    at_ms: float
    effects: int
    down_ms: float
    clock: int


def draw_restart(seed: int) -> Restart | None:
    """Every fourth run or so has one."""
    rng = Random(f"restart {seed}")
    kind = rng.choice(("kill", "drain", "", "", "", "", "kill", ""))
    if not kind:
        return None
    return Restart(kind, rng.uniform(3_000, 65_000), rng.randint(0, 9), rng.uniform(50, 4_000), rng.randrange(10**15))


def schedule(restart: Restart, host: EngineHost, make: Callable[[], EngineLike], world: World) -> None:
    """Put it on the clock."""
    net = host.net

    def come_back() -> None:
        unfinished = host.open_records()
        host.revive(make(), restart.clock)
        answered = sum(record["kind"] == "answer" for record in unfinished)
        if host.engine.live_calls != answered:
            world.report("restored", "", f"{answered} calls were up, {host.engine.live_calls} are after the restart")

    def condemn() -> None:
        host.effects_left = restart.effects

    def stop_when_idle(left_ms: float) -> None:
        if host.engine.idle or left_ms <= 0:
            host.kill()
        else:
            net.after(POLL_MS, lambda: stop_when_idle(left_ms - POLL_MS))

    def drain() -> None:
        host.drain()
        stop_when_idle(DRAIN_PATIENCE_MS)

    def die() -> None:
        world.counts[f"restart: {restart.kind}"] += 1
        net.after(restart.down_ms, come_back)

    host.on_death = die
    net.after(restart.at_ms, condemn if restart.kind == "kill" else drain)
