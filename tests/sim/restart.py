"""The server killed at any instant, once or again and again, or drained and restarted, in the middle of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.sim.rim import EngineHost, EngineLike
from tests.sim.sipmsg import Msg
from tests.sim.sipua import World

DRAIN_PATIENCE_MS = 10_000.0
POLL_MS = 50.0
# What it may be in the middle of when it dies: any instant, or just when such a message came.
MOMENTS: dict[str, Callable[[Msg], bool]] = {
    "hunting": lambda msg: msg.status >= 500 and msg.method == "INVITE",
    "CANCEL": lambda msg: not msg.status and msg.method == "CANCEL",
    "answer": lambda msg: 200 <= msg.status < 300 and msg.method == "INVITE",
    "ACK": lambda msg: msg.method == "ACK",
    "BYE": lambda msg: not msg.status and msg.method == "BYE",
    "200 to BYE": lambda msg: msg.status == 200 and msg.method == "BYE",
    "inside": lambda msg: not msg.status and msg.method in ("UPDATE", "PRACK", "INFO"),
}


@dataclass(frozen=True)
class Restart:
    """`kill`: dead after `effects` more effects from `at_ms` on, or from the `moment` that comes next after it;
    `drain`: no new calls, then a stop when idle.

    Back after `down_ms`, with a monotonic clock that begins at `clock` nanoseconds.
    """

    kind: str
    at_ms: float
    effects: int
    down_ms: float
    clock: int
    moment: str = ""


def draw_restarts(seed: int) -> list[Restart]:
    """Every third run or so has one, and some have several."""
    rng = Random(f"restart {seed}")
    kind = rng.choice(("kill", "drain", "", "", "", "", "kill", "kill", ""))
    if not kind:
        return []
    times = rng.choice((1, 1, 1, 2, 3, 5)) if kind == "kill" else 1
    return [
        Restart(
            kind,
            rng.uniform(3_000, 65_000),
            rng.randint(0, 9),
            rng.uniform(50, 4_000),
            rng.randrange(10**15),
            rng.choice(("", "", *MOMENTS)) if kind == "kill" else "",
        )
        for _ in range(times)
    ]


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
        world.counts[f"restart: {restart.kind}{' at ' if restart.moment else ''}{restart.moment}"] += 1
        net.after(restart.down_ms, come_back)

    def begin() -> None:
        if not host.up or host.effects_left is not None or host.doom is not None:
            net.after(1_000.0, begin)  # one death at a time
            return
        host.on_death = die
        if restart.kind == "drain":
            drain()
        elif restart.moment:
            host.doom = (MOMENTS[restart.moment], condemn)
        else:
            condemn()

    net.after(restart.at_ms, begin)
