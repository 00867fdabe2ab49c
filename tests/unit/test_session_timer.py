"""Session timers as a proxy keeps them (RFC 4028 §8): asked, raised, refused, refreshed, run out (SIP-18, law 6)."""

from __future__ import annotations

from typing import Any

import pytest

from sipsvc.directory import Directory, Timing
from sipsvc.message import Message
from tests.unit.test_restart import moved, reborn
from tests.unit.wire import CUSTOMER, GATES, Sent, Talk, Wire, answer, directory, gateway, request, talking

ABLE = "Supported: 100rel, Timer"
CLOCK = {"caller": CUSTOMER, "callee": GATES[0]}


def book(**timing: int) -> Directory:
    return directory(gateway(), timing=Timing(**timing))


BOOK = book()
OFF = book(session_expires_s=0)
STRICT = book(min_se_s=600)


def invite(*extra: str) -> bytes:
    return request("INVITE", "sip:33123456789@192.0.2.1:5060", *extra)


def forwarded(sent: list[Sent]) -> Message:
    (one,) = [one.message for one in sent if not one.message.status]
    return one


def timers(message: Message) -> tuple[list[str], list[str]]:
    """Session-Expires and Min-SE."""
    return message.all("session-expires"), message.all("min-se")


def call(book: Directory, asked: list[str], answered: list[str]) -> Talk:
    """A call answered with these headers, ACKed."""
    wire = Wire(book)
    sent = forwarded(wire.give(invite(*asked)))
    talk = Talk(wire, sent, wire.give(answer(sent, 200, *answered), GATES[0])[-1].message)
    wire.give(talk.by_caller("ACK", 1))
    return talk


def refresh(talk: Talk, side: str, method: str, cseq: int, *answered: str, asked: tuple[str, ...] = ()) -> Message:
    """One refresh and its 2xx; the 2xx as it comes back."""
    build = talk.by_caller if side == "caller" else talk.by_callee
    sent = forwarded(talk.wire.give(build(method, cseq, *asked), CLOCK[side]))
    (back,) = talk.wire.give(answer(sent, 200, *answered), CLOCK["callee" if side == "caller" else "caller"])
    return back.message


@pytest.mark.rule("SIP-18")
@pytest.mark.parametrize(("book", "said", "expires", "least"), [
    # Nobody asks, and the caller could not keep it.
    (BOOK, [], [], []),
    (BOOK, ["Supported: 100rel"], [], []),
    # A caller that could is asked to.
    (BOOK, [ABLE], ["1800"], []),
    (BOOK, ["k: timer"], ["1800"], []),
    (BOOK, [ABLE, "Min-SE: 3600"], ["3600"], ["3600"]),
    (STRICT, [ABLE], ["1800"], ["600"]),
    (STRICT, [ABLE, "Min-SE: 100"], ["1800"], ["600"]),
    (OFF, [ABLE], [], []),
    # What is asked stays while it is enough.
    (BOOK, ["Session-Expires: 90;refresher=uac"], ["90;refresher=uac"], []),
    (BOOK, ["x: 1234", ABLE], ["1234"], []),
    (OFF, ["Session-Expires: 3600", "Min-SE: 120"], ["3600"], ["120"]),
    (STRICT, ["Session-Expires: 600", ABLE], ["600"], ["600"]),
    # Else it is raised, for a caller without timers would not understand a 422.
    (BOOK, ["Session-Expires: 60"], ["90"], ["90"]),
    (STRICT, ["x: 100 ;refresher=uas;a=b"], ["600;refresher=uas;a=b"], ["600"]),
    (STRICT, ["Session-Expires: 100", "Min-SE: 95"], ["600"], ["600"]),
    (STRICT, ["Session-Expires: 100", "Min-SE: 700"], ["700"], ["700"]),
    # What cannot be read is its receiver's to judge.
    (STRICT, ["Session-Expires: soon"], ["soon"], []),
    (STRICT, ["Session-Expires: \xb2"], ["\xb2"], []),
    (BOOK, [f"Session-Expires: {'9' * 5_000}"], ["9" * 5_000], []),
])  # fmt: skip
def test_what_a_gateway_is_asked_for(book: Directory, said: list[str], expires: list[str], least: list[str]) -> None:
    wire = Wire(book)
    assert timers(forwarded(wire.give(invite(*said)))) == (expires, least)
    # The second gateway is asked for the same (law 5).
    second = Wire(directory(gateway(1), gateway(2), timing=book.platform.timing))
    first = forwarded(second.give(invite(*said)))
    again = [one.message for one in second.give(answer(first, 503), GATES[0]) if one.what == "INVITE"]
    assert [timers(one) for one in again] == [(expires, least)]


