"""One decision: where a call may go, at what price, by whom, and why not (SIP-26..28, TP-4, laws 3 and 4)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from sipsvc.directory import CallerIds, DialPlan, Directory, Package, PrefixTable, Rewrite, Trunk
from sipsvc.directory.rules import compile_rule
from sipsvc.directory.schedule import Window
from sipsvc.errors import SipError
from sipsvc.message import parse_name_addr
from sipsvc.routing import REFUSALS, CallFacts, Decision, Live, Spent, decide, live_facts, live_of
from sipsvc.routing.explain import render
from sipsvc.routing.terms import Terms
from tests.unit.wire import BEGIN, CALLER, CUSTOMERS, RETAIL, Wire, directory, gateway, request, row

BOOK = directory()


def facts(dialled: str = "33123456", caller: str = CALLER, **changes: Any) -> CallFacts:
    from_ = parse_name_addr(f"<sip:{caller}@acme.example>;tag=ann", "From")
    return CallFacts("acme", "acme-ip", dialled, from_, "", "", "192.0.2.1")._replace(**changes)


NOW = Live()


def of(book: Directory, dialled: str = "33123456", *, live: Live = NOW, **changes: Any) -> Decision:
    return decide(book, facts(dialled, **changes), live, BEGIN)


def acme(**changes: Any) -> Directory:
    return directory(customer=replace(CUSTOMERS, **changes))


# What is sold below cost: the order of gateways is looked at, not the guard.
AT_ANY_COST = replace(RETAIL, allow_loss=True)
TRUNKED = directory(trunks=[Trunk("acme-ip", "acme", source="198.51.100.10/32", max_channels=1)])
NEVER_OPEN = Window("never", (), (0,), (0,))
NEVER = Rewrite("^.*$", "", compile_rule("^.*$"))

PREPAID = acme(prepaid=True)
FREE = Package(
    "free", "Free", "partner", "unlimited_domestic", "retail", minutes=1, free=frozenset({"33"}), default=True
)
PACKAGED = directory(customer=replace(CUSTOMERS, prepaid=True), packages=[FREE])
ENDLESS = directory(customer=replace(CUSTOMERS, prepaid=True), packages=[replace(FREE, minutes=0)])

# Each refusal: the code, the decision, and the entry of its trace that says why.
CASES: list[tuple[str, Callable[[], Decision], tuple[Any, ...]]] = [
    ("customer_suspended", lambda: of(acme(status="suspended")), ("customer", "acme", "suspended", "acme-ip")),
    ("customer_closed", lambda: of(acme(status="closed")), ("customer", "acme", "closed", "acme-ip")),
    ("number_invalid", lambda: of(BOOK, "alice"), ("number", "alice", "")),
    ("caller_not_allowed", lambda: of(BOOK, caller="15550000000"), ("caller", "15550000000", "", "not_allowed")),
    ("dest_blocked", lambda: of(BOOK, "+979123"), ("block", "979", "premium rate", "platform")),
    ("no_price", lambda: of(BOOK, "+61123456"), ("price", "retail", "")),
    ("dest_expensive", lambda: of(BOOK, "882123"), ("expensive", "0.500000", "0.50", "refused")),
    ("no_route", lambda: of(directory(gateway(enabled=False))), ("gateway", "gw1", "disabled")),
    ("no_route", lambda: of(directory(gateway(coverage=PrefixTable([])))), ("gateway", "gw1", "no_coverage")),
    ("no_route", lambda: of(directory(gateway(rewrites=(NEVER,)))), ("gateway", "gw1", "rewritten_to_nothing")),
    ("privacy_critical", lambda: of(BOOK, privacy="session;critical"), ("gateway", "gw1", "privacy_critical")),
    ("no_route", lambda: of(directory(gateway(coverage=PrefixTable([]))), live=Live(down=frozenset({"gw1"}))),
     ("gateway", "gw1", "no_coverage")),
    ("channels_full", lambda: of(acme(max_channels=2), live=Live(2)), ("channels", 2, 2)),
    ("trunk_full", lambda: of(TRUNKED, live=Live(0, trunk=1)), ("trunk_channels", "acme-ip", 1, 1)),
    ("cps_exceeded", lambda: of(acme(max_cps=3), live=Live(over_cps=True)), ("cps", 3, "exceeded")),
    (
        "spend_cap", lambda: of(acme(spend_cap_hour=Decimal(5)), live=Live(spent=Spent(Decimal(5), Decimal(9)))),
        ("spend", "hour", "5.000000", "5.000000", "reached"),
    ),
    ("credit_exhausted", lambda: of(PREPAID, live=Live(credit=Decimal("0.029999"))),
     ("credit", "0.029999", "0.030000", "exhausted")),
    ("credit_exhausted", lambda: of(PACKAGED, live=Live(credit=Decimal("0.004999"), allowance=25)),
     ("credit", "0.004999", "0.005000", "exhausted")),
    (
        "gateways_busy", lambda: of(directory(gateway(max_channels=2)), live=Live(gateways={"gw1": 2})),
        ("gateway", "gw1", "full", 2, 2),
    ),
    (
        "gateways_busy", lambda: of(directory(gateway(max_cps=2)), live=Live(over_rate=frozenset({"gw1"}))),
        ("gateway", "gw1", "over_rate", 2),
    ),
    ("gateways_down", lambda: of(directory(gateway()), live=Live(down=frozenset({"gw1"}))), ("gateway", "gw1", "down")),
    ("gateways_closed", lambda: of(directory(gateway(schedule=(NEVER_OPEN,)))), ("gateway", "gw1", "closed")),
    (
        "no_route", lambda: of(directory(gateway(1, "0.07"))),
        ("gateway", "gw1", "loss", "0.070000", "0.060000", "USD"),
    ),
    ("draining", lambda: of(BOOK, live=Live(0, "draining")), ("refused", "draining")),
    ("log_full", lambda: of(BOOK, live=Live(0, "log_full")), ("refused", "log_full")),
]  # fmt: skip


@pytest.mark.rule("SIP-26", "SIP-27", "law 4")
@pytest.mark.parametrize(("code", "case", "why"), CASES, ids=[f"{c[0]} {c[2][2:]}" for c in CASES])
def test_refusals(code: str, case: Callable[[], Decision], why: tuple[Any, ...]) -> None:
    decision = case()
    assert decision.code == code
    assert why in decision.trace
    assert decision.trace[-1] == ("refused", code)
    assert decision.attempts == ()
    shown, refusal = render(decision, "<sip:a@b>"), REFUSALS[code]
    assert shown["outcome"] == "refused"
    assert (shown["status"], shown["reason"], shown["text"]) == refusal
    assert len(shown["trace_text"]) == len(decision.trace)


@pytest.mark.rule("SIP-27")
def test_every_refusal_has_its_case() -> None:
    assert {case[0] for case in CASES} == set(REFUSALS)


NONE_LEFT = Decimal(-5)


@pytest.mark.rule("PP-2", "PP-4", "SIP-27")
@pytest.mark.parametrize(
    ("book", "dialled", "live", "terms", "said"),
    [
        (PREPAID, "33123456", Live(credit=Decimal("0.03")), Terms("", 0, True), [
            "0.030000 is there for its calls, the least that is billed costs 0.030000: enough"]),
        (PACKAGED, "33123456", Live(credit=NONE_LEFT, allowance=30), Terms("free", 1, True), [
            "package free: 1 minutes a month pay first, 30 s are left",
            "-5.000000 is there for its calls, the least that is billed costs 0.000000: enough"]),
        (ENDLESS, "33123456", Live(credit=NONE_LEFT), Terms("free", 0, True), ["package free: pays without end"]),
        (PACKAGED, "44123456", Live(credit=Decimal(1), allowance=30), Terms("", 0, True), [
            "1.000000 is there for its calls, the least that is billed costs 0.000500: enough"]),
        (directory(packages=[FREE]), "33123456", Live(), Terms("free", 1, False), [
            "package free: 1 minutes a month pay first"]),
        (directory(packages=[FREE]), "44123456", Live(), None, []),
        (directory(packages=[replace(FREE, kind="payg")]), "33123456", Live(), None, []),
        (PREPAID, "33123456", Live(), Terms("", 0, True), []),
        (BOOK, "33123456", Live(), None, []),
        (directory(customer=replace(CUSTOMERS, prepaid=True), pricelist=replace(
            AT_ANY_COST, rows=PrefixTable([row("33", "0")]))), "33123456", Live(credit=NONE_LEFT), None, []),
    ],
)  # fmt: skip
def test_what_a_call_may_use_besides_its_price(
    book: Directory, dialled: str, live: Live, terms: Terms | None, said: list[str]
) -> None:
    decision = of(book, dialled, live=live)
    assert (decision.code, decision.terms) == ("", terms)
    sentences = render(decision, "<sip:a@b>")["trace_text"]
    assert [one for one in sentences if "its calls" in one or "package" in one] == said
    assert live_of(json.loads(json.dumps(live_facts(live)))) == live


# What a call that may go says of itself: sell price's prefix and the gateways in order.
ALLOWED: list[tuple[str, Callable[[], Decision], str, list[str]]] = [
    ("cheapest first", lambda: of(BOOK), "33", ["gw1", "gw2", "gw3"]),
    ("a trial customer", lambda: of(acme(status="trial")), "33", ["gw1", "gw2", "gw3"]),
    ("one channel left", lambda: of(acme(max_channels=2), live=Live(1)), "33", ["gw1", "gw2", "gw3"]),
    ("expensive, but lifted", lambda: of(acme(allow_expensive=True), "882123"), "882", ["gw1", "gw2", "gw3"]),
    ("one is down", lambda: of(BOOK, live=Live(down=frozenset({"gw1"}))), "33", ["gw2", "gw3"]),
    ("no block", lambda: of(directory(blocks={}), "979123"), "979", ["gw1", "gw2", "gw3"]),
    (
        "cheapest counts the fee",
        lambda: of(directory(
            gateway(1, coverage=PrefixTable([row("33", "0.01", fee="0.05")])),
            gateway(2, coverage=PrefixTable([row("33", "0.02")])),
        )),
        "33", ["gw2", "gw1"],
    ),
    (
        "of equal price by priority, then by id",
        lambda: of(directory(*(
            gateway(number, coverage=PrefixTable([row("33", "0.01")]), priority=priority)
            for number, priority in ((3, 5), (2, 5), (1, 9))
        ))),
        "33", ["gw2", "gw3", "gw1"],
    ),
    (
        "by priority, then by price",
        lambda: of(directory(
            gateway(1, "0.01", priority=2), gateway(2, "0.09", priority=1), gateway(3, "0.02", priority=1),
            pricelist=replace(AT_ANY_COST, strategy="priority"),
        )),
        "33", ["gw3", "gw2", "gw1"],
    ),
    (
        "the longest prefix of each gateway, not the cheapest",
        lambda: of(directory(
            gateway(1, coverage=PrefixTable([row("33", "0.01"), row("3312", "0.90")])),
            gateway(2, coverage=PrefixTable([row("33", "0.50")])),
            pricelist=AT_ANY_COST,
        )),
        "33", ["gw2", "gw1"],
    ),
    (
        "a gateway without coverage is left out",
        lambda: of(directory(gateway(1, coverage=PrefixTable([row("44", "0.01")])), gateway(2))),
        "33", ["gw2"],
    ),
    (
        "coverage by the caller's origin",
        lambda: of(directory(
            gateway(1, coverage=PrefixTable([row("33", "0.01", origin="49")])),
            gateway(2, coverage=PrefixTable([row("33", "0.90", origin="44")])),
            pricelist=AT_ANY_COST,
        )),
        "33", ["gw2"],
    ),
]  # fmt: skip


@pytest.mark.rule("SIP-28", "law 4")
@pytest.mark.parametrize(("case", "prefix", "order"), [row[1:] for row in ALLOWED], ids=[row[0] for row in ALLOWED])
def test_the_order_of_gateways(case: Callable[[], Decision], prefix: str, order: list[str]) -> None:
    decision = case()
    assert decision.code == ""
    assert decision.sell is not None and decision.sell.prefix == prefix
    assert [attempt.gateway.id for attempt in decision.attempts] == order
    assert decision.trace[-1][0] == "order"
    assert list(decision.trace[-1][2:]) == order
    assert {entry[1] for entry in decision.trace if entry[0] == "gateway"} >= set(order)


@pytest.mark.rule("TP-4", "SIP-26")
@pytest.mark.parametrize(
    ("rate", "fee", "threshold", "lifted", "code"),
    [
        ("0.499999", "0", "0.50", False, ""),
        ("0.500000", "0", "0.50", False, "dest_expensive"),
        ("0.5", "0", "0.500001", False, ""),
        ("0.40", "0.10", "0.50", False, "dest_expensive"),
        ("0.40", "0.099999", "0.50", False, ""),
        ("0", "0.50", "0.50", False, "dest_expensive"),
        ("9", "0", "0.50", True, ""),
        ("9", "0", None, False, ""),
        ("0", "0", "0", False, "dest_expensive"),
    ],
)
def test_what_is_expensive(rate: str, fee: str, threshold: str | None, lifted: bool, code: str) -> None:
    limit = Decimal(threshold) if threshold is not None else None
    rows = PrefixTable([row("33", rate, fee=fee, initial=60, increment=60)])
    book = directory(
        customer=replace(CUSTOMERS, allow_expensive=lifted), pricelist=replace(RETAIL, rows=rows, expensive_at=limit)
    )
    assert of(book).code == code
    assert CUSTOMERS.allow_expensive is False


@pytest.mark.rule("law 4", "law 3")
def test_the_same_arguments_give_the_same_decision_and_change_nothing() -> None:
    before = repr((BOOK, facts()))
    first = of(BOOK)
    assert all(of(BOOK) == first for _ in range(3))
    assert repr((BOOK, facts())) == before
    assert json.loads(json.dumps(render(first, "<sip:a@b>")))["e164"] == "33123456"


def test_a_from_without_a_uri_is_no_call() -> None:
    with pytest.raises(SipError):
        of(BOOK, from_=parse_name_addr("<urn:x>", "From"))


@pytest.mark.rule("SIP-27", "SIP-20")
@pytest.mark.parametrize(
    ("book", "uri", "status", "code"),
    [
        (acme(status="suspended"), "33123456", 403, "customer_suspended"),
        (BOOK, "alice", 404, "number_invalid"),
        (BOOK, "61123456", 403, "no_price"),
        (BOOK, "882123456", 403, "dest_expensive"),
        (directory(gateway(enabled=False)), "33123456", 404, "no_route"),
        (acme(dial_plan=DialPlan(bare="refuse")), "33123456", 404, "number_invalid"),
        (acme(caller_ids=CallerIds()), "33123456", 403, "caller_not_allowed"),
        (directory(trunks=[Trunk("x", "acme", source="203.0.113.1/32")]), "882123456", 403, "dest_expensive"),
    ],
)
def test_a_refusal_on_the_wire(book: Directory, uri: str, status: int, code: str) -> None:
    wire = Wire(book)
    trying, refused = wire.give(request("INVITE", f"sip:{uri}@192.0.2.1"))
    assert (trying.message.status, refused.message.status) == (100, status)
    assert refused.message.reason == REFUSALS[code].reason
    assert refused.message.get("warning") == f'399 192.0.2.1 "{REFUSALS[code].text}"'
    assert refused.message.to.tag
    assert wire.kinds() == ["start", "end"]
    assert (wire.end["code"], wire.end["status"], wire.end["hangup_by"]) == (code, status, "proxy")
    assert "retry-after" not in refused.message.names
    assert wire.give(request("ACK", f"sip:{uri}@192.0.2.1", To=refused.message.get("to") or "")) == []
    wire.wait(40_000)
    assert wire.engine.leftovers() == {"transactions": 0, "timers": 0, "calls": 0}


@pytest.mark.rule("law 6", "SIP-27")
def test_a_ringing_call_takes_a_channel_and_an_ended_one_gives_it_back() -> None:
    wire = Wire(acme(max_channels=1))
    first = request()
    wire.give(first)
    second = request(Call_ID="call-2", Via="SIP/2.0/UDP 198.51.100.10:5062;branch=z9hG4bK-2")
    busy = wire.give(second)[-1]
    assert (busy.message.status, wire.end["code"]) == (486, "channels_full")
    assert wire.engine.live_calls == 1
    gone = wire.wait(33_000)[-1]
    assert (gone.message.status, wire.engine.live_calls) == (408, 0)
    third = request(Call_ID="call-3", Via="SIP/2.0/UDP 198.51.100.10:5062;branch=z9hG4bK-3")
    assert wire.give(third)[-1].what == "INVITE"


@pytest.mark.rule("SIP-27")
def test_while_draining_new_calls_get_503_with_retry_after_and_old_ones_go_on() -> None:
    wire = Wire()
    invite = wire.give(request())[-1]
    wire.engine.drain(wire.now)
    later = request(Call_ID="call-2", Via="SIP/2.0/UDP 198.51.100.10:5062;branch=z9hG4bK-2")
    refused = wire.give(later)[-1].message
    assert (refused.status, refused.get("retry-after")) == (503, "30")
    assert invite.what == "INVITE"
    assert not wire.engine.idle
