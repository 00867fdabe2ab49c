"""What each customer's calls have cost in this hour and this day, UTC (SIP-27)."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from sipsvc.effects import Now
from sipsvc.proxy import Call
from sipsvc.proxy.hold import settled
from sipsvc.rating import ZERO
from sipsvc.routing import Spent

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
# What calls in progress cost is added up at most so often for one customer.
FRESH_NS = 1_000_000_000


class Account:
    """One customer's sums in one currency. `running` is what its calls in progress had cost at `seen`."""

    __slots__ = ("day", "hour", "hour_of", "running", "seen", "told")

    def __init__(self) -> None:
        self.hour = self.day = self.running = ZERO
        self.hour_of = 0
        self.seen: Now | None = None
        # Windows of which an alert or the cap was told, by their number.
        self.told: dict[tuple[str, str], int] = {}


class Spending:
    """A call that ended counts whole in the hour and the day in which it ended, one that goes on whole in the present.

    Sums are kept for everyone, since a cap may be set at any time, and of the present day only.
    """

    def __init__(self) -> None:
        self._accounts: dict[tuple[str, str], Account] = {}
        self._day = 0

    def __len__(self) -> int:
        return len(self._accounts)

    def add(self, customer: str, currency: str, amount: Decimal, utc: int) -> None:
        """A call that ended at `utc` (ms) cost so much."""
        if utc // DAY_MS < self._day:
            return
        account = self._account(customer, currency, utc)
        account.day += amount
        if utc // HOUR_MS == account.hour_of:
            account.hour += amount

    def ended(self, call: Call, amount: Decimal, now: Now) -> None:
        """An answered call with a price is over, and cost `amount`."""
        if call.sell is None:
            return
        account = self._account(call.who.customer, call.sell.currency, now.utc)
        account.hour += amount
        account.day += amount
        seen = account.seen
        if seen is None:
            return
        if now.mono - seen.mono >= FRESH_NS:
            account.seen = None
        elif call.answer_mono < seen.mono:
            account.running -= _cost(call, seen)

    def spent(self, customer: str, currency: str, calls: Iterable[Call], now: Now) -> Spent:
        """With what `calls`, those of the customer in progress, have cost a second ago at the earliest."""
        account = self._account(customer, currency, now.utc)
        if account.seen is None or now.mono - account.seen.mono >= FRESH_NS:
            account.seen = now
            account.running = sum((_cost(call, now) for call in calls if _counts(call, currency, now)), ZERO)
        return Spent(account.hour + account.running, account.day + account.running)

    def tell(self, customer: str, currency: str, what: str, window: str, now: Now) -> bool:
        """Whether `what` is still to be told of this window, `hour` or `day`; once."""
        account = self._account(customer, currency, now.utc)
        number = now.utc // (HOUR_MS if window == "hour" else DAY_MS)
        if account.told.get((what, window)) == number:
            return False
        account.told[what, window] = number
        return True

    def _account(self, customer: str, currency: str, utc: int) -> Account:
        """Its sums, those of windows that are over set to nothing."""
        day, hour = utc // DAY_MS, utc // HOUR_MS
        if day > self._day:
            self._day = day
            self._accounts.clear()
        account = self._accounts.get((customer, currency))
        if account is None:
            account = self._accounts[customer, currency] = Account()
        if hour > account.hour_of:
            account.hour_of, account.hour = hour, ZERO
        return account


def _counts(call: Call, currency: str, now: Now) -> bool:
    """Answered before this very instant, for what is then taken off again must be what was counted."""
    sell = call.sell
    return call.answer_at is not None and sell is not None and sell.currency == currency and call.answer_mono < now.mono


def _cost(call: Call, at: Now) -> Decimal:
    return settled(call, call.duration_ms(at)).amount
