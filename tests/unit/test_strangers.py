"""What strangers are told: so many answers a source, few bytes for few, and customers none the worse (SIP-10)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sipsvc.directory import Platform
from sipsvc.effects import Flow, Listener, Now
from sipsvc.engine.strangers import ANSWERS_PER_S, BURST, SOURCES, Strangers
from tests.unit.test_digest import Phone, book
from tests.unit.wire import CUSTOMER, GATES, STRANGER, Wire, directory, request

S = 1_000_000_000


def source(number: int) -> Flow:
    return Flow("UDP", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 5060)


def answered(strangers: Strangers, flow: Flow, times: int, at: float = 0) -> int:
    return sum(strangers.may_answer(flow, Now(int(at * S), 0)) for _ in range(times))


@pytest.mark.rule("SIP-10", "SIP-24")
def test_a_burst_then_so_many_a_second() -> None:
    strangers = Strangers(per_s=10, burst=50)
    assert answered(strangers, STRANGER, 200) == 50
    assert answered(strangers, STRANGER, 200, at=1) == 10
    assert answered(strangers, STRANGER, 200, at=3.5) == 25
    assert answered(strangers, STRANGER, 200, at=1_000) == 50


@pytest.mark.rule("SIP-10", "SIP-24")
def test_one_source_costs_another_nothing_whatever_its_port() -> None:
    strangers = Strangers(per_s=10, burst=50)
    assert sum(answered(strangers, STRANGER._replace(port=port), 2) for port in range(1_024, 1_124)) == 50
    assert answered(strangers, source(1), 60) == 50


@pytest.mark.rule("SIP-10", "SIP-24")
@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
    ],
)
def test_an_ipv6_host_has_all_of_its_64_bits(one: str, other: str, same: bool) -> None:
    strangers = Strangers(per_s=10, burst=50)
    assert answered(strangers, Flow("UDP", one, 5060), 100) == 50
    assert answered(strangers, Flow("UDP", other, 5060), 100) == (0 if same else 50)


@pytest.mark.rule("SIP-10", "SIP-24")
def test_memory_is_bounded_and_customers_keep_their_place_in_it() -> None:
    strangers = Strangers(per_s=10, burst=5, sources=100)
    strangers.succeeded(CUSTOMER)
    for number in range(100):
        assert answered(strangers, source(number), 9) == 5
    assert answered(strangers, source(100), 3) + answered(strangers, source(101), 9) == 5  # they share what is left
    assert answered(strangers, CUSTOMER, 9) == 5
    assert len(strangers) <= 102
    assert answered(strangers, source(102), 9, at=2) == 5  # by now the first hundred are paid off and forgotten
    assert len(strangers) <= 3
    for number in range(300):
        strangers.succeeded(source(number))
    assert len(strangers) <= 102


@pytest.mark.rule("SIP-10", "SIP-24")
def test_a_customer_is_challenged_as_often_as_it_calls() -> None:
    strangers = Strangers()
    for call in range(20_000):
        now = Now(call * S // 2_000, 0)
        assert strangers.may_answer(STRANGER, now)
        if call >= 500:  # a quarter of a second on the way
            strangers.succeeded(STRANGER)
    assert answered(strangers, source(1), SOURCES) == BURST
    assert answered(strangers, source(1), SOURCES, at=1) == ANSWERS_PER_S


@pytest.mark.rule("SIP-10", "SIP-24")
def test_a_flood_is_answered_so_often_and_counted() -> None:
    wire = Wire()
    flood = [one for _ in range(BURST + 50) for one in wire.give(request(), STRANGER)]
    assert len(flood) == BURST
    assert wire.engine.counters == {"no_credentials": BURST + 50, "answers_limited": 50}
    assert wire.give(request("OPTIONS"), STRANGER) == []
    assert wire.give(request("BYE", To="<sip:x@h>;tag=1"), STRANGER) == []
    theirs = request(Via="SIP/2.0/UDP customer.example;branch=z9hG4bK-other")
    assert [one.what for one in wire.give(theirs)] == ["100 INVITE", "INVITE"]
    wire.wait(1_000)
    assert len([one for _ in range(500) for one in wire.give(request(), STRANGER)]) == ANSWERS_PER_S


@pytest.mark.rule("SIP-10", "SIP-24")
@pytest.mark.parametrize("flow", [CUSTOMER, GATES[0]])
def test_whoever_is_known_by_address_is_always_answered(flow: Flow) -> None:
    wire = Wire()
    assert len([one for _ in range(BURST + 500) for one in wire.give(request("OPTIONS"), flow)]) == BURST + 500


@pytest.mark.rule("SIP-10", "SIP-21")
def test_a_customer_known_by_digest_gets_its_challenges_back() -> None:
    wire = Wire(book())
    phone = Phone(wire)
    for _ in range(BURST + 200):
        phone.say([phone.line(phone.nonce())])
    assert "answers_limited" not in wire.engine.counters


def short(method: str, *extra: str) -> bytes:
    """As short as a request can be and still be answered."""
    lines = [f"{method} sip:h SIP/2.0", "v:SIP/2.0/UDP h;branch=z9hG4bK1;rport", "f:<sip:h>;tag=1", "t:<sip:h>", "i:1"]
    return "\r\n".join([*lines, f"CSeq:1 {method}", *extra, "", ""]).encode()


@pytest.mark.rule("SIP-10")
@pytest.mark.parametrize("method", ["INVITE", "OPTIONS", "REGISTER", "DANCE"])
@pytest.mark.parametrize("extra", ["X:", "Max-Forwards:0", "Proxy-Require:x", "Route:<sip:x;lr>", "Contact:\0"])
def test_never_more_than_four_times_the_bytes_that_came(method: str, extra: str) -> None:
    wire = Wire()
    for padding in range(0, 200, 7):
        data = short(method, extra, "X:" + "x" * padding)
        (one,) = wire.give(data, STRANGER)
        assert len(one.data) <= 4 * len(data)


@pytest.mark.rule("SIP-10")
def test_what_is_only_explained_is_left_out_first_and_then_the_answer() -> None:
    names = (Listener("UDP", f"{'long.' * 50}example", 5060),)
    wire = Wire(listeners=names)
    (full,) = wire.give(short("DANCE", "X:" + "x" * 100), STRANGER)
    assert {"allow", "warning"} <= set(full.message.names)
    (trimmed,) = wire.give(short("DANCE"), STRANGER)
    assert {"allow", "warning"} & set(trimmed.message.names) == {"allow"}
    wire = Wire(replace(directory(), platform=Platform(realm="r" * 300)))
    assert [one.what for one in wire.give(short("INVITE", "X:" + "x" * 100), STRANGER)] == ["407 INVITE"]
    assert wire.give(short("INVITE"), STRANGER) == []
    assert wire.engine.counters == {"no_credentials": 2, "answer_too_long": 1}
