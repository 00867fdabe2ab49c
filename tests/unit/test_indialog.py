"""Inside a call: who may reach whom, what passes, what is restored, and how we end it (SIP-16, 17, 19, 31, law 7)."""

from __future__ import annotations

from typing import Any

import pytest

from sipsvc.dialog import Tokens
from sipsvc.directory import Directory, Timing
from sipsvc.message import Message
from tests.unit.wire import (
    CUSTOMER,
    GATES,
    SECRET,
    STRANGER,
    US,
    Sent,
    Talk,
    Wire,
    answer,
    directory,
    gateway,
    request,
    talking,
)

BOB = ("203.0.113.77", 5090)
EASY = directory(gateway())
DRESSED = directory(gateway(caller_prefix="77", uri_prefix="9#"))
PLACES = {"caller": CUSTOMER, "callee": GATES[0]}


def say(talk: Talk, side: str, method: str, cseq: int, *extra: str, **fields: str) -> list[Sent]:
    build = talk.by_caller if side == "caller" else talk.by_callee
    return talk.wire.give(build(method, cseq, *extra, **fields), PLACES[side])


PASSED = ["INVITE", "UPDATE", "PRACK", "INFO", "OPTIONS", "NOTIFY", "MESSAGE", "SUBSCRIBE", "DANCE", "BYE"]


@pytest.mark.rule("SIP-17", "SIP-16", "SIP-31", "TG-5", "law 7")
@pytest.mark.parametrize("book", [EASY, DRESSED], ids=["plain", "dressed"])
@pytest.mark.parametrize("side", ["caller", "callee"])
@pytest.mark.parametrize("method", PASSED)
def test_what_passes_and_comes_back_as_its_sender_knows_it(method: str, side: str, book: Directory) -> None:
    talk = talking(Wire(book))
    say(talk, "caller", "ACK", 1)
    sent = say(talk, side, method, 7, "X-Odd: as it is", "Route: <sip:evil@203.0.113.66;lr>")
    (forwarded,) = [one for one in sent if not one.message.status]
    message = forwarded.message
    assert [one.what for one in sent if one.message.status] == (["100 INVITE"] if method == "INVITE" else [])
    there = BOB if side == "caller" else (CUSTOMER.host, CUSTOMER.port)
    assert (forwarded.flow.host, forwarded.flow.port) == there
    contact = talk.ok.get("contact") if side == "caller" else talk.forwarded.get("contact")
    assert f"<{message.uri}>" == contact
    assert (message.all("route"), message.get("x-odd"), message.cseq) == ([], "as it is", 7)
    # To either side the dialog looks as that side knows it.
    known = {talk.forwarded.get("from"), f"{talk.forwarded.get('to')};tag=bob"}
    if side == "callee":
        known = {talk.ok.get("from"), talk.ok.get("to")}
    assert {message.get("from"), message.get("to")} == known
    back = talk.wire.give(answer(message, 200), PLACES["callee" if side == "caller" else "caller"])
    (reply,) = [one.message for one in back]
    wrote = {talk.ok.get("from"), talk.ok.get("to")}
    if side == "callee":
        wrote = {talk.forwarded.get("from"), f"{talk.forwarded.get('to')};tag=bob"}
    assert (reply.status, {reply.get("from"), reply.get("to")}) == (200, wrote)
    assert len(reply.all("via")) == 1


@pytest.mark.rule("SIP-16")
@pytest.mark.parametrize("side", ["caller", "callee"])
@pytest.mark.parametrize("uri", ["sip:979123456@192.0.2.1", "sip:x@203.0.113.66:5060", "tel:+979123", "urn:x"])
def test_a_party_reaches_only_the_other_whatever_its_request_uri_says(uri: str, side: str) -> None:
    talk = talking(Wire(EASY))
    (sent,) = say(talk, side, "INFO", 7, uri=uri)
    there = BOB if side == "caller" else (CUSTOMER.host, CUSTOMER.port)
    assert (sent.flow.host, sent.flow.port) == there
    assert sent.message.uri != uri


# What a sender got wrong; all of it is answered 481, an ACK is dropped.
FORGED: dict[str, dict[str, str]] = {
    "no Route": {"route": "X: y"},
    "a token of nobody": {"route": f"Route: <sip:1{'0' * 32}@{US};lr>"},
    "a short token": {"route": f"Route: <sip:1@{US};lr>"},
    "no token": {"route": f"Route: <sip:{US};lr>"},
    "another Call-ID": {"Call_ID": "other"},
    "another From tag": {"From": "<sip:442071838750@acme.example>;tag=eve"},
    "another To tag": {"To": "<sip:33123456789@192.0.2.1:5060>;tag=eve"},
    "no From tag": {"From": "<sip:442071838750@acme.example>"},
}


