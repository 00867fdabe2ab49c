"""What the platform, a partner and a customer's own entries say of a number: blocked, allowed, lifted (SIP-26)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from sipsvc.directory import Block, Directory, Platform, assemble
from sipsvc.routing import Decision, Live, decide
from sipsvc.routing.explain import trace_text
from sipsvc.routing.policy import verdict
from tests.unit.test_decision import facts
from tests.unit.wire import BEGIN, CUSTOMERS, directory

pytestmark = pytest.mark.rule("SIP-26")
# Whose an entry is: the platform's, the partner's, acme's, another customer's, another partner's.
LEVELS = {"platform": ("", ""), "partner": ("partner", ""), "acme": ("partner", "acme"), "bolt": ("partner", "bolt"),
          "other": ("other", "")}  # fmt: skip


def entry(level: str, prefix: str, action: str = "block", **more: Any) -> Block:
    partner, customer = LEVELS[level]
    return Block(f"{level}-{prefix}", partner, prefix, f"{level} says", customer, action, **more)


def book(*entries: Block, **changes: Any) -> Directory:
    plain = directory(customer=replace(CUSTOMERS, **changes), blocks={})
    things = (plain.customers, plain.pricelists, plain.trunks, plain.gateways)
    return assemble(8, Platform(), [*(item for table in things for item in table.values()), *entries])  # type: ignore[attr-defined]


def of(number: str, *entries: Block, **changes: Any) -> Decision:
    return decide(book(*entries, **changes), facts(f"+{number}"), Live(), BEGIN)


LIFTABLE = entry("platform", "33", liftable=True)
# What is said, and the level that blocks +33123456 ("" for nobody).
ROWS: list[tuple[str, list[Block], str]] = [
    ("nothing", [], ""),
    ("the platform blocks", [entry("platform", "33")], "platform"),
    ("the partner blocks", [entry("partner", "33")], "partner"),
    ("one customer is blocked", [entry("acme", "33")], "customer"),
    ("another customer is", [entry("bolt", "33")], ""),
    ("another partner blocks", [entry("other", "33")], ""),
    ("both block: the longer tells", [entry("platform", "33"), entry("partner", "331")], "partner"),
    ("both block alike: the platform tells", [entry("platform", "33"), entry("partner", "33")], "platform"),
    ("an exception of its own", [entry("platform", "33"), entry("platform", "3312", "allow")], ""),
    ("an exception to the exception", [entry("platform", "3"), entry("platform", "33", "allow"),
                                       entry("platform", "331")], "platform"),
    ("the platform cannot be undone", [entry("platform", "33"), entry("partner", "3312345", "allow")], "platform"),
    ("nor for one customer", [entry("platform", "33"), entry("acme", "33123456", "allow")], "platform"),
    ("unless it says so", [LIFTABLE, entry("partner", "331", "allow")], ""),
    ("with an equal prefix as well", [LIFTABLE, entry("partner", "33", "allow")], ""),
    ("not with a shorter one", [LIFTABLE, entry("partner", "3", "allow")], "platform"),
    ("by the customer's entry", [LIFTABLE, entry("acme", "33", "allow")], ""),
    ("not by another customer's", [LIFTABLE, entry("bolt", "33", "allow")], "platform"),
    ("not by another partner's", [LIFTABLE, entry("other", "33", "allow")], "platform"),
    ("the partner blocks, one may", [entry("partner", "33"), entry("acme", "33", "allow")], ""),
    ("the partner allows, one may not", [entry("partner", "33", "allow"), entry("acme", "33")], "customer"),
    ("the longest of both counts", [entry("partner", "3312", "allow"), entry("acme", "33")], ""),
    ("a platform's allow undoes no partner's block", [entry("platform", "33123", "allow"), entry("partner", "33")],
     "partner"),
]  # fmt: skip


@pytest.mark.parametrize(("entries", "blocks"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_whose_word_counts(entries: list[Block], blocks: str) -> None:
    decision = of("33123456", *entries)
    assert decision.code == ("dest_blocked" if blocks else "")
    said = [line for line in decision.trace if line[0] == "block"]
    assert [line[3] for line in said] == ([blocks] if blocks else [])
    assert len(trace_text(decision.trace)) == len(decision.trace)


def test_the_trace_says_what_was_lifted_and_by_whom() -> None:
    decision = of("33123456", LIFTABLE, entry("acme", "3312", "allow"))
    assert ("block_lifted", "33", "platform says") in decision.trace
    assert ("allowed", "3312", "acme says", "customer") in decision.trace
    text = trace_text(decision.trace)
    assert "prefix 33 is blocked by the platform, which lets it be lifted: platform says" in text
    assert "prefix 3312 is allowed by the customer: acme says" in text
    assert trace_text([("block", "979", "as records of before have it")]) == [
        "prefix 979 is blocked: as records of before have it"
    ]


@pytest.mark.rule("TP-4")
@pytest.mark.parametrize(
    ("entries", "code"),
    [
        ([], "dest_expensive"),
        ([entry("partner", "882", "allow")], "dest_expensive"),
        ([entry("partner", "882", "allow", lift_expensive=True)], ""),
        ([entry("acme", "8821", "allow", lift_expensive=True)], ""),
        ([entry("bolt", "882", "allow", lift_expensive=True)], "dest_expensive"),
        ([entry("partner", "88", "allow", lift_expensive=True), entry("acme", "882", "allow")], "dest_expensive"),
        ([entry("platform", "882"), entry("acme", "882", "allow", lift_expensive=True)], "dest_blocked"),
    ],
)
def test_an_allow_lifts_the_threshold_only_where_it_says_so(entries: list[Block], code: str) -> None:
    decision = of("882123", *entries)
    assert decision.code == code
    if not code:
        assert ("expensive", "0.500000", "0.50", "lifted") in [
            (name, f"{float(values[0]):.6f}", *values[1:]) for name, *values in decision.trace if name == "expensive"
        ]


def naive(entries: list[Block], number: str) -> bool:
    """Whether it is blocked, told by looking at every entry."""
    fitting = [one for one in entries if number.startswith(one.prefix)]
    theirs = max((one for one in fitting if not one.partner), key=lambda one: len(one.prefix), default=None)
    mine = [one for one in fitting if one.partner == "partner" and one.customer in ("", "acme")]
    ours = max(mine, key=lambda one: (len(one.prefix), one.customer), default=None)
    if ours is not None and ours.action == "block":
        return True
    if theirs is None or theirs.action == "allow":
        return False
    return not (theirs.liftable and ours is not None and len(ours.prefix) >= len(theirs.prefix))


ENTRIES = st.lists(
    st.builds(
        lambda level, prefix, action, liftable: entry(
            level, prefix, action, liftable=liftable and level == "platform" and action == "block"
        ),
        st.sampled_from(sorted(LEVELS)),
        st.text("12", min_size=1, max_size=4),
        st.sampled_from(["block", "allow"]),
        st.booleans(),
    ),
    max_size=8,
    unique_by=lambda one: one.id,
)


@given(ENTRIES, st.text("12", min_size=3, max_size=6))
def test_the_tables_say_what_a_scan_says(entries: list[Block], number: str) -> None:
    made = book(*entries)
    found = verdict(made, made.customers["acme"], number)
    event("blocked" if found.block else "allowed" if found.allow else "unsaid")
    assert (found.block is not None) == naive(entries, number)
    assert all(number.startswith(one.prefix) for one in found if one is not None)
    assert found.block is None or found.allow is None
