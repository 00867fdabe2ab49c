"""What is put by for one call that credit or an allowance bounds, and what it costs with that (PP-2, law 6)."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from mypy_extensions import trait

from sipsvc.effects import Now
from sipsvc.rating import ZERO, Settled, charge, settle
from sipsvc.timers import Timer, TimerTarget

if TYPE_CHECKING:
    from sipsvc.proxy.call import Call


@trait
class Keeper:
    """Who keeps the accounts that calls are held against."""

    def due(self, call: Call, now: Now) -> None:
        """What is held for this call runs out soon, or has run out."""
        raise AssertionError("whoever sets a hold's timer must take it")


class Hold(TimerTarget):
    """`amount` is the money put by, in the currency of the call's price, `allowance` the seconds of its package.

    Together they are good for `upto` seconds from the answer. `minutes` are those of the package a month: 0 without
    end, None for a call no package pays for; `month`, such as `2026-11`, is whose they are.
    """

    __slots__ = ("allowance", "amount", "call", "keeper", "metered", "minutes", "month", "timer", "upto")

    def __init__(self, keeper: Keeper, call: Call, minutes: int | None, month: str, metered: bool) -> None:
        self.keeper = keeper
        self.call = call
        self.minutes = minutes
        self.month = month
        self.metered = metered
        self.upto = self.allowance = 0
        self.amount: Decimal = ZERO
        # There from the answer on.
        self.timer: Timer | None = None

    @property
    def granted_s(self) -> int | None:
        """The most seconds that may be billed; None where credit does not bound the call."""
        return self.upto if self.metered and self.minutes != 0 else None

    def on_timer(self, kind: int, now: Now) -> None:
        self.keeper.due(self.call, now)


def settled(call: Call, duration_ms: int | None, more: int = 0) -> Settled:
    """What a call that has a price costs after so much talk, None for no answer; with `more` seconds of its package
    than are held for it."""
    sell, hold = call.sell, call.hold
    assert sell is not None
    if hold is None:
        return Settled(*charge(duration_ms, sell.row, sell.minimum))
    allowance_s = None if hold.minutes == 0 else hold.allowance + more
    return settle(duration_ms, sell.row, sell.minimum, allowance_s=allowance_s, granted_s=hold.granted_s)