@pytest.mark.rule("SIP-18", "law 8")
@pytest.mark.parametrize("able", [ABLE, "Require: timer"])
def test_an_interval_too_small_is_refused_where_that_is_understood(able: str) -> None:
    wire = Wire(STRICT)
    trying, refused = wire.give(invite("Session-Expires: 599", able))
    assert (trying.what, refused.what, refused.message.all("min-se")) == ("100 INVITE", "422 INVITE", ["600"])
    assert refused.message.get("retry-after") is None
    assert (wire.kinds(), wire.end["code"], wire.end["status"]) == (["start", "end"], "session_interval", 422)
    assert wire.engine.live_calls == 0


@pytest.mark.rule("SIP-18", "SIP-17")
@pytest.mark.parametrize("side", ["caller", "callee"])
@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_an_interval_too_small_is_refused_inside_a_call_too(method: str, side: str) -> None:
    talk = call(STRICT, [], [])
    build = talk.by_caller if side == "caller" else talk.by_callee
    (refused,) = talk.wire.give(build(method, 2, ABLE, "Session-Expires: 599"), CLOCK[side])
    assert (refused.what, refused.message.all("min-se"), refused.flow) == (f"422 {method}", ["600"], CLOCK[side])
    assert refused.message.reason == "Session Interval Too Small"
    assert talk.wire.engine.live_calls == 1
    raised = forwarded(talk.wire.give(build(method, 3, "Session-Expires: 599"), CLOCK[side]))
    assert timers(raised) == (["600"], ["600"])


@pytest.mark.rule("SIP-18", "SIP-13")
def test_a_gateways_422_goes_up_with_its_minimum() -> None:
    wire = Wire(directory(gateway(1), gateway(2)))
    sent = forwarded(wire.give(invite(ABLE, "Session-Expires: 100")))
    up = [one for one in wire.give(answer(sent, 422, "Min-SE: 300"), GATES[0]) if one.flow == CUSTOMER]
    assert [(one.what, one.message.all("min-se")) for one in up] == [("422 INVITE", ["300"])]


@pytest.mark.rule("SIP-18")
@pytest.mark.parametrize(("asked", "answered", "expires", "require"), [
    # The gateway knows no timers: the caller, which does, is made the refresher.
    ([ABLE], [], ["1800;refresher=uac"], ["timer"]),
    ([ABLE, "Session-Expires: 200"], [], ["200;refresher=uac"], ["timer"]),
    ([ABLE], ["Require: foo"], ["1800;refresher=uac"], ["foo", "timer"]),
    # It does: its word stands.
    ([ABLE], ["x: 120;refresher=uas"], ["120;refresher=uas"], []),
    (["Session-Expires: 200"], ["Session-Expires: 200;refresher=uas"], ["200;refresher=uas"], []),
    # Neither does, or the caller does not.
    ([], [], [], []),
    (["Session-Expires: 200"], [], [], []),
])  # fmt: skip
def test_what_the_caller_is_told(asked: list[str], answered: list[str], expires: list[str], require: list[str]) -> None:
    talk = call(BOOK, asked, answered)
    assert (talk.ok.all("session-expires"), talk.ok.all("require")) == (expires, require)
    # Each time it is told.
    again = talk.wire.give(answer(talk.forwarded, 200, *answered), GATES[0])[-1].message
    assert (again.all("session-expires"), again.all("require")) == (expires, require)


