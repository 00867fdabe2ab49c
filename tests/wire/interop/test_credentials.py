"""Gateways that want our credentials: Kamailio by SHA-256, SIPp by MD5. Each CSeq on both legs (SIP-33, law 7)."""

from __future__ import annotations

import re
from hashlib import md5

import pytest

from sipsvc.demo.agent import Message
from sipsvc.demo.sipp import Sipp
from tests.wire.interop.conftest import Play
from tests.wire.interop.script import Callee, Caller
from tests.wire.interop.town import BY_ASKING, BY_GUARD, LOGIN

RELIABLE = ("Require: 100rel", "RSeq: 71")
REALM = "asks.test"
# What the caller says in either test, as it numbers it.
ASKED = {"1 INVITE", "2 PRACK", "3 INVITE", "4 UPDATE"}


def caller(ends: str, pause: int = 0) -> Caller:
    """INVITE, PRACK, ACK, re-INVITE, UPDATE; a re-INVITE of the callee's; BYE from either side."""
    one = Caller().invite("Supported: 100rel").answered(183, ("RSeq", "71"))
    one.say("PRACK", "RAck: 71 1 INVITE").expect(200).expect(200).ack().wait(pause)
    one.say("INVITE", offer=True).expect(200).ack().say("UPDATE", offer=True).expect(200)
    one.hear("INVITE").answer(200, offer=True).hear("ACK")
    return one.say("BYE").expect(200) if ends == "caller" else one.hear("BYE").answer(200)


def requests(sipp: Sipp) -> list[str]:
    """CSeq and method of the requests it heard, each once, in order."""
    return list(dict.fromkeys(one.get("cseq") for one in sipp.received() if not one.status))


def answers(sipp: Sipp) -> set[str]:
    """CSeq of what it was answered."""
    return {one.get("cseq") for one in sipp.received() if one.status}


def asks(status: int, nonce: str) -> str:
    name = "WWW-Authenticate" if status == 401 else "Proxy-Authenticate"
    return f'{name}: Digest realm="{REALM}", nonce="{nonce}", algorithm=MD5, qop="auth"'


