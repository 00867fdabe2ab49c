"""Privacy as RFC 3323, RFC 3325 and the Remote-Party-ID draft have it, towards those we trust and others (SIP-32)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipsvc.directory import CallerIds
from sipsvc.headers import privacy_asked
from sipsvc.message import Message
from tests.unit.test_restart import reborn
from tests.unit.wire import (
    CALLEE,
    CALLER,
    CUSTOMER,
    CUSTOMERS,
    GATES,
    US,
    Talk,
    Wire,
    answer,
    directory,
    gateway,
    request,
    talking,
)  # fmt: skip

URI = f"sip:{CALLEE}@{US}"
ANN = f'"Ann" <sip:{CALLER}@acme.example>;tag=ann'
NUMBERED = f'"Ann {CALLER}" <sip:{CALLER}@acme.example>;tag=ann'
HIDDEN = '"Anonymous" <sip:anonymous@anonymous.invalid>;tag=ann'
OWN_WAY = '"Ann" <sip:anonymous@acme.example>;tag=ann'
TELLING = ("Subject: x", "Call-Info: <http://h/ann.png>", "Organization: Acme", "User-Agent: Acme 7",
           "Reply-To: <sip:ann@h>", "In-Reply-To: 7@h")  # fmt: skip
HISTORY = "History-Info: <sip:442071838751@h>;index=1"
SEAL = "Identity: abc;info=<https://h/c>;alg=ES256"
BOTH: dict[str, Any] = {"p_asserted_identity": True, "remote_party_id": True}
# Whom From says nothing of is known by its account's number.
ACME = replace(CUSTOMERS, caller_ids=CallerIds(("4420*",), CALLER, "default"))


class Seen(NamedTuple):
    """What a gateway sees: From, Privacy, whether identities, RPID's privacy, and which of the telling headers."""

    from_: str
    privacy: list[str]
    asserted: bool
    remote: str
    telling: int
    history: bool
    sealed: bool


def seen(message: Message) -> Seen:
    remote = message.get("remote-party-id") or ""
    assert remote.partition("privacy=")[0] in ("", f"<sip:{CALLER}@192.0.2.1>;party=calling;screen=yes;")
    telling = sum(line in message.lines for line in TELLING)
    return Seen(
        message.get("from") or "",
        message.all_whole("privacy"),
        message.all("p-asserted-identity") == [f"<sip:{CALLER}@192.0.2.1>"],
        remote.partition("privacy=")[2],
        telling,
        HISTORY in message.lines,
        SEAL in message.lines,
    )


def sent(from_: str, lines: tuple[str, ...], **settings: Any) -> Message:
    wire = Wire(directory(gateway(**BOTH | settings), customer=ACME))
    return wire.give(request("INVITE", URI, *lines, *TELLING, HISTORY, SEAL, From=from_))[-1].message


