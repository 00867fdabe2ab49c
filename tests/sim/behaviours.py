"""What a carrier may do to a call, one function a behaviour: right, slow, broken or rude."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from tests.sim.gateways import GatewayCall


def answers(call: GatewayCall) -> None:
    call.at(5, call.answer)


def rings(call: GatewayCall) -> None:
    call.at(call.script.first, lambda: call.provisional(180))
    call.at(call.script.final, call.answer)


def many(call: GatewayCall) -> None:
    """100, then every 18x there is, some again and again."""
    first, final = call.script.first, call.script.final
    call.at(5, lambda: call.provisional(100, "Trying"))
    for step, status in enumerate((183, 180, 180, 181, 182, 180, 199, 183)):
        call.at(first + (final - first) * step / 9, partial(call.provisional, status, "Progress"))
    call.at(final, call.answer)


def only_100(call: GatewayCall) -> None:
    call.at(call.script.first, lambda: call.provisional(100, "Trying"))
    call.at(call.script.final, call.answer)


def trying_for_ever(call: GatewayCall) -> None:
    call.at(call.script.first, lambda: call.provisional(100, "Trying"))


def rings_for_ever(call: GatewayCall) -> None:
    call.at(call.script.first, lambda: call.provisional(180))


def keeps_ringing(call: GatewayCall) -> None:
    """Rings longer than Timer C at one go, but says so now and then (§16.7 step 2)."""
    for step in range(4):
        call.at(call.script.first + step * 30_000.0, lambda: call.provisional(180))
    call.at(call.script.first + 115_000.0, call.answer)


def silent(call: GatewayCall) -> None:
    """Nothing at all, not even for a CANCEL's INVITE."""


def late_answer(call: GatewayCall) -> None:
    call.at(call.script.final, call.answer)


def reliable(call: GatewayCall) -> None:
    call.at(call.script.first, call.reliable)
    call.at(call.script.final, call.answer)


def twice(call: GatewayCall) -> None:
    """A carrier that forked and got two answers (§13.2.2.4)."""
    rings(call)
    call.at(call.script.final + call.script.first / 2, lambda: call.answer(f"{call.tx.tag}x"))


def fails(call: GatewayCall) -> None:
    call.at(call.script.final, lambda: call.refuse(call.script.status))


def rings_and_fails(call: GatewayCall) -> None:
    call.at(call.script.first, lambda: call.provisional(180))
    fails(call)


def forks(call: GatewayCall) -> None:
    """A carrier whose own forking shows: two early dialogs, and one of the two answers."""
    first, final, other = call.script.first, call.script.final, f"{call.tx.tag}f"
    call.at(first, lambda: call.provisional(180))
    call.at(first + 150, lambda: call.provisional(183, "Session Progress", other))
    call.at(first + 300, lambda: call.provisional(180))
    call.at(final, lambda: call.answer(other if call.agent.rng.random() < 0.5 else ""))


def crooked(call: GatewayCall, status: int, change: Callable[[bytes], bytes], tag: str = "") -> None:
    """Send a response that was right until `change` had it."""
    tx = call.tx
    call.agent.world.counts["crooked responses"] += 1
    data = tx.response(status, "Crooked", call.headers(), b"", tag or tx.tag)
    call.agent.respond_to(tx.msg, tx.src, tx.dst, change(data))


def rubbish(call: GatewayCall) -> None:
    """Bytes that are no response, then a call as any other."""
    rng, first = call.agent.rng, call.script.first
    whole: Callable[[bytes], bytes]
    for step, whole in enumerate((
        lambda data: rng.randbytes(80),
        lambda data: data[: data.index(b"CSeq")],
        lambda data: data.replace(b"SIP/2.0 200", b"SIP/2.0 1200"),
        lambda data: data.replace(b"Call-ID: ", b"Call-ID "),
        lambda data: data.replace(b"\r\nCSeq: ", b"\r\nCSeq: x"),
    )):  # fmt: skip
        call.at(first * step / 5, partial(crooked, call, 200, whole))
    rings(call)


