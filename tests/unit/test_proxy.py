"""The engine by bytes, before and around a call: loops, hops, strangers, keepalives, strays (SIP-7, 9..11, 16)."""

from __future__ import annotations

import re

import pytest

from sipsvc.effects import Flow, Listener
from tests.unit.wire import (
    CALLEE,
    CUSTOMER,
    GATES,
    LISTENERS,
    STRANGER,
    US,
    Wire,
    answer,
    datagram,
    directory,
    gateway,
    request,
    talking,
)

URI = f"sip:{CALLEE}@{US}"
VIA = f"Via: SIP/2.0/UDP {CUSTOMER.host}:{CUSTOMER.port};branch=z9hG4bK-1;rport"

# What is asked of us outside a call: bytes, what leaves (in order), the counter.
ASKED: dict[str, tuple[bytes, list[str], str]] = {
    "no hops left": (request(Max_Forwards="0"), ["483 INVITE"], "too_many_hops"),
    "hops past reason": (request(Max_Forwards="1000"), ["400 INVITE"], "malformed"),
    "an extension wanted of proxies": (request("INVITE", URI, "Proxy-Require: a, b"), ["420 INVITE"], "bad_extension"),
    "an extension before the method": (request("REFER", URI, "Proxy-Require: a, b"), ["420 REFER"], "bad_extension"),
    "a preloaded Route elsewhere": (request("INVITE", URI, "Route: <sip:203.0.113.66;lr>"), ["403 INVITE"], "relay"),
    "a preloaded Route past us": (request("INVITE", URI, f"Route: <sip:{US};lr>, <sip:x;lr>"), ["403 INVITE"], "relay"),
    "two Route lines": (request("INVITE", URI, f"Route: <sip:{US};lr>", "Route: <sip:x>"), ["403 INVITE"], "relay"),
    "a broken Route": (request("INVITE", URI, "Route: <sip:"), ["400 INVITE"], "malformed"),
    "a Route that is us": (request("INVITE", URI, f"Route: <sip:{US};lr>"), ["100 INVITE", "INVITE"], ""),
    "us without port": (request("INVITE", URI, "Route: <sip:192.0.2.1;lr>"), ["100 INVITE", "INVITE"], ""),
    "a broken Record-Route": (request("INVITE", URI, 'Record-Route: foo"'), ["400 INVITE"], "malformed"),
    "OPTIONS to us": (request("OPTIONS", f"sip:{US}"), ["200 OPTIONS"], ""),
    "OPTIONS without hops": (request("OPTIONS", f"sip:{US}", Max_Forwards="0"), ["200 OPTIONS"], ""),
    "REGISTER": (request("REGISTER", f"sip:{US}"), ["405 REGISTER"], "method_not_allowed"),
    "REFER": (request("REFER"), ["405 REFER"], "method_not_allowed"),
    "MESSAGE": (request("MESSAGE"), ["405 MESSAGE"], "method_not_allowed"),
    "SUBSCRIBE": (request("SUBSCRIBE"), ["405 SUBSCRIBE"], "method_not_allowed"),
    "PUBLISH": (request("PUBLISH"), ["405 PUBLISH"], "method_not_allowed"),
    "an unknown method": (request("DANCE"), ["405 DANCE"], "method_not_allowed"),
    "BYE of nothing": (request("BYE"), ["405 BYE"], "method_not_allowed"),
    "BYE inside nothing": (request("BYE", To="<sip:x@h>;tag=1"), ["481 BYE"], "no_dialog"),
    "INVITE inside nothing": (request(To="<sip:x@h>;tag=1"), ["481 INVITE"], "no_dialog"),
    "ACK of nothing": (request("ACK", To="<sip:x@h>;tag=1"), [], "stray_ack"),
    "CANCEL of nothing": (request("CANCEL"), ["481 CANCEL"], "cancel_unknown"),
}  # fmt: skip


