"""Limits of gateways and of calls a second: never more than there may be, and nobody kept out for nothing (SIP-27)."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

from tests.sim.network import MS, utc_of
from tests.sim.plan import CustomerSpec
from tests.sim.rim import Logged
from tests.sim.scenario import Run
from tests.sim.view import PASSED_OVER, Branch, CallView


class Bucket:
    """What a second brings, by fractions; it holds that much, and is full at first."""

    def __init__(self, cps: int) -> None:
        self.cps = cps
        self.tokens = Fraction(cps)
        self.at: int | None = None

    def look(self, at: int) -> Fraction:
        """How many tokens there are at `at` (ns)."""
        if self.at is not None:
            self.tokens = min(Fraction(self.cps), self.tokens + Fraction((at - self.at) * self.cps, 1000 * MS))
        self.at = at
        return self.tokens

    def take(self, at: int) -> bool:
        """Whether there was one; a nanosecond's grain is forgiven."""
        there = self.look(at) > 1 - Fraction(self.cps, 1000 * MS)
        self.tokens -= 1
        return there


class Event(NamedTuple):
    """Something of a call in the order in which it happened: a branch begun, or a record written."""

    order: int
    view: CallView
    branch: Branch | None = None
    logged: Logged | None = None


class Places:
    """Walks through a run and says where each call is. `life` is the server's."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.life = 0
        self.at: dict[str, str] = {}
        self.answered: set[str] = set()
        self.gateways: dict[str, Bucket] = {}
        self.customers: dict[str, Bucket] = {}

    def there(self, gateway: str, call_id: str) -> int:
        """How many other calls are at a gateway."""
        return sum(where == gateway for call, where in self.at.items() if call != call_id)

    def happen(self, event: Event) -> None:
        if event.logged is not None and event.logged.life != self.life:
            self._restart(event.logged.life)
        if event.branch is not None:
            self._sent(event.view, event.branch)
        elif event.logged is not None:
            self._written(event.view, event.logged)

    def _restart(self, life: int) -> None:
        """Calls in set-up died with the server, and full are the buckets of the one that comes."""
        self.life = life
        self.at = {call: where for call, where in self.at.items() if call in self.answered}
        self.gateways.clear()
        self.customers.clear()

    def _sent(self, view: CallView, branch: Branch) -> None:
        gateway, call_id = branch.gateway, view.plan.call_id
        there = self.there(gateway.id, call_id)
        if gateway.max_channels and there >= gateway.max_channels:
            view.report("gateway-limit", f"{gateway.id} got call number {there + 1} of {gateway.max_channels}")
        if gateway.max_cps and not self._bucket(self.gateways, gateway.id, gateway.max_cps).take(branch.tried.at):
            view.report("gateway-rate", f"{gateway.id} got more than {gateway.max_cps} calls a second")
        self.at[call_id] = gateway.id

    def _written(self, view: CallView, logged: Logged) -> None:
        record, call_id = logged.record, view.plan.call_id
        if record["kind"] == "start":
            self._decided(view, logged)
        elif record["kind"] == "answer":
            self.answered.add(call_id)
            self.at[call_id] = record["gateway"]
        elif record["kind"] == "end":
            for one in record["attempts"]:
                if one["left"] in PASSED_OVER and record["code"] != "answered":
                    self._judge_left(view, one, logged.at)
            self.at.pop(call_id, None)
            self.answered.discard(call_id)

    def _judge_left(self, view: CallView, one: dict[str, Any], at: int) -> None:
        """Kept out while it hunted, and at the very end of it: there is nothing between that and its last word."""
        if one["started_at"] != utc_of(at) or one["left"] != "full":
            return
        gateway = next(gateway for gateway in view.setting.gateways if gateway.id == one["gateway"])
        if self.there(gateway.id, view.plan.call_id) < gateway.max_channels:
            view.report("gateway-limit", f"kept out of {gateway.id}, which was not full")

    def _decided(self, view: CallView, logged: Logged) -> None:
        """By the trace: what was said to be full was, and who had no more calls a second had none."""
        record = logged.record
        setting = view.run.settings[record["directory"]]
        gateways = {gateway.id: gateway for gateway in setting.gateways}
        customer = setting.customer(view.plan)
        assert customer is not None
        for what, *said in record["trace"]:
            if what == "gateway" and said[1] == "full":
                gateway = gateways[said[0]]
                there = self.there(gateway.id, view.plan.call_id)
                if (there, gateway.max_channels) != (said[2], said[3]) or there < gateway.max_channels:
                    view.report("gateway-limit", f"{said}, there are {there} of {gateway.max_channels}")
            elif what == "gateway" and said[1] == "over_rate":
                gateway = gateways[said[0]]
                if self._bucket(self.gateways, gateway.id, gateway.max_cps).look(logged.at) >= 1:
                    view.report("gateway-rate", f"kept out of {gateway.id}, which had a call left in this second")
            elif what == "cps" and said[1] == "exceeded":
                if self._bucket(self.customers, customer.id, customer.max_cps).look(logged.at) >= 1:
                    view.report("customer-rate", "refused with a call left in this second")
            elif what == "order" and view.expect != "session_interval":
                self._let_in(view, customer, logged.at)

    def _let_in(self, view: CallView, customer: CustomerSpec, at: int) -> None:
        cps = customer.max_cps
        if cps and not self._bucket(self.customers, customer.id, cps).take(at):
            view.report("customer-rate", f"let in above {cps} calls a second")

    def _bucket(self, buckets: dict[str, Bucket], name: str, cps: int) -> Bucket:
        return buckets.setdefault(name, Bucket(cps))


def places(run: Run, views: list[CallView]) -> None:
    """All that the limits of gateways and of calls a second promise."""
    walk = Places(run)
    for event in sorted(_events(views), key=lambda event: event.order):
        walk.happen(event)


def _events(views: list[CallView]) -> Iterator[Event]:
    for view in views:
        if view.known:
            yield from (Event(branch.tried.order, view, branch=branch) for branch in view.branches)
            yield from (Event(logged.order, view, logged=logged) for logged in view.records)
