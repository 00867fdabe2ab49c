"""Bugs in credit and allowances. Each function plants one in this process."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sipsvc.effects import Now
from sipsvc.engine import Engine
from sipsvc.engine import credit as credit_room
from sipsvc.engine.allowance import Allowances
from sipsvc.engine.credit import Credit
from sipsvc.proxy import Call, Core
from sipsvc.rating import ZERO, Settled
from sipsvc.routing import decision as decision_room
from tests.sim.bugs import plant


def reservation_kept() -> None:
    """What was put by for a call stays so when it is over."""
    right = Credit.ended

    def ended(self: Credit, call: Call, now: Now) -> Settled | None:
        hold = call.hold
        amount = hold.amount if hold is not None else ZERO
        due = right(self, call, now)
        if call.sell is not None and amount:
            self._purse(call.who.customer, call.sell.currency).reserved += amount
        return due

    plant(Credit, ended=ended)


def parallel_calls_forgotten() -> None:
    """A call is topped up as if it were the only one."""
    right = credit_room.available

    def available(customer: Any, purse: Any) -> Decimal:
        return right(customer, purse) + purse.reserved

    plant(credit_room, available=available)


def uncapped() -> None:
    """A call that was cut is billed for all it talked, which on a real clock is a little more than it was granted."""
    right = credit_room.settled

    def settled(call: Call, duration_ms: int | None, more: int = 0) -> Settled:
        hold = call.hold
        if hold is None or not hold.metered:
            return right(call, duration_ms, more)
        hold.metered = False
        cut = duration_ms is not None and duration_ms >= hold.upto * 1000
        try:
            return right(call, duration_ms + 1 if cut else duration_ms, more)
        finally:
            hold.metered = True

    plant(credit_room, settled=settled)


def minutes_counted_at_the_end() -> None:
    """What live calls use of their minutes is not known before they are over."""
    plant(Allowances, hold=lambda self, trunk, month, seconds: None)


def charges_forgotten() -> None:
    """A restart does not know what calls cost before it."""
    plant(Engine, charged=lambda self, customer, currency, amount: None)


def credit_lost_by_a_restart() -> None:
    """Calls that a restart brought back have nothing put by."""
    plant(Credit, revive=lambda self, call, answered: None)


def anyone_let_in() -> None:
    """Nobody looks whether there is money before a call goes."""
    plant(decision_room, affordable=lambda *facts: True)


def never_cut() -> None:
    """A call whose credit is gone goes on."""
    right = Core.end_by_force

    def end_by_force(self: Core, call: Call, by: str, code: str, now: Now) -> None:
        if code != credit_room.EXHAUSTED:
            right(self, call, by, code, now)

    plant(Core, end_by_force=end_by_force)


def never_topped_up() -> None:
    """What is put by at first is all that a call ever gets."""
    right = Credit._draw

    def draw(self: Credit, call: Call, until: int) -> int:
        hold = call.hold
        return right(self, call, until) if hold is not None and not hold.upto else until + 1

    plant(Credit, _draw=draw)


def money_first() -> None:
    """Minutes are not used while there is money."""
    right = Allowances.left

    def left(self: Allowances, trunk: str, month: str, minutes: int) -> int:
        return right(self, trunk, month, minutes) // 2

    plant(Allowances, left=left)


def month_of_the_invite() -> None:
    """A call counts in the month in which it was dialled, in UTC."""
    plant(Credit, _month=lambda self, call, utc: self.allowances.month("UTC", call.invite_at))