@pytest.mark.rule("SIP-9", "SIP-11", "SIP-16", "SIP-17", "SIP-24")
@pytest.mark.parametrize("name", ASKED)
def test_outside_a_call(name: str) -> None:
    data, what, code = ASKED[name]
    wire = Wire()
    sent = wire.give(data)
    assert [one.what for one in sent] == what
    assert wire.engine.counters == ({code: 1} if code else {})
    for one in sent:
        message = one.message
        if message.status < 200:
            continue
        # RFC 3581 §4: where it really came from, for the caller asked with rport.
        assert message.via.params.endswith(f";received={CUSTOMER.host};rport={CUSTOMER.port}")
        assert message.to.tag
        if message.status == 405:
            assert {"INVITE", "ACK", "CANCEL", "BYE", "OPTIONS"} <= set(message.all("allow"))
        if message.status == 420:
            assert message.all("unsupported") == ["a", "b"]
        assert wire.records == []
        assert wire.engine.leftovers()["transactions"] == 0


@pytest.mark.rule("SIP-11")
@pytest.mark.parametrize(("came", "goes"), [("", "70"), ("70", "69"), ("1", "0"), ("255", "254")])
def test_max_forwards(came: str, goes: str) -> None:
    sent = Wire().give(request(Max_Forwards=came))[-1]
    assert sent.message.all("max-forwards") == [goes]


def again(wire: Wire, forwarded: bytes, uri: str = "", **changes: bytes) -> list[str]:
    """The INVITE we forwarded comes back to us by way of somebody whose Via is on top."""
    start, _, rest = forwarded.partition(b"\r\n")
    start = f"INVITE {uri} SIP/2.0".encode() if uri else start
    data = start + b"\r\nVia: SIP/2.0/UDP 198.51.100.10:5090;branch=z9hG4bKback\r\n" + rest
    for old, new in changes.items():
        data = data.replace(old.encode(), new)
    lines = [line for line in data.split(b"\r\n") if not line.startswith(b"Record-Route")]
    return [one.what for one in wire.give(b"\r\n".join(lines))]


@pytest.mark.rule("SIP-11")
def test_a_loop_a_spiral_and_the_same_request_by_two_ways() -> None:
    wire = Wire()
    forwarded = wire.give(request())[-1].data
    assert again(wire, forwarded, URI) == ["482 INVITE"]
    assert again(wire, forwarded, f"sip:33999@{US}") == ["100 INVITE", "INVITE"]
    two = request(Via="SIP/2.0/UDP other.way:5060;branch=z9hG4bK-two")
    assert [one.what for one in wire.give(two)] == ["482 INVITE"]
    assert wire.engine.counters == {"loop": 1, "merged": 1}
    others = {
        "another CSeq": request(Via="SIP/2.0/UDP o:1;branch=z9hG4bK-3", CSeq="2 INVITE"),
        "another tag": request(Via="SIP/2.0/UDP o:1;branch=z9hG4bK-4", From="<sip:442071838750@h>;tag=new"),
        "another Call-ID": request(Via="SIP/2.0/UDP o:1;branch=z9hG4bK-5", Call_ID="call-5"),
        "another URI": request("INVITE", f"sip:33555@{US}", Via="SIP/2.0/UDP o:1;branch=z9hG4bK-6"),
    }
    for name, data in others.items():
        assert [one.what for one in wire.give(data)] == ["100 INVITE", "INVITE"], name
    assert wire.kinds() == ["start"] * 6


@pytest.mark.rule("SIP-10")
def test_a_repeated_invite_makes_no_second_call() -> None:
    wire = Wire()
    wire.give(request())
    assert [one.what for one in wire.give(request())] == ["100 INVITE"]
    assert wire.kinds() == ["start"]
    invite = wire.sent[1].message
    wire.give(answer(invite, 180), GATES[0])
    assert [one.what for one in wire.give(request())] == ["180 INVITE"]
    wire.give(answer(invite, 200), GATES[0])
    assert wire.give(request()) == []
    assert wire.kinds() == ["start", "answer"]


@pytest.mark.rule("SIP-10")
def test_a_caller_we_know_gets_100_at_once_and_no_100_of_anybody_elses() -> None:
    wire = Wire()
    first, second = wire.give(request("INVITE", URI, "Timestamp: 54.2"))
    assert (first.what, second.what) == ("100 INVITE", "INVITE")
    assert (first.message.get("timestamp"), first.message.to.tag) == ("54.2", "")
    assert wire.give(answer(second.message, 100), GATES[0]) == []


