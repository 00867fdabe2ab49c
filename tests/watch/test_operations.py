"""What is asked of an engine over its control socket: live calls, ladders, hanging up, the door (SIP-38)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sipsvc.control import ControlError, ControlServer, ask
from sipsvc.watch import Facts, handlers
from sipsvc.watch.operations import PAGE
from tests.unit.wire import Wire, request
from tests.watch.conftest import Loop, facts_of, up


@contextmanager
def asked(loop: Loop, facts: Facts, folder: Path) -> Iterator[None]:
    server = ControlServer(handlers(facts))

    async def stop() -> None:
        server.stop()
        await asyncio.sleep(0.05)

    loop.run(server.start(folder))
    try:
        yield
    finally:
        loop.run(stop())


@pytest.mark.rule("SIP-38")
def test_the_live_calls_with_what_they_cost_so_far(loop: Loop, wire: Wire, tmp_path: Path) -> None:
    for number in range(PAGE + 3):
        up(wire, number)
    wire.wait(40_000)
    wire.give(request(Call_ID="ringing", Via="SIP/2.0/UDP 198.51.100.10;branch=z9hG4bKr"))
    with asked(loop, facts_of(wire, tmp_path), tmp_path):
        pages = list(ask(tmp_path, "calls"))
        assert [len(page) for page in pages] == [PAGE, 4]
        first, last = pages[0][0], pages[-1][-1]
        assert list(ask(tmp_path, "calls", customer="nobody")) == []
        assert sum(map(len, ask(tmp_path, "calls", customer="acme"))) == PAGE + 4
    start = wire.records[0]
    # 40 s at 0.06 a minute, 30 s at least and then by 6 s: 42 s.
    assert first == {
        "cdr_id": start["cdr_id"],
        "call_id": "call-0",
        "customer": "acme",
        "number": "33123456789",
        "gateway": "gw1",
        "phase": "up",
        "since": start["invite_at"],
        "duration_ms": 40_000,
        "cost": "0.042000",
        "currency": "USD",
    }
    assert (last["phase"], last["cost"], last["duration_ms"]) == ("setup", "0.000000", None)


@pytest.mark.rule("SIP-38")
def test_a_trace_by_either_id_while_it_lives_and_afterwards(loop: Loop, wire: Wire, tmp_path: Path) -> None:
    up(wire, 1)
    cdr_id = wire.records[0]["cdr_id"]
    with asked(loop, facts_of(wire, tmp_path), tmp_path):
        (live,) = ask(tmp_path, "trace", call="call-1")
        assert (live["state"], live["cdr_id"], live["code"]) == ("up", cdr_id, "")
        assert live["trace"] == [list(row) for row in wire.records[0]["trace"]]
        assert [rung["what"].partition(" ")[0] for rung in live["ladder"]] == ["INVITE", "100", "INVITE", "200", "200"]
        assert list(ask(tmp_path, "hangup", call=cdr_id)) == [{"cdr_id": cdr_id}]
        wire.drain()
        wire.wait(200_000)
        (ended,) = ask(tmp_path, "trace", call=cdr_id)
        assert (ended["state"], ended["code"], ended["status"]) == ("ended", "admin", 200)
        assert ended["ladder"][-1]["method"] == "BYE"
        with pytest.raises(ControlError, match="no live call with the cdr_id"):
            list(ask(tmp_path, "hangup", call=cdr_id))
        with pytest.raises(ControlError, match="there is no live call 'nothing', and none is among the last"):
            list(ask(tmp_path, "trace", call="nothing"))
        with pytest.raises(ControlError, match="`call` must be text"):
            list(ask(tmp_path, "trace"))


@pytest.mark.rule("SIP-38")
def test_the_door_is_closed_and_opened(loop: Loop, wire: Wire, tmp_path: Path) -> None:
    up(wire, 1)
    with asked(loop, facts_of(wire, tmp_path), tmp_path):
        assert list(ask(tmp_path, "drain")) == [{"draining": True, "live_calls": 1, "calls_in_setup": 0}]
        refused = wire.give(request(Call_ID="late", Via="SIP/2.0/UDP 198.51.100.10;branch=z9hG4bKl"))[-1]
        assert refused.message.status == 503
        (status,) = ask(tmp_path, "status")
        assert (status["ready"], status["draining"], status["live_calls"]) == (False, True, 1)
        assert next(ask(tmp_path, "undrain"))["draining"] is False
    up(wire, 2)
    assert wire.engine.live_calls == 2


def test_the_door_can_say_no(loop: Loop, wire: Wire, tmp_path: Path) -> None:
    with (
        asked(loop, facts_of(wire, tmp_path, drain=lambda closed: "the server is ending"), tmp_path),
        pytest.raises(ControlError, match="the server is ending"),
    ):
        list(ask(tmp_path, "undrain"))