def not_for_us(call: GatewayCall) -> None:
    """An answer whose top Via is somebody else's, and one to a request of another method (SIP-9, §17.1.3)."""
    foreign = lambda data: re.sub(rb"Via: SIP/2.0/UDP [^;]*;", b"Via: SIP/2.0/UDP 10.99.1.1:5060;", data, count=1)  # noqa: E731
    unmatched = lambda data: re.sub(rb"(CSeq: \d+) INVITE", rb"\1 OPTIONS", data)  # noqa: E731
    call.at(call.script.first / 2, partial(crooked, call, 200, foreign))
    call.at(call.script.first / 2, partial(crooked, call, 486, unmatched))
    rings(call)


def distorts(call: GatewayCall) -> None:
    """What it was sent comes back changed: the caller is to see its own all the same (SIP-31)."""
    called = lambda data: re.sub(rb"From: [^\r]*<sip:[^@>]*@[^>]*>", b'From: "SBC" <sip:sbc@10.88.0.1>', data)  # noqa: E731
    counted = lambda data: re.sub(rb"CSeq: \d+ ", b"CSeq: 77 ", data)  # noqa: E731
    dialled = lambda data: re.sub(rb"To: [^\r]*<sip:[^@>]*@[^>]*>", b"To: <sip:b2bua@10.88.0.1>", data)  # noqa: E731
    call.at(call.script.first, lambda: call.provisional(180))
    for step, change in enumerate((called, counted, dialled), 1):
        call.at(call.script.first + 40.0 * step, partial(crooked, call, 183, change))
    call.at(call.script.final, call.answer)


def no_tag(call: GatewayCall) -> None:
    """A 2xx that makes no dialog, for it has no To-tag; a right one follows (§12.1.1)."""
    untagged = lambda data: data.replace(f";tag={call.tx.tag}".encode(), b"", 1)  # noqa: E731
    call.at(call.script.first, lambda: call.provisional(180))
    call.at(call.script.final, partial(crooked, call, 200, untagged))
    call.at(call.script.final + 1_000, call.answer)


def rings_after_the_end(call: GatewayCall) -> None:
    """180 and 183 behind the final response."""
    rings(call)
    for delay in (1.0, 50.0, 700.0):
        call.at(call.script.final + delay, partial(crooked, call, 183, lambda data: data))


def refuses_thrice(call: GatewayCall) -> None:
    """The final response again and again before any ACK, and then another."""
    fails(call)
    for delay in (1.0, 2.0, 30.0):
        call.at(call.script.final + delay, partial(crooked, call, call.script.status, lambda data: data))
    call.at(call.script.final + 3_000, partial(crooked, call, 500, lambda data: data))


def answers_after_refusing(call: GatewayCall) -> None:
    """486, and then it answers after all. Nobody has to believe it."""
    call.tx.owed_an_ack = False
    call.at(call.script.first, lambda: call.refuse(486))
    call.at(call.script.first + 1_500, lambda: call.answer(f"{call.tx.tag}y", anyway=True))


def refuses_after_answering(call: GatewayCall) -> None:
    """An answer, and then 486."""
    call.tx.owed_an_ack = False
    rings(call)
    call.at(call.script.final + 1_500, partial(crooked, call, 486, lambda data: data))


KINDS: dict[str, Callable[[GatewayCall], None]] = {
    "answers at once": answers,
    "rings": rings,
    "rr": rings,
    "strict": rings,
    "many 18x": many,
    "100 only": only_100,
    "100rel": reliable,
    "100 for ever": trying_for_ever,
    "keeps ringing": keeps_ringing,
    "rings for ever": rings_for_ever,
    "stubborn": rings_for_ever,
    "rude": rings_for_ever,
    "silent": silent,
    "late": rings,
    "late 2xx": late_answer,
    "twice": twice,
    "rings and fails": rings_and_fails,
    "forks": forks,
    "rubbish": rubbish,
    "not for us": not_for_us,
    "distorts": distorts,
    "2xx without a tag": no_tag,
    "rings after the end": rings_after_the_end,
    "refuses thrice": refuses_thrice,
    "answers after refusing": answers_after_refusing,
    "refuses after answering": refuses_after_answering,
}


def begin(call: GatewayCall) -> None:
    """Treat a call as it is written in its script."""
    KINDS.get(call.script.kind, fails)(call)
