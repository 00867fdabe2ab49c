"""Another directory under a running engine: new calls are decided on it, those there go on as they were (law 3)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sipsvc.directory import Directory, Platform, PrefixTable, Timing, Trunk, assemble
from tests.unit.test_digest import TRUNKS, Phone
from tests.unit.wire import CUSTOMER, CUSTOMERS, GATES, RETAIL, Wire, answer, directory, gateway, request, row, talking


def swap(wire: Wire, book: Directory) -> None:
    wire.engine.swap(replace(book, version=8), wire.now)


def second(**fields: str) -> bytes:
    return request(Call_ID="call-2", From='"Ann" <sip:442071838750@acme.example>;tag=two',
                   Via=f"SIP/2.0/UDP {CUSTOMER.host}:{CUSTOMER.port};branch=z9hG4bK-2;rport", **fields)  # fmt: skip


@pytest.mark.rule("law 3")
def test_the_next_call_has_the_new_price_and_the_one_in_set_up_the_old() -> None:
    wire = Wire()
    invite = wire.give(request())[-1].message
    swap(wire, directory(pricelist=replace(RETAIL, rows=PrefixTable([row("33", "0.30")]))))
    ok = wire.give(answer(invite, 200), GATES[0])
    assert ok[-1].what == "200 INVITE"
    later = wire.give(second())[-1].message
    wire.give(answer(later, 200, tag="two-too"), GATES[0])
    starts = [record for record in wire.records if record["kind"] == "start"]
    answers = [record for record in wire.records if record["kind"] == "answer"]
    assert [record["directory"] for record in starts] == [7, 8]
    assert [record["partner"] for record in starts] == ["partner", "partner"]
    assert [record["sell"]["rate"] for record in answers] == ["0.060000", "0.300000"]


@pytest.mark.rule("law 3")
def test_a_call_in_set_up_hunts_by_the_gateways_it_was_decided_on() -> None:
    wire = Wire(directory(gateway(1), gateway(2)))
    wire.give(request())
    swap(wire, directory(gateway(3)))
    hunted = wire.wait(4_000)
    assert [sent.flow for sent in hunted if sent.what == "INVITE"][-1] == GATES[1]
    assert wire.give(second())[-1].flow == GATES[2]


@pytest.mark.rule("law 3", "law 6")
def test_a_customer_that_vanished_still_ends_its_calls() -> None:
    talk = talking(Wire())
    wire = talk.wire
    nobody = replace(CUSTOMERS, id="other")
    others = [Trunk("other-ip", "other", source="198.51.100.99/32"), RETAIL, gateway()]
    swap(wire, assemble(8, Platform(), [nobody, *others]))
    assert wire.engine.live_calls == 1
    assert wire.give(second())[-1].what == "407 INVITE"
    assert wire.give(talk.by_caller("BYE", 2))[-1].what == "BYE"
    assert (wire.end["customer"], wire.end["code"]) == ("acme", "answered")
    assert wire.engine.live_calls == 0


@pytest.mark.rule("law 6")
def test_a_limit_counts_the_calls_of_before() -> None:
    wire = talking(Wire()).wire
    swap(wire, directory(customer=replace(CUSTOMERS, max_channels=1)))
    assert wire.give(second())[-1].what == "486 INVITE"


@pytest.mark.rule("SIP-20")
def test_a_source_is_known_from_the_swap_on_and_no_longer_known() -> None:
    wire = Wire()
    assert wire.give(request())[-1].what == "INVITE"
    book = directory()
    swap(wire, replace(book, networks={(4, 32): {1: ()}}))
    assert wire.give(second())[-1].what == "407 INVITE"
    swap(wire, book)
    assert wire.give(second(CSeq="2 INVITE"))[-1].what == "INVITE"


@pytest.mark.rule("SIP-21")
def test_a_users_password_changes_and_its_nonce_stays_good() -> None:
    wire = Wire(directory(trunks=TRUNKS))
    phone = Phone(wire)
    nonce = phone.nonce()
    swap(wire, directory(trunks=[replace(TRUNKS[0], ha1_md5="0" * 32)]))
    assert phone.say([phone.line(nonce)]).what == "407 INVITE"
    swap(wire, directory(trunks=TRUNKS))
    assert phone.say([phone.line(nonce)]).what == "INVITE"


@pytest.mark.rule("law 3", "SIP-19")
@pytest.mark.parametrize(("before", "after"), [(60_000, 1_000), (1_000, 60_000)])
def test_the_longest_a_call_may_last_is_that_of_its_beginning(before: int, after: int) -> None:
    wire = talking(Wire(directory(timing=Timing(max_call_ms=before)))).wire
    swap(wire, directory(timing=Timing(max_call_ms=after)))
    wire.wait(before - 1)
    assert wire.engine.live_calls == 1
    wire.wait(1)
    assert (wire.end["code"], wire.end["duration_ms"]) == ("max_duration", before)


@pytest.mark.rule("SIP-12")
def test_a_transaction_keeps_its_times_and_the_next_has_the_new() -> None:
    wire = Wire(directory(gateway(provisional_timeout_ms=60_000)))
    wire.give(request())
    swap(wire, directory(gateway(provisional_timeout_ms=60_000), timing=Timing(t1_ms=100)))
    began = wire.elapsed
    assert [sent.at - began for sent in wire.wait(1_600)] == [500, 1_500]
    wire.give(second())
    began = wire.elapsed
    told: list[Any] = [sent for sent in wire.wait(400) if sent.message.call_id == "call-2"]
    assert [sent.at - began for sent in told] == [100, 300]
