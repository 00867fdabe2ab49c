"""What gateways get to see, whatever stands in the database and whatever callers write (SIP-5, SIP-30, TG-6).

The directory here holds what no validation would let in. What leaves is read by our own parser and by the one of the
simulation, which shares no line with it, and compared with a third where that one can read it: it has the headers
intended, once each and in order, and no other.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from portal_api.gateways.schemas import GatewayCreate
from sipsvc.directory import CallerIds, Gateway, Platform, Rewrite, Trunk, assemble
from sipsvc.directory.rules import compile_rule
from sipsvc.effects import Listener, Target
from sipsvc.headers import dress, privacy_asked
from sipsvc.message import parse, parse_uri
from tests.property.test_oracle import compare
from tests.sim import sipmsg
from tests.unit.test_dress import caller, rules
from tests.unit.wire import (
    CALLEE,
    CALLER,
    CUSTOMER,
    CUSTOMERS,
    GATES,
    RETAIL,
    STRANGER,
    US,
    Sent,
    Wire,
    answer,
    gateway,
    request,
)  # fmt: skip

# Rules by what RE2 and Python's own engine agree about: no empty match but at the edges.
ATOM = st.sampled_from(["3", "33", "[0-4]", r"\d", "(3)", r"(\d\d)", "(1|33)", ".", "9", "[^3]"])
MANY = st.sampled_from(["", "+", "{2}"])
PATTERN = st.builds(
    lambda begin, atoms, end: f"{begin}{''.join(atoms)}{end}",
    st.sampled_from(["", "^"]), st.lists(st.builds(str.__add__, ATOM, MANY), min_size=1, max_size=3),
    st.sampled_from(["", "$"]),
) | st.sampled_from(["^", "$"])  # fmt: skip
INSTEAD = (
    st.lists(st.sampled_from(["", "00", "+", "#", "*", "%", ";x=1", r"\1", "é", ":"]), max_size=2)
    .map("".join)
    .filter(lambda text: r"\10" not in text)  # which names a tenth group
)
DIGITS = st.text("0123456789", min_size=3, max_size=18)


@st.composite
def rule(draw: st.DrawFn) -> tuple[str, str]:
    pattern = draw(PATTERN)
    instead = draw(INSTEAD)
    return pattern, instead if re.compile(pattern).groups else instead.replace(r"\1", "")


@pytest.mark.rule("TG-6", "SIP-30")
@given(DIGITS, st.lists(rule(), max_size=4), st.sampled_from(["", "9#", "+", "00", "*31*", "9%"]), st.booleans())
def test_the_digits_then_every_rule_in_turn_then_the_prefix(
    number: str, pairs: list[tuple[str, str]], prefix: str, escaped: bool
) -> None:
    assume(escaped or "%" not in prefix)  # which would be read with the digits behind it
    wanted = number
    for pattern, instead in pairs:
        wanted = re.sub(pattern, instead, wanted)
    clothes = dress(gateway(rewrites=rules(*pairs), uri_prefix=prefix, uri_prefix_escaped=escaped), number, caller())
    if not wanted or len(quote(wanted)) > 200:
        assume(not wanted)
        assert clothes is None
        return
    assert clothes is not None
    user = parse_uri(clothes.request_uri).user
    # What the gateway reads when it undoes the escapes.
    assert unquote(user) == prefix + wanted
    unescaped = "-_.!~*'()&=+$,;?/"
    assert user == (quote(prefix, safe=unescaped) if escaped else prefix) + quote(wanted, safe=unescaped)
    assert clothes.user == user


ATTACKS = st.sampled_from([
    "\r\nX-Evil: 1", "\r\n\r\nINVITE sip:9@evil SIP/2.0", ">;evil=1", "@evil.example>", '" <sip:9@evil>', "\\", '\\"',
    "9@evil.example", ";maddr=203.0.113.66", "?Evil=1", "%0d%0aX-Evil:1", "9" * 400, "é" * 100, "9#", "é",
])  # fmt: skip
NASTY = st.text(st.sampled_from('\r\n\0\t "<>\\;:,@?#%&=éй\ud800\x7f\x85\u2028[]9aX'), max_size=8) | ATTACKS
# On the wire a line end would be a header of the caller's own, and no attack; what else no line may hold gets a 400.
ON_THE_WIRE = NASTY.map(lambda text: re.sub("[\r\n\0\x7f\ud800]", "", text).encode().decode("latin-1"))
FLAG = st.booleans()


def mostly(usual: st.SearchStrategy[str], nasty: st.SearchStrategy[str] = NASTY) -> st.SearchStrategy[str]:
    """So that not every call is refused for the first of many faults."""
    return st.integers(0, 3).flatmap(lambda number: nasty if number == 0 else usual)


SETTINGS = set(
    "host port name uri_prefix uri_prefix_escaped caller_prefix trusted p_asserted_identity remote_party_id "
    "plus_in_caller diversion".split()
)


@st.composite
def books(draw: st.DrawFn) -> dict[str, Any]:
    """A gateway's settings as no validation would let them in."""
    pattern = draw(st.sampled_from(["^33", "3", "^", "$", "(3)", "é"]))
    rewrites = [Rewrite(pattern, draw(NASTY), compile_rule(pattern))] if draw(st.integers(0, 2)) == 0 else []
    usual = st.sampled_from([GATES[0].host] * 5 + ["2001:db8::5", "gw.example"])
    places = st.frozensets(st.sampled_from(["from", "pai", "rpid"]))
    flags = "uri_prefix_escaped trusted p_asserted_identity remote_party_id plus_in_caller diversion".split()
    return {
        "host": draw(mostly(usual)),
        "name": draw(NASTY),
        "uri_prefix": draw(mostly(st.sampled_from(["", "9#"]))),
        "caller_prefix": draw(st.just("") | NASTY),
        "caller_prefix_in": draw(places),
        "rewrites": tuple(rewrites),
        **{name: draw(FLAG) for name in flags},
    }


