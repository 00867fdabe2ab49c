"""SIPp as customer and as gateway: what each side sees, and what the records say afterwards."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from tests.wire.conftest import BY_DIGEST, CALLER, NUMBER, PASSWORD, Stage

DIGEST = ("-au", "phone", "-ap", PASSWORD)


@pytest.mark.rule("SIP-20", "TG-1", "TG-3", "TG-4", "TG-5", "TG-6")
def test_a_customer_known_by_address_calls(stage: Stage, tmp_path: Path) -> None:
    seen = stage.call(tmp_path, "ip_call", calls=3, talk_ms=1200)
    seen.all_ok(3)
    invites = seen.alpha.received("INVITE")
    assert len(invites) == 3
    assert seen.beta.received() == []
    for invite in invites:
        assert invite.uri.startswith(f"sip:1001{NUMBER}@")
        assert f"sip:77{CALLER}@" in invite.get("p-asserted-identity")
        assert f"sip:77{CALLER}@" in invite.get("remote-party-id")
        assert f"sip:{CALLER}@" in invite.get("from")
        assert invite.get("record-route")
        assert "m=audio" in invite.body
    assert len(seen.alpha.received("ACK")) == len(seen.alpha.received("BYE")) == 3
    assert len(seen.call_ids) == 3
    for call_id in seen.call_ids:
        cdr = stage.cdr(call_id)
        assert (cdr["customer"], cdr["status"], cdr["code"], cdr["hangup_by"]) == ("office", 200, "answered", "caller")
        assert (cdr["e164"], cdr["caller_shown"], cdr["gateway"]) == (NUMBER, CALLER, "alpha")
        assert 1100 <= cdr["duration_ms"] <= 1999
        # 2 s at 0.03 a minute is 0.001; the price list's minimum is 0.01 (TP-3).
        assert (cdr["sell"]["prefix"], cdr["sell"]["billed"]) == ("4420", 2)
        assert Decimal(cdr["sell"]["amount"]) == Decimal("0.01")
        assert Decimal(cdr["buy"]["rate"]) == Decimal("0.01")
        assert len(cdr["attempts"]) == 1


@pytest.mark.rule("SIP-21")
def test_a_customer_known_by_digest_calls_and_the_gateway_sees_no_credentials(stage: Stage, tmp_path: Path) -> None:
    seen = stage.call(tmp_path, "digest_call", *DIGEST, source=BY_DIGEST)
    seen.all_ok()
    invites = seen.alpha.received("INVITE")
    assert len(invites) == 1
    assert invites[0].get("proxy-authorization") == invites[0].get("authorization") == ""
    cdr = stage.cdr(seen.call_ids[0])
    assert (cdr["customer"], cdr["auth"], cdr["code"]) == ("phone", "digest", "answered")


@pytest.mark.rule("SIP-22")
@pytest.mark.parametrize("user", ["phone", "nobody"])
def test_a_wrong_password_or_user_reaches_no_gateway(stage: Stage, tmp_path: Path, user: str) -> None:
    seen = stage.call(tmp_path, "wrong_password", "-au", user, "-ap", "guessed", source=BY_DIGEST)
    seen.all_ok()
    assert seen.alpha.received() == seen.beta.received() == []
    stage.no_cdr(seen.call_ids[0])


@pytest.mark.rule("SIP-26", "TP-4")
@pytest.mark.parametrize(
    ("number", "code"),
    [("979123456789", "dest_blocked"), ("00881612345678", "dest_expensive"), ("33142685300", "no_price")],
)
def test_a_refused_destination_reaches_no_gateway(stage: Stage, tmp_path: Path, number: str, code: str) -> None:
    seen = stage.call(tmp_path, "blocked", number=number)
    seen.all_ok()
    assert seen.alpha.received() == seen.beta.received() == []
    cdr = stage.cdr(seen.call_ids[0])
    assert (cdr["status"], cdr["code"], cdr["attempts"], cdr["duration_ms"]) == (403, code, [], None)


@pytest.mark.rule("SIP-12")
def test_the_caller_gives_up_while_it_rings(stage: Stage, tmp_path: Path) -> None:
    seen = stage.call(tmp_path, "cancel", alpha="ring")
    seen.all_ok()
    assert len(seen.alpha.received("CANCEL")) == 1
    assert seen.alpha.counters().ok == 1
    assert seen.beta.received() == []
    cdr = stage.cdr(seen.call_ids[0])
    assert (cdr["status"], cdr["code"], cdr["hangup_by"]) == (487, "cancelled", "caller")


@pytest.mark.rule("SIP-13")
def test_busy_ends_the_hunt(stage: Stage, tmp_path: Path) -> None:
    seen = stage.call(tmp_path, "busy", alpha="busy")
    seen.all_ok()
    assert seen.alpha.counters().ok == 1
    assert seen.beta.received() == []
    assert stage.cdr(seen.call_ids[0])["status"] == 486


@pytest.mark.rule("law 5", "SIP-13", "SIP-28", "TG-6")
@pytest.mark.parametrize(("first", "left"), [("reject_503", "503"), ("silent", "no_provisional")])
def test_the_second_gateway_takes_over(stage: Stage, tmp_path: Path, first: str, left: str) -> None:
    seen = stage.call(tmp_path, "ip_call", alpha=first)
    seen.all_ok()
    assert seen.alpha.received("INVITE")[0].uri.startswith(f"sip:1001{NUMBER}@")
    # Built from the caller's request anew: no prefix of the first gateway is left.
    assert [invite.uri.partition("@")[0] for invite in seen.beta.received("INVITE")] == [f"sip:1002{NUMBER}"]
    assert seen.beta.received("INVITE")[0].get("p-asserted-identity") == ""
    cdr = stage.cdr(seen.call_ids[0])
    assert [(one["gateway"], one["left"]) for one in cdr["attempts"]] == [("alpha", left), ("beta", "")]
    assert (cdr["gateway"], cdr["code"]) == ("beta", "answered")


@pytest.mark.rule("SIP-13")
def test_nobody_answers(stage: Stage, tmp_path: Path) -> None:
    seen = stage.call(tmp_path, "no_answer", alpha="ring")
    seen.all_ok()
    assert len(seen.alpha.received("CANCEL")) == 1
    assert seen.beta.received() == []
    cdr = stage.cdr(seen.call_ids[0])
    assert (cdr["status"], cdr["answer_at"]) == (408, None)


def test_many_calls_by_digest_at_once(stage: Stage, tmp_path: Path) -> None:
    seen = stage.call(tmp_path, "digest_call", *DIGEST, source=BY_DIGEST, calls=60, talk_ms=1000)
    seen.all_ok(60)
    assert len(seen.call_ids) == 60
    assert {stage.cdr(call_id)["code"] for call_id in seen.call_ids} == {"answered"}
    assert len(seen.alpha.received("BYE")) == 60