def given(message: Message, status: int = 407) -> tuple[str, str] | None:
    """Nonce and count of the credentials, whose proof must be right; None without any."""
    value = message.get("authorization" if status == 401 else "proxy-authorization")
    if not value:
        return None
    said = {name: quoted or bare for name, quoted, bare in re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', value)}

    def hashed(*parts: str) -> str:
        return md5(":".join(parts).encode()).hexdigest()

    method = "INVITE" if message.method == "ACK" else message.method
    known, asked = hashed(LOGIN[0], REALM, LOGIN[1]), hashed(method, said["uri"])
    assert said["response"] == hashed(known, said["nonce"], said["nc"], said["cnonce"], "auth", asked)
    return said["nonce"], said["nc"]


def heard_by_the_caller(near: Sipp, ends: str) -> None:
    """Its own numbers, the callee's as the callee has them, and no challenge."""
    assert answers(near) == ASKED | ({"5 BYE"} if ends == "caller" else set())
    assert requests(near) == ["1 INVITE", "1 ACK"] + (["2 BYE"] if ends == "callee" else [])
    assert not any(one.status in (401, 407) for one in near.received())


@pytest.mark.rule("SIP-33", "TG-1", "law 7")
@pytest.mark.parametrize("ends", ["caller", "callee"])
def test_a_kamailio_that_challenges_with_sha_256(play: Play, ends: str) -> None:
    """Also inside the call, where its nonce has grown stale meanwhile."""
    callee = Callee(hops=3, routes=2, first=2).invited(("Supported", "100rel")).reply(183, *RELIABLE, offer=True)
    callee.hear("PRACK", ("RAck", "71 2 INVITE")).answer(200).reply(200).hear("ACK")
    callee.hear("INVITE").answer(200, offer=True).hear("ACK").hear("UPDATE").answer(200, offer=True)
    callee.say("INVITE", offer=True).expect(200).ack()
    callee = callee.hear("BYE").answer(200) if ends == "caller" else callee.wait(200).say("BYE").expect(200)
    far = play.gateway(callee, "far")
    near = play.caller(caller(ends, pause=3_200), BY_GUARD)
    play.finish(near, far)
    # The re-INVITE went as 4 with the nonce that had grown stale, and as 5 with the next.
    told = ["2 INVITE", "3 PRACK", "2 ACK", "5 INVITE", "5 ACK", "6 UPDATE"]
    assert requests(far) == told + (["7 BYE"] if ends == "caller" else [])
    assert answers(far) == {"1 INVITE"} | ({"2 BYE"} if ends == "callee" else set())
    heard_by_the_caller(near, ends)
    cdr = play.town.stage.cdr(near.call_ids()[0])
    assert (cdr["code"], cdr["hangup_by"]) == ("answered", ends)
    assert [(one["gateway"], one["status"]) for one in cdr["attempts"]] == [("guard", 200)]


@pytest.mark.rule("SIP-33", "TG-1", "law 7")
@pytest.mark.parametrize("ends", ["caller", "callee"])
def test_a_gateway_that_challenges_every_request_with_md5(play: Play, ends: str) -> None:
    callee = Callee().turns_away(407, asks(407, "n1")).invited().reply(183, *RELIABLE, offer=True)
    callee.challenges("PRACK", 407, asks(407, "n2")).hear("PRACK", ("RAck", "71 2 INVITE")).answer(200)
    callee.reply(200).hear("ACK").challenges("INVITE", 401, asks(401, "n3")).hear("INVITE").answer(200, offer=True)
    callee.hear("ACK").challenges("UPDATE", 407, asks(407, "n4")).hear("UPDATE").answer(200, offer=True)
    callee.say("INVITE", offer=True).expect(200).ack()
    if ends == "caller":
        callee.challenges("BYE", 401, asks(401, "n5")).hear("BYE").answer(200)
    else:
        callee.wait(200).say("BYE").expect(200)
    gateway = play.gateway(callee, "asks")
    near = play.caller(caller(ends), BY_ASKING)
    play.finish(near, gateway)
    told = {
        "1 INVITE": None, "1 ACK": None, "2 INVITE": ("n1", "00000001"), "3 PRACK": ("n1", "00000002"),
        "4 PRACK": ("n2", "00000001"), "2 ACK": ("n1", "00000001"), "5 INVITE": ("n2", "00000002"), "5 ACK": None,
        "6 INVITE": ("n2", "00000003"), "6 ACK": ("n2", "00000003"), "7 UPDATE": ("n2", "00000004"),
        "8 UPDATE": ("n4", "00000001"),
    }  # fmt: skip
    if ends == "caller":
        told |= {"9 BYE": ("n4", "00000002"), "10 BYE": ("n4", "00000003")}
    first = {one.get("cseq"): one for one in reversed(gateway.received()) if not one.status}
    assert {cseq: given(first[cseq]) for cseq in requests(gateway)} == told
    assert requests(gateway) == list(told)
    assert given(first["6 INVITE"], 401) == given(first["6 ACK"], 401) == ("n3", "00000001")
    if ends == "caller":
        assert given(first["10 BYE"], 401) == ("n5", "00000001")
    assert answers(gateway) == {"1 INVITE"} | ({"2 BYE"} if ends == "callee" else set())
    heard_by_the_caller(near, ends)
    cdr = play.town.stage.cdr(near.call_ids()[0])
    assert (cdr["code"], cdr["hangup_by"], len(cdr["attempts"])) == ("answered", ends, 1)


@pytest.mark.rule("SIP-33", "SIP-13")
def test_credentials_that_are_refused(play: Play) -> None:
    gateway = play.gateway(Callee().turns_away(407, asks(407, "n1")).turns_away(407, asks(407, "n2")), "asks")
    near = play.caller(Caller().invite().refused(500), BY_ASKING)
    play.finish(near, gateway)
    cdr = play.town.stage.cdr(near.call_ids()[0])
    assert [(one["status"], one["left"]) for one in cdr["attempts"]] == [(407, "credentials_refused")]
