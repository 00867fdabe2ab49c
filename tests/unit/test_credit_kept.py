"""Credit and minutes over restarts, and whatever else happens to calls (law 6, law 8, PP-2)."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipsvc.directory import Package
from sipsvc.rating import ZERO
from tests.unit.accounts import FREE, TRUNK, Calls, again, book
from tests.unit.wire import GATES, answer


@pytest.mark.rule("law 6", "law 8")
def test_a_call_that_a_restart_brought_back_has_its_credit_before_any_new_one() -> None:
    calls = Calls(book("2.00"))
    calls.up(1)
    calls.wire.wait(90_000)
    assert calls.reserved == 1
    new = again(calls, book("2.00"), after_ms=40_000)
    assert new.reserved == 2  # 130 s have passed, and a minute to come is put by where there is money for it
    assert new.dial(2) == 402
    new.show()
    new.wire.wait(400_000)
    end = next(one for one in new.wire.records if one["kind"] == "end" and one["call_id"] == "call-1")
    assert (end["code"], end["sell"]["billed"], end["sell"]["amount"]) == ("credit_exhausted", 240, "2.000000")


@pytest.mark.rule("law 6", "law 8")
def test_no_call_takes_after_a_restart_what_another_was_granted() -> None:
    """Both were granted 120 s, which the log does not say of either: only that they talked for 90."""
    calls = Calls(book("2.00"))
    calls.up(1)
    calls.up(2)
    calls.wire.wait(90_000)
    assert calls.reserved == 2
    new = again(calls, book("2.00"), after_ms=40_000)
    new.show()
    new.wire.wait(400_000)
    for number in (1, 2):
        end = new.end(number)
        assert (end["code"], end["granted_s"], end["sell"]["billed"]) == ("credit_exhausted", 120, 120)
    assert (new.reserved, new.charged) == (0, 2)


def test_each_restart_has_chance_of_its_own() -> None:
    """Else engines draw the same tags and branches, and a test of several restarts shows what no server does."""
    calls = Calls(book("9.00"))
    calls.up(1)
    log, probed = calls.wire.records, set[str]()
    for _ in range(3):
        calls = again(calls, book("9.00"))
        calls.wire.records[:0] = log
        log = calls.wire.records
        probed |= {one.message.via.branch for one in calls.wire.wait(28_000) if one.what == "OPTIONS"}
    assert len(probed) == 6


@pytest.mark.rule("law 6", "law 8")
def test_a_call_whose_credit_ran_out_while_we_were_away_is_cut_and_billed_as_far_as_it_is_known_to_last() -> None:
    calls = Calls(book("1.00"))
    calls.up(1)
    calls.wire.wait(10_000)
    new = again(calls, book("1.00"), after_ms=600_000)
    byes = new.wire.wait(0)
    assert {one.what for one in byes} == {"BYE"}
    assert len(byes) == 2
    end = new.end(1)
    assert (end["code"], end["duration_ms"], end["sell"]["billed"]) == ("credit_exhausted", 10_000, 60)
    assert (end["recovered"], end["sell"]["amount"]) == (True, "0.500000")
    assert (new.reserved, new.credit.purses["acme", "USD"].charged) == (0, Decimal("0.5"))


@pytest.mark.rule("law 8", "PP-2")
@pytest.mark.parametrize("minutes", [0, 1, 9])
def test_minutes_are_held_again_after_a_restart_whatever_the_package_is_by_then(minutes: int) -> None:
    calls = Calls(book(None, replace(FREE, minutes=minutes)))
    calls.up(1, "44123456")
    calls.wire.wait(100_000)
    new = again(calls, book(None))
    new.wire.wait(19_000)
    new.hang_up(1)
    end = new.end(1)
    paid = 60 if minutes == 1 else 120
    assert (end["sell"]["allowance"], end["sell"]["amount"]) == (paid, "0.600000" if minutes == 1 else "0.000000")
    assert (end["month"], end["trunk"]) == ("2023-11", TRUNK)


@pytest.mark.rule("law 8")
def test_a_call_without_bounds_has_none_after_a_restart() -> None:
    calls = Calls(book(None))
    calls.up(1)
    assert not {"granted_s", "month", "minutes", "held_s"} & set(calls.wire.records[1])
    new = again(calls, book("0"))
    new.show()
    new.wire.wait(272_000)
    new.hang_up(1)
    assert (new.end(1)["code"], new.end(1)["sell"]["billed"]) == ("answered", 360)


STEP = st.one_of(
    st.tuples(st.just("dial"), st.sampled_from(["33123456", "44123456", "12125550123"])),
    st.tuples(st.just("wait"), st.sampled_from([500, 4_000, 31_000, 59_000, 120_000])),
    st.tuples(st.just("pick_up"), st.integers(0, 9)),
    st.tuples(st.just("hang_up"), st.integers(0, 9)),
    st.tuples(st.just("fail"), st.integers(0, 9)),
    st.tuples(st.just("funds"), st.sampled_from(["0.25", "1.00", "3.00"])),
    st.tuples(st.just("crash"), st.sampled_from([0, 1_000, 45_000, 200_000])),
)
PACKAGES = st.sampled_from([(), (replace(FREE, minutes=1),), (replace(FREE, minutes=3, free=frozenset({"44"})),)])


@pytest.mark.rule("law 6", "law 8", "PP-2")
@settings(max_examples=60, deadline=None)
@given(
    st.lists(STEP, max_size=25), st.sampled_from(["0.40", "1.00", "2.50"]), st.sampled_from([None, "0.60"]), PACKAGES
)
def test_nothing_overdraws_an_account_nor_uses_minutes_twice(
    steps: list[tuple[str, Any]], funds: str, limit: str | None, packages: tuple[Package, ...]
) -> None:
    """Killed at any instant as well: what was put by since the last record is put by anew, as far as there is money."""
    made_of: dict[str, Any] = {"credit_limit": None if limit is None else Decimal(limit)}
    money, version = Decimal(funds), 7
    world = Calls(book(funds, *packages, **made_of))
    ends: list[dict[str, Any]] = []
    ringing: list[int] = []
    number = 0

    def balance() -> Decimal:
        return money + Decimal(limit or 0) - sum((Decimal(one["sell"]["amount"]) for one in ends if one["sell"]), ZERO)

    def check() -> None:
        over = [one for one in world.wire.records if one["kind"] == "end" and one not in ends]
        ends.extend(over)
        assert balance() >= 0
        if ("acme", "USD") in world.credit.purses:
            assert balance() >= world.reserved
        used = sum(one["sell"].get("allowance", 0) for one in ends if one["sell"])
        minutes = packages[0].minutes if packages else 0
        assert used + sum(world.credit.allowances.held.values()) <= minutes * 60
        assert all(one["sell"]["billed"] <= one["granted_s"] for one in ends if "granted_s" in one)

    for what, value in steps:
        over = {end["call_id"] for end in ends}
        up = [one for one in world.talks if f"call-{one}" not in over]
        ringing = [one for one in ringing if f"call-{one}" not in over]
        if what == "dial":
            number += 1
            if not world.dial(number, value):
                world.wire.give(answer(world.invited[number].message, 180), GATES[0])
                ringing.append(number)
        elif what == "wait":
            world.wire.wait(value)
        elif what == "pick_up" and ringing:
            world.pick_up(ringing.pop(value % len(ringing)))
        elif what == "fail" and ringing:
            world.fail(ringing.pop(value % len(ringing)))
        elif what == "hang_up" and up:
            world.hang_up(up[value % len(up)])
        elif what == "funds":
            money, version = money + Decimal(value), version + 1
            world.wire.engine.swap(book(str(money), *packages, version=version, **made_of), world.wire.now)
        elif what == "crash":
            log = world.wire.records
            new = again(world, book(str(money), *packages, version=version, **made_of), value)
            new.wire.records[:0] = log
            world, ringing = new, []
        check()
    world.wire.wait(15_000_000)
    check()
    assert world.wire.engine.live_calls == 0
    for purse in world.credit.purses.values():
        assert purse.reserved == 0
    assert world.credit.allowances.held == {}
