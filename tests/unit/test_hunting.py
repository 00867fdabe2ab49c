"""Gateways in turn: which failure goes on, which goes back, and who wins in the end (SIP-12..15, law 5)."""

from __future__ import annotations

from typing import Any

import pytest

from sipsvc.directory import Directory
from sipsvc.message import Message
from tests.unit.wire import CUSTOMER, GATES, US, Sent, Wire, answer, directory, gateway, request


def play(wire: Wire, words: list[str]) -> list[Sent]:
    """A call, and what each gateway does in turn: statuses, `fail` (cannot be sent), `silent`, `ring` for ever."""
    sent = wire.give(request())
    for gate, word in zip(GATES, words, strict=False):
        invite = next(one for one in reversed(sent) if one.what == "INVITE")
        assert invite.flow == gate
        for what in word.split():
            if what == "fail":
                sent = wire.fail(invite)
            elif what == "silent":
                sent = wire.wait(4_000)
            elif what == "ring":
                wire.give(answer(invite.message, 180), gate)
                (cancel,) = [one for one in wire.wait(185_000) if one.what == "CANCEL"]
                wire.give(answer(cancel.message, 200), gate)
                sent = wire.give(answer(invite.message, 487), gate)
            else:
                sent = wire.give(answer(invite.message, int(what)), gate)
    return sent


def finals(wire: Wire) -> list[Message]:
    return [one.message for one in wire.sent if one.flow == CUSTOMER and one.message.status >= 200]


def custom(codes: set[int]) -> Directory:
    return directory(gateway(1, hunt_codes=frozenset(codes)), gateway(2), gateway(3))


# gateways' words; what the caller hears; the CDR's code; status and `left` of each attempt
HUNTS: dict[str, tuple[list[str], int, str, list[str]]] = {
    "the first answers": (["200"], 200, "answered", ["200 "]),
    "after ringing": (["100 180 183 200"], 200, "answered", ["200 "]),
    "500": (["500", "200"], 200, "answered", ["500 500", "200 "]),
    "502": (["502", "200"], 200, "answered", ["502 502", "200 "]),
    "503": (["100 503", "200"], 200, "answered", ["503 503", "200 "]),
    "504 after ringing": (["180 504", "200"], 200, "answered", ["504 504", "200 "]),
    "cannot be sent": (["fail", "200"], 200, "answered", ["503 transport", "200 "]),
    "silent": (["silent", "200"], 200, "answered", ["0 no_provisional", "200 "]),
    "to the last": (["503", "fail", "200"], 200, "answered", ["503 503", "503 transport", "200 "]),
    "busy": (["486"], 486, "rejected", ["486 "]),
    "busy on the second": (["503", "486"], 486, "rejected", ["503 503", "486 "]),
    "not found": (["404"], 404, "rejected", ["404 "]),
    "declined": (["603"], 603, "rejected", ["603 "]),
    "busy everywhere": (["600"], 600, "rejected", ["600 "]),
    "501": (["501"], 501, "rejected", ["501 "]),
    "505": (["505"], 505, "rejected", ["505 "]),
    "513": (["513"], 513, "rejected", ["513 "]),
    "580": (["580"], 580, "rejected", ["580 "]),
    "408 of the gateway": (["408"], 408, "rejected", ["408 "]),
    "480": (["100 480"], 480, "rejected", ["480 "]),
    "487 it was not asked for": (["180 487"], 487, "rejected", ["487 "]),
    "a redirection is not followed": (["302"], 500, "gateways_failed", ["302 "]),
    "a gateway's 401": (["401"], 500, "gateways_failed", ["401 "]),
    "a gateway's 407": (["100 407"], 500, "gateways_failed", ["407 "]),
    "all unavailable": (["503", "503", "503"], 500, "gateways_failed", ["503 503", "503 503", "503 "]),
    "all fail otherwise": (["500", "502", "504"], 504, "rejected", ["500 500", "502 502", "504 "]),
    "all unreachable": (["fail", "fail", "fail"], 500, "gateways_failed",
                        ["503 transport", "503 transport", "503 "]),
    "unreachable, then unavailable": (["fail", "503", "503"], 500, "gateways_failed",
                                      ["503 transport", "503 503", "503 "]),
    "a gateway's own word before what is between us": (["503", "502", "503"], 502, "rejected",
                                                       ["503 503", "502 502", "503 "]),
    "a word before a challenge": (["500", "401"], 500, "rejected", ["500 500", "401 "]),
    "all silent": (["silent", "silent", "silent"], 408, "gateways_failed",
                   ["0 no_provisional", "0 no_provisional", "0 no_provisional"]),
    "a 4xx before 5xx": (["500", "503", "404"], 404, "rejected", ["500 500", "503 503", "404 "]),
    "a word before silence": (["silent", "404"], 404, "rejected", ["0 no_provisional", "404 "]),
    "6xx before everything": (["503", "606"], 606, "rejected", ["503 503", "606 "]),
    "no answer for ever": (["ring"], 408, "no_answer", ["487 "]),
    "no answer is not hunted": (["503", "ring"], 408, "no_answer", ["503 503", "487 "]),
}  # fmt: skip


