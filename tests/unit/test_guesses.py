"""Guessing is held off for longer each time, by source, and never at a customer's cost (SIP-24)."""

from __future__ import annotations

import re
from itertools import count

import pytest

from sipsvc.auth.guesses import ATTACKED, FREE, FREE_ATTACKED, LATELY_NS, SPRAYED, Guesses
from sipsvc.effects import Flow, Now
from tests.unit.test_digest import Phone, book, verdict
from tests.unit.wire import STRANGER, Wire

S = 1_000_000_000
BAD, GOOD = "203.0.113.66", "198.51.100.44"
# Where each guesser's CSeq begins, so that no request is another's.
NUMBERS = count(1_000, 1_000)


def at(seconds: float) -> Now:
    return Now(int(seconds * S), 0)


def wrong(guesses: Guesses, host: str, user: str = "alice", times: int = 1, when: float = 0) -> None:
    for _ in range(times):
        guesses.failed(host, user, at(when))


def host(number: int) -> str:
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


@pytest.mark.rule("SIP-24")
def test_after_some_wrong_answers_each_one_more_costs_twice_the_time() -> None:
    guesses = Guesses()
    wrong(guesses, BAD, times=FREE - 1)
    assert not guesses.held_off(BAD, "alice", at(0))
    when, waits = 0.0, []
    for _ in range(12):
        wrong(guesses, BAD, when=when)
        until = when
        while guesses.held_off(BAD, "alice", at(until)):
            until += 1
        waits.append(until - when)
        when = until
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    assert not guesses.held_off(GOOD, "alice", at(when))
    # A long silence, and all is forgotten.
    wrong(guesses, BAD, when=when + 2_000)
    assert not guesses.held_off(BAD, "alice", at(when + 2_000))


@pytest.mark.rule("SIP-24")
def test_a_stranger_is_held_off_for_every_username_it_was_wrong_about_and_in_the_end_for_any() -> None:
    guesses = Guesses()
    for number in range(FREE):
        wrong(guesses, BAD, f"user{number}")
    assert all(guesses.held_off(BAD, f"user{number}", at(0.5)) for number in range(FREE))
    assert not guesses.held_off(GOOD, "user1", at(0.5))
    # Who comes from there with a username that nobody was wrong about may be a customer.
    assert not guesses.held_off(BAD, "another", at(0.5))
    for number in range(FREE, SPRAYED):
        assert not guesses.held_off(BAD, f"user{number}", at(0.5))
        wrong(guesses, BAD, f"user{number}")
    assert guesses.held_off(BAD, "another", at(0.5))


@pytest.mark.rule("SIP-24")
def test_a_phone_that_was_set_up_wrongly_does_not_hold_off_its_colleagues() -> None:
    guesses = Guesses()
    when = 0.0
    for _ in range(200):  # it tries again every ten seconds
        if not guesses.held_off(BAD, "typo", at(when)):
            wrong(guesses, BAD, "typo", when=when)
        when += 10
    assert guesses.held_off(BAD, "typo", at(when))
    assert not guesses.held_off(BAD, "carol", at(when))
    guesses.succeeded(BAD, "carol", at(when))
    assert not guesses.held_off(BAD, "carol", at(when)) and not guesses.held_off(BAD, "dave", at(when))


@pytest.mark.rule("SIP-24")
def test_an_ipv6_host_is_held_off_with_all_of_its_64_bits() -> None:
    guesses = Guesses()
    for number in range(FREE):
        wrong(guesses, f"2001:db8:0:1::{number:x}")
    assert guesses.held_off("2001:db8:0:1:ffff::1", "alice", at(0.5))
    assert not guesses.held_off("2001:db8:0:2::1", "alice", at(0.5))


@pytest.mark.rule("SIP-24")
def test_who_answered_rightly_from_there_is_never_held_off_there() -> None:
    guesses = Guesses()
    guesses.succeeded(GOOD, "alice", at(0))
    wrong(guesses, GOOD, "alice", times=1_000)  # forged, or a second phone with a typing error
    wrong(guesses, GOOD, "bob", times=1_000)
    wrong(guesses, BAD, "alice", times=1_000)
    assert not guesses.held_off(GOOD, "alice", at(1))
    assert guesses.held_off(GOOD, "bob", at(1))
    # A colleague behind the same address is not held off for what somebody there got wrong about bob.
    assert not guesses.held_off(GOOD, "carol", at(1))
    assert not guesses.held_off("198.51.100.45", "alice", at(1))
    assert guesses.held_off(BAD, "alice", at(1))


@pytest.mark.rule("SIP-24")
def test_good_standing_ends_with_a_long_silence() -> None:
    guesses = Guesses()
    guesses.succeeded(GOOD, "alice", at(0))
    later = LATELY_NS / S + 1
    wrong(guesses, GOOD, times=FREE, when=later)
    assert guesses.held_off(GOOD, "alice", at(later + 0.5))


