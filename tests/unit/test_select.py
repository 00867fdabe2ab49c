"""Which gateways a call is tried at: what a limit, a schedule, health or a loss leaves out, and the order (SIP-28)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipsvc.directory import Directory, PrefixTable
from sipsvc.message import parse_name_addr
from sipsvc.rating import charge
from sipsvc.routing import CallFacts, Decision, Live, decide, live_facts, live_of
from sipsvc.routing.explain import trace_text
from sipsvc.routing.select import draw
from tests.unit.wire import BEGIN, CALLER, RETAIL, directory, gateway, row

BY_WEIGHT = replace(RETAIL, strategy="weight")


def of(book: Directory, live: Live | None = None, call_id: str = "call-1") -> Decision:
    from_ = parse_name_addr(f"<sip:{CALLER}@acme.example>;tag=ann", "From")
    facts = CallFacts("acme", "acme-ip", "33123456", from_, "", "", "192.0.2.1", call_id)
    return decide(book, facts, live or Live(), BEGIN)


def order(decision: Decision) -> list[str]:
    return [attempt.gateway.id for attempt in decision.attempts]


@pytest.mark.rule("SIP-27", "SIP-28", "SIP-34")
@pytest.mark.parametrize(
    ("live", "left"),
    [
        (Live(gateways={"gw1": 5, "gw2": 4}), ["gw2", "gw3"]),
        (Live(gateways={"gw1": 4, "gw2": 5}), ["gw1", "gw3"]),
        (Live(over_rate=frozenset({"gw1"})), ["gw2", "gw3"]),
        (Live(down=frozenset({"gw1", "gw3", "another"})), ["gw2"]),
        (Live(gateways={"gw1": 5}, down=frozenset({"gw2"})), ["gw3"]),
    ],
)
def test_a_gateway_that_is_full_or_down_is_passed_over(live: Live, left: list[str]) -> None:
    book = directory(*(gateway(number, max_channels=5 * (number < 3), max_cps=9) for number in (1, 2, 3)))
    decision = of(book, live)
    assert order(decision) == left
    told = {entry[1]: entry[2] for entry in decision.trace if entry[0] == "gateway"}
    assert {name for name, verdict in told.items() if verdict == "serves"} == set(left)
    assert of(book, live_of(live_facts(live))) == decision, "the CDR's live facts tell the same"


@pytest.mark.rule("SIP-27")
@pytest.mark.parametrize(
    ("changes", "live", "code"),
    [
        ([{"max_channels": 1}, {}], Live(gateways={"gw1": 1}, down=frozenset({"gw2"})), "gateways_busy"),
        ([{}, {}], Live(down=frozenset({"gw1", "gw2"})), "gateways_down"),
        ([{"enabled": False}, {}], Live(down=frozenset({"gw1", "gw2"})), "gateways_down"),
        ([{"coverage": PrefixTable([])}, {}], Live(down=frozenset({"gw1", "gw2"})), "gateways_down"),
        ([{"enabled": False}, {"enabled": False}], Live(down=frozenset({"gw1", "gw2"})), "no_route"),
    ],
)
def test_why_none_is_left(changes: list[dict[str, Any]], live: Live, code: str) -> None:
    book = directory(*(gateway(number, **one) for number, one in enumerate(changes, start=1)))
    assert of(book, live).code == code


LOSSES = [
    # Sold at 0.06 a minute, 30 s at least and then by 6.
    ("a gain", row("33", "0.059999"), {}, False),
    ("even", row("33", "0.06"), {}, False),
    ("a loss", row("33", "0.060001"), {}, True),
    ("a loss by the fee alone", row("33", "0.05", fee="0.010001"), {}, True),
    ("a loss by its increment", row("33", "0.04", initial=120, increment=60), {}, True),
    ("a loss only on a short call", row("33", "0.05", initial=60, increment=60), {"expected_s": 10}, True),
    ("not on that call", row("33", "0.05", initial=60, increment=60), {"expected_s": 60}, False),
    ("made up for by the minimum", row("33", "0.09"), {"minimum": Decimal("0.10")}, False),
    ("allowed", row("33", "0.90"), {"allow_loss": True}, False),
]


@pytest.mark.rule("SIP-28")
@pytest.mark.parametrize(("buy", "changes", "lost"), [case[1:] for case in LOSSES], ids=[case[0] for case in LOSSES])
def test_a_gateway_that_loses_money_is_left_out(buy: Any, changes: dict[str, Any], lost: bool) -> None:
    book = directory(gateway(1, coverage=PrefixTable([buy])), pricelist=replace(RETAIL, **changes))
    decision = of(book)
    assert order(decision) == ([] if lost else ["gw1"])
    if lost:
        assert decision.code == "no_route"
        assert "left out" in " ".join(trace_text(decision.trace))


AMOUNT = st.integers(0, 200_000).map(lambda micro: Decimal(micro).scaleb(-6))
STEP = st.sampled_from([1, 6, 30, 60])


@pytest.mark.rule("SIP-28")
@given(
    sell=st.tuples(AMOUNT, AMOUNT, STEP, STEP),
    buy=st.tuples(AMOUNT, AMOUNT, STEP, STEP),
    seconds=st.integers(1, 600),
    minimum=AMOUNT,
    lossy=st.booleans(),
)
def test_the_guard_is_the_charge_of_the_expected_call(
    sell: tuple[Any, ...], buy: tuple[Any, ...], seconds: int, minimum: Decimal, lossy: bool
) -> None:
    sold, bought = (row("33", str(rate), str(fee), initial, step) for rate, fee, initial, step in (sell, buy))
    pricelist = replace(
        RETAIL, rows=PrefixTable([sold]), expected_s=seconds, minimum=minimum, allow_loss=lossy, expensive_at=None
    )
    decision = of(directory(gateway(1, coverage=PrefixTable([bought])), pricelist=pricelist))
    loses = charge(seconds * 1000, bought).amount > charge(seconds * 1000, sold, minimum).amount
    assert bool(decision.attempts) is (lossy or not loses)


@pytest.mark.rule("SIP-28", "TG-2")
def test_currencies_are_compared_by_their_rates() -> None:
    gateways = (gateway(1, "0.012", currency="EUR"), gateway(2, "0.0065"), gateway(3, "0.05", currency="GBP"))
    rates = {"USD": "1", "EUR": "1.1"}
    decision = of(directory(*gateways, rates=rates))
    # 0.012 EUR is 0.0132 USD, dearer than 0.013; nobody knows what 0.15 GBP is.
    assert order(decision) == ["gw2", "gw1", "gw3"]
    assert ("exchanged", "gw1", "0.012000", "EUR", "0.013200", "USD") in decision.trace
    assert ("no_rate", "gw3", "GBP", "USD") in decision.trace
    assert order(of(directory(*gateways, rates={"USD": "1", "EUR": "1.05"}))) == ["gw1", "gw2", "gw3"]
    assert order(of(directory(*gateways))) == ["gw2", "gw1", "gw3"], "without rates other currencies come last"
    # With a rate the guard can judge; the unit that all are worth something of may be any.
    lost = of(directory(*gateways, rates={"USD": "0.5", "EUR": "2.5", "GBP": "0.5"}))
    assert order(lost) == ["gw2", "gw1"]
    assert ("gateway", "gw3", "loss", "0.150000", "0.060000", "USD") in lost.trace


@pytest.mark.rule("SIP-28")
def test_a_draw_is_by_the_call_id_and_in_the_trace() -> None:
    book = directory(*(gateway(number, weight=number) for number in (1, 2, 3)), pricelist=BY_WEIGHT)
    first = of(book, call_id="a@b")
    assert all(of(book, call_id="a@b") == first for _ in range(3))
    assert {tuple(order(of(book, call_id=f"{number}@b"))) for number in range(200)} == {
        (one, two, three)
        for one in ("gw1", "gw2", "gw3") for two in ("gw1", "gw2", "gw3") for three in ("gw1", "gw2", "gw3")
        if len({one, two, three}) == 3
    }  # fmt: skip
    drawn = {entry[1]: (entry[2], float(entry[3])) for entry in first.trace if entry[0] == "drawn"}
    assert {name: weight for name, (weight, _) in drawn.items()} == {"gw1": 1, "gw2": 2, "gw3": 3}
    assert sorted(drawn, key=lambda name: drawn[name][1]) == order(first)


@pytest.mark.rule("SIP-28")
def test_weight_nothing_is_the_last_resort() -> None:
    book = directory(gateway(1, weight=0), gateway(2, weight=1), gateway(3, weight=0), pricelist=BY_WEIGHT)
    assert {tuple(order(of(book, call_id=str(number)))) for number in range(50)} == {("gw2", "gw1", "gw3")}


@pytest.mark.rule("SIP-28")
@given(weights=st.lists(st.integers(1, 9), min_size=2, max_size=4), salt=st.text(max_size=8))
def test_gateways_share_calls_by_their_weights(weights: list[int], salt: str) -> None:
    calls = 2_000
    firsts = Counter(
        min(range(len(weights)), key=lambda number: draw(f"{salt}{call}", f"gw{number}", weights[number]))
        for call in range(calls)
    )
    for number, weight in enumerate(weights):
        share = weight / sum(weights)
        # Six standard deviations: once in a billion by chance.
        assert abs(firsts[number] - calls * share) <= 6 * (calls * share * (1 - share)) ** 0.5


@pytest.mark.rule("SIP-28")
@given(call_id=st.text(max_size=40), gateway_id=st.text(max_size=20), weight=st.integers(1, 1_000_000))
def test_a_ticket_is_a_number_that_more_weight_makes_smaller(call_id: str, gateway_id: str, weight: int) -> None:
    ticket = draw(call_id, gateway_id, weight)
    assert 0 <= ticket < 45
    assert draw(call_id, gateway_id, weight + 1) <= ticket