@pytest.mark.rule("SIP-16")
@pytest.mark.parametrize("method", ["BYE", "INVITE", "INFO", "ACK"])
@pytest.mark.parametrize("name", FORGED)
def test_without_the_token_nobody_is_inside(name: str, method: str) -> None:
    talk = talking(Wire(EASY))
    sent = talk.wire.give(talk.by_caller(method, 7, **FORGED[name]), STRANGER)
    assert [one.what for one in sent] == ([] if method == "ACK" else [f"481 {method}"])
    assert talk.wire.engine.live_calls == 1


@pytest.mark.rule("SIP-16")
def test_a_token_changed_anywhere_is_none() -> None:
    talk = talking(Wire(EASY))
    (route,) = talk.ok.all("record-route")
    token = route[5:38]
    for place in range(len(token)):
        other = token[:place] + ("0" if token[place] != "0" else "1") + token[place + 1 :]
        sent = talk.wire.give(talk.by_caller("BYE", 7 + place, route=f"Route: <sip:{other}@{US};lr>"))
        assert [one.what for one in sent] == ["481 BYE"], place
    stranger = talking(Wire(EASY, seed=2), invite=request(Call_ID="call-2"))
    (theirs,) = stranger.ok.all("record-route")
    assert theirs != route
    assert [one.what for one in talk.wire.give(talk.by_caller("BYE", 99, route=f"Route: {theirs}"))] == ["481 BYE"]


@pytest.mark.rule("SIP-16")
def test_a_token_seals_its_call_and_the_callers_tag_with_our_secret() -> None:
    ref, tokens = "0123456789abcdef", Tokens((SECRET,))
    made = tokens.make(ref, "ann")
    assert (tokens.make(ref, "ann"), tokens.ref(made)) == (made, ref)
    others = {tokens.make(ref, "eve"), tokens.make(ref[::-1], "ann"), Tokens((SECRET[::-1],)).make(ref, "ann"), made}
    assert len({token[-16:] for token in others}) == 4


@pytest.mark.rule("SIP-17", "SIP-16")
@pytest.mark.parametrize("side", ["caller", "callee"])
def test_a_transfer_is_refused(side: str) -> None:
    talk = talking(Wire(EASY))
    (said,) = say(talk, side, "REFER", 2, "Refer-To: <sip:979@x>")
    assert (said.message.status, said.flow) == (403, PLACES[side])
    assert talk.wire.engine.live_calls == 1


@pytest.mark.rule("SIP-11")
@pytest.mark.parametrize(("extra", "fields", "status"), [
    ([], {"Max_Forwards": "0"}, 483), (["Proxy-Require: foo"], {}, 420), ([], {"Max_Forwards": "x"}, 400),
])  # fmt: skip
def test_hops_and_extensions_count_inside_a_call_too(extra: list[str], fields: dict[str, Any], status: int) -> None:
    talk = talking(Wire(EASY))
    assert [one.message.status for one in say(talk, "caller", "INFO", 2, *extra, **fields)] == [status]


@pytest.mark.rule("SIP-17")
def test_a_glare_passes_and_a_refused_reinvite_is_acknowledged_on_each_side() -> None:
    talk = talking(Wire(EASY))
    say(talk, "caller", "ACK", 1)
    forwarded = say(talk, "caller", "INVITE", 2)[-1].message
    ack, up = talk.wire.give(answer(forwarded, 491), GATES[0])
    assert (ack.what, ack.message.via, up.message.status) == ("ACK", forwarded.via, 491)
    assert talk.wire.give(talk.by_caller("ACK", 2).replace(b"-ACK-2", b"-INVITE-2")) == []
    assert talk.wire.engine.live_calls == 1


@pytest.mark.rule("SIP-12", "SIP-17")
def test_a_reinvite_can_be_cancelled() -> None:
    talk = talking(Wire(EASY))
    forwarded = say(talk, "callee", "INVITE", 5)[-1].message
    talk.wire.give(answer(forwarded, 180))
    cancel = talk.by_callee("CANCEL", 5).replace(b"-bCANCEL-5", b"-bINVITE-5")
    assert [one.what for one in talk.wire.give(cancel, GATES[0])] == ["200 CANCEL", "CANCEL"]
    assert [one.what for one in talk.wire.give(answer(forwarded, 487))] == ["ACK", "487 INVITE"]


@pytest.mark.rule("SIP-10")
def test_no_408_to_anything_but_an_invite() -> None:
    talk = talking(Wire(EASY))
    say(talk, "caller", "ACK", 1)
    say(talk, "caller", "INFO", 2)
    assert {one.what for one in talk.wire.wait(60_000)} == {"INFO", "100 INFO"}
    say(talk, "caller", "INVITE", 3)
    assert next(one.what for one in talk.wire.wait(32_000) if one.message.status) == "408 INVITE"