@pytest.mark.rule("SIP-13", "SIP-14", "SIP-29", "law 5")
@pytest.mark.parametrize("name", HUNTS)
def test_hunting(name: str) -> None:
    words, status, code, tried = HUNTS[name]
    wire = Wire()
    play(wire, words)
    final = finals(wire)[0]
    assert final.status == status
    if code == "answered":
        assert wire.records[-1]["kind"] == "answer"
        record = wire.records[-1]
    else:
        record = wire.end
        assert (record["code"], record["status"], record["duration_ms"]) == (code, status, None)
        assert bool(final.get("warning")) == (code == "gateways_failed")
    assert [f"{one['status']} {one['left']}" for one in record["attempts"]] == tried
    assert [one["gateway"] for one in record["attempts"]] == ["gw1", "gw2", "gw3"][: len(tried)]
    if code != "answered":
        wire.give(request("ACK", To=final.get("to") or ""))
        wire.wait(300_000)
        assert len({message.reason for message in finals(wire)}) == 1
        assert wire.engine.leftovers() == {"transactions": 0, "timers": 0, "calls": 0}
        assert wire.kinds() == ["start", "end"]


@pytest.mark.rule("SIP-13", "SIP-29")
@pytest.mark.parametrize(
    ("codes", "words", "status"),
    [({486}, ["486", "200"], 200), ({486}, ["503"], 500), (set(), ["500"], 500), ({404, 600}, ["404", "200"], 200)],
)
def test_each_gateway_has_its_own_list(codes: set[int], words: list[str], status: int) -> None:
    wire = Wire(custom(codes))
    play(wire, words)
    assert finals(wire)[0].status == status


# §16.7 step 6, where every failure is hunted on
BEST = [
    (["404", "484", "480"], 484),
    (["415", "404", "486"], 415),
    (["404", "480", "486"], 486),
    (["404", "401", "407"], 404),
    (["302", "486", "300"], 486),
    (["302", "502", "503"], 502),
    (["302", "407", "401"], 500),
    (["fail", "480", "500"], 480),
    (["fail", "fail", "501"], 501),
]


@pytest.mark.rule("SIP-13")
@pytest.mark.parametrize(("words", "status"), BEST)
def test_the_best_response_goes_back(words: list[str], status: int) -> None:
    codes = frozenset({300, 302, 401, 404, 407, 415, 480, 484, 486, 500, 501, 502, 503})
    wire = Wire(directory(*(gateway(number, hunt_codes=codes) for number in (1, 2, 3))))
    play(wire, words)
    assert [message.status for message in finals(wire)] == [status]
    assert wire.end["status"] == status