@pytest.mark.rule("SIP-24")
def test_an_account_guessed_at_from_all_sides_has_less_patience_with_new_ones_but_is_not_locked() -> None:
    guesses = Guesses()
    for number in range(ATTACKED):
        wrong(guesses, host(number))
    late = host(5_000)
    wrong(guesses, late, times=FREE_ATTACKED - 1)
    assert not guesses.held_off(late, "alice", at(0))
    wrong(guesses, late)
    assert guesses.held_off(late, "alice", at(0.5))
    # Whoever comes with the right password from anywhere else is heard.
    assert not guesses.held_off(GOOD, "alice", at(0.5))
    # About another account nothing has changed, and after an hour about this one.
    wrong(guesses, host(6_000), "bob", times=FREE - 1)
    assert not guesses.held_off(host(6_000), "bob", at(0))
    wrong(guesses, host(7_000), times=FREE - 1, when=3_600)
    assert not guesses.held_off(host(7_000), "alice", at(3_600))


@pytest.mark.rule("SIP-24", "SIP-3")
def test_memory_is_bounded_whoever_guesses_what() -> None:
    guesses = Guesses(most=100)
    guesses.succeeded(GOOD, "alice", at(0))
    for number in range(1_000):
        wrong(guesses, host(number), f"user{number}" + "x" * 10_000)
        guesses.succeeded(host(number), "x", at(0))
    assert len(guesses) == 500
    assert all(len(name) <= 128 for name in guesses._accounts)
    wrong(guesses, BAD, times=FREE)
    assert guesses.held_off(BAD, "alice", at(0.5)), "what is new finds its place"


def guessed(wire: Wire, flow: Flow, times: int) -> None:
    phone = Phone(wire, "alice", "wrong", flow=flow)
    phone.cseq = next(NUMBERS)
    nonce = phone.nonce()
    for nc in range(1, times + 1):
        assert verdict(phone.say([phone.line(nonce, f"{nc:08x}")])) == "407"


@pytest.mark.rule("SIP-24", "SIP-22")
def test_held_off_even_the_right_password_hears_what_a_wrong_one_hears() -> None:
    wire = Wire(book())
    guessed(wire, STRANGER, FREE)
    phone, other = Phone(wire, flow=STRANGER), Phone(wire, "alice", "wrong", flow=STRANGER)
    nonce = phone.nonce()
    first, second = phone.say([phone.line(nonce)]), other.say([other.line(nonce)])
    shorn = [
        re.sub(rb'nonce="[^"]+"|tag=\w{16}|-alice\d+|CSeq: \d+|Call-ID: \w+', b"", one.data) for one in (first, second)
    ]
    assert shorn[0] == shorn[1] and verdict(first) == "407"
    assert wire.engine.counters["held_off"] == 2
    assert wire.records == []
    wire.wait(2_000)
    assert verdict(phone.say([phone.line(nonce)])) == "passed"


@pytest.mark.rule("SIP-24")
def test_a_flood_of_guesses_costs_a_customer_nothing() -> None:
    wire = Wire(book())
    elsewhere = Flow("UDP", GOOD, 5062)
    phone = Phone(wire, flow=elsewhere)
    nonce = phone.nonce()
    assert verdict(phone.say([phone.line(nonce)])) == "passed"
    for number in range(40):
        guessed(wire, Flow("UDP", host(number), 5060), 3)
    guessed(wire, elsewhere, 200)  # as if from the customer's own address
    assert verdict(phone.say([phone.line(nonce, "00000002")])) == "passed"
    # And from an address it never called from.
    moved = Phone(wire, flow=Flow("UDP", "198.51.100.45", 5062))
    moved.cseq = next(NUMBERS)
    assert verdict(moved.say([moved.line(moved.nonce())])) == "passed"


@pytest.mark.rule("SIP-24", "SIP-20")
def test_a_customer_known_by_address_may_guess_as_it_likes_and_still_call() -> None:
    wire = Wire(book())
    phone = Phone(wire, "alice", "wrong", flow=Flow("UDP", "198.51.100.10", 5062))
    for _ in range(2 * FREE):
        assert phone.challenge().what == "INVITE"


@pytest.mark.rule("SIP-24")
def test_what_proves_nothing_is_no_guess() -> None:
    """A nonce of nobody's, an old one, one used before: the phone is to have another, not to be held off."""
    wire = Wire(book())
    phone = Phone(wire)
    nonce = phone.nonce()
    assert verdict(phone.say([phone.line(nonce)])) == "passed"
    for _ in range(2 * FREE):
        phone.say([phone.line("1" * len(nonce))])
        assert verdict(phone.say([phone.line(nonce)])) == "stale"
    assert "held_off" not in wire.engine.counters and len(wire.engine.admission.authenticator.guesses) == 2
