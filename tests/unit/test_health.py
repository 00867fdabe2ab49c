"""How gateways do: pings and calls tell, the down are passed over, and come back by themselves (SIP-34)."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from sipsvc.directory import Directory, Gateway
from sipsvc.effects import Flow, Listener, Notice, Target
from tests.unit.wire import BEGIN, CUSTOMER, GATES, LISTENERS, Sent, Wire, answer, directory, gateway, request


class Town(Wire):
    """A `Wire` whose gateways answer by themselves: `says` by host, a status, "" for silence, or "fail"; `extra` are
    lines of every answer."""

    def __init__(self, book: Directory, **more: Any) -> None:
        super().__init__(book, **more)
        self.says: dict[str, str] = {}
        self.extra: tuple[str, ...] = ()
        self.calls = 0
        self.engine.restore([], self.now)

    def drain(self) -> list[Sent]:
        found = super().drain()
        for one in list(found):
            if one.message.status == 0 and one.flow.host.startswith("203."):
                found += self._meet(one)
        return found

    def _meet(self, one: Sent) -> list[Sent]:
        word = self.says.get(one.flow.host, "200")
        if word == "fail":
            return self.fail(one)
        if not word or one.what == "ACK":
            return []
        return self.give(answer(one.message, int(word), *self.extra), one.flow)

    def call(self, wait_ms: float = 40_000) -> list[str]:
        """One call to its end; the gateways that were tried."""
        self.calls += 1
        names = {flow.host: f"gw{number}" for number, flow in enumerate(GATES, 1)}
        number = self.calls
        via = f"SIP/2.0/UDP {CUSTOMER.host}:{CUSTOMER.port};branch=z9hG4bK-{number};rport"
        sent = self.give(request(Via=via, Call_ID=f"call-{number}"))
        sent += self.wait(wait_ms)
        mine = [one for one in sent if one.what == "INVITE" and one.message.call_id == f"call-{number}"]
        return list(dict.fromkeys(names[one.flow.host] for one in mine if one.flow.host in names))

    def hang_up(self) -> None:
        for call in list(self.engine.core.calls.values()):
            self.engine.hang_up(call.cdr_id, "admin", self.now)
        self.drain()

    def pings(self, ms: float) -> list[Sent]:
        """Without their repetitions."""
        sent = [one for one in self.wait(ms) if one.what == "OPTIONS"]
        return list({one.message.via.branch: one for one in reversed(sent)}.values())[::-1]

    def until_asked(self) -> None:
        """Until the next look-up."""
        before = len(self.asked)
        while len(self.asked) == before:
            self.wait(100)

    def of(self, name: str = "gw1") -> dict[str, Any]:
        return self.engine.gateway_health()[name]

    def state(self, name: str = "gw1") -> str:
        return f"{self.of(name)['state']} {self.of(name)['reason']}".strip()

    def use(self, *gateways: Gateway) -> None:
        self.engine.swap(directory(*gateways), self.now)
        self.drain()


def town(*gateways: Gateway, **more: Any) -> Town:
    return Town(directory(*gateways), **more)


def listened(made: Town) -> list[tuple[str, dict[str, Any]]]:
    """From now on what the operator is told goes into the list."""
    told: list[tuple[str, dict[str, Any]]] = []
    right = made.engine.take

    def take() -> Any:
        effects = right()
        told.extend((one.event, one.fields) for one in effects if isinstance(one, Notice))
        return effects

    made.engine.take = take  # type: ignore[method-assign]
    return told


# Live calls


@pytest.mark.rule("SIP-34")
@pytest.mark.parametrize(("word", "why"), [("503", "503"), ("fail", "transport"), ("", "no_response")])
def test_three_failed_calls_in_a_row_take_a_gateway_out(word: str, why: str) -> None:
    made = town()
    told = listened(made)
    made.says = {GATES[0].host: word, GATES[1].host: "486"}
    assert made.state() == "unknown"
    assert [made.call() for _ in range(3)] == [["gw1", "gw2"]] * 3
    assert made.state() == f"down {why}"
    assert made.state("gw2") == "up answered"
    assert told == [("gateway_down", {"gateway": "gw1", "reason": why, "failures": 3})]
    # Its first back-off has passed for all but the silent one, whose calls took longer.
    assert made.of()["since"] == BEGIN.utc + made.elapsed - 40_000 + (4_000 if not word else 0)


@pytest.mark.rule("SIP-34")
def test_who_is_down_is_passed_over_and_the_record_says_so() -> None:
    made = town(gateway(1, down_after=1), gateway(2))
    made.says = {GATES[0].host: "503", GATES[1].host: "486"}
    assert made.call(100) == ["gw1", "gw2"]
    assert made.call(100) == ["gw2"]
    start = [record for record in made.records if record["kind"] == "start"][-1]
    assert ("gateway", "gw1", "down") in start["trace"]
    assert start["live"] == {"channels": 0, "down": ["gw1"]}


@pytest.mark.rule("SIP-27", "SIP-34")
def test_where_all_are_down_a_call_is_refused_and_nobody_told_to_stop() -> None:
    made = town(gateway(1, down_after=1))
    made.says = {GATES[0].host: "503"}
    made.call(100)
    assert made.call(100) == []
    refused = [one for one in made.sent if one.what == "503 INVITE"][-1].message
    assert "All gateways for this destination are down" in (refused.get("warning") or "")
    assert refused.get("retry-after") is None
    assert made.records[-1]["code"] == "gateways_down"


@pytest.mark.rule("SIP-34")
@pytest.mark.parametrize("word", ["486", "500", "404", "603", "200"])
def test_any_other_answer_counts_for_it(word: str) -> None:
    made = town(gateway(1, down_after=2))
    for said in ("503", word, "503", word, "503"):
        made.says = {GATES[0].host: said}
        assert made.call(100) == ["gw1"]
        made.hang_up()
        made.wait(40_000)
    assert made.of()["state"] != "down"
    assert made.of()["failures"] == 1


@pytest.mark.rule("SIP-34")
def test_a_408_says_nothing_either_way() -> None:
    made = town(gateway(1, down_after=2))
    for said in ("503", "408", "503"):
        made.says = {GATES[0].host: said}
        made.call()
    assert made.of()["state"] == "down"


@pytest.mark.rule("SIP-34")
def test_what_is_said_too_late_is_of_no_use_to_calls() -> None:
    made = town(gateway(1, down_after=2), gateway(2))
    made.says = {GATES[0].host: "", GATES[1].host: "486"}
    for number in (1, 2):
        made.call(5_000)
        late = [one for one in made.sent if one.what == "INVITE" and one.flow == GATES[0]][-1]
        made.give(answer(late.message, 180), late.flow)
        made.give(answer(late.message, 487), late.flow)
        assert made.of()["failures"] == number
    assert made.state() == "down no_response"


@pytest.mark.rule("SIP-8", "SIP-34")
def test_a_gateway_of_several_addresses_fails_when_all_of_them_do() -> None:
    made = town(gateway(1, host="gw.carrier.example", port=0, down_after=1))
    addresses = [Target("UDP", f"203.0.113.5{number}", 5060) for number in (1, 2)]
    made.says = {"203.0.113.51": "fail", "203.0.113.52": "486"}
    for after in ("up answered", "down 503"):
        made.call(0)
        made.find(*addresses)
        made.wait(40_000)
        assert made.state() == after
        made.says["203.0.113.52"] = "503"


# Coming back without pings


@pytest.mark.rule("SIP-34")
def test_one_call_at_a_time_tries_it_after_30_s_and_then_twice_as_late_up_to_ten_minutes() -> None:
    made = town(gateway(1, down_after=1), gateway(2))
    made.says = {GATES[0].host: "503", GATES[1].host: "486"}
    assert made.call(0) == ["gw1", "gw2"]
    waits = []
    for _ in range(7):
        waited = 0
        while made.call(0) == ["gw2"]:
            made.wait(1_000)
            waited += 1
        waits.append(waited)
    assert waits == [30, 60, 120, 240, 480, 600, 600]


@pytest.mark.rule("SIP-34")
def test_while_one_call_tries_it_others_pass_it_over() -> None:
    made = town(gateway(1, down_after=1), gateway(2))
    made.says = {GATES[0].host: "503", GATES[1].host: "486"}
    made.call(30_000)
    made.says[GATES[0].host] = ""
    assert made.call(1_000) == ["gw1"]
    assert made.call(1_000) == ["gw2"]


@pytest.mark.rule("SIP-34")
def test_two_answered_calls_bring_it_back() -> None:
    made = town(gateway(1, down_after=1), gateway(2))
    told = listened(made)
    made.says = {GATES[0].host: "503", GATES[1].host: "486"}
    made.call(30_000)
    made.says[GATES[0].host] = "486"
    assert made.call(0) == ["gw1"]
    assert made.of()["state"] == "down"
    assert made.call(0) == ["gw1"]
    assert made.state() == "up answered"
    assert [event for event, _ in told] == ["gateway_down", "gateway_up"]
    made.wait(40_000)
    assert made.engine.leftovers() == {"transactions": 0, "timers": 0, "calls": 0}


@pytest.mark.rule("SIP-34")
def test_a_try_of_which_nothing_comes_does_not_keep_it_out_for_ever() -> None:
    made = town(gateway(1, down_after=1, provisional_timeout_ms=600_000), gateway(2))
    made.says = {GATES[0].host: "503", GATES[1].host: "486"}
    made.call(30_000)
    made.says[GATES[0].host] = "100"
    assert made.call(0) == ["gw1"]
    assert made.call(30_000) == ["gw2"]
    assert made.call(0) == ["gw1"]


# Retry-After


@pytest.mark.rule("SIP-34")
@pytest.mark.parametrize(("said", "seconds"), [("120", 120), ("5 (maintenance)", 5), ("86400;duration=60", 600)])
def test_a_503_with_retry_after_takes_it_out_for_that_time(said: str, seconds: int) -> None:
    made = town(gateway(1), gateway(2))
    made.says, made.extra = {GATES[0].host: "503", GATES[1].host: "486"}, (f"Retry-After: {said}",)
    assert made.call(0) == ["gw1", "gw2"]
    assert made.state() == "down retry_after"
    made.says, made.extra = {GATES[0].host: "486"}, ()
    made.wait(seconds * 1_000 - 1)
    assert made.call(0) == ["gw2"]
    made.wait(1)
    assert made.state() == "up retry_after_over"
    assert made.call(0) == ["gw1"]


# Pings


PINGED = gateway(1, ping_interval_s=20)


@pytest.mark.rule("SIP-34")
def test_a_ping_is_an_options_of_our_own() -> None:
    made = town(PINGED)
    (ping,) = made.pings(10_000)
    assert ping.flow == GATES[0]
    message = ping.message
    assert (message.uri, message.get("max-forwards")) == (f"sip:{GATES[0].host}:{GATES[0].port}", "70")
    assert message.get("accept") == "application/sdp"
    assert made.state() == "up ping_answered"
    assert made.engine.counters == {}


@pytest.mark.rule("SIP-34")
def test_pings_keep_their_interval_and_their_dialog_apart() -> None:
    made = town(PINGED)
    pings = made.pings(400_000)
    gaps = [after.at - before.at for before, after in pairwise(pings)]
    assert len(pings) in range(18, 23)
    assert all(18_000 <= gap <= 22_000 for gap in gaps)
    assert len(set(gaps)) > 10
    assert [one.message.cseq for one in pings] == list(range(1, len(pings) + 1))
    assert len({one.message.via.branch for one in pings}) == len(pings)


@pytest.mark.rule("SIP-34")
def test_many_gateways_are_not_pinged_at_once() -> None:
    flows = [Flow("UDP", f"203.0.113.{number}", 5080) for number in range(100, 200)]
    made = town(*(replace(PINGED, id=f"g{flow.host[-3:]}", host=flow.host) for flow in flows))
    pings = made.pings(10_000)
    assert len(pings) == 100
    for begin in range(0, 10_000, 500):
        assert sum(begin <= one.at < begin + 500 for one in pings) <= 15


@pytest.mark.rule("SIP-34")
@pytest.mark.parametrize(("word", "up"), [("200", True), ("404", True), ("405", True), ("500", True), ("407", True),
                                          ("408", False), ("503", False), ("", False), ("fail", False)])  # fmt: skip
def test_any_answer_but_408_and_503_means_up(word: str, up: bool) -> None:
    made = town(PINGED)
    made.says = {GATES[0].host: word}
    made.wait(100_000)
    assert made.of()["state"] == ("up" if up else "down")


@pytest.mark.rule("SIP-34")
def test_a_gateway_that_falls_silent_is_down_and_comes_back_when_it_speaks() -> None:
    made = town(PINGED, gateway(2))
    told = listened(made)
    made.wait(30_000)
    made.says = {GATES[0].host: ""}
    made.wait(100_000)
    assert made.state() == "down ping_no_response"
    assert made.of()["failures"] >= 3
    assert made.call(0) == ["gw2"]
    # More often while it is down.
    assert len(made.pings(50_000)) in range(9, 12)
    made.says = {}
    made.wait(12_000)
    assert made.state() == "up ping_answered"
    assert [(event, fields["reason"]) for event, fields in told] == [
        ("gateway_down", "ping_no_response"),
        ("gateway_up", "ping_answered"),
    ]
    made.hang_up()
    assert made.call(0) == ["gw1"]


@pytest.mark.rule("SIP-34")
def test_two_lost_pings_take_nobody_out() -> None:
    made = town(PINGED)
    for _ in range(5):
        made.says = {GATES[0].host: ""}
        lost = 0
        while lost < 2:
            lost += len({one.message.via.branch for one in made.pings(10_000)})
        made.says = {}
        made.wait(22_000)
        assert made.of()["state"] != "down"


@pytest.mark.rule("SIP-34")
def test_who_answers_pings_and_fails_calls_stays_out_longer_each_time() -> None:
    made = town(replace(PINGED, down_after=2), gateway(2))
    made.wait(30_000)
    made.says = {GATES[1].host: "486"}

    def fail() -> None:
        made.says[GATES[0].host] = "503"
        assert made.call(0) == ["gw1", "gw2"]
        made.says[GATES[0].host] = "200"

    fail()
    fail()
    outs = []
    for _ in range(4):
        assert made.state() == "down 503"
        begun = made.elapsed
        while made.of()["state"] == "down":
            made.wait(1_000)
        outs.append(made.elapsed - begun)
        fail()  # one is enough until a call was answered
    assert outs[0] < 12_000
    assert all(low <= out <= low + 12_000 for low, out in zip((30_000, 60_000, 120_000), outs[1:], strict=True))


@pytest.mark.rule("SIP-8", "SIP-34")
def test_a_named_gateway_is_looked_up_as_for_a_call() -> None:
    made = town(replace(PINGED, host="gw.carrier.example", port=0))
    made.until_asked()
    assert made.asked[-1][1:] == ("gw.carrier.example", 0, "UDP")
    made.says = {"203.0.113.51": "503"}
    pings = made.find(Target("UDP", "203.0.113.51", 5060), Target("UDP", "203.0.113.52", 5060))
    assert [one.flow.host for one in pings if one.what == "OPTIONS"] == ["203.0.113.51", "203.0.113.52"]
    assert made.state() == "up ping_answered"
    # A name that leads nowhere is a ping that failed.
    for _ in range(3):
        made.until_asked()
        made.find()
    assert made.state() == "down ping_dns"


@pytest.mark.rule("SIP-34")
def test_a_ping_takes_the_gateways_transport() -> None:
    tls = Listener("TLS", "192.0.2.1", 5071)
    made = town(replace(PINGED, transport="tls"), listeners=(*LISTENERS, tls))
    (ping,) = made.pings(10_000)
    assert ping.flow == Flow("TLS", GATES[0].host, GATES[0].port, 1, 0, GATES[0].host)
    assert ping.message.uri.endswith(";transport=tls")


# Changes


@pytest.mark.rule("SIP-34")
def test_its_state_survives_a_change_unless_it_moves() -> None:
    made = town(gateway(1, down_after=1), gateway(2))
    made.says = {GATES[0].host: "503", GATES[1].host: "486"}
    made.call(0)
    made.use(gateway(1, down_after=1, uri_prefix="9"), gateway(2))
    assert made.state() == "down 503"
    assert made.call(0) == ["gw2"]
    made.use(gateway(1, down_after=1, port=5090), gateway(2))
    assert made.state() == "unknown"
    assert made.call(0) == ["gw1", "gw2"]


@pytest.mark.rule("SIP-34")
def test_who_is_gone_or_disabled_is_pinged_no_more_and_forgotten() -> None:
    for after in ([gateway(2)], [replace(PINGED, enabled=False), gateway(2)], [gateway(1), gateway(2)]):
        made = town(PINGED, gateway(2))
        made.says = {GATES[0].host: ""}
        assert made.pings(100_000)
        made.use(*after)
        assert made.pings(700_000) == []
        if after[0].enabled and after[0].id == "gw1":
            assert made.of()["state"] == "down"  # a call may try it now
            made.says = {GATES[0].host: "486"}
            assert made.call(0) == ["gw1"]
        else:
            assert made.engine.admission.health.down == frozenset()
        made.wait(40_000)
        assert made.engine.leftovers() == {"transactions": 0, "timers": 0, "calls": 0}


@pytest.mark.rule("SIP-34")
def test_pings_begin_with_the_setting() -> None:
    made = town(gateway(1))
    assert made.pings(60_000) == []
    made.use(PINGED)
    assert len(made.pings(60_000)) == 3


@pytest.mark.rule("SIP-34")
def test_a_change_elsewhere_touches_nothing() -> None:
    made = town(gateway(1, down_after=1))
    made.says = {GATES[0].host: "503"}
    made.call(0)
    before = made.engine.admission.health.down
    made.use(gateway(1, down_after=1), gateway(2), gateway(3))
    made.call(0)
    assert made.engine.admission.health.down is before


@pytest.mark.rule("SIP-34")
def test_credentials_that_are_refused_are_known_as_that() -> None:
    made = town(PINGED, gateway(2))
    made.wait(20_000)
    for _ in range(3):
        made.engine.core.watch.refused(PINGED, made.now)
    assert made.state() == "down credentials_refused"
    # That it answers pings says nothing about them.
    made.wait(29_000)
    assert made.of()["state"] == "down"
    made.wait(12_000)
    assert made.of()["state"] == "up"


@pytest.mark.rule("SIP-34")
def test_a_drained_server_pings_nobody() -> None:
    made = town(PINGED)
    made.wait(30_000)
    made.engine.drain(made.now)
    assert made.pings(100_000) == []
    made.use(PINGED, gateway(2))
    assert made.pings(100_000) == []
    assert made.engine.leftovers() == {"transactions": 0, "timers": 0, "calls": 0}