@pytest.mark.rule("SIP-13", "SIP-29")
@pytest.mark.parametrize(("timeout", "at"), [(1_000, [0, 1_000]), (0, [0, 32_000]), (4_000, [0, 4_000])])
def test_how_long_a_gateway_may_be_silent(timeout: int, at: list[int]) -> None:
    wire = Wire(directory(gateway(1, provisional_timeout_ms=timeout), gateway(2)))
    wire.give(request())
    wire.wait(32_000)
    assert [min(one.at for one in wire.sent if one.what == "INVITE" and one.flow == gate) for gate in GATES[:2]] == at


@pytest.mark.rule("SIP-13")
def test_a_100_counts_as_a_word() -> None:
    wire = Wire()
    invite = wire.give(request())[-1].message
    wire.give(answer(invite, 100), GATES[0])
    assert wire.wait(180_000) == []
    assert not any(one.message.status == 100 and one.at for one in wire.sent)


@pytest.mark.rule("law 5", "SIP-13")
def test_every_branch_is_built_from_the_pristine_request() -> None:
    wire = Wire()
    play(wire, ["503", "503", "503"])
    invites = [one.message for one in wire.sent if one.what == "INVITE"]
    assert len({invite.via.branch for invite in invites}) == 3
    assert [invite.uri for invite in invites] == [f"sip:33123456789@203.0.113.{n}:5080" for n in (1, 2, 3)]
    rests = [[line for line in invite.lines if "192.0.2.1" not in line or line.startswith("To")] for invite in invites]
    assert rests[0] == rests[1] == rests[2]
    assert [invite.get("max-forwards") for invite in invites] == ["69"] * 3
    assert [len(invite.all("record-route")) for invite in invites] == [1] * 3


@pytest.mark.rule("SIP-13", "SIP-15")
def test_a_gateway_left_early_is_cancelled_at_its_first_word_and_wins_if_it_answers() -> None:
    wire = Wire()
    first = wire.give(request())[-1].message
    second = next(one.message for one in wire.wait(4_000) if one.flow == GATES[1])
    assert not [one for one in wire.sent if one.what == "CANCEL"]
    assert not [one for one in wire.wait(1_000) if one.flow == GATES[0]]
    (cancel,) = wire.give(answer(first, 100), GATES[0])
    assert (cancel.what, cancel.flow, cancel.message.via) == ("CANCEL", GATES[0], first.via)
    wire.give(answer(second, 180, tag="two"), GATES[1])
    up = wire.give(answer(first, 200, tag="one"), GATES[0])
    assert sorted(one.what for one in up) == ["200 INVITE", "CANCEL"]
    assert [one.flow for one in up if one.what == "CANCEL"] == [GATES[1]]
    assert wire.records[-1]["gateway"] == "gw1"


@pytest.mark.rule("SIP-13", "SIP-12")
def test_a_gateway_that_is_cancelled_and_never_ends_is_forgotten() -> None:
    wire = Wire()
    first = wire.give(request())[-1].message
    second = next(one.message for one in wire.wait(4_000) if one.flow == GATES[1])
    (cancel,) = wire.give(answer(first, 180), GATES[0])
    wire.give(answer(cancel.message, 200), GATES[0])
    wire.give(answer(second, 603), GATES[1])
    wire.give(request("ACK", To=finals(wire)[0].get("to") or ""))
    wire.wait(100_000)
    assert wire.engine.leftovers() == {"transactions": 0, "timers": 0, "calls": 0}


@pytest.mark.rule("SIP-15")
def test_a_late_second_answer_is_acknowledged_and_hung_up_and_the_first_repeated() -> None:
    wire = Wire()
    first = wire.give(request())[-1].message
    second = next(one.message for one in wire.wait(4_000) if one.flow == GATES[1])
    good = answer(second, 200, tag="two")
    assert [one.what for one in wire.give(good, GATES[1])] == ["200 INVITE"]
    late = answer(first, 200, tag="one", contact="sip:late@203.0.113.88:5099")
    ack, bye = wire.give(late, GATES[0])
    assert (ack.what, bye.what) == ("ACK", "BYE")
    for one in (ack, bye):
        assert (one.flow.host, one.flow.port, one.message.uri) == ("203.0.113.88", 5099, "sip:late@203.0.113.88:5099")
        assert (one.message.from_.tag, one.message.to.tag) == ("ann", "one")
    assert (ack.message.cseq, bye.message.cseq) == (1, 2)
    assert [one.what for one in wire.give(late, GATES[0])] == ["ACK"]
    assert [one.what for one in wire.give(good, GATES[1])] == ["200 INVITE"]
    forked = wire.give(answer(second, 200, tag="fork"), GATES[1])
    assert [(one.what, one.message.to.tag) for one in forked] == [("ACK", "fork"), ("BYE", "fork")]
    assert len([record for record in wire.records if record["kind"] == "answer"]) == 1


