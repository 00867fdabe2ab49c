"""Which number a call shows, and what of the caller's own words never reaches a gateway (SIP-23, SIP-26, TG-4)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sipsvc.directory import Block, CallerIds, Platform, assemble
from sipsvc.message import parse_uri
from sipsvc.routing.policy import caller_id, verdict
from tests.unit.wire import CALLEE, CUSTOMERS, GATES, US, Wire, answer, directory, gateway, request, talking

OWN, OTHERS, DEFAULT = "442071838750", "15551234567", "442070000000"
URI = f"sip:{CALLEE}@{US}"
REFUSE = CallerIds(("4420718387*", "33199"), DEFAULT, "refuse")
REPLACE = replace(REFUSE, otherwise="default")
NOTHING = CallerIds()

# caller IDs, From's user, P-Preferred-Identity's user; the number shown ("" refuses)
ROWS: list[tuple[CallerIds, str, str | None, str]] = [
    (REFUSE, OWN, None, OWN),
    (REFUSE, f"+{OWN}", None, OWN),
    (REFUSE, f"%2B{OWN}", None, OWN),
    (REFUSE, f"00{OWN}", None, OWN),
    (REFUSE, "33199", None, "33199"),
    (REFUSE, "331990", None, ""),
    (REFUSE, "442071838", None, ""),
    (REFUSE, DEFAULT, None, DEFAULT),
    (REFUSE, OTHERS, None, ""),
    (REFUSE, "ann", None, ""),
    (REFUSE, "anonymous", None, ""),
    (REFUSE, "", None, ""),
    (REFUSE, OTHERS, OWN, OWN),
    (REFUSE, "anonymous", OWN, OWN),
    (REFUSE, OWN, "33199", "33199"),
    (REFUSE, OWN, OTHERS, OWN),
    (REFUSE, OTHERS, OTHERS, ""),
    (REPLACE, OTHERS, None, DEFAULT),
    (REPLACE, "ann", None, DEFAULT),
    (REPLACE, "Anonymous", None, DEFAULT),
    (REPLACE, OTHERS, "ann", DEFAULT),
    (REPLACE, OWN, None, OWN),
    (CallerIds(("*",)), OTHERS, None, OTHERS),
    (CallerIds((), "", "default"), OTHERS, None, ""),
    (NOTHING, OWN, None, ""),
    (NOTHING, "", None, ""),
]


@pytest.mark.rule("SIP-23")
@pytest.mark.parametrize(("ids", "own", "preferred", "shown"), ROWS)
def test_the_number_shown(ids: CallerIds, own: str, preferred: str | None, shown: str) -> None:
    customer = replace(CUSTOMERS, caller_ids=ids)
    wanted = parse_uri(f"sip:{preferred}@h") if preferred is not None else None
    assert caller_id(customer, parse_uri(f"sip:{own}@h"), wanted).number == shown


# Headers of the caller's INVITE, and the user of the From that the gateway may see, "" where it may be refused.
FROMS: list[tuple[CallerIds, str, list[str], str]] = [
    (REFUSE, f'"Ann" <sip:{OWN}@h>;tag=1', [], OWN),
    (REFUSE, f"<sip:+{OWN}@h>;tag=1", [], f"+{OWN}"),
    (REPLACE, f"<sip:{OTHERS}@h>;tag=1", [], DEFAULT),
    (REPLACE, f'"{OTHERS}" <sip:{OTHERS}@h>;tag=1', [], DEFAULT),
    (REPLACE, f"<tel:+{OTHERS}>;tag=1", [], DEFAULT),
    (REPLACE, "<sip:anonymous@anonymous.invalid>;tag=1", [], "anonymous"),
    (REPLACE, f"<sip:{OTHERS}@h>;tag=1", ["Privacy: id"], "anonymous"),
    (REFUSE, f"<sip:{OTHERS}@h>;tag=1", [f"P-Preferred-Identity: <sip:{OWN}@h>"], OWN),
    (REFUSE, f"<sip:{OTHERS}@h>;tag=1", [f"P-Preferred-Identity: <sip:{OWN}@h>", "Privacy: id"], "anonymous"),
    (REFUSE, f"<sip:{OWN}@h>;tag=1", [f"P-Preferred-Identity: <sip:{OTHERS}@h>"], OWN),
    (REFUSE, f"<sip:{OWN}@h>;tag=1", ["P-Preferred-Identity: <<"], OWN),
    (REFUSE, f"<sip:{OTHERS}@h>;tag=1", [f"P-Asserted-Identity: <sip:{OWN}@h>"], ""),
    (REFUSE, f"<sip:{OTHERS}@h>;tag=1", [f"Remote-Party-ID: <sip:{OWN}@h>"], ""),
]


@pytest.mark.rule("SIP-23")
@pytest.mark.parametrize(("ids", "own", "extra", "seen"), FROMS)
@pytest.mark.parametrize("prefix", ["", "77"])
def test_no_number_that_is_not_its_own_reaches_a_gateway(
    ids: CallerIds, own: str, extra: list[str], seen: str, prefix: str
) -> None:
    wire = Wire(directory(gateway(caller_prefix=prefix), customer=replace(CUSTOMERS, caller_ids=ids)))
    sent = wire.give(request("INVITE", URI, *extra, From=own))[-1]
    if not seen:
        assert (sent.what, wire.end["code"]) == ("403 INVITE", "caller_not_allowed")
        return
    user = parse_uri(sent.message.from_.uri).user
    assert user in (seen, prefix + seen.lstrip("+"))
    assert sent.message.from_.tag == "1"
    if OTHERS in own:
        assert OTHERS not in (sent.message.get("from") or "")


IDENTITY = [
    "P-Asserted-Identity: <sip:1@h>",
    "P-Asserted-Identity: <tel:+1>",
    "p-asserted-identity :<sip:2@h>",
    "P-Preferred-Identity: <sip:3@h>",
    "Remote-Party-ID: <sip:4@h>;screen=yes",
    "Diversion: <sip:5@h>;reason=unconditional",
]
NAMES = ("p-asserted-identity", "p-preferred-identity", "remote-party-id", "diversion")


@pytest.mark.rule("SIP-23", "TG-4", "TG-3")
@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("method", ["INVITE first", "INVITE", "UPDATE", "INFO", "BYE", "ACK"])
def test_identity_of_the_customers_own_never_passes(method: str, trusted: bool) -> None:
    one = gateway(trusted=trusted, p_asserted_identity=True, remote_party_id=True)
    wire = Wire(directory(one))
    first = request("INVITE", URI, *IDENTITY)
    if method == "INVITE first":
        sent = wire.give(first)[-1].message
        assert sent.all("p-asserted-identity") == [f"<sip:{OWN}@192.0.2.1>"]
        assert len(sent.all("remote-party-id")) == 1
        assert f"<sip:{OWN}@192.0.2.1>" in sent.all("remote-party-id")[0]
        assert not sent.all("p-preferred-identity") + sent.all("diversion")
        return
    talk = talking(wire, invite=first)
    sent = wire.give(talk.by_caller(method, 2, *IDENTITY))[-1].message
    assert sent.method == method
    assert [name for name in NAMES if sent.all(name)] == []


@pytest.mark.rule("SIP-23")
def test_what_the_gateway_says_of_itself_reaches_the_caller_only_if_it_is_trusted() -> None:
    said = {}
    for trusted in (False, True):
        wire = Wire(directory(gateway(trusted=trusted)))
        invite = wire.give(request())[-1].message
        up = wire.give(answer(invite, 180, "P-Asserted-Identity: <sip:1@h>"), GATES[0])[-1].message
        said[trusted] = up.all("p-asserted-identity")
    assert said == {False: [], True: ["<sip:1@h>"]}


BLOCKED = assemble(1, Platform(), [
    Block(f"{partner}-{prefix}", partner, prefix, why)
    for partner, prefix, why in (
        ("", "979", "platform"), ("", "9791", "worse"), ("", "1", "all of it"),
        ("ours", "44", "ours alone"), ("ours", "97977", "longer"), ("ours", "9791", "as well"),
    )
])  # fmt: skip


def blocked(partner: str, number: str) -> Block | None:
    return verdict(BLOCKED, replace(CUSTOMERS, partner=partner), number).block


@pytest.mark.rule("SIP-26")
@pytest.mark.parametrize(
    ("number", "prefix"),
    [
        ("979123", "9791"),
        ("979", "979"),
        ("97923", "979"),
        ("978", ""),
        ("97", ""),
        ("49979", ""),
        ("", ""),
        ("1", "1"),
        ("12", "1"),
    ],
)
def test_the_longest_blocked_prefix(number: str, prefix: str) -> None:
    found = blocked("ours", number)
    assert (found.prefix if found else "") == prefix


@pytest.mark.rule("SIP-26")
@pytest.mark.parametrize(
    ("partner", "number", "why"),
    [
        ("ours", "9795", "platform"),
        ("ours", "4470", "ours alone"),
        ("theirs", "4470", ""),
        ("ours", "97977", "longer"),
        ("theirs", "97977", "platform"),
        ("nobody", "979", "platform"),
        # Both block it: the platform says why.
        ("ours", "9791", "worse"),
    ],
)
def test_a_partner_blocks_for_its_own_customers(partner: str, number: str, why: str) -> None:
    found = blocked(partner, number)
    assert (found.reason if found else "") == why