ALL = len(TELLING)
REMOTE = "Remote-Party-ID: <sip:1@evil.example>;party=calling;screen=yes;privacy="
# What the caller says; what a gateway we do not trust sees, and one we do.
ROWS: list[tuple[str, tuple[str, ...], Seen, Seen]] = [
    (ANN, (), Seen(ANN, [], True, "off", ALL, True, True), Seen(ANN, [], True, "off", ALL, True, True)),
    (ANN, ("Privacy: none",), Seen(ANN, ["none"], True, "off", ALL, True, True),
     Seen(ANN, ["none"], True, "off", ALL, True, True)),
    (ANN, ("Privacy: id",), Seen(HIDDEN, [], False, "", ALL, False, False),
     Seen(ANN, ["id"], True, "full", ALL, True, True)),
    (ANN, ("privacy : ID",), Seen(HIDDEN, [], False, "", ALL, False, False),
     Seen(ANN, ["ID"], True, "full", ALL, True, True)),
    (ANN, ("Privacy: id;critical",), Seen(HIDDEN, [], False, "", ALL, False, False),
     Seen(ANN, ["id;critical"], True, "full", ALL, True, True)),
    (ANN, ("Privacy: user",), Seen(HIDDEN, [], False, "", 0, False, False),
     Seen(HIDDEN, ["user;id"], True, "full", 0, True, False)),
    (ANN, ("Privacy: user ; id",), Seen(HIDDEN, [], False, "", 0, False, False),
     Seen(HIDDEN, ["user ; id"], True, "full", 0, True, False)),
    (ANN, ("Privacy: header;session;user;id",), Seen(HIDDEN, ["header;session"], False, "", 0, False, False),
     Seen(HIDDEN, ["header;session;user;id"], True, "full", 0, True, False)),
    (ANN, ("Privacy: header",), Seen(HIDDEN, ["header"], False, "", ALL, False, False),
     Seen(ANN, ["header;id"], True, "full", ALL, True, True)),
    (ANN, ("Privacy: session",), Seen(ANN, ["session"], True, "off", ALL, False, True),
     Seen(ANN, ["session"], True, "off", ALL, True, True)),
    (ANN, ("Privacy: history",), Seen(ANN, [], True, "off", ALL, False, True),
     Seen(ANN, ["history"], True, "off", ALL, True, True)),
    # Where it must not stand, `none` does not undo what is asked.
    (ANN, ("Privacy: none;id",), Seen(HIDDEN, [], False, "", ALL, False, False),
     Seen(ANN, ["none;id"], True, "full", ALL, True, True)),
    (ANN, ("Privacy: rhubarb",), Seen(ANN, ["rhubarb"], True, "off", ALL, True, True),
     Seen(ANN, ["rhubarb"], True, "off", ALL, True, True)),
    # An anonymous From asks for it too, and stays as the caller wrote it.
    (HIDDEN, (), Seen(HIDDEN, [], False, "", ALL, False, False), Seen(HIDDEN, ["id"], True, "full", ALL, True, True)),
    (HIDDEN, ("Privacy: user",), Seen(HIDDEN, [], False, "", 0, False, False),
     Seen(HIDDEN, ["user;id"], True, "full", 0, True, True)),
    (HIDDEN, ("Privacy: none",), Seen(HIDDEN, ["none"], True, "off", ALL, True, True),
     Seen(HIDDEN, ["none"], True, "off", ALL, True, True)),
    (OWN_WAY, ("Privacy: id",), Seen(OWN_WAY, [], False, "", ALL, False, False),
     Seen(OWN_WAY, ["id"], True, "full", ALL, True, True)),
    (OWN_WAY, ("Privacy: user;id",), Seen(HIDDEN, [], False, "", 0, False, False),
     Seen(HIDDEN, ["user;id"], True, "full", 0, True, False)),
    # As older phones ask: of what they say of themselves nothing else is believed.
    (ANN, (f"{REMOTE}full",), Seen(HIDDEN, [], False, "", ALL, False, False),
     Seen(ANN, ["id"], True, "full", ALL, True, True)),
    (ANN, (f'{REMOTE}"URI-network"',),
     Seen('"Ann" <sip:anonymous@anonymous.invalid>;tag=ann', [], False, "", ALL, False, False),
     Seen(ANN, ["id"], True, "uri", ALL, True, True)),
    (NUMBERED, (f"{REMOTE}uri",), Seen(HIDDEN, [], False, "", ALL, False, False),
     Seen(NUMBERED, ["id"], True, "uri", ALL, True, True)),
    (ANN, (f"{REMOTE}name",), Seen(f"<sip:{CALLER}@acme.example>;tag=ann", [], True, "name", ALL, True, False),
     Seen(ANN, [], True, "name", ALL, True, True)),
    (ANN, (f"{REMOTE}off",), Seen(ANN, [], True, "off", ALL, True, True), Seen(ANN, [], True, "off", ALL, True, True)),
    (ANN, (f"{REMOTE.replace('calling', 'called')}full",), Seen(ANN, [], True, "off", ALL, True, True),
     Seen(ANN, [], True, "off", ALL, True, True)),
    (ANN, ("Remote-Party-ID: <<;privacy=full",), Seen(ANN, [], True, "off", ALL, True, True),
     Seen(ANN, [], True, "off", ALL, True, True)),
    (ANN, (f"{REMOTE}full", "Privacy: none"), Seen(ANN, ["none"], True, "off", ALL, True, True),
     Seen(ANN, ["none"], True, "off", ALL, True, True)),
]  # fmt: skip


@pytest.mark.rule("SIP-32", "TG-3", "TG-4", "SIP-29")
@pytest.mark.parametrize(("from_", "lines", "untrusted", "trusted"), ROWS, ids=lambda value: str(value)[:40])
def test_what_is_asked_for_is_hidden_from_whom_we_do_not_trust(
    from_: str, lines: tuple[str, ...], untrusted: Seen, trusted: Seen
) -> None:
    assert seen(sent(from_, lines)) == untrusted
    assert seen(sent(from_, lines, trusted=True)) == trusted


@pytest.mark.rule("SIP-32", "TG-5")
def test_no_prefix_or_plus_brings_the_number_back() -> None:
    message = sent(ANN, ("Privacy: id",), caller_prefix="77", plus_in_caller=True)
    assert message.get("from") == HIDDEN
    assert CALLER not in "".join(line for line in message.lines if not line.startswith("Contact"))
    trusted = sent(ANN, ("Privacy: id",), caller_prefix="77", plus_in_caller=True, trusted=True)
    assert trusted.get("from") == ANN.replace(CALLER, f"77+{CALLER}")


