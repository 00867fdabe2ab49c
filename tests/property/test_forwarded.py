"""What we do not touch leaves as it came, byte for byte, in order, whatever it is (SIP-1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipsvc.headers import Pristine
from sipsvc.message import parse
from sipsvc.message.build import join
from tests.fuzz.check import wrong
from tests.property.test_parser import HEADERS, KNOWN, valid
from tests.unit.wire import CUSTOMER, GATES, Wire, answer, request

# Names of one letter that a proxy has business with, beside those that are known to the generator.
OURS = KNOWN | {"y"}
ODD = HEADERS.map(
    lambda headers: [f"{name}{blank}:{blank}{value}" for name, blank, value in headers if name.lower() not in OURS]
)
BODY = st.binary(max_size=40)


@pytest.mark.rule("SIP-1", "SIP-5")
@given(valid(), st.booleans())
def test_a_request_is_built_from_its_own_lines(case: tuple[str, list[str], bytes], own_identity: bool) -> None:
    start, lines, body = case
    kept = lines.copy()
    if own_identity:
        lines = [lines[0], "P-Asserted-Identity: <sip:1@h>", "Route: <sip:r;lr>", "Max-Forwards: 7", *lines[1:]]
    pristine = Pristine(parse(join(start, lines, body)), lambda value: True)
    built = pristine.build("sip:x@y", ["Via: SIP/2.0/UDP us;branch=z9hG4bKa"])
    method = start.partition(" ")[0]
    hops = 6 if own_identity else 70
    top = [f"{method} sip:x@y SIP/2.0", "Via: SIP/2.0/UDP us;branch=z9hG4bKa", f"Max-Forwards: {hops}"]
    assert built == join(top[0], [*top[1:], *kept, f"Content-Length: {len(body)}"], body)


@pytest.mark.rule("SIP-1", "SIP-5")
@given(ODD, BODY, ODD, BODY)
def test_a_call_and_its_answer_arrive_with_all_that_nobody_here_knows(
    asked: list[str], body: bytes, said: list[str], said_body: bytes
) -> None:
    wire = Wire()
    forwarded = wire.give(request("INVITE", "sip:33123456789@192.0.2.1", *asked, body=body))[-1]
    assert (forwarded.what, forwarded.flow) == ("INVITE", GATES[0])
    assert [line for line in forwarded.message.lines if line in asked] == asked
    assert forwarded.message.body == body
    answered = wire.give(answer(forwarded.message, 183, *said, body=said_body), GATES[0])[-1]
    assert (answered.what, answered.flow) == ("183 INVITE", CUSTOMER)
    assert [line for line in answered.message.lines if line in said] == said
    assert answered.message.body == said_body
    assert [wrong(sent.data) for sent in wire.sent] == [""] * len(wire.sent)
