"""Who is known by where a packet really came from (SIP-20)."""

from __future__ import annotations

from typing import Any

import pytest

from sipsvc.auth.acl import Acl
from sipsvc.directory import Trunk
from sipsvc.directory.model import Networks
from sipsvc.effects import Flow
from tests.unit.wire import CALLEE, CUSTOMER, GATES, STRANGER, US, Wire, directory, gateway, request

TRUNKS = [
    Trunk("net", "acme", source="198.51.100.0/24"),
    Trunk("half", "acme", source="198.51.100.128/25"),
    Trunk("one", "acme", source="198.51.100.200/32", port=5070),
    Trunk("any", "acme", source="192.0.0.0/8"),
    Trunk("six", "acme", source="2001:db8::/32"),
    Trunk("six-one", "acme", source="2001:db8::9/128"),
    Trunk("off", "acme", source="198.51.100.7/32", enabled=False),
    Trunk("user", "acme", username="alice", ha1_md5="0" * 32),
    Trunk("port", "acme", source="203.0.113.50/32", port=5080),
    Trunk("portless", "acme", source="203.0.113.50/32"),
]
SOURCES: list[tuple[str, int, str]] = [
    ("198.51.100.1", 5060, "net"),
    ("198.51.100.127", 5060, "net"),
    ("198.51.100.128", 5060, "half"),
    ("198.51.100.200", 5070, "one"),
    ("198.51.100.200", 5071, "half"),
    ("198.51.100.7", 5060, "net"),
    ("192.200.3.4", 1, "any"),
    ("203.0.113.50", 5080, "port"),
    ("203.0.113.50", 5081, "portless"),
    ("203.0.113.51", 5080, ""),
    ("2001:db8::1", 5060, "six"),
    ("2001:db8::9", 5060, "six-one"),
    ("2001:0DB8:0:0:0:0:0:9", 5060, "six-one"),
    ("2001:db9::1", 5060, ""),
    ("10.0.0.1", 5060, ""),
    ("no.address", 5060, ""),
    ("", 0, ""),
]


def networks(trunks: list[Trunk]) -> Networks:
    return directory(trunks=trunks).networks


@pytest.mark.rule("SIP-20")
def test_the_longest_network_wins_and_a_port_before_none() -> None:
    for trunks in (TRUNKS, TRUNKS[::-1]):
        acl = Acl(networks(trunks))
        for _ in range(2):  # the second time from memory
            for host, port, trunk in SOURCES:
                found = acl.find(host, port)
                assert (found.id if found else "") == trunk, (host, port)


@pytest.mark.rule("SIP-20", "SIP-3")
def test_many_sources_are_not_all_remembered_and_still_told_apart() -> None:
    acl = Acl(networks(TRUNKS))
    for number in range(6_000):
        host = f"10.{number >> 8}.{number & 255}.1"
        assert acl.find(host, 5060) is None
    late = acl.find("198.51.100.128", 5060)
    assert late is not None
    assert late.id == "half"


@pytest.mark.rule("SIP-20")
@pytest.mark.parametrize(
    ("flow", "fields", "what"),
    [
        (CUSTOMER, {}, "INVITE"),
        (CUSTOMER._replace(port=40_000), {}, "INVITE"),
        (CUSTOMER, {"Via": "SIP/2.0/UDP 203.0.113.1:5080;branch=z9hG4bK-1", "Contact": "<sip:x@10.0.0.1>"}, "INVITE"),
        (STRANGER, {}, "407 INVITE"),
        (STRANGER, {"Via": f"SIP/2.0/UDP {CUSTOMER.host};branch=z9hG4bK-1;received={CUSTOMER.host}"}, "407 INVITE"),
        (STRANGER, {"Contact": f"<sip:x@{CUSTOMER.host}>"}, "407 INVITE"),
        (GATES[0], {}, "403 INVITE"),
        (GATES[0]._replace(port=40_000), {}, "407 INVITE"),
    ],
)
def test_only_the_real_source_counts(flow: Flow, fields: dict[str, Any], what: str) -> None:
    wire = Wire()
    sent = wire.give(request("INVITE", f"sip:{CALLEE}@{US}", **fields), flow)
    assert sent[-1].what == what
    assert bool(wire.records) == (what == "INVITE")


@pytest.mark.rule("SIP-20")
def test_a_gateway_is_a_gateway_even_inside_a_customers_network() -> None:
    book = directory(gateway(), trunks=[Trunk("wide", "acme", source="203.0.113.0/24")])
    wire = Wire(book)
    refused = wire.give(request(), GATES[0])[-1]
    assert (refused.what, wire.engine.counters) == ("403 INVITE", {"gateway_inbound": 1})
    assert wire.give(request(), GATES[1])[-1].what == "INVITE"
    assert (wire.records[0]["trunk"], wire.records[0]["source"]) == ("wide", "203.0.113.2:5080")