@pytest.mark.rule("SIP-18", "law 6", "law 8")
@pytest.mark.parametrize(("asked", "answered", "seconds"), [
    ([ABLE], [], 1_800),
    ([ABLE], ["Session-Expires: 100;refresher=uas"], 100),
    ([], ["Session-Expires: 300;refresher=uas"], 300),
    # Nobody makes us close a CDR while the parties talk on.
    ([], ["Session-Expires: 1"], 90),
])  # fmt: skip
def test_a_session_that_is_not_refreshed_is_over(asked: list[str], answered: list[str], seconds: int) -> None:
    """Where not both sides keep time for it, both are told: else one that agreed to refresh could talk on unbilled."""
    both = asked == [ABLE] and answered != []
    talk = call(BOOK, asked, answered)
    wire = talk.wire
    assert wire.wait(seconds * 1_000 - 1) == []
    assert wire.engine.live_calls == 1
    assert [one.what for one in wire.wait(1)] == ([] if both else ["BYE", "BYE"])  # RFC 4028 §8.3
    end = wire.end
    assert (end["code"], end["hangup_by"], end["duration_ms"]) == ("session_expired", "timeout", seconds * 1_000)
    assert (end["status"], end["recovered"]) == (200, False)
    assert wire.engine.live_calls == 0
    # A hangup that was on its way passes still, or is as good as ours; anything else has no dialog any more.
    assert [one.what for one in wire.give(talk.by_caller("UPDATE", 3, ABLE))] == ["481 UPDATE"]
    late = wire.give(talk.by_callee("BYE", 1), GATES[0])
    assert [one.what for one in late] == (["BYE"] if both else ["200 BYE"])
    wire.wait(100_000)
    assert wire.engine.leftovers() == {"transactions": 0, "timers": 0, "calls": 0}
    assert wire.kinds().count("end") == 1


@pytest.mark.rule("SIP-18", "law 6")
@pytest.mark.parametrize("asked", [[], ["Supported: 100rel"], ["Session-Expires: 200"]])
def test_where_nobody_keeps_timers_the_longest_duration_serves(asked: list[str]) -> None:
    talk = call(book(max_call_ms=3_000_000), asked, [])
    assert talk.wire.wait(2_999_999) == []
    assert [one.what for one in talk.wire.wait(1)] == ["BYE", "BYE"]
    assert talk.wire.end["code"] == "max_duration"


@pytest.mark.rule("SIP-18", "SIP-17")
@pytest.mark.parametrize("side", ["caller", "callee"])
@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_every_refresh_starts_the_time_anew(method: str, side: str) -> None:
    talk = call(BOOK, [ABLE, "Session-Expires: 200"], [])
    wire = talk.wire
    for cseq in range(2, 6):
        wire.wait(150_000)
        back = refresh(talk, side, method, cseq, asked=(ABLE, "Session-Expires: 200;refresher=uac"))
        assert back.all("session-expires") == ["200;refresher=uac"]
    wire.wait(199_999)
    assert wire.engine.live_calls == 1
    wire.wait(1)
    assert (wire.end["code"], wire.end["duration_ms"]) == ("session_expired", 4 * 150_000 + 200_000)


@pytest.mark.rule("SIP-18")
def test_only_an_accepted_refresh_counts_and_only_once() -> None:
    talk = call(BOOK, [ABLE, "Session-Expires: 200"], [])
    wire = talk.wire
    wire.wait(100_000)
    sent = forwarded(wire.give(talk.by_caller("INVITE", 2, ABLE, "Session-Expires: 200")))
    wire.give(answer(sent, 491), GATES[0])
    sent = forwarded(wire.give(talk.by_caller("INFO", 3, ABLE, "Session-Expires: 900")))
    assert sent.all("session-expires") == ["900"]
    wire.give(answer(sent, 200, "Session-Expires: 900"), GATES[0])
    sent = forwarded(wire.give(talk.by_caller("INVITE", 4, ABLE, "Session-Expires: 150")))
    ok = answer(sent, 200)
    wire.give(ok, GATES[0])
    wire.wait(20_000)
    wire.give(ok, GATES[0])
    wire.wait(129_999)
    assert wire.engine.live_calls == 1
    wire.wait(1)
    assert wire.end["duration_ms"] == 250_000


@pytest.mark.rule("SIP-18")
def test_a_refresh_without_an_interval_ends_the_timer() -> None:
    talk = call(OFF, [ABLE, "Session-Expires: 200"], [])
    refresh(talk, "callee", "INVITE", 1)
    talk.wire.wait(1_000_000)
    assert talk.wire.engine.live_calls == 1