@st.composite
def callers(draw: st.DrawFn) -> tuple[str, str, list[str]]:
    """From, Privacy and further lines, as a message may hold them or nearly so."""
    name, user = draw(ON_THE_WIRE), draw(mostly(st.sampled_from([CALLER, "anonymous", "15551234567"]), ON_THE_WIRE))
    quoted = "".join(f"\\{character}" if character in '"\\' else character for character in name)
    display = draw(
        mostly(st.sampled_from(["", f'"{quoted}" ', f'"{quoted}"']), st.sampled_from([f'"{name}" ', f"{name} "]))
    )
    lines = [
        f"{header}: {draw(st.sampled_from(['', display]))}<sip:{draw(st.just('442071838751') | ON_THE_WIRE)}@h>{more}"
        for header, more in (("P-Preferred-Identity", ""), ("Diversion", ";reason=" + draw(ON_THE_WIRE)),
                             ("Remote-Party-ID", ";privacy=" + draw(st.sampled_from(["off", "full"]) | ON_THE_WIRE)),
                             ("P-Asserted-Identity", ""), ("History-Info", ";index=1"))
        if draw(FLAG)
    ]  # fmt: skip
    privacy = draw(st.sampled_from(["", "", "id", "user", "header", "none"]))
    return f"{display}<sip:{user}@acme.example>;tag=ann", privacy, lines


def read(sent: Sent) -> list[str]:
    """The names of its headers, on which all who read it agree. `Wire` has read it with ours already."""
    other = sipmsg.parse(sent.data)
    compare(sent.data)
    names = [name for name, _ in other.headers]
    assert names == sent.message.names
    assert all(not name.startswith("x-evil") for name in names)
    return names


CHALLENGE = re.compile(
    r'Digest realm="(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\["\\])*", nonce="[0-9a-f]+", algorithm=MD5, qop="auth"'
)
LISTENERS = (Listener("UDP", "192.0.2.1", 5060), Listener("UDP", "2001:db8::1", 5060))
UNTRUSTED = {"p-asserted-identity", "p-preferred-identity", "remote-party-id", "diversion"}
RESPONSE = {"via", "from", "to", "call-id", "cseq", "warning", "content-length"}


def check(gate: Gateway, who: tuple[str, str, list[str]], default: str = "", realm: str = "here") -> str:
    """A call to this gateway and all that leaves because of it; what became of it."""
    ids = CallerIds(("4420*",), default, "default", diversion=True)
    customer = replace(CUSTOMERS, name=default, caller_ids=ids)
    trunk = Trunk("acme-ip", "acme", source=f"{CUSTOMER.host}/32")
    wire = Wire(assemble(1, Platform(realm), [customer, RETAIL, trunk, gate]), listeners=LISTENERS)
    from_, privacy, lines = who
    came = [f"Privacy: {privacy}", *lines] if privacy else lines
    invite = request("INVITE", f"sip:{CALLEE}@{US}", *came, From=from_)
    (last,) = [one for one in wire.give(invite) if one.what != "100 INVITE"] or [None]
    if last is None:
        wire.find(Target("UDP", GATES[0].host, 5060))
        last = wire.sent[-1]
    if last.message.status:
        if last.message.status != 400:  # which repeats what was broken
            assert set(read(last)) <= RESPONSE
        return last.what
    assert read(last) == intended(gate, invite, last)
    assert parse_uri(last.message.uri).host in (gate.host, f"[{gate.host}]")
    assert last.message.from_.tag == "ann"
    assert parse_uri(last.message.from_.uri).host in ("acme.example", "anonymous.invalid")
    # Inside the call as well, and where we hang up.
    ok = wire.give(answer(last.message, 200), last.flow)[-1]
    assert (ok.what, ok.message.get("from")) == ("200 INVITE", parse(invite).get("from"))
    wire.wait(14_500_000)
    byes = [one for one in wire.sent if one.what == "BYE"]
    assert {one.flow.host for one in byes} == {"203.0.113.77", CUSTOMER.host}
    for one in (ok, *byes[:2]):
        assert read(one).count("from") == 1
    return "forwarded"