@pytest.mark.rule("SIP-10")
def test_strangers_are_answered_without_memory_and_always_alike() -> None:
    wire = Wire()
    first, second = (wire.give(request(), STRANGER) for _ in range(2))
    assert [one.what for one in first + second] == ["407 INVITE"] * 2
    assert first[0].message.to.tag == second[0].message.to.tag != ""
    assert wire.give(request(Call_ID="other"), STRANGER)[0].message.to.tag != first[0].message.to.tag
    assert wire.give(request("ACK", To=first[0].message.get("to") or ""), STRANGER) == []
    assert wire.engine.leftovers() == {"transactions": 0, "timers": 0, "calls": 0}
    assert wire.engine.counters == {"no_credentials": 3, "stray_ack": 1}
    assert wire.wait(60_000) == []
    assert all(len(one.data) <= 4 * len(request()) for one in wire.sent)


@pytest.mark.rule("SIP-9")
@pytest.mark.parametrize(
    ("data", "back"), [(b"\r\n\r\n", [b"\r\n"]), (b"\r\n", []), (b"\x00\x00\x00\x00", []), (b"", [])]
)
def test_keepalives(data: bytes, back: list[bytes]) -> None:
    wire = Wire()
    assert [one.data for one in wire.give(data, STRANGER)] == back
    assert wire.engine.counters == {}


@pytest.mark.rule("SIP-9", "SIP-3")
def test_stray_responses_are_dropped_by_name() -> None:
    wire = Wire()
    invite = wire.give(request())[-1].message
    good = answer(invite, 180)
    strays = {
        "foreign_via": good.replace(b"192.0.2.1:5060;branch", b"192.0.2.9:5060;branch"),
        "stray_response": re.sub(rb"branch=z9hG4bK[0-9a-f]{16}", b"branch=z9hG4bK" + b"0" * 16, good),
        "no_via_left": b"\r\n".join(line for line in good.split(b"\r\n") if not line.startswith(VIA.encode()[:30])),
    }
    strays["foreign_via"] = strays["foreign_via"].replace(b"z9hG4bK", b"z9hG4bKx", 1)
    for code, data in strays.items():
        before = dict(wire.engine.counters)
        assert wire.give(data, GATES[0]) == [], code
        assert wire.engine.counters == {**before, code: 1}
    assert [one.what for one in wire.give(good, GATES[0])] == ["180 INVITE"]


@pytest.mark.rule("SIP-7")
@pytest.mark.parametrize(
    ("via", "flow", "stamped"),
    [
        ("SIP/2.0/UDP h:5070;branch=z9hG4bK-1", CUSTOMER, "SIP/2.0/UDP h:5070;branch=z9hG4bK-1;received=198.51.100.10"),
        ("SIP/2.0/UDP 198.51.100.10:9;branch=z9hG4bK-1", CUSTOMER, "SIP/2.0/UDP 198.51.100.10:9;branch=z9hG4bK-1"),
        ("SIP/2.0/UDP 198.51.100.10:9;rport;branch=z9hG4bK-1", CUSTOMER,
         "SIP/2.0/UDP 198.51.100.10:9;branch=z9hG4bK-1;received=198.51.100.10;rport=5062"),
        ("SIP/2.0/UDP h;branch=z9hG4bKrport1", CUSTOMER, "SIP/2.0/UDP h;branch=z9hG4bKrport1;received=198.51.100.10"),
        ("SIP/2.0/UDP h;branch=z9hG4bK-1;received=10.0.0.1;rport=1", CUSTOMER,
         "SIP/2.0/UDP h;branch=z9hG4bK-1;received=198.51.100.10;rport=5062"),
        ('SIP/2.0/UDP h;branch=z9hG4bK-1;x="a,b;rport"', CUSTOMER,
         'SIP/2.0/UDP h;branch=z9hG4bK-1;x="a,b;rport";received=198.51.100.10'),
        ("SIP/2.0/UDP h;branch=z9hG4bK-1, SIP/2.0/UDP b;branch=z9hG4bKb", CUSTOMER,
         "SIP/2.0/UDP h;branch=z9hG4bK-1;received=198.51.100.10, SIP/2.0/UDP b;branch=z9hG4bKb"),
    ],
)  # fmt: skip
def test_where_a_request_really_came_from(via: str, flow: Flow, stamped: str) -> None:
    wire = Wire()
    up, forwarded = wire.give(request(Via=via), flow)
    assert ", ".join(up.message.all("via")) == stamped
    assert up.flow == flow
    assert ", ".join(forwarded.message.all("via")[1:]) == stamped
    assert forwarded.message.via.sent_by == US
    back = wire.give(answer(forwarded.message, 180), GATES[0])[0]
    assert ", ".join(back.message.all("via")) == stamped
    assert back.flow == flow