@pytest.mark.rule("SIP-18", "law 8")
@pytest.mark.parametrize(("asleep", "goes_on"), [(1_000, True), (140_000, True), (150_000, False), (9_000_000, False)])
def test_the_time_of_a_session_spans_a_restart(asleep: int, goes_on: bool) -> None:
    talk = call(BOOK, [ABLE, "Session-Expires: 200"], [])
    talk.wire.wait(100_000)
    refresh(talk, "caller", "UPDATE", 2, asked=(ABLE, "Session-Expires: 200"))
    talk.wire.wait(50_000)
    wire = reborn(talk.wire, asleep)
    wire.wait(0)
    assert (wire.engine.live_calls == 1) is goes_on
    if goes_on:
        talk = moved(talk, wire)
        assert refresh(talk, "callee", "UPDATE", 1, "Session-Expires: 300;refresher=uac").all("session-expires")
        wire.wait(300_000)
    # Nobody knows whether the parties talked on while the server was away: charged is what it saw itself.
    spoken = 150_000 + asleep + 300_000 if goes_on else 150_000
    assert (wire.end["code"], wire.end["duration_ms"]) == ("session_expired", spoken)
    assert wire.end["recovered"] is not goes_on


@pytest.mark.rule("SIP-18", "law 8")
def test_a_call_of_before_there_were_session_timers_comes_back_without_one() -> None:
    talk = talking(Wire(BOOK))
    old: list[dict[str, Any]] = [
        {key: one[key] for key in one if key not in ("token", "session_expires_at", "session_one_sided")}
        for one in talk.wire.records
    ]
    wire = reborn(talk.wire, records=old)
    wire.wait(7_000)
    # There was one key then, and its id was 1.
    (route,) = talk.ok.all("record-route")
    bye = moved(talk, wire).by_caller("BYE", 2, route=f"Route: <sip:1{route[6:]}")
    assert [one.what for one in wire.give(bye)] == ["BYE"]
    assert wire.end["code"] == "answered"


@pytest.mark.rule("SIP-18", "SIP-15", "law 8")
def test_an_answer_that_comes_again_after_a_restart_makes_the_caller_the_refresher_again() -> None:
    wire = Wire(BOOK)
    sent = forwarded(wire.give(invite(ABLE, "Session-Expires: 200")))
    ok = answer(sent, 200)
    wire.give(ok, GATES[0])
    again = reborn(wire, 300)
    (up,) = again.give(ok, GATES[0])
    assert (up.what, up.message.all("session-expires")) == ("200 INVITE", ["200;refresher=uac"])
    assert up.message.all("require") == ["timer"]


@pytest.mark.rule("SIP-18", "law 8")
@pytest.mark.parametrize("said", [["Session-Expires: 300;refresher=uac"], []])
def test_a_refresh_that_a_restart_cut_counts(said: list[str]) -> None:
    talk = call(BOOK, [ABLE, "Session-Expires: 200"], [])
    talk.wire.wait(100_000)
    sent = forwarded(talk.wire.give(talk.by_caller("INVITE", 2, ABLE, "Session-Expires: 300")))
    wire = reborn(talk.wire, 500)
    (up,) = wire.give(answer(sent, 200, *said), GATES[0])
    assert (up.what, up.message.all("session-expires")) == ("200 INVITE", [one.partition(": ")[2] for one in said])
    wire.wait(299_999)
    assert wire.engine.live_calls == 1
    wire.wait(1)
    assert wire.engine.live_calls == (0 if said else 1)


@pytest.mark.rule("SIP-7", "law 8")
@pytest.mark.parametrize(("place", "there"), [
    # The callee's own address and its gateway's are known, anybody else's is not.
    ("203.0.113.77:5099", ("203.0.113.77", 5099)),
    ("203.0.113.1:5099", ("203.0.113.1", 5099)),
    ("203.0.113.66:5099", ("203.0.113.1", 5080)),
])  # fmt: skip
def test_where_the_answer_to_a_callees_refresh_goes_after_a_restart(place: str, there: tuple[str, int]) -> None:
    talk = call(BOOK, [], [])
    bob = "<sip:bob@203.0.113.77:5090>"
    data = (
        talk.by_callee("INVITE", 2, Contact=bob).replace(b"peer.example:5060", place.encode()).replace(b";rport", b"")
    )
    host = place.partition(":")[0]
    sent = forwarded(talk.wire.give(data, GATES[0]._replace(host=host, port=5099)))
    (back,) = reborn(talk.wire, 500).give(answer(sent, 200))
    assert (back.what, (back.flow.host, back.flow.port)) == ("200 INVITE", there)