def intended(gate: Gateway, invite: bytes, sent: Sent) -> list[str]:
    """The headers this gateway is to get for this INVITE, from its settings and what the caller asked for."""
    came = parse(invite)
    anonymous = parse_uri(came.from_.uri).user == "anonymous"
    privacy = privacy_asked(came.get("privacy") or "", came.all("remote-party-id"), anonymous)
    off, lines = (frozenset(), ()) if privacy is None else privacy.trusted if gate.trusted else privacy.others
    shown = privacy is None or not privacy.number or gate.trusted
    ours = ["p-asserted-identity"] * (gate.p_asserted_identity and shown)
    ours += ["remote-party-id"] * (gate.remote_party_id and shown)
    # Whose number it is decides whether it goes; that it goes at most once does not.
    ours += ["diversion"] * (gate.diversion and "diversion" in sent.message.names)
    ours += ["privacy"] * len(lines)
    gone = UNTRUSTED | off | {"via", "max-forwards"}
    kept = [name for name in came.names if name not in gone]
    return ["via", "record-route", *ours, "max-forwards", "via", *kept]


@pytest.mark.rule("SIP-5", "SIP-23", "SIP-29", "SIP-30", "SIP-31", "SIP-32", "TG-3", "TG-4", "TG-5", "TG-6")
@settings(max_examples=250, suppress_health_check=[HealthCheck.too_slow])
@given(books(), callers(), NASTY, NASTY)
def test_what_leaves_has_the_headers_intended_and_no_other(
    odd: dict[str, Any], who: tuple[str, str, list[str]], default: str, realm: str
) -> None:
    event(check(replace(gateway(), **odd), who, default, realm))


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    """A gateway as somebody sends it to the API."""
    nasty = mostly(st.sampled_from(["9#", "é", "+"]))
    made = draw(books()) | {"uri_prefix": draw(nasty), "caller_prefix": draw(mostly(st.just("+")))}
    made["name"] = draw(mostly(st.just("Carrier")))
    made["caller_prefix_in"] = sorted(made["caller_prefix_in"])
    made["rewrites"] = [
        {"pattern": draw(mostly(st.just("^33"))), "replacement": draw(mostly(st.sampled_from(["0", "#"])))}
        for _ in range(draw(st.integers(0, 1)))
    ]
    return {name: value for name, value in made.items() if draw(st.integers(0, 4)) or name in ("name", "host")}


@pytest.mark.rule("SIP-5", "SIP-29", "SIP-30")
@given(bodies(), callers())
def test_what_the_api_lets_in_leaves_as_intended_and_the_rest_is_refused_by_name(
    body: dict[str, Any], who: tuple[str, str, list[str]]
) -> None:
    try:
        made = GatewayCreate.model_validate(body)
    except ValidationError as refused:
        named = {fault["loc"][0] for fault in refused.errors()}
    else:
        named = set()
    assert named <= body.keys()
    if named:
        event("refused")
        return
    values = made.model_dump(include=SETTINGS)
    pairs = [(one.pattern, one.replacement) for one in made.rewrites]
    values |= {"caller_prefix_in": frozenset(made.caller_prefix_in), "rewrites": rules(*pairs)}
    event(f"let in, {check(replace(gateway(), **values), who)}")


@pytest.mark.rule("SIP-5", "SIP-21")
@given(NASTY)
def test_no_realm_breaks_a_challenge(realm: str) -> None:
    trunk = Trunk("acme-user", "acme", username="alice", ha1_md5="0" * 32)
    wire = Wire(assemble(1, Platform(realm), [CUSTOMERS, RETAIL, trunk, gateway()]))
    (sent,) = wire.give(request(), STRANGER)
    assert read(sent) == ["via", "from", "to", "call-id", "cseq", "proxy-authenticate", "content-length"]
    challenge = sent.message.get("proxy-authenticate") or ""
    assert CHALLENGE.fullmatch(challenge)