@pytest.mark.rule("SIP-7")
def test_via_and_record_route_carry_the_listeners_own_address() -> None:
    addresses = (("192.0.2.1", 5060), ("sip.example", 5080), ("2001:db8::1", 5060))
    listeners = tuple(Listener("UDP", *address) for address in addresses)
    for index, name in enumerate(("192.0.2.1:5060", "sip.example:5080", "[2001:db8::1]:5060")):
        wire = Wire(listeners=listeners)
        sent = wire.give(request(), CUSTOMER._replace(listener=index))
        assert [one.flow.listener for one in sent] == [index, index]
        assert sent[1].message.via.sent_by == name
        assert f"@{name};lr>" in (sent[1].message.get("record-route") or "")
        failed = wire.give(answer(sent[1].message, 302), GATES[0]._replace(listener=index))[-1]
        assert (failed.message.get("warning") or "").startswith(f"399 {name.rpartition(':')[0]} ")


@pytest.mark.rule("SIP-7")
def test_a_caller_behind_a_nat_is_reached_where_it_called_from() -> None:
    talk = talking(Wire(), invite=request(Contact="<sip:ann@10.0.0.5:5070>"))
    (bye,) = talk.wire.give(talk.by_callee("BYE", 1), GATES[0])
    assert (bye.flow, bye.message.uri) == (CUSTOMER, "sip:ann@10.0.0.5:5070")


@pytest.mark.rule("SIP-7")
def test_an_ipv6_gateway() -> None:
    """It is reached by the listener that can, whichever the call came by."""
    listeners = (*LISTENERS, Listener("UDP", "2001:db8::1", 5060, True))
    wire = Wire(directory(gateway(host="2001:db8::7")), listeners=listeners)
    sent = wire.give(request())[-1]
    assert (sent.flow, sent.message.uri) == (
        Flow("UDP", "2001:db8::7", 5080, 1),
        f"sip:{CALLEE}@[2001:db8::7]:5080",
    )
    assert sent.message.via.sent_by == "[2001:db8::1]:5060"


@pytest.mark.rule("SIP-16", "SIP-11")
def test_what_we_add_and_what_we_take_away() -> None:
    talk = talking(Wire(), invite=request("INVITE", URI, f"Route: <sip:{US};lr>", "Record-Route: <sip:edge;lr>"))
    invite = talk.forwarded
    ours, edge = invite.all("record-route")
    assert re.fullmatch(rf"<sip:[0-9a-f]{{33}}@{re.escape(US)};lr>", ours)
    assert edge == "<sip:edge;lr>"
    assert invite.all("route") == []
    assert len(invite.all("via")) == 2
    assert len(talk.ok.all("via")) == 1


@pytest.mark.rule("SIP-3")
def test_a_response_that_is_no_answer_to_anything_we_know_costs_nothing() -> None:
    wire = Wire()
    data = datagram("SIP/2.0 200 OK", f"Via: SIP/2.0/UDP {US};branch=z9hG4bK", "Via: SIP/2.0/UDP h;branch=z9hG4bKh",
                    "From: <sip:a@h>;tag=1", "To: <sip:b@h>;tag=2", "Call-ID: x", "CSeq: 1 INVITE")  # fmt: skip
    assert wire.give(data, STRANGER) == []
    assert wire.engine.counters == {"stray_response": 1}
