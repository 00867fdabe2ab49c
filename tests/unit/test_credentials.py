"""A gateway that challenges: credentials, and CSeq on both legs to the end of the call (SIP-33, law 7, TG-1)."""

from __future__ import annotations

import re
from hashlib import md5, sha256
from typing import Any

import pytest

from sipsvc.effects import Flow
from sipsvc.message import Message
from tests.unit.test_restart import reborn
from tests.unit.wire import GATES, Sent, Talk, Wire, answer, directory, gateway, request

LOGIN: dict[str, Any] = {"auth_username": "acme", "auth_password": "s3cret"}
BOOK = directory(gateway(**LOGIN), gateway(2))
AGENT = Flow("UDP", "203.0.113.77", 5090)
NAMES = {407: ("Proxy-Authenticate", "proxy-authorization"), 401: ("WWW-Authenticate", "authorization")}


def challenge(
    to: Message, nonce: str = "n1", *more: str, status: int = 407, realm: str = "carrier", algorithm: str = "MD5"
) -> bytes:
    params = ", ".join([f'realm="{realm}"', f'nonce="{nonce}"', f"algorithm={algorithm}", 'qop="auth"', *more])
    return answer(to, status, f"{NAMES[status][0]}: Digest {params}")


def credentials(message: Message, status: int = 407, algorithm: str = "MD5") -> tuple[str, str] | None:
    """Nonce and count of the credentials in a request, whose proof must be right; None where it has none."""
    value = message.get(NAMES[status][1])
    if value is None:
        return None
    given = {name: quoted or bare for name, quoted, bare in re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', value)}
    make = {"MD5": md5, "SHA-256": sha256}[algorithm]

    def hashed(*parts: str) -> str:
        return make(":".join(parts).encode()).hexdigest()

    # An ACK carries the INVITE's (RFC 3261 §22.1).
    method = "INVITE" if message.method == "ACK" else message.method
    known = hashed("acme", given["realm"], "s3cret")
    middle = [given["nonce"], given["nc"], given["cnonce"], given["qop"]]
    assert given["response"] == hashed(known, *middle, hashed(method, given["uri"]))
    assert (given["username"], given["algorithm"], given["qop"]) == ("acme", algorithm, "auth")
    assert message.method == "ACK" or given["uri"] == message.uri
    return given["nonce"], given["nc"]


def challenged(wire: Wire, *, status: int = 407, algorithm: str = "MD5") -> tuple[Message, list[Sent]]:
    """The first INVITE to the first gateway, and what its challenge brought about."""
    first = wire.give(request())[-1]
    assert (first.flow, first.message.cseq, credentials(first.message, status)) == (GATES[0], 1, None)
    return first.message, wire.give(challenge(first.message, status=status, algorithm=algorithm), GATES[0])


def talking(wire: Wire, **how: Any) -> Talk:
    """A call that the first gateway answered when it had seen credentials."""
    _, (_, again) = challenged(wire, **how)
    (ok,) = wire.give(answer(again.message, 200), GATES[0])
    return Talk(wire, again.message, ok.message)


def only(sent: list[Sent], what: str) -> Sent:
    (one,) = [one for one in sent if one.what == what]
    return one


@pytest.mark.rule("SIP-33", "TG-1", "SIP-8")
@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
@pytest.mark.parametrize("status", [401, 407])
def test_a_call_with_credentials(status: int, algorithm: str) -> None:
    wire = Wire(BOOK)
    first, (ack, again) = challenged(wire, status=status, algorithm=algorithm)
    assert (ack.what, ack.message.cseq, ack.message.via.branch) == ("ACK", 1, first.via.branch)
    # To the very address that challenged, with a branch and a number of its own (RFC 3261 §22.2).
    assert (again.what, again.flow, again.message.cseq) == ("INVITE", GATES[0], 2)
    assert again.message.via.branch != first.via.branch
    assert again.message.uri == first.uri
    assert credentials(again.message, status, algorithm) == ("n1", "00000001")
    (ringing,) = wire.give(answer(again.message, 180), GATES[0])
    assert (ringing.what, ringing.message.cseq) == ("180 INVITE", 1)
    (ok,) = wire.give(answer(again.message, 200), GATES[0])
    assert (ok.what, ok.message.cseq) == ("200 INVITE", 1)
    talk = Talk(wire, again.message, ok.message)
    (ack,) = wire.give(talk.by_caller("ACK", 1))
    assert (ack.message.cseq, ack.message.get("cseq")) == (2, "2 ACK")
    assert ack.message.get(NAMES[status][1]) == again.message.get(NAMES[status][1])
    for cseq, method in enumerate(["INFO", "UPDATE", "BYE"], 2):
        (sent,) = wire.give(talk.by_caller(method, cseq))
        # Known by now, and so not challenged again.
        assert (sent.message.cseq, credentials(sent.message, status, algorithm)) == (
            cseq + 1,
            ("n1", f"{cseq:08x}"),
        )
        (back,) = wire.give(answer(sent.message, 200), AGENT)
        assert (back.what, back.message.cseq) == (f"200 {method}", cseq)
    end = wire.end
    assert [(one["gateway"], one["status"], one["left"]) for one in end["attempts"]] == [("gw1", 200, "")]
    assert (end["code"], wire.engine.counters) == ("answered", {})
    assert "s3cret" not in repr(wire.records)
    wire.wait(100_000)
    assert wire.engine.leftovers() == {"transactions": 0, "timers": 0, "calls": 0}


@pytest.mark.rule("SIP-33", "law 7")
@pytest.mark.parametrize("method", ["INVITE", "UPDATE", "INFO", "BYE", "DANCE"])
def test_a_challenge_inside_the_dialog_is_answered_too(method: str) -> None:
    talk = talking(Wire(BOOK))
    wire = talk.wire
    wire.give(talk.by_caller("ACK", 1))
    sent = only(wire.give(talk.by_caller(method, 2)), method)
    assert (sent.message.cseq, credentials(sent.message)) == (3, ("n1", "00000002"))
    sent = only(wire.give(challenge(sent.message, "n2", "stale=true"), AGENT), method)
    assert (sent.flow, sent.message.cseq, credentials(sent.message)) == (AGENT, 4, ("n2", "00000001"))
    up = wire.give(answer(sent.message, 200), AGENT)
    assert [(one.what, one.message.cseq) for one in up] == [(f"200 {method}", 2)]
    if method == "INVITE":
        (ack,) = wire.give(talk.by_caller("ACK", 2))
        assert (ack.message.cseq, credentials(ack.message)) == (4, ("n2", "00000001"))
    if method != "BYE":
        sent = only(wire.give(talk.by_caller("BYE", 3)), "BYE")
        assert (sent.message.cseq, credentials(sent.message)) == (5, ("n2", "00000002"))


@pytest.mark.rule("SIP-33", "law 7")
def test_rack_names_the_invite_as_the_gateway_knows_it() -> None:
    wire = Wire(BOOK)
    _, (_, again) = challenged(wire)
    (ringing,) = wire.give(answer(again.message, 183, "Require: 100rel", "RSeq: 70"), GATES[0])
    talk = Talk(wire, again.message, ringing.message)
    (prack,) = wire.give(talk.by_caller("PRACK", 2, "RAck: 70 1 INVITE"))
    assert (prack.message.cseq, prack.message.get("rack")) == (3, "70 2 INVITE")
    prack = only(wire.give(challenge(prack.message, "n2"), AGENT), "PRACK")
    assert (prack.message.cseq, prack.message.get("rack")) == (4, "70 2 INVITE")
    assert credentials(prack.message) == ("n2", "00000001")
    (up,) = wire.give(answer(prack.message, 200), AGENT)
    assert (up.what, up.message.cseq) == ("200 PRACK", 2)
    (ok,) = wire.give(answer(again.message, 200), GATES[0])
    assert ok.message.cseq == 1
    (ack,) = wire.give(talk.by_caller("ACK", 1))
    assert (ack.message.cseq, credentials(ack.message)) == (2, ("n1", "00000001"))
    (bye,) = wire.give(talk.by_caller("BYE", 3))
    assert bye.message.cseq == 5


@pytest.mark.rule("SIP-33")
def test_cancel_is_for_the_invite_that_is_out() -> None:
    wire = Wire(BOOK)
    first, (_, again) = challenged(wire)
    wire.give(answer(again.message, 180), GATES[0])
    sent = wire.give(request("CANCEL"))
    cancel = only(sent, "CANCEL").message
    assert (cancel.cseq, cancel.via.branch) == (2, again.message.via.branch)
    assert only(sent, "200 CANCEL").message.cseq == 1
    sent = wire.give(answer(again.message, 487), GATES[0])
    assert (only(sent, "ACK").message.cseq, only(sent, "487 INVITE").message.cseq) == (2, 1)
    assert wire.end["code"] == "cancelled"
    # Once the caller has given up, no challenge is answered.
    wire = Wire(BOOK)
    first = wire.give(request())[-1].message
    wire.give(request("CANCEL"))
    sent = wire.give(challenge(first), GATES[0])
    assert sorted(one.what for one in sent) == ["487 INVITE", "ACK"]
    assert wire.engine.counters == {}


@pytest.mark.rule("SIP-33", "law 7", "SIP-19")
def test_our_own_bye_goes_behind_all_and_answers_a_challenge() -> None:
    talk = talking(Wire(BOOK))
    wire = talk.wire
    wire.give(talk.by_caller("ACK", 1))
    info = only(wire.give(talk.by_caller("INFO", 2)), "INFO").message
    wire.give(challenge(info, "n2", "stale=true"), AGENT)
    assert wire.engine.hang_up(wire.records[0]["cdr_id"], "admin", wire.now)
    to_gateway, to_caller = wire.drain()
    assert (to_gateway.message.cseq, credentials(to_gateway.message)) == (5, ("n2", "00000002"))
    assert to_caller.message.get("proxy-authorization") is None
    (again,) = wire.give(challenge(to_gateway.message, "n3", "stale=true"), AGENT)
    assert (again.what, again.flow, again.message.cseq) == ("BYE", AGENT, 6)
    assert credentials(again.message) == ("n3", "00000001")
    # A refusal of that too is the end of it.
    assert wire.give(challenge(again.message, "n4"), AGENT) == []
    assert wire.engine.core.refused_credentials == {"gw1": 1}


@pytest.mark.rule("SIP-33", "law 7")
def test_the_gateways_own_requests_keep_their_numbers() -> None:
    talk = talking(Wire(BOOK))
    talk.wire.give(talk.by_caller("ACK", 1))
    (info,) = talk.wire.give(talk.by_callee("INFO", 1), GATES[0])
    assert (info.message.cseq, info.message.get("proxy-authorization")) == (1, None)
    (back,) = talk.wire.give(answer(info.message, 200))
    assert back.message.cseq == 1
    # A challenge of the caller's is the gateway's to answer.
    (info,) = talk.wire.give(talk.by_callee("INFO", 2), GATES[0])
    (back,) = talk.wire.give(challenge(info.message))
    assert (back.what, back.message.cseq) == ("407 INFO", 2)


@pytest.mark.rule("SIP-33", "SIP-13")
def test_a_second_refusal_hunts_on_and_marks_the_gateway() -> None:
    wire = Wire(BOOK)
    _, (_, again) = challenged(wire)
    ack, onward = wire.give(challenge(again.message, "n2"), GATES[0])
    assert (ack.message.cseq, onward.flow, onward.message.cseq) == (2, GATES[1], 1)
    assert credentials(onward.message) is None  # what one carrier knows us by is nobody else's affair
    wire.give(answer(onward.message, 200), GATES[1])
    assert [(one["gateway"], one["status"], one["left"]) for one in wire.records[-1]["attempts"]] == [
        ("gw1", 407, "credentials_refused"),
        ("gw2", 200, ""),
    ]
    assert wire.engine.core.refused_credentials == {"gw1": 1}
    assert wire.engine.counters == {"credentials_refused": 1}


@pytest.mark.rule("SIP-33")
def test_a_stale_nonce_is_answered_once_more() -> None:
    wire = Wire(BOOK)
    _, (_, again) = challenged(wire)
    again = only(wire.give(challenge(again.message, "n2", "stale=true"), GATES[0]), "INVITE")
    assert (again.message.cseq, credentials(again.message)) == (3, ("n2", "00000001"))
    onward = only(wire.give(challenge(again.message, "n3", "stale=true"), GATES[0]), "INVITE")
    assert onward.flow == GATES[1]


@pytest.mark.rule("SIP-33")
@pytest.mark.parametrize(
    "changes",
    [{"auth_realm": "other"}, {"auth_username": ""}],
    ids=["for another realm", "none at all"],
)
def test_what_cannot_be_answered(changes: dict[str, str]) -> None:
    wire = Wire(directory(gateway(**(LOGIN | changes))))
    first = wire.give(request())[-1].message
    sent = wire.give(challenge(first), GATES[0])
    assert [one.what for one in sent] == ["ACK", "500 INVITE"]
    ours = bool(changes.get("auth_username", "acme"))
    assert wire.end["attempts"][0]["left"] == ("credentials_refused" if ours else "")
    assert wire.engine.core.refused_credentials == ({"gw1": 1} if ours else {})


@pytest.mark.rule("SIP-33")
def test_two_who_challenge_one_behind_the_other() -> None:
    wire = Wire(BOOK)
    _, (_, again) = challenged(wire)
    again = only(wire.give(challenge(again.message, "m1", status=401, realm="far"), GATES[0]), "INVITE")
    assert again.message.cseq == 3
    assert credentials(again.message, 407) == ("n1", "00000002")
    assert credentials(again.message, 401) == ("m1", "00000001")


@pytest.mark.rule("SIP-33")
def test_the_caller_never_sees_what_is_between_the_gateway_and_us() -> None:
    talk = talking(Wire(BOOK))
    talk.wire.give(talk.by_caller("ACK", 1))
    for cseq, method in ((2, "INFO"), (3, "INVITE")):
        sent = only(talk.wire.give(talk.by_caller(method, cseq)), method)
        sent = only(talk.wire.give(challenge(sent.message, f"n{cseq}"), AGENT), method)
        up = talk.wire.give(challenge(sent.message, f"m{cseq}"), AGENT)
        assert up[-1].what == f"500 {method}"
        assert up[-1].message.cseq == cseq
    assert talk.wire.engine.core.refused_credentials == {"gw1": 2}


@pytest.mark.rule("SIP-33", "law 7")
def test_what_overtakes_a_challenged_request_keeps_its_order() -> None:
    """Two at once, both challenged, and one that the network held back: no number is used twice."""
    talk = talking(Wire(BOOK))
    wire = talk.wire
    wire.give(talk.by_caller("ACK", 1))
    first, second = (only(wire.give(talk.by_caller("INFO", cseq)), "INFO").message for cseq in (2, 4))
    assert (first.cseq, second.cseq) == (3, 5)
    numbers = [
        only(wire.give(challenge(one, "n2", "stale=true"), AGENT), "INFO").message.cseq for one in (second, first)
    ]
    assert numbers == [6, 7]
    late = only(wire.give(talk.by_caller("INFO", 3)), "INFO").message
    assert late.cseq == 4
    assert only(wire.give(talk.by_caller("INFO", 5)), "INFO").message.cseq == 8


@pytest.mark.rule("SIP-33", "law 7", "law 8")
def test_numbers_and_credentials_survive_a_restart() -> None:
    talk = talking(Wire(BOOK))
    wire = reborn(talk.wire, book=BOOK)
    assert "s3cret" not in repr(talk.wire.records)
    (up,) = wire.give(answer(talk.forwarded, 200), GATES[0])  # its ACK was not there yet
    assert (up.what, up.message.cseq) == ("200 INVITE", 1)
    (ack,) = wire.give(talk.by_caller("ACK", 1))
    assert (ack.message.cseq, credentials(ack.message)) == (2, ("n1", "00000001"))
    info = only(wire.give(talk.by_caller("INFO", 2)), "INFO").message
    assert (info.cseq, credentials(info)) == (3, None)
    info = only(wire.give(challenge(info, "n5"), AGENT), "INFO").message
    assert (info.cseq, credentials(info)) == (4, ("n5", "00000001"))
    wire.records[:0] = talk.wire.records
    once_more = reborn(wire, book=BOOK)
    assert once_more.engine.hang_up(wire.records[0]["cdr_id"], "admin", once_more.now)
    (bye,) = (one.message for one in once_more.drain() if one.flow == AGENT)
    assert bye.cseq > 4
    (bye_again,) = once_more.give(challenge(bye, "n6"), AGENT)
    assert (bye_again.message.cseq, credentials(bye_again.message)) == (bye.cseq + 1, ("n6", "00000001"))


@pytest.mark.rule("SIP-33", "law 8")
def test_a_gateway_that_lost_its_credentials_meanwhile() -> None:
    talk = talking(Wire(BOOK))
    wire = reborn(talk.wire, book=directory(gateway()))
    (ack,) = wire.give(talk.by_caller("ACK", 1))
    assert ack.message.cseq == 2
    info = only(wire.give(talk.by_caller("INFO", 2)), "INFO").message
    (up,) = wire.give(challenge(info, "n5"), AGENT)
    assert (info.cseq, up.what, up.message.cseq) == (3, "407 INFO", 2)


@pytest.mark.rule("SIP-33", "SIP-15")
def test_a_fork_that_loses_is_hung_up_by_its_numbers() -> None:
    wire = Wire(BOOK)
    _, (_, again) = challenged(wire)
    wire.give(answer(again.message, 200), GATES[0])
    ack, bye = wire.give(answer(again.message, 200, tag="eve"), GATES[0])
    assert (ack.what, ack.message.cseq, credentials(ack.message)) == ("ACK", 2, ("n1", "00000001"))
    assert (bye.what, bye.message.cseq, credentials(bye.message)) == ("BYE", 3, ("n1", "00000002"))


@pytest.mark.rule("SIP-33", "SIP-8")
def test_a_silent_gateway_is_left_behind_its_challenge_too() -> None:
    wire = Wire(BOOK)
    challenged(wire)
    sent = wire.wait(5_000)
    assert [one.flow for one in sent if one.what == "INVITE"][-1] == GATES[1]


@pytest.mark.rule("SIP-33")
def test_no_number_moves_where_nobody_challenges() -> None:
    wire = Wire(directory(gateway()))
    invite = wire.give(request())[-1].message
    ok = wire.give(answer(invite, 200), GATES[0])[-1].message
    talk = Talk(wire, invite, ok)
    assert wire.give(talk.by_caller("ACK", 1))[0].message.cseq == 1
    assert wire.give(talk.by_caller("BYE", 2))[0].message.cseq == 2
    assert "leg" not in wire.records[1]["gateway_half"]


@pytest.mark.rule("SIP-33", "law 7")
def test_an_answer_under_the_tag_of_an_early_dialog_before_the_challenge_counts_from_its_own_invite() -> None:
    wire = Wire(BOOK)
    first = wire.give(request())[-1].message
    wire.give(answer(first, 183), GATES[0])
    (_, again) = wire.give(challenge(first), GATES[0])
    (ok,) = wire.give(answer(again.message, 200), GATES[0])
    talk = Talk(wire, again.message, ok.message)
    (ack,) = wire.give(talk.by_caller("ACK", 1))
    assert (ack.message.cseq, credentials(ack.message)) == (2, ("n1", "00000001"))
    (bye,) = wire.give(talk.by_caller("BYE", 2))
    assert bye.message.cseq == 3


@pytest.mark.rule("SIP-33", "SIP-34")
def test_what_somebody_behind_the_gateway_asks_for_says_nothing_of_our_credentials() -> None:
    wire = Wire(directory(gateway(down_after=1, **LOGIN | {"auth_realm": "carrier"}), gateway(2)))
    first = wire.give(request())[-1].message
    sent = wire.give(challenge(first, realm="pbx.callee"), GATES[0])
    assert [one.flow for one in sent if one.what == "INVITE"] == [GATES[1]]
    assert wire.engine.gateway_health()["gw1"]["state"] != "down"
