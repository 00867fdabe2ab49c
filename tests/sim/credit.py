"""Accounts with little money, and packages with few minutes: drawing them, and what must hold of them (law 6, PP-2)."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from random import Random
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from sipsvc.engine import Engine
from sipsvc.proxy import Phase
from tests.sim.plan import CallPlan, CustomerSpec, GatewayPlan, Row, Setting, price
from tests.sim.rim import Logged
from tests.sim.sipua import World

if TYPE_CHECKING:
    from tests.sim.scenario import Run

LONGEST_MS = 240_000


def draw_credit(seed: int, setting: Setting) -> Setting:
    """Some runs have bounded accounts; their calls may be long enough to be topped up several times."""
    rng = Random(f"credit {seed}")
    if rng.random() > 0.5:
        return setting
    customers = tuple(_bounded(rng, one) if one.status == "active" else one for one in setting.customers)
    longest = LONGEST_MS if setting.max_call_ms == 60_000 else setting.max_call_ms
    return replace(setting, customers=customers, max_call_ms=longest)


def _bounded(rng: Random, customer: CustomerSpec) -> CustomerSpec:
    prepaid, packaged = rng.choice(((True, False), (True, True), (True, True), (False, True)))
    free = rng.choice((None, frozenset({"33", "44"}), frozenset({"336", "1"})))
    return replace(
        customer,
        # So little that a call goes by its minutes alone, up to more than all calls together cost.
        funds=rng.choice((*(("0.002",) * 4 * packaged), "0.03", "0.07", "0.20", "0.50", "3.00")) if prepaid else "",
        zone=rng.choice(("UTC", "Asia/Tokyo", "America/New_York")),
        minutes=rng.choice((0, 1, 2, 5)) if packaged else None,
        free=free,
    )


def is_bounded(setting: Setting) -> bool:
    return any(one.funds or one.minutes is not None for one in setting.customers)


def stretched(seed: int, setting: Setting, plans: list[CallPlan]) -> list[CallPlan]:
    """Longer talk where accounts are bounded, and calls that nothing but their credit ends early."""
    if is_bounded(setting):
        rng = Random(f"stretched {seed}")
        for plan in plans:
            plan.talk_ms *= rng.choice((2, 8, 30))
            if plan.action in ("talks", "cancels", "re-INVITEs") and not plan.expect and rng.random() < 0.5:
                plan.action, plan.cancel_ms, plan.reinvite_ms, plan.mute_ms, plan.session_s = (
                    "talks",
                    None,
                    None,
                    None,
                    0,
                )
                plan.talk_ms = rng.uniform(20_000, 220_000)
                plan.gateways = {name: GatewayPlan("rings", 100.0, rng.uniform(500, 4_000)) for name in plan.gateways}
    return plans


def paid_in(seed: int, changes: list[tuple[float, Setting]]) -> list[tuple[float, Setting]]:
    """Money comes in with some changes of the catalogue, and is never taken out."""
    rng, more, found = Random(f"paid in {seed}"), Decimal(0), []
    for at, setting in changes:
        more += Decimal(rng.choice(("0", "0", "0.02", "0.20")))
        richer = tuple(replace(one, funds=str(Decimal(one.funds) + more)) if one.funds else one
                       for one in setting.customers)  # fmt: skip
        found.append((at, replace(setting, customers=richer)))
    return found


def weigh(engine: Engine, world: World) -> None:
    """At every instant: what is put by is what live calls hold, it is there, and no second is held twice."""
    credit, directory = engine.credit, engine.admission.directory
    money: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    seconds: dict[tuple[str, str], int] = defaultdict(int)
    for call in engine.core.calls.values():
        hold, sell = call.hold, call.sell
        if hold is not None and sell is not None and call.phase is not Phase.OVER:
            money[call.who.customer, sell.currency] += hold.amount
            seconds[call.who.trunk, hold.month] += hold.allowance
    for key, purse in credit.purses.items():
        if purse.reserved != money[key]:
            world.report("credit", "", f"{key}: {purse.reserved} is put by, live calls hold {money[key]}")
        customer = directory.customers[key[0]]
        if customer.metered and customer.funds < purse.charged + purse.reserved:
            world.report("credit", "", f"{key}: {customer.funds}, charged {purse.charged}, put by {purse.reserved}")
    allowances = credit.allowances
    for where in seconds.keys() | allowances.held.keys() | allowances.used.keys():
        held, used = allowances.held.get(where, 0), allowances.used.get(where, 0)
        package = directory.package_of(directory.customers[directory.trunks[where[0]].customer])
        if held != seconds[where]:
            world.report("credit", "", f"{where}: {held} s are held, by live calls {seconds[where]}")
        if package is not None and package.minutes and held + used > package.minutes * 60:
            world.report("credit", "", f"{where}: {used} s used and {held} held of {package.minutes} minutes")


class Account:
    """One customer as the log has it."""

    def __init__(self) -> None:
        self.charged = Fraction(0)
        self.used: dict[str, int] = defaultdict(int)
        self.open: set[str] = set()


def accounts(run: Run) -> None:
    """Over the whole log: no balance below 0, no minute twice, the right month, nobody let in or kept out wrongly."""
    books: dict[str, Account] = defaultdict(Account)
    for logged in run.host.log:
        record = logged.record
        book = books[record["customer"]] if "customer" in record else None
        if record["kind"] == "answer" and "month" in record:
            _answered(run, record)
        if book is None:
            continue
        if record["kind"] == "start":
            _started(run, book, record)
            book.open.add(record["cdr_id"])
        elif record["kind"] == "end":
            book.open.discard(record["cdr_id"])
            _ended(run, book, logged)
    report = run.world.report
    for (customer, currency), purse in run.engine.credit.purses.items():
        if Fraction(purse.charged) != books[customer].charged or purse.reserved:
            report("credit", "", f"{customer}: {purse.charged} {currency} charged, {purse.reserved} put by at the end")
    if run.engine.credit.allowances.held:
        report("credit", "", f"held at the end: {run.engine.credit.allowances.held}")


def _spec(run: Run, customer: str, version: int) -> CustomerSpec:
    return next(one for one in run.settings[version].customers if one.id == customer)


def _started(run: Run, book: Account, record: dict[str, Any]) -> None:
    """Whoever is told that there is no credit has none for the first step, and whoever has none is told so."""
    spec = _spec(run, record["customer"], record["directory"])
    facts, trace = record["live"], {what: said for what, *said in record["trace"]}
    if bool(spec.funds) != ("credit" in facts):
        run.world.report("credit", record["call_id"], f"decided on {facts} with funds {spec.funds!r}")
        return
    if not spec.funds:
        return
    there = Fraction(facts["credit"])
    if there > Fraction(spec.funds) - book.charged:
        run.world.report("credit", record["call_id"], f"{there} is more than is left of {spec.funds}")
    row = next((row for row in spec.rows if "price" in trace and row.prefix == trace["price"][1]
                and Fraction(row.rate) == Fraction(trace["price"][2])), None)  # fmt: skip
    past = {"order", "gateway", "credit"} & trace.keys()
    if row is None or not past:
        return
    left = 0
    if spec.minutes is not None and (spec.free is None or row.prefix in spec.free):
        if not spec.minutes:
            return
        left = min(facts["allowance"], row.initial)
    enough = there >= Fraction(price(row, 0, spec.minimum, None, left)[1])
    if left == row.initial:
        enough = True
    if enough != (trace.get("refused") != ["credit_exhausted"]):
        run.world.report("credit", record["call_id"], f"{there} and {left} s for {row}: {record['trace'][-1]}")


def _answered(run: Run, record: dict[str, Any]) -> None:
    start = next(one.record for one in run.host.log if one.record["kind"] == "start"
                 and one.record["cdr_id"] == record["cdr_id"])  # fmt: skip
    zone = ZoneInfo(_spec(run, start["customer"], start["directory"]).zone)
    month = f"{datetime.fromtimestamp(record['answer_at'] / 1000, UTC).astimezone(zone):%Y-%m}"
    if record["month"] != month:
        run.world.report("credit", start["call_id"], f"answered in {month}, counts in {record['month']}")


def _ended(run: Run, book: Account, logged: Logged) -> None:
    record, report = logged.record, run.world.report
    sell, call_id = record["sell"], record["call_id"]
    if sell is None or record["answer_at"] is None:
        return
    order = bisect_right([order for order, _ in run.host.swaps], logged.order) - 1
    spec = _spec(run, record["customer"], run.host.swaps[order][1]) if order < len(_catalogues(run)) else None
    book.charged += Fraction(sell["amount"])
    if spec is not None and spec.funds and book.charged > Fraction(spec.funds):
        report("credit", call_id, f"{spec.funds} was there, {book.charged} is charged by now")
    granted, allowance = record.get("granted_s"), sell.get("allowance", 0)
    # What is charged may be less: as far as there is evidence of the call.
    lasted = record["end_at"] - record["answer_at"] if record["recovered"] else record["duration_ms"]
    late = 0 if granted is None else lasted - granted * 1000
    outlived = any(one.record["kind"] == "start" and one.record["cdr_id"] == record["cdr_id"]
                   and one.life != logged.life for one in run.host.log)  # fmt: skip
    if late > 1 and not outlived:
        report("credit", call_id, f"granted {granted} s, and ended {late} ms later")
    if record["code"] == "credit_exhausted" and (granted is None or late < -1):
        report("credit", call_id, f"cut after {lasted} ms of {granted} s")
    if record["code"] == "credit_exhausted" and granted is not None and spec is not None and not book.open:
        row = Row(0, "", sell["rate"], sell["fee"], sell["initial"], sell["increment"])
        further = price(row, (granted + 1) * 1000, sell["minimum"], None, allowance)[1]
        if Fraction(further) <= Fraction(spec.funds) - book.charged + Fraction(sell["amount"]):
            report("credit", call_id, f"cut with {spec.funds} there and {book.charged} charged, {further} buys more")
    _minutes(run, book, record, allowance)


def _minutes(run: Run, book: Account, record: dict[str, Any], allowance: int) -> None:
    sell = record["sell"]
    spec = _spec(run, record["customer"], run.setting.version)
    covered = spec.minutes is not None and (spec.free is None or sell["prefix"] in spec.free)
    if covered != ("month" in record) or (spec.funds != "" and not (covered and not spec.minutes)) != (
        "granted_s" in record
    ):
        run.world.report("credit", record["call_id"], f"{record} of an account with {spec.funds!r}, {spec.minutes}")
    if not covered or "month" not in record:
        return
    month = record["month"]
    before, book.used[month] = book.used[month], book.used[month] + allowance
    if not spec.minutes:
        wanted = sell["billed"]
    elif book.open:
        return  # what they hold is not in the log; that it is not too much is for `weigh` to say
    else:
        wanted = min(sell["billed"], max(0, spec.minutes * 60 - before))
    if allowance != wanted:
        run.world.report(
            "credit", record["call_id"], f"{allowance} s of its minutes, with {before} used before: {sell}"
        )


def _catalogues(run: Run) -> list[int]:
    """The changes that are settings; the last one that takes the gateways away is none."""
    return [version for _, version in run.host.swaps if version in run.settings]
