"""What a decision is to know of the moment: calls in progress, calls a second, and money spent (SIP-27, law 6)."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from sipsvc.directory import Customer, Directory
from sipsvc.effects import Now
from sipsvc.engine.health import Health
from sipsvc.engine.spend import Spending
from sipsvc.proxy import Call, Core
from sipsvc.rating import text
from sipsvc.routing import Live, Spent
from sipsvc.routing.live import NONE, NOWHERE


class Limits:
    """`notice(event, fields)` tells whoever runs this; once a window of each alert and each cap."""

    def __init__(self, core: Core, health: Health, notice: Callable[[str, dict[str, Any]], None]) -> None:
        self.core = core
        self.health = health
        self.spending = Spending()
        self._notice = notice

    def live(self, directory: Directory, customer: Customer, trunk: str, closed: str, now: Now) -> Live:
        """What is true of a call that this customer begins by this trunk; only what has a limit is looked at."""
        core = self.core
        channels = len(core.by_customer.get(customer.id, ()))
        limited = directory.limited_of.get(customer.partner, ())
        by_trunk = directory.trunks[trunk].max_channels
        down = self.health.down
        if down:
            down = frozenset(one.id for one in directory.gateways_of.get(customer.partner, ()) if one.id in down)
        if not (limited or by_trunk or customer.max_cps or customer.watched):
            return Live(channels, closed, down=down)
        gateways, over_rate = NOWHERE, NONE
        if limited:
            gateways = {one.id: len(core.by_gateway.get(one.id, ())) for one in limited if one.max_channels}
            rates = core.gateway_rates
            over = [one.id for one in limited if one.max_cps and not rates.has(one.id, one.max_cps, now)]
            over_rate = frozenset(over) if over else NONE
        return Live(
            channels,
            closed,
            len(core.by_trunk.get(trunk, ())) if by_trunk else 0,
            gateways,
            bool(customer.max_cps) and not core.customer_rates.has(customer.id, customer.max_cps, now),
            over_rate,
            self.spent(directory, customer, now) if customer.watched else None,
            down,
        )

    def admitted(self, customer: Customer, now: Now) -> None:
        """A call of this customer may go. One that is refused takes no token, nor does an emergency without one."""
        rates = self.core.customer_rates
        if customer.max_cps and rates.has(customer.id, customer.max_cps, now):
            rates.take(customer.id, customer.max_cps, now)

    def ended(self, directory: Directory, call: Call, amount: Decimal, now: Now) -> None:
        """An answered call with a price is over."""
        self.spending.ended(call, amount, now)
        customer = directory.customers.get(call.who.customer)
        if customer is not None and customer.watched:
            self.spent(directory, customer, now)

    def spent(self, directory: Directory, customer: Customer, now: Now) -> Spent:
        """What the customer has spent in its price list's currency; alerts and caps that are reached are told."""
        core = self.core
        currency = directory.pricelist_of(customer).currency
        calls = (core.calls[ref] for ref in core.by_customer.get(customer.id, ()))
        spent = self.spending.spent(customer.id, currency, calls, now)
        for what, window, amount, limit in (
            ("spend_alert", "hour", spent.hour, customer.spend_alert_hour),
            ("spend_alert", "day", spent.day, customer.spend_alert_day),
            ("spend_cap", "hour", spent.hour, customer.spend_cap_hour),
            ("spend_cap", "day", spent.day, customer.spend_cap_day),
        ):
            if limit is None or amount < limit:
                continue
            if self.spending.tell(customer.id, currency, what, window, now):
                core.count(what)
                fields = {"customer": customer.id, "window": window, "spent": text(amount), "limit": text(limit)}
                self._notice(what, fields | {"currency": currency})
        return spent
