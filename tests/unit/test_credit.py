"""Credit put by before a call goes, topped up while it lasts, and the end of it (SIP-19, SIP-27, law 6)."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from sipsvc.directory import Customer, ShortCode
from tests.unit.accounts import LIST, Calls, book, cut
from tests.unit.wire import CUSTOMER, CUSTOMERS, GATES, answer, directory


@pytest.mark.rule("SIP-19", "SIP-27", "law 6", "TP-2")
def test_one_dollar_at_half_a_dollar_a_minute_buys_120_s_and_then_both_hear_bye() -> None:
    calls = Calls(book("1.00"))
    calls.dial(1)
    assert calls.reserved == Decimal("0.50")  # before the INVITE has left, the first minute
    calls.pick_up(1)
    calls.wire.wait(54_999)
    assert calls.reserved == Decimal("0.50")
    calls.wire.wait(2)
    assert calls.reserved == Decimal("1.00")
    assert calls.wire.wait(64_998) == []
    byes = calls.wire.wait(2)
    assert {(one.what, one.flow.host) for one in byes} == {("BYE", CUSTOMER.host), ("BYE", "203.0.113.77")}
    assert cut(calls, 1) == ("credit_exhausted", "proxy", 120_000, 120, "1.000000")
    assert calls.end(1)["granted_s"] == 120
    (notice,) = calls.wire.notices
    assert notice.event == "credit_exhausted"
    assert notice.fields == {"customer": "acme", "cdr_id": calls.end(1)["cdr_id"], "granted_s": 120}
    assert (calls.reserved, calls.charged) == (0, 1)
    assert calls.dial(2) == 402
    assert calls.end(2)["code"] == "credit_exhausted"
    assert calls.end(2)["sell"] is None
    assert calls.wire.sent[-1].message.get("warning") == '399 192.0.2.1 "The credit of this account is used up"'
    calls.wire.wait(100_000)
    assert calls.wire.engine.leftovers() == {"transactions": 0, "timers": 0, "calls": 0}


@pytest.mark.rule("SIP-27", "law 6")
def test_200_calls_at_once_share_credit_for_ten() -> None:
    calls = Calls(book("5.00"))
    told = [calls.dial(number) for number in range(200)]
    assert told == [0] * 10 + [402] * 190
    assert calls.reserved == 5
    for number in range(10):
        calls.pick_up(number)
    calls.wire.wait(200_000)
    assert {cut(calls, number) for number in range(10)} == {("credit_exhausted", "proxy", 60_000, 60, "0.500000")}
    assert (calls.reserved, calls.charged) == (0, 5)


@pytest.mark.rule("SIP-27", "law 6")
def test_what_is_put_by_for_a_call_that_nobody_answers_is_free_at_once() -> None:
    calls = Calls(book("0.50"))
    assert calls.dial(1) == 0
    assert calls.dial(2) == 402
    calls.fail(1)
    assert calls.reserved == 0
    assert calls.end(1)["sell"]["amount"] == "0.000000"
    assert "granted_s" not in calls.end(1)
    assert calls.dial(3) == 0


@pytest.mark.rule("SIP-13", "law 6")
def test_a_call_that_hunts_has_one_reservation() -> None:
    three = directory(customer=replace(CUSTOMERS, prepaid=True, funds=Decimal(1)), pricelist=LIST)
    calls = Calls(three)
    calls.dial(1)
    for gate in GATES[:2]:
        (again,) = (one for one in calls.wire.give(answer(calls.invited[1].message, 503), gate) if one.what == "INVITE")
        calls.invited[1] = again
        assert calls.reserved == Decimal("0.50")


@pytest.mark.rule("SIP-27")
@pytest.mark.parametrize(
    ("changes", "statuses"),
    [
        ({"funds": "0.10", "credit_limit": Decimal("0.40")}, [0, 402]),
        ({"funds": None, "credit_limit": Decimal("0.50")}, [0, 402]),
        ({"funds": None}, [0, 0]),
        ({"funds": "-0.10", "credit_limit": Decimal(1)}, [0, 402]),
    ],
)
def test_what_there_is_is_funds_and_limit(changes: dict[str, Any], statuses: list[int]) -> None:
    calls = Calls(book(**changes))
    assert [calls.dial(1), calls.dial(2)] == statuses


@pytest.mark.rule("SIP-25", "SIP-27")
def test_emergency_and_free_calls_put_nothing_by() -> None:
    code = ShortCode("112", "partner", "112", "Emergency", gateways=("gw1",), dial="112", emergency=True)
    calls = Calls(book("0", codes=(code,)))
    assert calls.dial(1) == 402
    assert calls.dial(2, "112") == 0
    calls.pick_up(2)
    calls.wire.wait(600_000)
    calls.hang_up(2)
    assert (calls.end(2)["code"], calls.end(2)["sell"]["amount"]) == ("answered", "0.000000")
    assert "granted_s" not in calls.end(2)


def test_a_call_with_a_fee_alone_pays_it_once_and_goes_on() -> None:
    calls = Calls(book("0.30"))
    calls.up(1, "12125550123")
    calls.wire.wait(600_000)
    assert calls.reserved == Decimal("0.25")
    calls.hang_up(1)
    assert (calls.end(1)["code"], calls.charged) == ("answered", Decimal("0.25"))


@pytest.mark.rule("SIP-19", "law 3")
def test_funds_that_come_in_meanwhile_carry_a_call_on() -> None:
    calls = Calls(book("0.50"))
    calls.up(1)
    calls.wire.wait(59_500)
    calls.wire.engine.swap(book("1.50", version=8), calls.wire.now)
    calls.wire.wait(90_000)
    assert calls.reserved == Decimal("1.50")
    calls.hang_up(1)
    assert (calls.end(1)["code"], calls.charged) == ("answered", Decimal("1.50"))


@pytest.mark.rule("SIP-19", "law 6")
@pytest.mark.parametrize("funds", ["0.50", "0", "-7"])
def test_funds_taken_out_never_take_from_a_call_what_it_was_granted(funds: str) -> None:
    calls = Calls(book("5.00"))
    calls.up(1)
    calls.wire.wait(56_000)
    assert calls.reserved == 1
    calls.wire.engine.swap(book(funds, version=8), calls.wire.now)
    calls.wire.wait(300_000)
    assert cut(calls, 1) == ("credit_exhausted", "proxy", 120_000, 120, "1.000000")


def test_a_customer_that_nothing_bounds_any_more_talks_on() -> None:
    calls = Calls(book("0.50"))
    calls.up(1)
    calls.wire.engine.swap(book(None, version=8), calls.wire.now)
    calls.wire.wait(300_000)
    calls.hang_up(1)
    assert (calls.end(1)["code"], calls.charged) == ("answered", Decimal("2.50"))


def test_little_left_is_told_once_a_crossing() -> None:
    low = {"low_balance": Decimal("0.80")}
    calls = Calls(book("1.00", **low))
    told = calls.wire.notices
    calls.dial(1)
    assert [(one.event, one.fields["available"]) for one in told] == [("low_balance", "0.500000")]
    calls.fail(1)  # what was put by for it is back, and nothing came in
    calls.dial(2)
    calls.pick_up(2)
    calls.hang_up(2)
    assert len(told) == 1
    calls.wire.engine.swap(book("1.20", version=8, **low), calls.wire.now)
    calls.dial(3)  # more came in, but not enough
    calls.fail(3)
    assert len(told) == 1
    calls.wire.engine.swap(book("9.00", version=9, **low), calls.wire.now)
    calls.dial(4)
    assert len(told) == 1
    calls.fail(4)
    calls.wire.engine.swap(book("1.50", version=10, **low), calls.wire.now)
    calls.dial(5)
    assert [one.fields["available"] for one in told] == ["0.500000", "0.500000"]


@pytest.mark.rule("law 3")
def test_a_customer_that_nothing_bounds_is_asked_one_attribute() -> None:
    """The way of its calls is the one before there was credit: no account is looked at, nothing is put by."""

    class Bare:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"{name} was looked at")

    calls = Calls(book(None))
    admission = calls.wire.engine.admission
    keeper, bare = admission.credit, Bare()
    admission.credit = bare  # type: ignore[assignment]
    calls.up(1)
    admission.credit = keeper
    assert next(iter(calls.wire.engine.core.calls.values())).hold is None
    assert "credit" not in calls.wire.records[0]["live"]


def test_a_customer_is_metered_by_prepayment_or_a_limit() -> None:
    def metered(**changes: Any) -> bool:
        customer: Customer = replace(CUSTOMERS, **changes)
        return customer.metered

    assert metered(prepaid=True)
    assert metered(credit_limit=Decimal(0))
    assert not metered(funds=Decimal(5))
