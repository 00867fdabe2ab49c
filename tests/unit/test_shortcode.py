"""Short codes before the dial plan, and emergency numbers past every rule (SIP-25)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sipsvc.directory import CallerIds, DialPlan, Directory, Platform, PrefixTable, ShortCode, assemble
from sipsvc.directory.model import Rewrite
from sipsvc.directory.rules import compile_rule
from sipsvc.routing.explain import explain, printed
from sipsvc.routing.question import Question
from tests.unit.wire import (
    BEGIN,
    CALLER,
    CUSTOMERS,
    GATES,
    RETAIL,
    STRANGER,
    US,
    Talk,
    Wire,
    answer,
    directory,
    gateway,
    request,
    row,
)

pytestmark = pytest.mark.rule("SIP-25")

VOICEMAIL = ShortCode("c1", "partner", "*98", "Voice mail", number="33123456")
DESK = ShortCode("c2", "partner", "400", "Service desk", gateways=("gw2",), dial="desk#1")
SOS = ShortCode("c3", "partner", "112", "Emergency", gateways=("gw3", "gw1"), dial="0112", emergency=True)
PLAIN_SOS = replace(SOS, dial="")


def book(*codes: ShortCode, gateways: Any = (), pricelist: Any = RETAIL, **customer: Any) -> Directory:
    plain = directory(*gateways, customer=replace(CUSTOMERS, **customer), pricelist=pricelist)
    tables = (plain.customers, plain.pricelists, plain.trunks, plain.gateways, plain.blocks)
    return assemble(8, Platform(), [*(item for table in tables for item in table.values()), *codes])  # type: ignore[attr-defined]


def dial(made: Directory, user: str, **fields: str) -> tuple[Wire, list[str]]:
    """What a call comes to: the request URIs that leave, or the status that goes back."""
    wire = Wire(made)
    uri = user if user.startswith("tel:") else f"sip:{user}@{US}"
    sent = wire.give(request("INVITE", uri, **fields))
    return wire, [one.message.uri if one.what == "INVITE" else str(one.message.status) for one in sent][1:]


def test_a_code_stands_for_a_number_which_every_rule_sees() -> None:
    wire, left = dial(book(VOICEMAIL), "*98")
    assert left == ["sip:33123456@203.0.113.1:5080"]
    assert wire.records[0]["e164"] == "33123456"
    assert ["shortcode", "*98", "*98", "33123456"] in [list(entry) for entry in wire.records[0]["trace"]]
    for number, code in (("979123", "dest_blocked"), ("882123", "dest_expensive"), ("611234", "no_price")):
        wire, left = dial(book(replace(VOICEMAIL, number=number)), "*98")
        assert (left, wire.end["code"]) == (["403"], code)


@pytest.mark.parametrize("user", ["*98", "%2A98", "%2a%39%38", "*9-8", "*%209.8", "*98;npdi", "*98:pw"])
def test_a_code_is_known_in_disguise_too(user: str) -> None:
    assert dial(book(VOICEMAIL), user)[1] == ["sip:33123456@203.0.113.1:5080"]


@pytest.mark.parametrize("user", ["+*98", "00*98", "*98;phone-context=+44", "*980", "98"])
def test_what_is_no_code(user: str) -> None:
    assert dial(book(VOICEMAIL), user)[1] == ["404"]


def test_it_comes_before_the_dial_plan_and_the_customers_own_before_the_partners() -> None:
    plan = DialPlan(("00",), "0", "44", "national")
    partners = ShortCode("p", "partner", "2000", "", number="33111111")
    own = ShortCode("o", "partner", "2000", "", customer="acme", number="33222222")
    others = ShortCode("x", "partner", "2000", "", customer="bolt", number="33333333")
    foreign = ShortCode("f", "other", "2000", "", number="33444444")
    for codes, number in (
        ([], "442000"),
        ([others, foreign], "442000"),
        ([partners, others], "33111111"),
        ([partners, own], "33222222"),
        ([own], "33222222"),
    ):
        wire, left = dial(book(*codes, dial_plan=plan, caller_ids=CallerIds(("*",))), "2000")
        assert wire.records[0]["e164"] == number
        assert left == [f"sip:{number}@203.0.113.1:5080"]


def test_a_code_to_a_gateway_is_dialled_there_as_it_stands_and_costs_nothing() -> None:
    rewrite = Rewrite("^", "00", compile_rule("^"))
    dressed = gateway(2, uri_prefix="9#", rewrites=(rewrite,), caller_prefix="77", p_asserted_identity=True)
    wire = Wire(book(DESK, gateways=(gateway(1), dressed)))
    invite = wire.give(request("INVITE", f"sip:400@{US}"))[-1]
    assert invite.message.uri == "sip:desk%231@203.0.113.2:5080"
    # How the caller is shown there is the gateway's as ever.
    assert invite.message.all("p-asserted-identity") == [f"<sip:77{CALLER}@192.0.2.1>"]
    ok = wire.give(answer(invite.message, 200), GATES[1])[-1]
    wire.wait(61_000)
    wire.give(Talk(wire, invite.message, ok.message).by_caller("BYE", 2))
    for side in ("sell", "buy"):
        priced = wire.end[side]
        assert (priced["amount"], priced["prefix"], priced["name"]) == ("0.000000", "400", "Service desk")
    assert (wire.records[0]["e164"], wire.records[0]["dialled"]) == ("", "400")


@pytest.mark.parametrize(
    ("customer", "status"),
    [({"status": "suspended"}, "403"), ({"max_channels": 1}, "486"), ({"caller_ids": CallerIds()}, "403")],
)
def test_only_emergency_codes_pass_the_rules(customer: dict[str, Any], status: str) -> None:
    for codes, expected in ((DESK, [status]), (replace(PLAIN_SOS, code="400"), ["sip:400@203.0.113.3:5080"])):
        wire = Wire(book(codes, **customer))
        if "max_channels" in customer:
            wire.give(request(Via="SIP/2.0/UDP 198.51.100.10:5062;branch=z9hG4bK-0", Call_ID="call-0"))
        last = wire.give(request("INVITE", f"sip:400@{US}"))[-1]
        assert [last.message.uri if last.what == "INVITE" else str(last.message.status)] == expected


# A customer that can do nothing at all: suspended, without prices, caller IDs, a plan or a channel.
NOTHING = {"status": "suspended", "caller_ids": CallerIds(), "dial_plan": DialPlan((), "", "", "refuse"),
           "max_channels": 1}  # fmt: skip
UNPRICED = replace(RETAIL, rows=PrefixTable())


@pytest.mark.parametrize(
    "user",
    ["112", "1-1-2", "%31%31%32", "1%2F12", "112;phone-context=+44", "112;phone-context=h.example", "112;npdi",
     "112:pw", "tel:112;phone-context=+49", "tel:1-12"],
)  # fmt: skip
def test_an_emergency_call_goes_to_the_gateways_named_for_it(user: str) -> None:
    wire, left = dial(book(SOS, pricelist=UNPRICED, **NOTHING), user)
    assert left == ["sip:0112@203.0.113.3:5080"]
    dialled = user.removeprefix("tel:").removesuffix(":pw")
    assert ("shortcode", dialled, "112", "emergency") in wire.records[0]["trace"]


def test_they_are_tried_in_the_order_named_and_no_other_is() -> None:
    wire = Wire(book(SOS, pricelist=UNPRICED, **NOTHING))
    first = wire.give(request("INVITE", f"sip:112@{US}"))[-1]
    second = wire.give(answer(first.message, 503), GATES[2])[-1]
    assert (first.flow, second.flow, second.message.uri) == (GATES[2], GATES[0], "sip:0112@203.0.113.1:5080")
    failed = wire.give(answer(second.message, 503), GATES[0])[-1]
    assert (failed.message.status, wire.end["code"]) == (500, "gateways_failed")


def test_a_gateway_that_is_off_is_passed_over() -> None:
    made = book(SOS, gateways=(gateway(1), gateway(3, enabled=False)))
    assert dial(made, "112")[1] == ["sip:0112@203.0.113.1:5080"]
    wire, left = dial(book(SOS, gateways=(gateway(2),)), "112")
    assert (left, wire.end["code"]) == (["404"], "no_route")


def test_an_emergency_call_is_charged_nothing_and_says_so() -> None:
    wire = Wire(book(SOS, pricelist=replace(UNPRICED, minimum=RETAIL.minimum + 1), **NOTHING))
    invite = wire.give(request("INVITE", f"sip:112@{US}"))[-1]
    ok = wire.give(answer(invite.message, 200), GATES[2])[-1]
    wire.wait(61_000)
    wire.give(Talk(wire, invite.message, ok.message).by_caller("BYE", 2))
    assert (wire.end["code"], wire.end["margin"]) == ("answered", "0.000000")
    assert (wire.end["sell"]["prefix"], wire.end["sell"]["amount"]) == ("112", "0.000000")
    assert wire.end["gateway"] == "gw3"


ANN = '"Ann" <sip:15550000000@acme.example>;tag=ann'
NAMELESS = '"Anonymous" <sip:anonymous@anonymous.invalid>;tag=ann'
EXTENSION = "<sip:ann@acme.example>;tag=ann"


@pytest.mark.parametrize(
    ("ids", "from_", "sent", "asserted", "said"),
    [
        (CallerIds(("1555*",)), ANN, ANN, ["<sip:15550000000@192.0.2.1>"], "kept"),
        (CallerIds(), ANN, ANN, ["<sip:15550000000@192.0.2.1>"], "let_through"),
        (CallerIds((), "442070000000"), ANN, "<sip:442070000000@acme.example>;tag=ann",
         ["<sip:442070000000@192.0.2.1>"], "replaced"),
        (CallerIds(), EXTENSION, EXTENSION, [], "let_through"),
        (CallerIds(), NAMELESS, NAMELESS, [], "let_through"),
        (CallerIds((), "442070000000"), NAMELESS, NAMELESS, ["<sip:442070000000@192.0.2.1>"], "kept"),
    ],
)  # fmt: skip
@pytest.mark.rule("SIP-23")
def test_nobody_is_refused_for_the_number_shown(
    ids: CallerIds, from_: str, sent: str, asserted: list[str], said: str
) -> None:
    shown = gateway(3, p_asserted_identity=True, remote_party_id=True)
    wire = Wire(book(SOS, gateways=(shown,), caller_ids=ids))
    invite = wire.give(request("INVITE", f"sip:112@{US}", From=from_))[-1].message
    assert invite.get("from") == sent
    assert invite.all("p-asserted-identity") == asserted
    assert len(invite.all("remote-party-id")) == len(asserted)
    assert next(entry for entry in wire.records[0]["trace"] if entry[0] == "caller")[3] == said


def test_a_prefix_alone_is_shown_for_no_caller() -> None:
    wire = Wire(book(SOS, gateways=(gateway(3, caller_prefix="77", p_asserted_identity=True),), caller_ids=CallerIds()))
    invite = wire.give(request("INVITE", f"sip:112@{US}", From=EXTENSION))[-1].message
    assert (invite.get("from"), invite.all("p-asserted-identity")) == (EXTENSION, [])


def test_what_an_emergency_call_does_not_pass() -> None:
    wire = Wire(book(SOS))
    wire.engine.drain(wire.now)
    refused = wire.give(request("INVITE", f"sip:112@{US}"))[-1].message
    assert (refused.status, refused.get("retry-after")) == (503, "30")
    wire, left = dial(book(SOS, status="closed"), "112")
    assert (left, wire.end["code"]) == (["403"], "customer_closed")
    wire = Wire(book(SOS))
    assert [one.message.status for one in wire.give(request("INVITE", f"sip:112@{US}"), STRANGER)] == [407]


def test_explain_tells_of_codes() -> None:
    made = book(VOICEMAIL, DESK, SOS, **NOTHING)
    said = explain(made, Question("acme", "1-12", "15550000000"), host="192.0.2.1", now=BEGIN)
    assert (said["outcome"], said["e164"], said["sell"]["rate"]) == ("route", "", "0.000000")
    assert [attempt["request_line"] for attempt in said["attempts"]] == [
        "INVITE sip:0112@203.0.113.3:5080 SIP/2.0",
        "INVITE sip:0112@203.0.113.1:5080 SIP/2.0",
    ]
    text = "\n".join(printed(said))
    assert text.startswith("acme may call Emergency, showing its own number as it is")
    assert "dialled 1-12: short code 112 is an emergency number" in text
    assert "gateways in order (named): gw3, gw1" in text
    active = book(VOICEMAIL, DESK)
    for dialled, stands in (("*98", "33123456"), ("400", "a gateway of its own")):
        said = explain(active, Question("acme", dialled, CALLER), host="192.0.2.1", now=BEGIN)
        assert f"dialled {dialled}: short code {dialled} is {stands}" in said["trace_text"]


def test_without_a_code_the_plan_takes_emergency_numbers_for_numbers() -> None:
    india = replace(RETAIL, rows=PrefixTable([row("91", "0.01")]))
    served = gateway(1, coverage=PrefixTable([row("91", "0.01")]))
    assert dial(book(pricelist=india, gateways=(served,)), "911")[1] == ["sip:911@203.0.113.1:5080"]
    wire, left = dial(book(), "112")
    assert (left, wire.end["code"]) == (["404"], "number_invalid")


@pytest.mark.rule("SIP-27")
def test_emergency_calls_use_up_no_calls_of_the_seconds_to_come() -> None:
    wire = Wire(book(PLAIN_SOS, max_cps=1))
    for number in range(60):
        via = f"SIP/2.0/UDP 198.51.100.10:5062;branch=z9hG4bK-sos{number};rport"
        sent = wire.give(request("INVITE", f"sip:112@{US}", Call_ID=f"sos-{number}", Via=via))
        assert sent[-1].what == "INVITE"
    wire.wait(1_000)
    assert wire.give(request("INVITE"))[-1].what == "INVITE"
