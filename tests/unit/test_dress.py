"""What each gateway gets to see: request URI, From and identity, to the letter (TG-3..6, SIP-29..32)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipsvc.directory import Gateway, Rewrite
from sipsvc.directory.rules import check_replacement, compile_rule
from sipsvc.headers import Caller, Dress, dress, privacy_asked
from sipsvc.message import parse_name_addr, parse_uri
from tests.unit.wire import CALLEE, CALLER, GATES, US, Talk, Wire, answer, directory, gateway, request

HOST = "192.0.2.1"
FROM = f'"Ann" <sip:+{CALLER}@acme.example:5070>;tag=ann'


def caller(value: str = FROM, shown: str = CALLER, asks: str = "", **changes: Any) -> Caller:
    """Who sends `value` as From and `asks` as Privacy."""
    from_ = parse_name_addr(value, "From")
    privacy = privacy_asked(asks, (), changes.get("anonymous", False))
    plain = Caller(from_, parse_uri(from_.uri), shown, replaced=False, anonymous=False, privacy=privacy, host=HOST)
    return plain._replace(**changes)


def rules(*pairs: tuple[str, str]) -> tuple[Rewrite, ...]:
    return tuple(Rewrite(pattern, replacement, compile_rule(pattern)) for pattern, replacement in pairs)


def dressed(one: Gateway, number: str = "33123", who: Caller | None = None) -> Dress:
    clothes = dress(one, number, who or caller())
    assert clothes is not None
    return clothes


# A gateway's settings, a number, the user part that is sent.
USERS: list[tuple[dict[str, Any], str, str]] = [
    ({}, "33123", "33123"),
    ({"uri_prefix": "9#"}, "33123", "9%2333123"),
    ({"uri_prefix": "9#", "uri_prefix_escaped": False}, "33123", "9#33123"),
    ({"uri_prefix": "+"}, "33123", "+33123"),
    ({"uri_prefix": "00"}, "33123", "0033123"),
    ({"uri_prefix": "*31*"}, "33123", "*31*33123"),
    ({"rewrites": [("^33", "0033")]}, "33123", "0033123"),
    ({"rewrites": [("^33", "44"), ("^44", "55")]}, "33123", "55123"),
    ({"rewrites": [("^44", "55"), ("^33", "44")]}, "33123", "44123"),
    ({"rewrites": [(r"^(\d\d)(\d+)$", r"\2*\1")]}, "33123", "123*33"),
    ({"rewrites": [("3", "")]}, "33123", "12"),
    ({"rewrites": [("$", "#")]}, "33123", "33123%23"),
    ({"rewrites": [("^", "+")], "uri_prefix": "9#"}, "33123", "9%23+33123"),
    ({"rewrites": [("^33", "33;x=1?y")]}, "33123", "33;x=1?y123"),
    ({"rewrites": [("^33", "50%")]}, "33123", "50%25123"),
    ({"rewrites": [("nothing", "x")]}, "33123", "33123"),
]


@pytest.mark.rule("TG-6", "SIP-30")
@pytest.mark.parametrize(("settings", "number", "user"), USERS)
def test_the_request_uri(settings: dict[str, Any], number: str, user: str) -> None:
    made = {**settings, "rewrites": rules(*settings.get("rewrites", ()))}
    clothes = dressed(gateway(**made), number)
    assert clothes.request_uri == f"sip:{user}@203.0.113.1:5080"
    assert clothes.user == user
    six = dressed(gateway(**made, host="2001:db8::5", port=5070), number)
    assert six.request_uri == f"sip:{user}@[2001:db8::5]:5070"


@pytest.mark.rule("TG-6", "law 5")
def test_the_ledgers_example_on_every_gateway_in_turn() -> None:
    book = directory(
        gateway(1, uri_prefix="9#", caller_prefix="77"),
        gateway(2, uri_prefix="9#", uri_prefix_escaped=False, caller_prefix="88"),
        gateway(3, rewrites=rules(("^33", "0033"))),
    )
    wire = Wire(book)
    sent = wire.give(request("INVITE", f"sip:+33123@{US}"))[-1]
    seen = []
    for gate in GATES:
        seen.append((sent.message.uri, parse_uri(sent.message.from_.uri).user))
        sent = wire.give(answer(sent.message, 503), gate)[-1]
    assert seen == [
        ("sip:9%2333123@203.0.113.1:5080", f"77{CALLER}"),
        ("sip:9#33123@203.0.113.2:5080", f"88{CALLER}"),
        ("sip:0033123@203.0.113.3:5080", CALLER),
    ]


PAI = f"P-Asserted-Identity: <sip:{CALLER}@{HOST}>"
RPID = f"Remote-Party-ID: <sip:{CALLER}@{HOST}>;party=calling;screen=yes"
PREFIXED = f"<sip:77{CALLER}@{HOST}>"
ANONYMOUS = '"Anonymous" <sip:anonymous@anonymous.invalid>;tag=ann'
BOTH: dict[str, Any] = {"p_asserted_identity": True, "remote_party_id": True}
DEFAULT = "442070000000"

# settings, who calls; From ("" as it came) and identity headers
IDENTITIES: list[tuple[dict[str, Any], Caller, str, list[str]]] = [
    ({}, caller(), "", []),
    ({"p_asserted_identity": True}, caller(), "", [PAI]),
    ({"remote_party_id": True}, caller(), "", [f"{RPID};privacy=off"]),
    (BOTH, caller(), "", [PAI, f"{RPID};privacy=off"]),
    ({**BOTH, "trusted": True}, caller(), "", [PAI, f"{RPID};privacy=off"]),
    (BOTH, caller(asks="id"), ANONYMOUS, []),
    ({**BOTH, "trusted": True}, caller(asks="id"), "", [PAI, f"{RPID};privacy=full"]),
    (
        {**BOTH, "caller_prefix": "77"}, caller(), f'"Ann" <sip:77{CALLER}@acme.example:5070>;tag=ann',
        [f"P-Asserted-Identity: {PREFIXED}", f"Remote-Party-ID: {PREFIXED};party=calling;screen=yes;privacy=off"],
    ),
    ({**BOTH, "caller_prefix": "77", "caller_prefix_in": frozenset({"pai"})}, caller(), "",
     [f"P-Asserted-Identity: {PREFIXED}", f"{RPID};privacy=off"]),
    ({**BOTH, "caller_prefix": "77", "caller_prefix_in": frozenset({"rpid"})}, caller(), "",
     [PAI, f"Remote-Party-ID: {PREFIXED};party=calling;screen=yes;privacy=off"]),
    ({**BOTH, "caller_prefix": "77", "caller_prefix_in": frozenset({"from"})}, caller(),
     f'"Ann" <sip:77{CALLER}@acme.example:5070>;tag=ann', [PAI, f"{RPID};privacy=off"]),
    ({"caller_prefix": "9#"}, caller(), f'"Ann" <sip:9%23{CALLER}@acme.example:5070>;tag=ann', []),
    ({"p_asserted_identity": True}, caller(shown=DEFAULT, replaced=True), f"<sip:{DEFAULT}@acme.example:5070>;tag=ann",
     [f"P-Asserted-Identity: <sip:{DEFAULT}@{HOST}>"]),
    ({}, caller(shown=DEFAULT, replaced=True, asks="id"), ANONYMOUS, []),
    ({"caller_prefix": "77"}, caller('"Anonymous" <sip:anonymous@anonymous.invalid>;tag=ann', anonymous=True), "", []),
    ({"caller_prefix": "77"}, caller(f"tel:+{CALLER};tag=ann"), f"<sip:77{CALLER}@{HOST}>;tag=ann", []),
    ({"caller_prefix": "77"}, caller(f"<sip:{CALLER}@[2001:db8::9]>;tag=ann;x=y"),
     f"<sip:77{CALLER}@[2001:db8::9]>;tag=ann;x=y", []),
    ({**BOTH, "plus_in_caller": True}, caller(FROM.replace("+", "")), FROM,
     [PAI.replace(":4", ":+4"), f"{RPID};privacy=off".replace(":4", ":+4")]),
    ({"plus_in_caller": True}, caller(), "", []),
    ({"plus_in_caller": True}, caller(f"<sip:00{CALLER}@h>;tag=ann"), f"<sip:+{CALLER}@h>;tag=ann", []),
    ({"plus_in_caller": True, "p_asserted_identity": True}, caller(shown=DEFAULT, replaced=True),
     f"<sip:+{DEFAULT}@acme.example:5070>;tag=ann", [f"P-Asserted-Identity: <sip:+{DEFAULT}@{HOST}>"]),
    ({"plus_in_caller": True, "caller_prefix": "77", **BOTH, "caller_prefix_in": frozenset({"from"})}, caller(),
     f'"Ann" <sip:77+{CALLER}@acme.example:5070>;tag=ann',
     [PAI.replace(":4", ":+4"), f"{RPID};privacy=off".replace(":4", ":+4")]),
    ({"plus_in_caller": True}, caller('"Anonymous" <sip:anonymous@anonymous.invalid>;tag=ann', anonymous=True), "", []),
]  # fmt: skip


@pytest.mark.rule("TG-3", "TG-4", "TG-5", "SIP-29", "SIP-31", "SIP-32")
@pytest.mark.parametrize(("settings", "who", "from_value", "identity"), IDENTITIES)
def test_who_calls(settings: dict[str, Any], who: Caller, from_value: str, identity: list[str]) -> None:
    clothes = dressed(gateway(**settings), who=who)
    assert clothes.from_value == from_value
    assert list(clothes.identity) == identity


@pytest.mark.rule("SIP-32")
@pytest.mark.parametrize("line", ["Identity: abc", "identity : abc", "y: abc", "Y:abc", "Identity:\r\n abc"])
@pytest.mark.parametrize("prefix", ["", "77"])
def test_a_broken_seal_does_not_go_on(line: str, prefix: str) -> None:
    sent = Wire(directory(gateway(caller_prefix=prefix))).give(request("INVITE", f"sip:{CALLEE}@{US}", line))[-1]
    assert ("identity" in sent.message.names) == (not prefix)


@pytest.mark.rule("SIP-31", "TG-5", "law 7")
def test_the_callers_own_from_comes_back_and_the_gateways_stays() -> None:
    wire = Wire(directory(gateway(caller_prefix="77")))
    invite = wire.give(request(From=FROM))[-1].message
    shown = invite.get("from") or ""
    assert shown == f'"Ann" <sip:77{CALLER}@acme.example:5070>;tag=ann'
    assert wire.give(answer(invite, 180), GATES[0])[-1].message.get("from") == FROM
    talk = Talk(wire, invite, wire.give(answer(invite, 200), GATES[0])[-1].message)
    assert talk.ok.get("from") == FROM
    assert wire.give(talk.by_caller("ACK", 1))[-1].message.get("from") == shown
    update = wire.give(talk.by_caller("UPDATE", 2))[-1].message
    assert (update.get("from"), update.to.tag) == (shown, "bob")
    assert wire.give(answer(update, 200), GATES[0])[-1].message.get("from") == FROM
    info = wire.give(talk.by_callee("INFO", 1), GATES[0])[-1].message
    assert (info.from_.tag, info.get("to")) == ("bob", FROM)
    reply = wire.give(answer(info, 200))[-1].message
    assert (reply.from_.tag, reply.get("to")) == ("bob", shown)
    failed = Wire(directory(gateway(caller_prefix="77")))
    invite = failed.give(request(From=FROM))[-1].message
    ack, busy = failed.give(answer(invite, 486), GATES[0])
    assert (ack.message.get("from"), busy.message.get("from")) == (shown, FROM)


@pytest.mark.rule("SIP-30")
@pytest.mark.parametrize(
    ("pattern", "at"),
    [("(33", "33"), ("33)", ""), ("[3", "3"), ("*3", ""), ("3{9999}", ""), ("(?=3)", ""), (r"(3)\1", "")],
)
def test_a_rule_that_does_not_compile_says_why(pattern: str, at: str) -> None:
    with pytest.raises(ValueError, match=r".+") as caught:
        compile_rule(pattern)
    assert at in str(caught.value)


@pytest.mark.rule("SIP-30")
@pytest.mark.parametrize(
    ("pattern", "replacement", "fits"),
    [("^33", "44", True), ("^(33)", r"\1", True), ("^33", r"\1", False), ("^33", "\\", False), ("3", r"\n", False),
     ("(3)", r"\0", False)],
)  # fmt: skip
def test_a_replacement_that_cannot_be_made_is_refused(pattern: str, replacement: str, fits: bool) -> None:
    if fits:
        check_replacement(compile_rule(pattern), replacement)
    else:
        with pytest.raises(ValueError, match="at character 1"):
            check_replacement(compile_rule(pattern), replacement)


ANYTHING = st.text(st.sampled_from("\r\n\0\t <>@\"';:,?#%+é\x7f9aX"), max_size=6)


@pytest.mark.rule("SIP-5", "SIP-30")
@given(ANYTHING, ANYTHING, ANYTHING, st.booleans())
def test_no_rule_or_prefix_breaks_the_line_it_stands_in(prefix: str, instead: str, before: str, escaped: bool) -> None:
    odd = gateway(
        uri_prefix=prefix,
        uri_prefix_escaped=escaped,
        caller_prefix=before,
        rewrites=rules(("^33", instead.replace("\\", ""))),
        **BOTH,
    )
    clothes = dress(odd, "33123", caller())
    if clothes is None:
        return
    for text in (clothes.request_uri, clothes.from_value, *clothes.identity):
        assert not set(text) & set("\r\n\0")
    uri = clothes.request_uri.encode("latin-1", "replace").decode("latin-1")
    assert " " not in uri
    assert uri.endswith("@203.0.113.1:5080")
    from_ = parse_name_addr(clothes.from_value, "From") if clothes.from_value else None
    assert from_ is None or (parse_uri(from_.uri).host, from_.tag) == ("acme.example", "ann")


@pytest.mark.rule("SIP-5")
@given(st.text(st.sampled_from('\t <>@;:,?\\"aé\x01'), max_size=12))
def test_no_display_name_breaks_the_line_it_stands_in(name: str) -> None:
    quoted = name.replace("\\", "\\\\").replace('"', '\\"').replace("\x01", "\\\x01")
    wire = Wire(directory(gateway(caller_prefix="77")))
    sent = wire.give(request(From=f'"{quoted}" <sip:{CALLER}@h>;tag=1'))[-1]
    assert sent.what == "INVITE"
    assert sent.message.from_.display == f'"{quoted}"'.encode("latin-1").decode("latin-1")
    assert sent.message.names.count("from") == 1