@pytest.mark.rule("SIP-32", "SIP-27")
@pytest.mark.parametrize("asks", ["session;critical", "critical ; header ; id", "critical;rhubarb"])
def test_what_must_be_hidden_and_cannot_be_goes_to_no_one_but_whom_we_trust(asks: str) -> None:
    wire = Wire(directory(gateway(1), gateway(2)))
    assert wire.give(request("INVITE", URI, f"Privacy: {asks}"))[-1].what == "500 INVITE"
    assert wire.sent[-1].message.reason == "Privacy Not Available"
    assert wire.end["code"] == "privacy_critical"
    wire = Wire(directory(gateway(1), gateway(2, trusted=True)))
    out = wire.give(request("INVITE", URI, f"Privacy: {asks}"))[-1]
    assert (out.flow, out.message.get("privacy")) == (GATES[1], asks)
    # Where nobody serves the number anyhow, that is the reason.
    nobody = Wire(directory(gateway(1, enabled=False)))
    nobody.give(request("INVITE", URI, f"Privacy: {asks}"))
    assert nobody.end["code"] == "no_route"


@pytest.mark.rule("SIP-32", "law 5")
def test_each_gateway_in_turn_sees_what_is_for_it() -> None:
    wire = Wire(directory(gateway(1, **BOTH), gateway(2, trusted=True, **BOTH), gateway(3, p_asserted_identity=True)))
    out = wire.give(request("INVITE", URI, "Privacy: id", *TELLING, HISTORY, SEAL, From=ANN))[-1]
    found = []
    for gate in GATES:
        found.append(seen(out.message))
        out = wire.give(answer(out.message, 503), gate)[-1]
    alone = Seen(HIDDEN, [], False, "", ALL, False, False)
    assert found == [alone, Seen(ANN, ["id"], True, "full", ALL, True, True), alone]


@pytest.mark.rule("SIP-32", "SIP-31", "law 7", "law 8")
@pytest.mark.parametrize("restart", [False, True])
def test_inside_the_call_it_stays_hidden_and_the_callers_own_from_comes_back(restart: bool) -> None:
    book = directory(gateway(**BOTH))
    talk = talking(Wire(book), invite=request("INVITE", URI, "Privacy: user;id", *TELLING, From=ANN))
    assert (talk.forwarded.get("from"), talk.ok.get("from")) == (HIDDEN, ANN)
    wire = reborn(talk.wire, book=book) if restart else talk.wire
    talk = talk._replace(wire=wire)
    (ack,) = wire.give(talk.by_caller("ACK", 1))
    assert ack.message.get("from") == HIDDEN
    for cseq, method in ((2, "INVITE"), (3, "UPDATE"), (4, "INFO"), (5, "NOTIFY")):
        out = wire.give(talk.by_caller(method, cseq, "Privacy: user;id", *TELLING, HISTORY, SEAL))[-1]
        assert seen(out.message) == Seen(HIDDEN, [], False, "", 0, False, False)
        (back,) = wire.give(answer(out.message, 200), GATES[0])
        assert (back.what, back.message.get("from")) == (f"200 {method}", ANN)
        out = wire.give(talk.by_callee(method, cseq, Contact="<sip:bob@203.0.113.77:5090>"), GATES[0])[-1]
        assert (out.flow, out.message.get("to")) == (CUSTOMER, ANN)
        (back,) = wire.give(answer(out.message, 200))
        assert (back.what, back.message.get("to")) == (f"200 {method}", HIDDEN)
    # A BYE of ours: to each side as it knows the other.
    wire.wait(14_500_000)
    byes = [one for one in wire.sent if one.what == "BYE"]
    to_gateway = next(one.message for one in byes if one.flow != CUSTOMER)
    to_caller = next(one.message for one in byes if one.flow == CUSTOMER)
    assert (to_gateway.get("from"), to_caller.get("to")) == (HIDDEN, ANN)


