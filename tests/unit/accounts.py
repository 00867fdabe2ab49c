"""A customer whose calls credit or minutes bound, and several calls of its at once."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

from sipsvc.directory import Directory, Package, PrefixTable, ShortCode, assemble
from sipsvc.effects import Now
from sipsvc.rating import ZERO
from tests.unit.wire import (
    CUSTOMER,
    CUSTOMERS,
    GATES,
    RETAIL,
    Sent,
    Talk,
    Wire,
    answer,
    directory,
    gateway,
    request,
    row,
)

TRUNK = "acme-ip"
# 33 is a minute a minute: 1.00 buys 120 s. 44 by the second, a cent each.
LIST = replace(
    RETAIL,
    rows=PrefixTable([row("33", "0.50", initial=60, increment=60), row("44", "0.60"), row("1", "0", fee="0.25")]),
    expensive_at=None,
    allow_loss=True,
)
FREE = Package("free", "Free", "partner", "unlimited_domestic", "retail", minutes=1, default=True)


def book(
    funds: str | None = "1.00", *packages: Package, version: int = 7, codes: tuple[ShortCode, ...] = (), **changes: Any
) -> Directory:
    """Acme prepaid with so much; None is an account that nothing bounds."""
    money: dict[str, Any] = {"prepaid": funds is not None, "funds": Decimal(funds or 0)}
    customer = replace(CUSTOMERS, **{**money, **changes})
    coverage = PrefixTable([row(prefix, "0.01") for prefix in ("33", "44", "1", "2")])
    made = directory(gateway(coverage=coverage), customer=customer, pricelist=LIST, packages=packages)
    if version == 7 and not codes:
        return made
    tables = (made.customers, made.pricelists, made.trunks, made.gateways, made.blocks, made.packages)
    return assemble(version, made.platform, [*(one for table in tables for one in table.values()), *codes])


class Calls:
    """Calls by one engine, told apart by a number, all to one gateway."""

    def __init__(self, made: Directory, *, seed: int = 1, **more: Any) -> None:
        self.wire = Wire(made, seed=seed, **more)
        self.seed = seed
        self.invited: dict[int, Sent] = {}
        self.talks: dict[int, Talk] = {}

    def dial(self, number: int, user: str = "33123456") -> int:
        """Its status if it was refused, else 0."""
        via = f"SIP/2.0/UDP {CUSTOMER.host}:{CUSTOMER.port};branch=z9hG4bK-{number};rport"
        fields = {"Call_ID": f"call-{number}", "Via": via}
        told = self.wire.give(request("INVITE", f"sip:{user}@192.0.2.1", **fields))[-1]
        self.invited[number] = told
        return told.message.status

    def pick_up(self, number: int) -> None:
        sent = self.wire.give(answer(self.invited[number].message, 200, tag=f"bob{number}"), GATES[0])
        ok = next(one.message for one in sent if one.message.status == 200)
        self.talks[number] = Talk(self.wire, self.invited[number].message, ok)
        self.give(number, "ACK", 1)

    def up(self, number: int, user: str = "33123456") -> None:
        assert self.dial(number, user) == 0
        self.pick_up(number)

    def give(self, number: int, method: str, cseq: int) -> list[Sent]:
        return self.wire.give(self.talks[number].by_caller(method, cseq, Call_ID=f"call-{number}"))

    def hang_up(self, number: int) -> None:
        self.give(number, "BYE", 2 + number)  # its branch is made of that

    def fail(self, number: int) -> None:
        self.wire.give(answer(self.invited[number].message, 486), GATES[0])

    def end(self, number: int) -> dict[str, Any]:
        (found,) = (one for one in self.wire.records if one["kind"] == "end" and one["call_id"] == f"call-{number}")
        return found

    def show(self) -> None:
        """Let both sides of calls that a restart brought back say that they know them."""
        for one in self.wire.wait(28_000):
            if one.what == "OPTIONS":
                self.wire.give(answer(one.message, 200), CUSTOMER if one.flow.host == CUSTOMER.host else GATES[0])

    @property
    def credit(self) -> Any:
        return self.wire.engine.credit

    @property
    def reserved(self) -> Decimal:
        """What is put by, which must be what live calls hold."""
        purse = self.credit.purses["acme", "USD"]
        core = self.wire.engine.core
        live = [core.calls[ref].hold for ref in core.by_customer.get("acme", ())]
        held = sum((hold.amount for hold in live if hold is not None), ZERO)
        assert purse.reserved == held
        return held

    @property
    def charged(self) -> Decimal:
        charged: Decimal = self.credit.purses["acme", "USD"].charged
        ends = [one for one in self.wire.records if one["kind"] == "end" and one["sell"]]
        assert charged == sum((Decimal(one["sell"]["amount"]) for one in ends), ZERO)
        return charged


def cut(calls: Calls, number: int) -> tuple[Any, ...]:
    end = calls.end(number)
    return end["code"], end["hangup_by"], end["duration_ms"], end["sell"]["billed"], end["sell"]["amount"]


def again(calls: Calls, made: Directory, after_ms: int = 1_000) -> Calls:
    """A new engine on the log of the old one, told what the calls that are over cost, as the worker is."""
    log = calls.wire.records
    # Chance of its own, however often: no two engines ever draw the same tags and branches.
    new = Calls(made, begin=Now(5, calls.wire.now.utc + after_ms), seed=calls.seed + 1)
    ended = {one["cdr_id"] for one in log if one["kind"] == "end"}
    for one in log:
        if one["kind"] == "end" and one["sell"] is not None:
            sell = one["sell"]
            new.wire.engine.charged(one["customer"], sell["currency"], Decimal(sell["amount"]))
            if "month" in one:
                new.wire.engine.allowance_used(one["trunk"], one["month"], sell.get("allowance", 0))
    open_records = json.loads(json.dumps([one for one in log if one["cdr_id"] not in ended]))
    new.wire.engine.restore(open_records, new.wire.now, [calls.wire.now.utc])
    assert new.wire.drain() == []
    new.talks = {number: talk._replace(wire=new.wire) for number, talk in calls.talks.items()}
    return new