@pytest.mark.rule("SIP-15", "SIP-10")
def test_acks_and_repeated_answers_pass_for_as_long_as_it_takes() -> None:
    talk = talking(Wire(EASY))
    for _ in range(2):
        (ack,) = say(talk, "caller", "ACK", 1)
        assert (ack.what, ack.flow.host) == ("ACK", BOB[0])
    again = answer(talk.forwarded, 200)
    assert [one.what for one in talk.wire.give(again, GATES[0])] == ["200 INVITE"]
    talk.wire.wait(40_000)
    (late,) = talk.wire.give(again, GATES[0])
    assert (late.what, late.flow, late.message.get("from")) == ("200 INVITE", CUSTOMER, talk.ok.get("from"))


def contact_after(method: str, side: str, refreshed: str) -> Message:
    """A BYE towards `side` after it moved by `method`."""
    talk = talking(Wire(EASY))
    other = "callee" if side == "caller" else "caller"
    sent = say(talk, side, method, 2, Contact=f"<{refreshed}>")
    talk.wire.give(answer(next(one.message for one in sent if not one.message.status), 200), PLACES[other])
    return say(talk, other, "BYE", 9)[-1].message


@pytest.mark.rule("law 7", "SIP-16")
@pytest.mark.parametrize("side", ["caller", "callee"])
@pytest.mark.parametrize(
    ("method", "contact", "moves"),
    [
        ("INVITE", "sip:moved@10.1.1.1:5070", True),
        ("UPDATE", "sip:moved@10.1.1.1:5070", True),
        ("INFO", "sip:moved@10.1.1.1:5070", False),
        ("UPDATE", "sip:a b@10.1.1.1", False),
        ("UPDATE", "*", False),
        ("UPDATE", "weird:x", False),
    ],
)
def test_a_party_that_moves_is_found_again(method: str, contact: str, moves: bool, side: str) -> None:
    old = "sip:ann@198.51.100.10:5062" if side == "caller" else "sip:bob@203.0.113.77:5090"
    assert contact_after(method, side, contact).uri == (contact if moves else old)


@pytest.mark.rule("SIP-5")
def test_headers_of_a_contact_do_not_become_part_of_a_request_uri() -> None:
    assert "?" not in contact_after("UPDATE", "callee", "sip:bob@203.0.113.77:5090?Route=%3Csip:x%3E").uri


@pytest.mark.rule("SIP-5", "SIP-16")
@pytest.mark.parametrize("contact", ["-", "sip:a b@203.0.113.5", "sip:a>,<sip:b", "x", "sip:@"])
def test_a_callee_without_a_usable_contact_is_still_reached(contact: str) -> None:
    talk = talking(Wire(EASY), contact=contact)
    (ack,) = talk.wire.give(talk.by_caller("ACK", 1, uri="sip:whoever@h"))
    assert ack.message.uri.startswith("sip:")
    (bye,) = talk.wire.give(talk.by_caller("BYE", 2, uri="sip:whoever@h"))
    assert bye.what == "BYE"


@pytest.mark.rule("SIP-16", "SIP-7")
def test_proxies_behind_us_stay_on_the_way() -> None:
    wire = Wire(EASY)
    invite = wire.give(request("INVITE", f"sip:33123456789@{US}", "Record-Route: <sip:198.51.100.20;lr>"))[-1].message
    ok = answer(invite, 200).replace(
        b"Record-Route: ", b"Record-Route: <sip:203.0.113.30;lr>, <sip:203.0.113.31;lr>\r\nRecord-Route: ", 1
    )
    talk = Talk(wire, invite, wire.give(ok, GATES[0])[-1].message)
    ours = talk.forwarded.all("record-route")[0]
    (ack,) = wire.give(talk.by_caller("ACK", 1, route=f"Route: {ours}"))
    assert (ack.flow.host, ack.flow.port) == ("203.0.113.31", 5060)
    assert ack.message.all("route") == ["<sip:203.0.113.31;lr>", "<sip:203.0.113.30;lr>"]
    assert ack.message.uri == "sip:bob@203.0.113.77:5090"
    (bye,) = wire.give(talk.by_callee("BYE", 1), GATES[0])
    assert (bye.flow.host, bye.message.all("route")) == ("198.51.100.20", ["<sip:198.51.100.20;lr>"])


