"""The way to one gateway: where its name leads, its addresses in turn, TCP for what UDP cannot carry (SIP-6, SIP-8)."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from mypy_extensions import trait

from sipsvc.directory import Gateway
from sipsvc.effects import Now, Target
from sipsvc.proxy.branch import MS
from sipsvc.proxy.core import TCP_SILENCE_MS, Core, Lookup
from sipsvc.timers import Timer, TimerTarget


@trait
class WayUser:
    """Who goes the way."""

    def on_found(self, way: Way, now: Now) -> None:
        """The look-up is over; its addresses, if there are any, are in `way.targets`."""
        raise AssertionError("a way's user must take its addresses")


class Step(NamedTuple):
    """An address to be tried, and how long it may say nothing; `sized` sends by TCP what is too large for UDP."""

    target: Target
    silence_ms: int
    sized: bool


class Way(Lookup, TimerTarget):
    """Everything on it happens within one deadline, the gateway's `provisional_timeout_ms` from the beginning.

    The look-up may take half of that. An address gets what is left, shared evenly with the addresses behind it; so
    what one that fails at once leaves over goes to the others, and the last may use up the rest. TCP for a request's
    size gets half of its address's share, at most 1 s.
    """

    LATE: ClassVar = 0

    __slots__ = ("core", "deadline", "gateway", "plain", "ref", "targets", "timer", "user")

    def __init__(self, core: Core, user: WayUser, gateway: Gateway, now: Now) -> None:
        self.core = core
        self.user = user
        self.gateway = gateway
        self.deadline = now.mono + (gateway.provisional_timeout_ms * MS or 64 * core.layer.t1)
        self.targets: list[Target] = []
        # The address that is being tried by TCP for the request's size, to be tried by UDP behind it.
        self.plain: Target | None = None
        self.ref = ""
        self.timer: Timer | None = None

    def look_up(self, now: Now) -> None:
        """Ask for the addresses; `on_found` is called in half of the time that there is at the latest."""
        gateway = self.gateway
        self.timer = self.core.timers.set((now.mono + self.deadline) // 2, self, self.LATE)
        self.ref = self.core.look_up(self, gateway.host, gateway.port, gateway.transport.upper())

    def found(self, targets: tuple[Target, ...], now: Now) -> None:
        self.core.timers.cancel(self.timer)
        self.targets = list(targets)
        self.user.on_found(self, now)

    def on_timer(self, kind: int, now: Now) -> None:
        self.drop()
        self.user.on_found(self, now)

    def drop(self) -> None:
        """What the look-up may still bring is of no interest."""
        self.core.timers.cancel(self.timer)
        self.core.lookups.pop(self.ref, None)

    def step(self, now: Now) -> Step | None:
        """What is to be tried now; None when all was, or the time is up."""
        left_ms = (self.deadline - now.mono) // MS
        if left_ms <= 0:
            return None
        plain, self.plain = self.plain, None
        if plain is not None:
            return Step(plain, max(1, left_ms // (1 + len(self.targets))), False)
        if not self.targets:
            return None
        share_ms = max(1, left_ms // len(self.targets))
        return Step(self.targets.pop(0), share_ms, True)

    def by_tcp(self, target: Target, share_ms: int) -> int:
        """Remember to try `target` by UDP when TCP fails; how long TCP may say nothing."""
        self.plain = target
        return min(TCP_SILENCE_MS, share_ms // 2) if share_ms else TCP_SILENCE_MS
