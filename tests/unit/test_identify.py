"""Who a call is from: tech prefixes, certificates, and what is asked before what (SIP-20)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sipsvc.auth.acl import Acl, behind
from sipsvc.directory import Directory, DirectoryError, Trunk
from sipsvc.effects import Flow, Listener
from tests.unit.test_digest import Phone, trunk
from tests.unit.wire import CALLEE, CUSTOMERS, RETAIL, STRANGER, US, Sent, Wire, directory, gateway, request

SHARED = Flow("UDP", "198.51.100.77", 5070)
SHOWN, OTHER_SHOWN = "ab" * 32, "cd" * 32
LISTENERS = (Listener("UDP", "192.0.2.1", 5060), Listener("TLS", "192.0.2.1", 5061))
BY_TLS = Flow("TLS", STRANGER.host, 40_001, 1, 7)

TRUNKS = (
    Trunk("five", "acme", source="198.51.100.77/32", tech_prefix="5"),
    Trunk("fifty-five", "acme", source="198.51.100.77/32", tech_prefix="55"),
    Trunk("hash", "acme", source="198.51.100.77/32", tech_prefix="9#"),
    Trunk("port", "acme", source="198.51.100.77/32", tech_prefix="5", port=5071),
    Trunk("wide", "acme", source="198.51.100.64/26", tech_prefix="8*"),
    Trunk("shown", "acme", certificate=SHOWN),
    Trunk("off", "acme", certificate=OTHER_SHOWN, enabled=False),
    trunk("alice", "wonder"),
)


def told(wire: Wire, dialled: str, flow: Flow = SHARED) -> Sent:
    """The last thing that left because of a call to what was dialled."""
    return wire.give(request("INVITE", f"sip:{dialled}@{US}"), flow)[-1]


@pytest.mark.rule("SIP-20")
@pytest.mark.parametrize(
    ("dialled", "flow", "known", "number"),
    [
        (f"5{CALLEE}", SHARED, "five", CALLEE),
        (f"55{CALLEE}", SHARED, "fifty-five", CALLEE),
        (f"500{CALLEE}", SHARED, "five", f"00{CALLEE}"),
        (f"5%2B{CALLEE}", SHARED, "five", f"%2B{CALLEE}"),
        (f"%35%35{CALLEE}", SHARED, "fifty-five", CALLEE),
        (f"9%23{CALLEE}", SHARED, "hash", CALLEE),
        (f"8*{CALLEE}", SHARED, "wide", CALLEE),
        (f"8%2a{CALLEE}", SHARED._replace(host="198.51.100.99"), "wide", CALLEE),
        (f"5{CALLEE}", SHARED._replace(port=5071), "port", CALLEE),
        # The one with a port is asked first, however long the other's prefix is.
        (f"55{CALLEE}", SHARED._replace(port=5071), "port", f"5{CALLEE}"),
        (f"5{CALLEE}", SHARED._replace(transport="TLS", listener=1, conn=3), "five", CALLEE),
        (CALLEE, SHARED, "", ""),
        (f"9{CALLEE}", SHARED, "", ""),
        (f"5{CALLEE}", STRANGER, "", ""),
    ],
)
def test_what_is_dialled_tells_customers_behind_one_address_apart(
    dialled: str, flow: Flow, known: str, number: str
) -> None:
    wire = Wire(directory(trunks=TRUNKS), listeners=LISTENERS)
    sent = told(wire, dialled, flow)
    if not known:
        assert (sent.what, wire.records) == ("407 INVITE", [])
        return
    (start, *_) = wire.records
    assert (start["trunk"], start["auth"], start["dialled"]) == (known, "ip", number)
    assert ["number", number, start["e164"]] in [list(entry) for entry in start["trace"]]
    if start["e164"] == CALLEE:
        assert sent.message.uri == f"sip:{CALLEE}@203.0.113.1:5080", "a gateway sees no tech prefix"


@pytest.mark.rule("SIP-20", "SIP-26")
@pytest.mark.parametrize("dialled", ["5979123456", "5%2b979123456", "5%39%37%39123456", "5-979-123456"])
def test_behind_a_tech_prefix_a_number_is_blocked_like_any(dialled: str) -> None:
    wire = Wire(directory(trunks=TRUNKS))
    told(wire, dialled)
    assert (wire.records[0]["trunk"], wire.end["code"]) == ("five", "dest_blocked")


@pytest.mark.rule("SIP-20")
def test_a_tel_uri_has_its_tech_prefix_taken_off_too() -> None:
    wire = Wire(directory(trunks=TRUNKS))
    wire.give(request("INVITE", f"tel:55{CALLEE};phone-context=example.com"), SHARED)
    assert (wire.records[0]["trunk"], wire.records[0]["e164"]) == ("fifty-five", CALLEE)


@pytest.mark.parametrize(
    ("prefix", "dialled", "rest"),
    [
        ("5", "5", ""), ("5", "", None), ("5", "%3", None), ("5", "%", None), ("55", "5", None),
        ("55", "%355%41", "%41"), ("9#", "9#1", "1"), ("9#", "9%2", None), ("*1", "%2A11", "1"),
    ],
)  # fmt: skip
def test_what_is_behind_a_prefix(prefix: str, dialled: str, rest: str | None) -> None:
    assert behind(prefix, dialled) == rest


@pytest.mark.rule("SIP-20")
def test_the_longest_prefix_wins_in_whatever_order_trunks_came() -> None:
    for trunks in (TRUNKS, TRUNKS[::-1]):
        acl = Acl(directory(trunks=trunks).networks)
        for dialled, known in (("551", "fifty-five"), ("541", "five"), ("9%231", "hash"), ("1", "")):
            found = acl.find(SHARED.host, SHARED.port, dialled)
            assert (found.id if found else "") == known
        assert acl.knows(SHARED.host, 1) and not acl.knows(STRANGER.host, 1)


@pytest.mark.rule("SIP-20", "SIP-24")
def test_an_address_with_prefixes_is_no_stranger_to_be_limited() -> None:
    wire = Wire(directory(trunks=TRUNKS))
    assert len([one for _ in range(1_500) for one in wire.give(request("OPTIONS"), SHARED)]) == 1_500


@pytest.mark.rule("SIP-20")
@pytest.mark.parametrize(
    ("certificate", "known"), [(SHOWN, "shown"), (OTHER_SHOWN, ""), (SHOWN[:-1] + "c", ""), ("", "")]
)
def test_a_certificate_says_who_it_is(certificate: str, known: str) -> None:
    wire = Wire(directory(trunks=TRUNKS), listeners=LISTENERS)
    sent = told(wire, CALLEE, BY_TLS._replace(certificate=certificate))
    assert [(one["trunk"], one["auth"]) for one in wire.records[:1]] == ([(known, "certificate")] if known else [])
    assert (sent.what == "407 INVITE") is not known


def made(*trunks: Trunk) -> Directory:
    other = replace(CUSTOMERS, id="other")
    book = directory(gateway(), trunks=trunks)
    return replace(book, customers={**book.customers, "other": other})


@pytest.mark.rule("SIP-20")
def test_the_order_is_dialog_gateway_certificate_address_digest() -> None:
    by_address = Trunk("address", "acme", source=f"{STRANGER.host}/32")
    by_digest = trunk("alice", "wonder")
    shown = Trunk("shown", "acme", certificate=SHOWN)
    flow = BY_TLS._replace(certificate=SHOWN)
    for trunks, known in (
        ((by_address, by_digest, shown), "shown"),
        ((by_address, by_digest), "address"),
        ((by_digest,), "alice"),
    ):
        phone = Phone(Wire(made(*trunks), listeners=LISTENERS), flow=flow)
        first = phone.challenge()
        if first.message.status == 407:
            phone.say([phone.line(Phone(phone.wire).nonce())])
        assert [one["trunk"] for one in phone.wire.records if one["kind"] == "start"] == [known]
    # A gateway is none of them, whatever it shows.
    theirs = gateway(host=STRANGER.host, port=BY_TLS.port, transport="tls")
    wire = Wire(directory(theirs, trunks=[by_address, by_digest, shown]), listeners=LISTENERS)
    assert (told(wire, CALLEE, flow).what, wire.engine.counters) == ("403 INVITE", {"gateway_inbound": 1})


@pytest.mark.rule("SIP-20")
def test_a_certificate_is_one_trunks_alone() -> None:
    with pytest.raises(DirectoryError, match=r"its certificate (ab)+ is also that of trunk"):
        directory(trunks=[Trunk("one", "acme", certificate=SHOWN), Trunk("two", "acme", certificate=SHOWN)])
    book = directory(
        trunks=[Trunk("one", "acme", certificate=SHOWN, enabled=False), Trunk("two", "acme", certificate=SHOWN)]
    )
    assert {key: one.id for key, one in book.certificates.items()} == {SHOWN: "two"}
    assert RETAIL.id in book.pricelists