@pytest.mark.rule("SIP-19", "law 6", "law 7")
@pytest.mark.parametrize("book", [EASY, DRESSED], ids=["plain", "dressed"])
def test_the_longest_a_call_may_last(book: Directory) -> None:
    gate = book.gateways["gw1"]
    wire = Wire(directory(gate, timing=Timing(max_call_ms=60_000)))
    talk = talking(wire)
    say(talk, "caller", "ACK", 1)
    say(talk, "caller", "INFO", 4)
    say(talk, "callee", "INFO", 8)
    assert not [one for one in wire.wait(59_999) if one.what == "BYE"]
    byes = {one.flow.host: one.message for one in wire.wait(1) if one.what == "BYE"}
    to_caller, to_callee = byes[CUSTOMER.host], byes[BOB[0]]
    assert (to_caller.cseq, to_callee.cseq) == (9, 5)
    assert (to_caller.get("from"), to_caller.get("to")) == (talk.ok.get("to"), talk.ok.get("from"))
    assert (to_callee.get("from"), to_callee.to.tag) == (talk.forwarded.get("from"), "bob")
    assert (to_caller.uri, to_callee.uri) == ("sip:ann@198.51.100.10:5062", "sip:bob@203.0.113.77:5090")
    end = wire.end
    assert (end["code"], end["hangup_by"], end["duration_ms"]) == ("max_duration", "timeout", 60_000)
    for message, flow in ((to_caller, CUSTOMER), (to_callee, GATES[0])):
        assert wire.give(answer(message, 200), flow) == []
    assert wire.engine.live_calls == 0
    wire.wait(100_000)
    assert wire.engine.leftovers() == {"transactions": 0, "timers": 0, "calls": 0}


@pytest.mark.rule("SIP-19")
@pytest.mark.parametrize("acknowledged", [True, False])
def test_no_bye_of_ours_reaches_a_caller_before_its_ack(acknowledged: bool) -> None:
    wire = Wire(directory(gateway(), timing=Timing(max_call_ms=5_000)))
    talk = talking(wire)
    if acknowledged:
        say(talk, "caller", "ACK", 1)
    wire.wait(40_000)
    first = min(one.at for one in wire.sent if one.what == "BYE" and one.flow == CUSTOMER)
    assert first == (5_000 if acknowledged else 32_000)


@pytest.mark.rule("SIP-17", "law 8")
def test_hangups_that_cross_are_both_passed_on_and_the_first_one_counts() -> None:
    talk = talking(Wire(EASY))
    say(talk, "caller", "ACK", 1)
    talk.wire.wait(10_000)
    (one,) = say(talk, "callee", "BYE", 1, 'Reason: SIP;cause=200, Q.850;cause=16;text="Normal"')
    talk.wire.wait(200)
    (two,) = say(talk, "caller", "BYE", 2)
    assert (one.flow.host, two.flow.host) == (CUSTOMER.host, BOB[0])
    end = talk.wire.end
    assert (end["hangup_by"], end["q850"], end["duration_ms"]) == ("callee", 16, 10_000)
    assert [one.what for one in say(talk, "caller", "INVITE", 3)] == ["481 INVITE"]


@pytest.mark.rule("SIP-3")
@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("Q.850;cause=17", 17),
        ('q.850 ; text="a;b" ; CAUSE = 17', 17),
        ("SIP;cause=486", None),
        ("Q.850", None),
        ("Q.850;cause=", None),
        ("Q.850;cause=\xb2", None),
        ("Q.850;cause=-1", None),
        ("Q.850;cause=" + "9" * 30, None),
        ("Q.850;cause=" + "9" * 5_000, None),
    ],
)
def test_the_cause_of_a_hangup(reason: str, cause: int | None) -> None:
    talk = talking(Wire(EASY))
    say(talk, "caller", "BYE", 2, f"Reason: {reason}")
    assert talk.wire.end["q850"] == cause


@pytest.mark.rule("SIP-15", "SIP-16")
def test_an_early_dialog_is_one() -> None:
    wire = Wire(EASY)
    invite = wire.give(request())[-1].message
    ringing = wire.give(answer(invite, 183, "Require: 100rel", "RSeq: 1"), GATES[0])[-1].message
    talk = Talk(wire, invite, ringing)
    (prack,) = say(talk, "caller", "PRACK", 2, "RAck: 1 1 INVITE")
    assert (prack.flow.host, prack.message.get("rack")) == (BOB[0], "1 1 INVITE")
    assert [one.what for one in wire.give(answer(prack.message, 200), GATES[0])] == ["200 PRACK"]
    assert wire.kinds() == ["start"]


@pytest.mark.rule("law 8")
def test_an_answer_waits_for_its_record_but_not_for_ever() -> None:
    wire = Wire(EASY, disk=False)
    invite = wire.give(request())[-1].message
    assert wire.give(answer(invite, 200), GATES[0]) == []
    assert wire.kinds() == ["start", "answer"]
    assert wire.wait(19) == []
    (up,) = wire.wait(1)
    assert (up.what, up.at) == ("200 INVITE", 20)
    wire.engine.durable(2, wire.now)
    assert wire.drain() == []
    assert wire.engine.idle
