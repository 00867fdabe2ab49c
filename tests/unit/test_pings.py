"""How gateways do by what pings tell, and what a change of the directory leaves of it (SIP-34)."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from sipsvc.effects import Flow, Listener, Target
from tests.unit.carriers import listened, town
from tests.unit.wire import GATES, LISTENERS, gateway

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
def test_whom_pings_took_out_and_brought_back_starts_anew_with_numbers_too() -> None:
    made = town(replace(PINGED, down_after=2), gateway(2))
    made.says = {GATES[0].host: "503", GATES[1].host: "486"}
    made.call(0, "33123456789")
    made.wait(100_000)
    assert made.state() == "down ping_503"
    made.says[GATES[0].host] = "200"
    made.wait(20_000)
    assert made.state() == "up ping_answered"
    assert made.of()["failures"] == 0
    made.says[GATES[0].host] = "503"
    assert made.call(0, "33123456789") == ["gw1", "gw2"]
    assert made.of()["failures"] == 1


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
            assert made.engine.admission.limits.health.down == frozenset()
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
    before = made.engine.admission.limits.health.down
    made.use(gateway(1, down_after=1), gateway(2), gateway(3))
    made.call(0)
    assert made.engine.admission.limits.health.down is before


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