@pytest.mark.rule("SIP-15", "SIP-3")
@pytest.mark.parametrize("odd", [b'Record-Route: "bad\r\n', b"Record-Route: <sip:p 1;lr>\r\n", b"Record-Route: ,\r\n"])
def test_a_late_answer_with_a_broken_route_set_does_no_harm(odd: bytes) -> None:
    wire = Wire()
    first = wire.give(request())[-1].message
    second = next(one.message for one in wire.wait(4_000) if one.flow == GATES[1])
    wire.give(answer(second, 200, tag="two"), GATES[1])
    late = answer(first, 200, tag="one").replace(b"Record-Route: ", odd + b"Record-Route: ", 1)
    assert [one.what for one in wire.give(late, GATES[0])] == ["ACK", "BYE"]


@pytest.mark.rule("SIP-15", "SIP-10")
def test_an_answer_behind_a_failure_of_the_same_branch() -> None:
    wire = Wire()
    first = wire.give(request())[-1].message
    second = wire.give(answer(first, 503), GATES[0])[-1].message
    wire.give(answer(second, 180, tag="two"), GATES[1])
    up = wire.give(answer(first, 200, tag="one"), GATES[0])
    assert [(one.what, one.flow) for one in up] == [("CANCEL", GATES[1]), ("200 INVITE", CUSTOMER)]
    assert wire.records[-1]["gateway"] == "gw1"
    wire = Wire(directory(gateway()))
    only = wire.give(request())[-1].message
    wire.give(answer(only, 486), GATES[0])
    late = answer(only, 200, tag="one")
    assert [one.what for one in wire.give(late, GATES[0])] == ["ACK", "BYE"]
    assert [one.what for one in wire.give(late, GATES[0])] == ["ACK"]
    assert (wire.kinds(), wire.end["code"]) == (["start", "end"], "rejected")


@pytest.mark.rule("SIP-15")
def test_an_answer_after_everything_failed() -> None:
    wire = Wire(directory(gateway()))
    invite = wire.give(request())[-1].message
    wire.wait(4_000)
    assert finals(wire)[0].status == 408
    assert [one.what for one in wire.give(answer(invite, 200), GATES[0])] == ["ACK", "BYE"]
    wire.wait(30_000)
    again = wire.give(answer(invite, 200, tag="later"), GATES[0])
    assert [one.what for one in again] == ["ACK", "BYE"]
    assert wire.kinds() == ["start", "end"]


@pytest.mark.rule("SIP-13")
@pytest.mark.parametrize(
    ("extra", "changes"),
    [
        (['Proxy-Authenticate: Digest realm="carrier", nonce="n"'], {}),
        (["Contact: <sip:elsewhere@10.0.0.1>"], {}),
    ],
)
def test_what_is_between_us_and_a_gateway_stays_there(extra: list[str], changes: dict[str, Any]) -> None:
    for status in (302, 407, 401, 503):
        wire = Wire(directory(gateway(**changes)))
        invite = wire.give(request())[-1].message
        ack, up = wire.give(answer(invite, status, "Retry-After: 9", *extra), GATES[0])
        assert (ack.what, up.message.status) == ("ACK", 500)
        assert not {"proxy-authenticate", "retry-after", "contact"} & set(up.message.names)
        assert up.message.to.tag
        assert (up.message.get("warning") or "").startswith(f"399 {US.partition(':')[0]} ")
