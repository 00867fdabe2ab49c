"""We register at gateways that want it, stay registered, and are forgotten when we go (TG-1, RFC 3261 §10.2)."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from sipsvc.auth.hashes import ha1, response
from sipsvc.directory import Gateway
from sipsvc.effects import Flow, Listener, Notice, Target
from sipsvc.message import Message, params_get, parse_name_addr
from tests.unit.wire import GATES, LISTENERS, Sent, Wire, answer, directory, gateway, request

OURS = gateway(1, registration=True, auth_username="trunk 7", auth_password="secret", auth_realm="carrier")
REALM = 'Digest realm="carrier", nonce="{}", qop="auth", algorithm=MD5'
PASSED = {"transactions": 0, "timers": 0, "calls": 0}


class Registrar(Wire):
    """A `Wire` whose first gateway is a registrar. It wants `password` if there is one, with `nonce`; `says` is what it
    answers first, in order: a status with headers, or "" for nothing. Granted is what `grants`, else what was asked."""

    def __init__(self, *gateways: Gateway, password: str = "", **more: Any) -> None:
        super().__init__(directory(*(gateways or (OURS,))), **more)
        self.password = password
        self.nonce = "n1"
        self.says: list[tuple[str, ...]] = []
        self.grants: int | None = None
        self.bound: dict[str, int] = {}
        self.told: list[tuple[str, dict[str, Any]]] = []
        right = self.engine.take

        def take() -> Any:
            effects = right()
            self.told += [(one.event, one.fields) for one in effects if isinstance(one, Notice)]
            return effects

        self.engine.take = take  # type: ignore[method-assign]
        self.engine.restore([], self.now)

    def drain(self) -> list[Sent]:
        found = super().drain()
        for one in list(found):
            if one.what == "REGISTER":
                said = self.says.pop(0) if self.says else self._register(one.message)
                if said:
                    found += self.give(answer(one.message, int(said[0]), *said[1:], contact="-"), one.flow)
        return found

    def _register(self, message: Message) -> tuple[str, ...]:
        if self.password and not self._proved(message):
            return ("401", f"WWW-Authenticate: {REALM.format(self.nonce)}")
        contact = message.get("contact") or ""
        asked = int(message.get("expires") or 0)
        granted = asked if self.grants is None or not asked else self.grants
        self.bound[contact] = granted
        return ("200", f"Contact: {contact};expires={granted}")

    def _proved(self, message: Message) -> bool:
        said = dict(re.findall(r'(\w+)="?([^",]*)"?', message.get("authorization") or ""))
        if not said or said["nonce"] != self.nonce:
            return False
        secret = ha1("MD5", "trunk 7", "carrier", self.password)
        wanted = response(
            "MD5", secret, self.nonce, "REGISTER", message.uri, qop="auth", nc=said["nc"], cnonce=said["cnonce"]
        )
        return said["response"] == wanted and said["uri"] == message.uri

    def registers(self, ms: float) -> list[Sent]:
        """Without repetitions."""
        sent = [one for one in self.wait(ms) if one.what == "REGISTER"]
        return list({one.message.via.branch: one for one in reversed(sent)}.values())[::-1]

    def of(self, name: str = "gw1") -> dict[str, Any]:
        return self.engine.gateway_health()[name]

    def use(self, *gateways: Gateway) -> list[Sent]:
        self.engine.swap(directory(*gateways), self.now)
        return [one for one in self.drain() if one.what == "REGISTER"]


@pytest.mark.rule("TG-1")
def test_a_register_says_who_and_where_we_are() -> None:
    made = Registrar(password="secret")
    first, second = made.registers(10_000)
    message = second.message
    assert second.flow == GATES[0]
    assert message.uri == f"sip:{GATES[0].host}:{GATES[0].port}"
    record = f"sip:trunk%207@{GATES[0].host}"
    assert message.to.uri == message.from_.uri == record
    assert message.from_.tag and not message.to.tag
    assert message.get("contact") == "<sip:trunk%207@192.0.2.1:5060>"
    assert message.get("expires") == "3600"
    assert [one.message.cseq for one in (first, second)] == [1, 2]
    assert first.message.call_id == message.call_id
    assert first.message.get("authorization") is None
    until = made.now.utc - made.elapsed + second.at + 3_600_000
    assert (made.of()["registration"], made.of()["registered_until"]) == ("registered", until)
    assert made.told == [("gateway_registered", {"gateway": "gw1", "expires_s": 3600})]


@pytest.mark.rule("TG-1")
def test_it_is_refreshed_at_80_to_90_per_cent_with_what_the_challenge_taught() -> None:
    made = Registrar(password="secret")
    made.grants = 600
    sent = made.registers(3_600_000)
    times = [one.at for one in sent[1:]]
    assert all(480_000 <= later - earlier <= 540_000 for earlier, later in pairwise(times))
    assert len({one.message.call_id for one in sent}) == 1
    assert [one.message.cseq for one in sent] == list(range(1, len(sent) + 1))
    counts = [re.search("nc=([0-9a-f]{8})", one.message.get("authorization") or "") for one in sent[1:]]
    assert [int(count[1], 16) for count in counts if count] == list(range(1, len(sent)))
    # Another nonce costs one refusal, and no time.
    made.nonce = "n2"
    refused, taken, *_ = made.registers(540_000)
    assert refused.at == taken.at
    assert made.of()["registration"] == "registered"


@pytest.mark.rule("TG-1")
@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        (["Expires: 100"], 100),
        ([], 3600),
        (["Contact: <sip:trunk%207@192.0.2.9:5060>;expires=50, <sip:trunk%207@192.0.2.1>;expires=70"], 70),
        (["Contact: <sip:other@192.0.2.1:5060>;expires=50", "Expires: 90"], 90),
        (["Contact: rubbish<<", "Contact: *", "Expires: 90"], 90),
        (["Expires: 99999999999999"], 7 * 86_400),
        (["Expires: soon"], 0),
    ],
)
def test_what_is_granted_is_read(lines: list[str], seconds: int) -> None:
    made = Registrar()
    made.says = [("200", *lines)]
    (first,) = made.registers(10_000)
    if seconds:
        assert made.of()["registered_until"] == made.begin.utc + first.at + seconds * 1_000
    else:
        assert made.of()["registration"] == "failing"


@pytest.mark.rule("TG-1")
def test_a_time_too_short_is_raised_to_the_registrars() -> None:
    made = Registrar(password="secret")
    made.says = [("423", "Min-Expires: 7200")]
    assert [one.message.get("expires") for one in made.registers(10_000)] == ["3600", "7200", "7200"]
    assert made.of()["registration"] == "registered"
    # A registrar that is never content is left alone for a while.
    other = Registrar()
    other.says = [("423", "Min-Expires: 7200"), ("423", "Min-Expires: 7300")]
    assert len(other.registers(15_000)) == 2
    assert (other.of()["registration"], other.of()["reason"]) == ("failing", "registration: 423")


@pytest.mark.rule("TG-1")
@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (("403",), "403"),
        (("503",), "503"),
        (("401",), "challenge_not_understood"),
        (("407", 'Proxy-Authenticate: Digest realm="other", nonce="x"'), "challenge_not_understood"),
        ((), "no_response"),
        (("200", "Expires: 0"), "expires_0"),
    ],
)
def test_a_failure_is_shown_and_tried_again_later_each_time(said: tuple[str, ...], reason: str) -> None:
    made = Registrar()
    made.says = [said] * 200
    times = [one.at for one in made.registers(9_000_000)]
    gaps = [round((later - earlier) / 1_000) - (32 if not said else 0) for earlier, later in pairwise(times)]
    assert gaps[:8] == [30, 60, 120, 240, 480, 960, 1800, 1800]
    assert (made.of()["registration"], made.of()["reason"]) == ("failing", f"registration: {reason}")
    assert made.told == [("gateway_registration_failed", {"gateway": "gw1", "reason": reason})]
    made.says = []
    made.wait(1_800_000)
    assert (made.of()["registration"], made.of()["reason"]) == ("registered", "")


@pytest.mark.rule("TG-1")
def test_a_wrong_password_is_not_said_again_and_again() -> None:
    made = Registrar(password="another")
    assert len(made.registers(11_000)) == 2
    assert made.of()["reason"] == "registration: credentials_refused"


@pytest.mark.rule("TG-1")
def test_a_gateway_that_lost_us_takes_calls_if_it_will() -> None:
    made = Registrar()
    made.says = [("403",)]
    made.wait(10_000)
    assert made.of()["registration"] == "failing"
    assert made.give(request())[-1].flow == GATES[0]


@pytest.mark.rule("TG-1")
@pytest.mark.parametrize("how", ["removed", "disabled", "not wanted", "drained"])
def test_we_are_forgotten_when_we_go(how: str) -> None:
    made = Registrar(password="secret")
    made.wait(10_000)
    other = gateway(2)
    if how == "drained":
        made.engine.drain(made.now)
        sent = [one for one in made.drain() if one.what == "REGISTER"]
    else:
        after = {"removed": [other], "disabled": [replace(OURS, enabled=False), other],
                 "not wanted": [replace(OURS, registration=False), other]}[how]  # fmt: skip
        sent = made.use(*after)
    (last,) = sent
    assert last.message.get("expires") == "0"
    assert last.message.cseq == 3
    assert list(made.bound.values()) == [0]
    assert made.told[-1] == ("gateway_unregistered", {"gateway": "gw1", "answer": 200})
    assert made.registers(4_000_000) == []
    assert made.engine.leftovers() == PASSED
    assert made.engine.idle


@pytest.mark.rule("TG-1")
def test_a_server_that_stops_waits_for_a_registrar_but_not_for_long() -> None:
    made = Registrar()
    made.wait(10_000)
    made.says = [()] * 20
    made.engine.drain(made.now)
    made.drain()
    assert not made.engine.idle
    made.wait(3_900)
    assert not made.engine.idle
    made.wait(200)
    assert made.engine.idle
    assert made.told[-1] == ("gateway_unregistered", {"gateway": "gw1", "answer": "no_response"})


@pytest.mark.rule("TG-1")
def test_nobody_is_asked_to_forget_who_never_knew_us() -> None:
    made = Registrar()
    made.says = [("403",)]
    made.wait(10_000)
    assert made.use(gateway(2)) == []
    made.wait(40_000)
    assert made.engine.leftovers() == PASSED


@pytest.mark.rule("TG-1")
def test_a_move_is_another_registration_and_a_new_password_the_same() -> None:
    made = Registrar(password="secret")
    made.wait(10_000)
    before = [one.message for one in made.sent if one.what == "REGISTER"][-1]
    made.password = "new"
    made.nonce = "n2"
    again = made.use(replace(OURS, auth_password="new", registration_expires_s=1800))
    assert {one.message.call_id for one in again} == {before.call_id}
    assert [one.message.cseq for one in again] == [before.cseq + 1, before.cseq + 2]
    assert made.of()["registration"] == "registered"
    moved = made.use(replace(OURS, auth_password="new", port=5090))
    assert [one.message.get("expires") for one in moved] == ["0"]
    (first, *_) = made.registers(10_000)
    assert first.flow.port == 5090
    assert first.message.call_id != before.call_id
    assert made.use(replace(OURS, auth_password="new", port=5090, uri_prefix="9")) == []


@pytest.mark.rule("TG-1", "SIP-8")
def test_by_tls_our_contact_says_so() -> None:
    tls = Listener("TLS", "192.0.2.1", 5071)
    made = Registrar(replace(OURS, transport="tls"), listeners=(*LISTENERS, tls))
    (first,) = made.registers(10_000)
    assert first.flow == Flow("TLS", GATES[0].host, GATES[0].port, 1, 0, GATES[0].host)
    contact = parse_name_addr(first.message.get("contact") or "", "Contact")
    assert contact.uri == "sip:trunk%207@192.0.2.1:5071;transport=tls"
    assert params_get(contact.params, "expires") is None


@pytest.mark.rule("TG-1", "SIP-8")
def test_credentials_answer_the_very_address_that_challenged() -> None:
    made = Registrar(replace(OURS, host="gw.carrier.example", port=0), password="secret")
    while not made.asked:
        made.wait(100)
    made.says = [("503",)]
    sent = made.find(*(Target("UDP", f"203.0.113.5{number}", 5060) for number in (1, 2)))
    assert [one.flow.host for one in sent if one.what == "REGISTER"] == ["203.0.113.51", *["203.0.113.52"] * 2]
    assert len(made.asked) == 1
    assert made.of()["registration"] == "registered"


@pytest.mark.rule("TG-1")
def test_many_do_not_register_at_once() -> None:
    many = [replace(OURS, id=f"gw{number}", host=f"203.0.113.{number}") for number in range(1, 101)]
    made = Registrar(*many)
    times = [one.at for one in made.registers(10_000)]
    assert len(times) == 100
    assert max(sum(begin <= at < begin + 500 for at in times) for begin in range(0, 10_000, 500)) <= 15
