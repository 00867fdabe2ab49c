"""Money put by for live calls, so that no account is overdrawn and no call goes further than its credit (DOMAIN).

`available = funds + credit limit - charged - reserved`. A reservation belongs to a live call: it is made before the
first INVITE leaves, grows while the call goes on, and is gone with the call, which is charged in its place (law 6).
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from sipsvc.directory import Customer, Directory
from sipsvc.effects import Now
from sipsvc.engine.allowance import Allowances, Months
from sipsvc.proxy import Call, Core
from sipsvc.proxy.hold import Hold, Keeper, settled
from sipsvc.rating import ZERO, Price, Settled, buys, cost, stepped, text
from sipsvc.routing import Live
from sipsvc.routing.terms import Terms

SECOND = 1_000_000_000
EXHAUSTED = "credit_exhausted"
# How much talk is put by for a call at a time, in seconds, and how long before its end more of it.
CHUNK_S = 60
LEAD_S = 5


class Purse:
    """One customer's calls in one currency: what those that are over cost, and what is put by for those that go on.

    `told`: the money there was when it was told that little is left, None while that is to be told.
    """

    __slots__ = ("charged", "reserved", "told")

    def __init__(self) -> None:
        self.charged = self.reserved = ZERO
        self.told: Decimal | None = None


class Credit(Keeper):
    """Charges are kept of everyone, for anyone may be metered from the next change of the directory on.

    `notice(event, fields)` tells whoever runs this: `low_balance` once a crossing, `credit_exhausted` of a call cut.
    """

    def __init__(
        self, core: Core, directory: Directory, months: Months, notice: Callable[[str, dict[str, Any]], None]
    ) -> None:
        self.core = core
        self.directory = directory
        self.allowances = Allowances(months)
        self.purses: dict[tuple[str, str], Purse] = {}
        self._notice = notice

    def use(self, directory: Directory) -> None:
        """Funds, limits and zones are this directory's. What was put by for a call stays."""
        self.directory = directory

    def charge(self, customer: str, currency: str, amount: Decimal) -> None:
        """A call that is over cost so much."""
        if amount:
            self._purse(customer, currency).charged += amount

    def facts(self, customer: Customer, trunk: str, live: Live, now: Now) -> Live:
        """`live` with what there is for a call of this customer by this trunk."""
        package = self.directory.package_of(customer)
        allowance = None
        if package is not None and package.kind != "payg" and package.minutes:
            month = self.allowances.month(customer.zone, now.utc)
            allowance = self.allowances.left(trunk, month, package.minutes)
        credit = None
        if customer.metered:
            purse = self._purse(customer.id, self.directory.pricelist_of(customer).currency)
            self._look(customer, purse)
            credit = available(customer, purse)
        return live._replace(credit=credit, allowance=allowance)

    # What a call goes through

    def begin(self, call: Call, terms: Terms, now: Now) -> None:
        """Put by what the first minute may cost, before anybody hears of the call."""
        month = self._month(call, now.utc) if terms.package else ""
        call.hold = Hold(self, call, terms.minutes if terms.package else None, month, terms.metered)
        self._draw(call, CHUNK_S)

    def answered(self, call: Call, now: Now) -> None:
        """From its first answer on its time runs, and it counts in the month of that."""
        hold = call.hold
        if hold is None or hold.timer is not None:
            return
        if hold.month and call.answer_at is not None:
            month = self._month(call, call.answer_at)
            if month != hold.month:
                self._put(call, hold, 0, 0, ZERO)
                hold.month = month
                self._draw(call, CHUNK_S)
        self._arm(call, hold, hold.upto < stepped(CHUNK_S, _sell(call).row))

    def due(self, call: Call, now: Now) -> None:
        """Put by more for a call that goes on; where there is no more, it is over when what it has is."""
        hold = call.hold
        if hold is None:
            return
        talked = now.mono - call.answer_mono
        wanted = self._draw(call, max(hold.upto, -(-talked // SECOND)) + CHUNK_S)
        if not hold.metered or talked < hold.upto * SECOND:
            self._arm(call, hold, hold.upto < wanted)
            return
        granted = {"customer": call.who.customer, "cdr_id": call.cdr_id, "granted_s": hold.upto}
        self._notice(EXHAUSTED, granted)
        self.core.count(EXHAUSTED)
        self.core.end_by_force(call, "proxy", EXHAUSTED, now)

    def ended(self, call: Call, now: Now) -> Settled | None:
        """What it costs, charged; what was put by is free again. None for a call without a price."""
        if call.sell is None:
            return None
        hold, duration = call.hold, call.duration_ms(now)
        if hold is None:
            due = settled(call, duration)
            self.charge(call.who.customer, call.sell.currency, due.amount)
            return due
        self.core.timers.cancel(hold.timer)
        trunk = call.who.trunk
        # Seconds that others gave back meanwhile pay before money does.
        more = self.allowances.left(trunk, hold.month, hold.minutes) if hold.minutes else 0
        due = settled(call, duration, more)
        purse = self._purse(call.who.customer, call.sell.currency)
        purse.reserved -= hold.amount
        purse.charged += due.amount
        if hold.minutes:
            self.allowances.hold(trunk, hold.month, -hold.allowance)
        self.allowances.use(trunk, hold.month, due.allowance)
        self._look(self.directory.customers.get(call.who.customer), purse)
        return due

    # After a restart

    def revive(self, call: Call, answered: dict[str, Any]) -> None:
        """Give a call back what it was known to have. What it was given since, the log does not say."""
        granted, minutes = answered.get("granted_s"), answered.get("minutes")
        if granted is None and minutes is None:
            return
        hold = call.hold = Hold(self, call, minutes, answered.get("month", ""), granted is not None)
        allowance, sell = answered.get("held_s", 0), _sell(call)
        upto = max(granted or 0, allowance)
        self._put(call, hold, upto, allowance, cost(upto - allowance, sell.row, sell.minimum))

    def resume(self, calls: list[Call], now: Now) -> None:
        """Put by what these have talked meanwhile, as far as there is credit, and time to come; before any new call."""
        held = [(call, call.hold) for call in calls if call.hold is not None]
        # First what each is known to have talked: no other call's time to come is to take what it was granted.
        for call, _ in held:
            self._draw(call, -(-(call.duration_ms(now) or 0) // 1000))
        for call, hold in held:
            talked = -(-(now.mono - call.answer_mono) // SECOND)
            wanted = self._draw(call, max(hold.upto, talked) + CHUNK_S)
            self._arm(call, hold, hold.upto < wanted)

    # Putting by

    def _draw(self, call: Call, until: int) -> int:
        """Put by for `until` seconds of talk and to the end of that step, as far as there is: seconds of the package
        first, money for the others. How many seconds that would have been."""
        hold, (row, currency, minimum) = call.hold, _sell(call)
        assert hold is not None
        wanted = stepped(until, row)
        if hold.minutes == 0 or wanted <= hold.upto:
            return hold.upto
        left = self.allowances.left(call.who.trunk, hold.month, hold.minutes) if hold.minutes else 0
        to = wanted
        if hold.metered and (there := self._there(call)) is not None:
            # All that the call may cost, with what is put by already.
            reach = buys(there + hold.amount, row, minimum, allowance_s=hold.allowance + min(left, to - hold.upto))
            if reach is not None:
                to = max(hold.upto, min(to, reach))
        allowance = hold.allowance + min(left, to - hold.upto)
        if to > hold.upto:
            self._put(call, hold, to, allowance, cost(to - allowance, row, minimum) if hold.metered else ZERO)
            if hold.metered:
                purse = self._purse(call.who.customer, currency)
                self._look(self.directory.customers.get(call.who.customer), purse)
        return wanted

    def _put(self, call: Call, hold: Hold, upto: int, allowance: int, amount: Decimal) -> None:
        """Exactly so much is put by for this call: the one place where that changes while it lives."""
        self._purse(call.who.customer, _sell(call).currency).reserved += amount - hold.amount
        if hold.minutes:
            self.allowances.hold(call.who.trunk, hold.month, allowance - hold.allowance)
        hold.upto, hold.allowance, hold.amount = upto, allowance, amount

    def _arm(self, call: Call, hold: Hold, dry: bool) -> None:
        """Look again before what is held runs out, or when it has where there is no more as things stand."""
        if hold.minutes != 0:
            at = hold.upto if dry and hold.metered else hold.upto - LEAD_S
            hold.timer = self.core.timers.set(call.answer_mono + at * SECOND, hold, 0)

    def _there(self, call: Call) -> Decimal | None:
        """The money that is there for a call, None where there is no end of it."""
        customer = self.directory.customers.get(call.who.customer)
        if customer is None or self.directory.pricelist_of(customer).currency != _sell(call).currency:
            return ZERO
        return available(customer, self._purse(customer.id, _sell(call).currency)) if customer.metered else None

    def _month(self, call: Call, utc: int) -> str:
        customer = self.directory.customers.get(call.who.customer)
        return self.allowances.month("UTC" if customer is None else customer.zone, utc)

    def _purse(self, customer: str, currency: str) -> Purse:
        purse = self.purses.get((customer, currency))
        if purse is None:
            purse = self.purses[customer, currency] = Purse()
        return purse

    def _look(self, customer: Customer | None, purse: Purse) -> None:
        """Tell that little is left: once, until more money came in and enough is there again."""
        if customer is None or customer.low_balance is None or not customer.metered:
            return
        if purse is not self.purses.get((customer.id, self.directory.pricelist_of(customer).currency)):
            return
        money, there = _money(customer), available(customer, purse)
        if there >= customer.low_balance:
            if purse.told is not None and money > purse.told:
                purse.told = None
        elif purse.told is None:
            purse.told = money
            fields = {"customer": customer.id, "available": text(there), "low_balance": text(customer.low_balance)}
            self._notice("low_balance", fields)


def available(customer: Customer, purse: Purse) -> Decimal:
    """What there is for further calls; below 0 where money was taken out, or a limit lowered, under live calls."""
    return _money(customer) - purse.charged - purse.reserved


def _money(customer: Customer) -> Decimal:
    return customer.funds + (customer.credit_limit or ZERO)


def _sell(call: Call) -> Price:
    assert call.sell is not None
    return call.sell
