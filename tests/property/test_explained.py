"""Over random catalogues: explain, the live call on the wire and the CDR's trace say the same (EX-1, law 4).

The engine decides on the directory that a server loads, explain on the rows it reads for the one call.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine as Database
from sqlalchemy.orm import Session

from sipsvc.effects import Flow, Listener, Now, Target
from sipsvc.message import escape_user
from sipsvc.routing.explain import explain
from sipsvc.routing.question import Question, number_of
from sipsvc.store.database import one_state, open_database, writing
from sipsvc.store.snapshot import for_call
from tests.databases import migrated_copy
from tests.directories import load_directory
from tests.property.catalogues import CALLERS, DIALLED, TIMES, Catalogue, catalogues, source, store
from tests.unit.wire import LISTENERS, MS, US, Sent, Wire, answer, request

EVERY = (*LISTENERS, Listener("TCP", "192.0.2.1", 5060), Listener("TLS", "192.0.2.1", 5061))
HOST = US.rpartition(":")[0]
IDENTITIES = {"p_asserted_identity": "P-Asserted-Identity", "remote_party_id": "Remote-Party-ID"}


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    engine = open_database(migrated_copy(request.param, request, tmp_path))
    yield engine
    engine.dispose()


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, str, list[str]]:
    """The number dialled, the From, and further header lines; Privacy and P-Preferred-Identity among them."""
    lines = []
    if draw(st.integers(0, 2)) == 0:
        lines.append(f"P-Preferred-Identity: {draw(st.sampled_from(CALLERS[:4]))}".partition(";tag")[0])
    if draw(st.integers(0, 2)) == 0:
        asks = ["id", "none", "user;id", "session", "critical;session"]
        lines.append(f"Privacy: {draw(st.sampled_from(asks))}")
    # What an untrusted side says of itself has no say, in either.
    lines.append("Remote-Party-ID: <sip:1@evil.example>")
    return draw(st.sampled_from(DIALLED)), draw(st.sampled_from(CALLERS)), lines


@pytest.mark.rule("EX-1", "law 4", "law 5")
@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(made=catalogues(), call=calls(), at=TIMES, earlier=st.integers(0, 2), data=st.data())
def test_explain_the_live_call_and_its_trace_agree(
    database: Database,
    made: Catalogue,
    call: tuple[str, str, list[str]],
    at: int,
    earlier: int,
    data: st.DataObject,
) -> None:
    with writing(database) as session:
        store(session, made)
    customers = list(made.customers)
    customer = data.draw(st.sampled_from(customers))
    flow = Flow("UDP", source(customers.index(customer)), 5062)
    wire = Wire(load_directory(database), begin=Now(1_000 * MS, at), listeners=EVERY)
    sent: list[Sent] = []
    for number in range(earlier + 1):
        sent = resolved(wire, wire.give(invite(call, number), flow))
    record = [record for record in wire.records if record["kind"] == "start"][-1]
    said = asked(database, customer, call, record, wire.now)

    event(said["code"] or f"{len(said['attempts'])} gateways")
    assert record["customer"] == customer
    assert json.loads(json.dumps(record["trace"])) == said["trace"]
    assert (record["e164"], record["caller_shown"]) == (said["e164"], said["caller"])
    assert (record["directory"], record["live"]) == (said["directory"], said["live"])
    if said["outcome"] == "refused":
        response = sent[-1].message
        assert (response.status, response.reason) == (said["status"], said["reason"])
        assert response.get("warning") == f'399 {HOST} "{said["text"]}"'
        assert said["attempts"] == []
        return
    for attempt in said["attempts"]:
        assert sent[-1].what == "INVITE"
        as_said(sent[-1], attempt)
        sent = resolved(wire, wire.give(answer(sent[-1].message, 503), sent[-1].flow))
        if 503 not in made.gateways[attempt["gateway"]]["hunt_codes"]:
            break
    assert sent[-1].message.status >= 500
    wire.wait(400_000)
    ended = [record for record in wire.records if record["kind"] == "end" and record["cdr_id"] == wire_id(wire)][-1]
    if ended["sell"] is not None:
        assert {name: ended["sell"][name] for name in ("row", "prefix", "rate", "fee", "currency", "minimum")} == {
            name: said["sell"][name] for name in ("row", "prefix", "rate", "fee", "currency", "minimum")
        }


def resolved(wire: Wire, sent: list[Sent]) -> list[Sent]:
    """What left, and what does once a gateway's name is found."""
    if wire.engine.core.lookups:
        transport, port = wire.asked[-1].transport, wire.asked[-1].port or 5060
        return sent + wire.find(Target(transport, "203.0.113.200", port))
    return sent


def wire_id(wire: Wire) -> str:
    return str([record for record in wire.records if record["kind"] == "start"][-1]["cdr_id"])


def invite(call: tuple[str, str, list[str]], number: int) -> bytes:
    dialled, caller, lines = call
    via = f"SIP/2.0/UDP phone.example:5062;branch=z9hG4bK-{number};rport"
    on_the_wire = caller.encode().decode("latin-1")
    uri = f"sip:{escape_user(dialled)}@{US}"
    extra = [line.encode().decode("latin-1") for line in lines]
    return request("INVITE", uri, *extra, From=on_the_wire, Call_ID=f"call-{number}", Via=via)


def asked(
    database: Database, customer: str, call: tuple[str, str, list[str]], record: dict[str, Any], now: Now
) -> dict[str, Any]:
    dialled, caller, lines = call
    headers = dict(line.split(": ", 1) for line in lines)
    preferred, privacy = headers.get("P-Preferred-Identity", ""), headers.get("Privacy", "")
    channels = record["live"]["channels"]
    question = Question(customer, dialled, caller, preferred, privacy, channels, record["call_id"])
    with one_state(database) as connection, Session(connection) as session:
        directory = for_call(session, customer, number_of(question))
    return explain(directory, question, host=HOST, now=now)


def as_said(sent: Sent, attempt: dict[str, Any]) -> None:
    """The datagram has the lines explain gave, and no other of their names."""
    lines = sent.data.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    assert lines[0] == attempt["request_line"]
    assert [line for line in lines if line.startswith("From:")] == [attempt["from"]]
    for name, header in IDENTITIES.items():
        there = [line for line in lines if line.lower().startswith(f"{header.lower()}:")]
        assert there == ([] if attempt[name] is None else [attempt[name]])
