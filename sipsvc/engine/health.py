"""How the carriers' gateways do: what calls and pings tell of them, who is down, and how each comes back (SIP-34)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from sipsvc.directory import Gateway
from sipsvc.effects import Now
from sipsvc.proxy import Core, Watch
from sipsvc.timers import Timer, TimerTarget

UNKNOWN, UP, DOWN = "unknown", "up", "down"
CREDENTIALS = "credentials_refused"
S = 1_000_000_000
# How long a gateway that failed calls is left alone before one may try it, doubled each time it fails again.
BACK_OFF_S = 30
MOST_BACK_OFF_S = 600
# So many of the numbers are remembered that a gateway said 503 for.
MOST_NUMBERS = 128

Say = Callable[[str, dict[str, Any]], None]


def place(gateway: Gateway) -> tuple[str, int, str]:
    """What makes it the same gateway still: where it is, and how it is reached."""
    return (gateway.host, gateway.port, gateway.transport)


class Gauge(TimerTarget):
    """What is known of one gateway. `since` is UTC milliseconds, `until` monotonic nanoseconds.

    `calls` and `pings` are its failures in a row, `good` its successes in a row while it is down. `strikes` is how
    often calls brought it down and none has been answered since. It is `open` when the next call may try it, `trying`
    while one does, and `resting` while its own Retry-After keeps it out.
    """

    BACK: ClassVar = 0

    __slots__ = ("calls", "gateway", "good", "health", "numbers", "open", "pings", "reason", "resting", "since",
                 "state", "strikes", "timer", "trying", "until")  # fmt: skip

    def __init__(self, health: Health, gateway: Gateway) -> None:
        self.health = health
        self.gateway = gateway
        self.state = UNKNOWN
        self.since = 0
        self.reason = ""
        self.calls = self.pings = self.good = self.strikes = 0
        self.until = 0
        self.open = self.trying = self.resting = False
        # For which it said 503 since it took a call.
        self.numbers: set[str] = set()
        self.timer: Timer | None = None

    @property
    def well(self) -> bool:
        """Whether nothing speaks against it."""
        return self.state == UP and not (self.calls or self.strikes)

    def on_timer(self, kind: int, now: Now) -> None:
        self.health.back(self, now)


class Health(Watch):
    """By gateway id, for the gateways of the directory that are enabled. `say` tells the operator.

    `down` are those that get no calls; the same object for as long as they are the same. A gateway of which nothing is
    known counts as up. `went_down` is told of each that went down.
    """

    def __init__(self, core: Core, say: Say, gateways: Mapping[str, Gateway]) -> None:
        super().__init__()
        self.doubted = set(gateways)
        self.core = core
        self.say = say
        self.down: frozenset[str] = frozenset()
        self.went_down: Callable[[str, Now], None] = lambda gateway, now: None
        self._gateways = gateways
        self._gauges: dict[str, Gauge] = {}

    def use(self, gateways: Mapping[str, Gateway], now: Now) -> None:
        """Another directory's. What is known of a gateway stays, unless it is somewhere else now."""
        self._gateways = gateways
        for name, gauge in list(self._gauges.items()):
            gateway = gateways.get(name)
            if gateway is None or not gateway.enabled or place(gateway) != place(gauge.gateway):
                self.core.timers.cancel(gauge.timer)
                self._shut(name, False)
                del self._gauges[name]
                continue
            gauge.gateway = gateway
            if gauge.state == DOWN and not gateway.ping_interval_s and not gauge.open and _spent(gauge.timer):
                self._wait(gauge, BACK_OFF_S, now)  # nobody pings it back any more
        self.doubted = {name for name in gateways if name not in self._gauges or not self._gauges[name].well}

    def state(self, id: str) -> tuple[str, int, str, int]:
        """State, since when (UTC milliseconds, 0 where nothing is known), the last reason, and failures in a row."""
        gauge = self._gauges.get(id)
        if gauge is None:
            return UNKNOWN, 0, "", 0
        return gauge.state, gauge.since, gauge.reason, max(gauge.calls, gauge.pings)

    # What calls tell

    def trying(self, gateway: Gateway, now: Now) -> None:
        gauge = self._gauges.get(gateway.id)
        if gauge is not None and gauge.open:
            # One call at a time; should nothing come of it, another may try later.
            gauge.open, gauge.trying = False, True
            self._shut(gateway.id, True)
            self._wait(gauge, _back_off(gauge.strikes), now)

    def worked(self, gateway: Gateway, now: Now) -> None:
        gauge = self._gauge(gateway)
        if gauge is None or gauge.resting:
            return
        gauge.calls = gauge.strikes = 0
        gauge.trying = False
        gauge.numbers.clear()
        if gauge.state == DOWN:
            self._good(gauge, "answered", now)
        elif gauge.state == UNKNOWN:
            self._enter(gauge, UP, "answered", now)
        self._judge(gauge)

    def failed(self, gateway: Gateway, why: str, number: str, retry_after_s: int, now: Now) -> None:
        gauge = self._gauge(gateway)
        if gauge is None or gauge.resting:
            return
        if why == "503" and not retry_after_s:
            # Carriers say it of a number that leads nowhere, too: each counts once until the gateway takes another.
            if number in gauge.numbers:
                return
            if len(gauge.numbers) < MOST_NUMBERS:
                gauge.numbers.add(number)
        gauge.calls += 1
        gauge.good = 0
        if retry_after_s:
            gauge.resting, gauge.open, gauge.trying = True, False, False
            self._down(gauge, "retry_after", now)
            self._wait(gauge, min(retry_after_s, MOST_BACK_OFF_S), now)
        elif gauge.state != DOWN:
            if gauge.calls >= gateway.down_after:
                self._strike(gauge, why, now)
        elif gauge.trying:
            # Only what was sent to try it: others are of the time before.
            self._strike(gauge, why, now)
        self._judge(gauge)

    def refused(self, gateway: Gateway, now: Now) -> None:
        """As a failure of its own kind: what answers pings may still not let us in."""
        self.failed(gateway, CREDENTIALS, "", 0, now)

    # What pings tell

    def pinged(self, gateway: Gateway, why: str, now: Now) -> None:
        """`why` is "" where it answered, else how the ping failed."""
        gauge = self._gauge(gateway)
        if gauge is None:
            return
        if why:
            gauge.pings += 1
            if not gauge.resting:
                gauge.good = 0
                if gauge.state != DOWN and gauge.pings >= gateway.down_after:
                    self._down(gauge, f"ping_{why}", now)
        else:
            gauge.pings = 0
            if gauge.state == DOWN:
                if not gauge.resting and now.mono >= gauge.until:
                    self._good(gauge, "ping_answered", now)
            elif gauge.state == UNKNOWN:
                self._enter(gauge, UP, "ping_answered", now)
        self._judge(gauge)

    # How they come and go

    def back(self, gauge: Gauge, now: Now) -> None:
        """The time is over for which it was left alone."""
        gateway, rested = gauge.gateway, gauge.resting
        gauge.resting = gauge.trying = False
        if rested and gauge.pings < gateway.down_after:
            self._up(gauge, "retry_after_over", now)
        elif not gateway.ping_interval_s:
            gauge.open = True
            self._shut(gateway.id, False)
        self._judge(gauge)

    def _strike(self, gauge: Gauge, why: str, now: Now) -> None:
        """Calls brought it down, or it failed the one that tried it."""
        gauge.trying = False
        gauge.strikes += 1
        self._down(gauge, why, now)
        if not gauge.gateway.ping_interval_s:
            self._wait(gauge, _back_off(gauge.strikes), now)
        else:
            # Pings bring it back, but later each time that it fails calls and answers pings.
            times = gauge.strikes - (why != CREDENTIALS)
            gauge.until = now.mono + (_back_off(times) * S if times else 0)

    def _good(self, gauge: Gauge, why: str, now: Now) -> None:
        gauge.good += 1
        if gauge.good >= gauge.gateway.up_after:
            self._up(gauge, why, now)
        elif not gauge.gateway.ping_interval_s:
            self.core.timers.cancel(gauge.timer)
            self.back(gauge, now)

    def _up(self, gauge: Gauge, why: str, now: Now) -> None:
        self.core.timers.cancel(gauge.timer)
        gauge.open = gauge.trying = gauge.resting = False
        gauge.good = gauge.pings = gauge.until = 0
        # What failed calls and answers pings has yet to show: the next call that it fails takes it out again.
        gauge.calls = gauge.gateway.down_after - 1 if gauge.strikes else 0
        if not gauge.strikes:
            gauge.numbers.clear()
        self._enter(gauge, UP, why, now)
        self._shut(gauge.gateway.id, False)
        self.say("gateway_up", {"gateway": gauge.gateway.id, "reason": why})

    def _down(self, gauge: Gauge, why: str, now: Now) -> None:
        first = gauge.state != DOWN
        if first:
            gauge.good = gauge.until = 0
            self._enter(gauge, DOWN, why, now)
        gauge.reason = why
        self._shut(gauge.gateway.id, True)
        if first:
            failures = max(gauge.calls, gauge.pings)
            self.say("gateway_down", {"gateway": gauge.gateway.id, "reason": why, "failures": failures})
            self.went_down(gauge.gateway.id, now)

    def _enter(self, gauge: Gauge, state: str, why: str, now: Now) -> None:
        gauge.state, gauge.since, gauge.reason = state, now.utc, why

    def _wait(self, gauge: Gauge, seconds: int, now: Now) -> None:
        self.core.timers.cancel(gauge.timer)
        gauge.until = now.mono + seconds * S
        gauge.timer = self.core.timers.set(gauge.until, gauge, Gauge.BACK)

    def _shut(self, id: str, out: bool) -> None:
        if (id in self.down) != out:
            self.down = self.down | {id} if out else self.down - {id}

    def _judge(self, gauge: Gauge) -> None:
        (self.doubted.discard if gauge.well else self.doubted.add)(gauge.gateway.id)

    def _gauge(self, gateway: Gateway) -> Gauge | None:
        """None for one that is no longer there, or somewhere else than the call went to."""
        there = self._gateways.get(gateway.id)
        if there is None or not there.enabled or place(there) != place(gateway):
            return None
        gauge = self._gauges.get(gateway.id)
        if gauge is None:
            gauge = self._gauges[gateway.id] = Gauge(self, there)
        return gauge


def _back_off(strikes: int) -> int:
    """Seconds."""
    return min(BACK_OFF_S << min(strikes - 1, 10), MOST_BACK_OFF_S) if strikes > 1 else BACK_OFF_S


def _spent(timer: Timer | None) -> bool:
    return timer is None or timer.target is None