@pytest.mark.rule("SIP-31", "SIP-15", "law 7")
def test_forks_and_answers_too_late_are_met_as_the_gateway_knows_the_caller() -> None:
    wire = Wire(directory(gateway(caller_prefix="77"), gateway(2, caller_prefix="88")))
    first = wire.give(request(From=ANN))[-1].message
    for tag in ("one", "two"):
        assert wire.give(answer(first, 183, tag=tag), GATES[0])[-1].message.get("from") == ANN
    second = next(one.message for one in wire.give(answer(first, 503, tag="one"), GATES[0]) if one.what == "INVITE")
    assert first.get("from") == ANN.replace(CALLER, f"77{CALLER}")
    assert second.get("from") == ANN.replace(CALLER, f"88{CALLER}")
    ok = wire.give(answer(second, 200), GATES[1])[-1].message
    assert ok.get("from") == ANN
    for invite, gate, tag in ((second, GATES[1], "three"), (first, GATES[0], "two")):
        ack, bye = wire.give(answer(invite, 200, tag=tag), gate)
        assert {one.message.get("from") for one in (ack, bye)} == {invite.get("from")}
    # An UPDATE of the gateway's in the dialog that won, and one that refreshes the caller's.
    talk = Talk(wire, second, ok)
    update = wire.give(talk.by_callee("UPDATE", 1), GATES[1])[-1].message
    assert update.get("to") == ANN
    assert wire.give(answer(update, 200))[-1].message.get("to") == second.get("from")


@pytest.mark.rule("SIP-32")
@pytest.mark.parametrize("side", ["caller", "callee"])
@pytest.mark.parametrize("prefix", ["", "77"])
def test_a_seal_inside_the_call_goes_on_only_where_what_it_seals_does(side: str, prefix: str) -> None:
    talk = talking(Wire(directory(gateway(caller_prefix=prefix))))
    build, flow = (talk.by_caller, CUSTOMER) if side == "caller" else (talk.by_callee, GATES[0])
    out = talk.wire.give(build("UPDATE", 5, SEAL), flow)[-1].message
    assert (SEAL in out.lines) == (not prefix)


ANSWERED: list[tuple[tuple[str, ...], bool]] = [
    ((), True),
    (("Privacy: none",), True),
    (("Privacy: session",), True),
    (("Privacy: id",), False),
    (("Privacy: user;critical",), False),
    (("Remote-Party-ID: <sip:1@h>;privacy=off",), True),
    (("Remote-Party-ID: <sip:1@h>;party=called;privacy=full",), False),
    (("Remote-Party-ID: <sip:1@h>;party=calling;privacy=full",), True),
]


@pytest.mark.rule("SIP-32", "TG-4")
@pytest.mark.parametrize(("lines", "shown"), ANSWERED)
def test_who_answers_is_shown_unless_it_asks_not_to_be(lines: tuple[str, ...], shown: bool) -> None:
    for status in (180, 200, 486):
        wire = Wire(directory(gateway(trusted=True)))
        invite = wire.give(request())[-1].message
        up = wire.give(answer(invite, status, "P-Asserted-Identity: <sip:1@h>", *lines), GATES[0])[-1].message
        assert up.all("p-asserted-identity") == (["<sip:1@h>"] if shown else [])
        assert bool(up.all("remote-party-id")) == (shown and "Remote" in "".join(lines))


@pytest.mark.rule("TG-4", "SIP-23", "law 8")
def test_no_ones_word_of_itself_passes_when_a_restart_has_forgotten_whose_it_is() -> None:
    book = directory(gateway(caller_prefix="77"))
    talk = talking(Wire(book))
    wire = reborn(talk.wire, 200, book=book)
    said = ("P-Asserted-Identity: <sip:1@h>", "Remote-Party-ID: <sip:1@h>", "Diversion: <sip:1@h>")
    (up,) = wire.give(answer(talk.forwarded, 200, *said), GATES[0])
    assert (up.what, up.flow, up.message.get("from")) == ("200 INVITE", CUSTOMER, talk.ok.get("from"))
    assert not {"p-asserted-identity", "remote-party-id", "diversion"} & set(up.message.names)


WORDS = st.sampled_from(["id", "user", "header", "session", "critical", "history", "none", "x-y", "ID", "", "@", '"'])


@pytest.mark.rule("SIP-32")
@given(st.lists(WORDS, max_size=5), st.sampled_from([";", " ; ", ",", "; "]), st.booleans())
def test_asking_for_more_never_shows_more(words: list[str], between: str, anonymous: bool) -> None:
    header = between.join(words)
    some, more = privacy_asked(header, (), anonymous), privacy_asked(f"{header};id", (), anonymous)
    assert more is not None
    assert (more.number, more.name, more.history) == (True, True, True)
    if some is None:
        return
    assert some.others.off - {"privacy"} <= more.others.off
    # Nothing is told of privacy that was not asked for, but for the id that keeps whom we trust from telling.
    for onward in (some.trusted, some.others):
        told = {word for line in onward.lines for word in line.removeprefix("Privacy: ").split(";")}
        assert told <= {word.lower() for word in words} | {"id"}
    assert (some.unmet == "") == ("critical" not in words or not set(words) & {"header", "session", "x-y"})
