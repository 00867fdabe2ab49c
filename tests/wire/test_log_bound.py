"""A real server whose log comes to its bound because the database is held, and which hands its calls on (law 8)."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sipsvc.demo.server import Server, free_port
from tests.wire.conftest import Stage, serving, write_bundle
from tests.wire.test_crash import until
from tests.wire.test_watching import figures, sipsvc, told


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Its log may hold a megabyte, and its calls go into files."""
    folder = tmp_path_factory.mktemp("bound")
    alpha, beta = free_port(), free_port()
    settings = f'[cdr]\nmax_mb = 1\n[cdr.files]\ndir = "{folder / "files"}"\nformats = ["jsonl"]\n'
    server = Server(folder, write_bundle(folder / "bundle", alpha, beta), sip=settings)
    with serving(server):
        yield Stage(server, alpha, beta)


def calls(stage: Stage) -> dict[str, Any]:
    """The code of each call in the database, by Call-ID."""
    with sqlite3.connect(stage.server.data / "sipsvc.db") as database:
        found = database.execute("SELECT call_id, code, state FROM cdr").fetchall()
    database.close()
    assert len({call_id for call_id, _, _ in found}) == len(found)
    return {call_id: code for call_id, code, state in found if state == "ended"}


@pytest.mark.rule("law 8", "SIP-37", "SIP-38")
def test_at_the_bound_new_calls_wait_for_the_database_and_nothing_answered_is_lost(
    stage: Stage, tmp_path: Path
) -> None:
    alpha, beta = stage.gateways(tmp_path)
    holding = sqlite3.connect(stage.server.data / "sipsvc.db", isolation_level=None)
    callers = []
    try:
        long = stage.caller(tmp_path, "ip_call", talk_ms=240_000, label="long")
        callers.append(long)
        until(lambda: len(alpha.received("ACK")) == 1)
        (up,) = told(stage, "calls")
        holding.execute("BEGIN IMMEDIATE")
        many = stage.caller(tmp_path, "ip_call", "-r", "50", "-aa", calls=2_000, talk_ms=100, label="many")
        callers.append(many)
        until(lambda: told(stage, "status")["log"]["full"], 120)
        refused = stage.caller(tmp_path, "refused_503", label="refused")
        callers.append(refused)
        refused.wait(40)
        assert (refused.counters().ok, refused.counters().failed) == (1, 0), refused.errors()
        status = told(stage, "status")
        assert (status["ready"], status["log"]["why"]) == (False, "bound")
        assert "FULL (bound): no call is admitted" in sipsvc(stage, "status")
        shown = figures(stage)
        assert shown["sipsvc_log_full", ""] == 1
        assert shown["sipsvc_log_bytes", ""] >= shown["sipsvc_log_most_bytes", ""] == 1024 * 1024
        # One that is up ends as ever.
        sipsvc(stage, "hangup", up["cdr_id"])
        many.stop()
        answered = {one.get("call-id") for one in alpha.received("ACK")}
    finally:
        holding.close()
        for one in callers:
            one.stop()
    until(lambda: told(stage, "status")["ready"], 60)
    stage_calls = stage.caller(tmp_path, "ip_call", label="after")
    try:
        stage_calls.wait(40)
        assert stage_calls.counters().ok == 1
    finally:
        for one in (stage_calls, alpha, beta):
            one.stop()
    until(lambda: not told(stage, "calls"), 60)
    until(lambda: told(stage, "status")["log"]["undelivered_bytes"] == 0, 60)
    found = calls(stage)
    assert found[up["call_id"]] == "admin"
    # Those refused are recorded, or counted where the log was far above its bound by then.
    turned = {
        line.call_id
        for one in (many, refused)
        for line in one.lines()
        if not line.sent and line.start.startswith("SIP/2.0 503")
    }
    unrecorded = told(stage, "status")["log"]["unrecorded_calls"]
    assert sum(code == "log_full" for code in found.values()) + unrecorded == len(turned) > 0
    assert {found[call_id] for call_id in turned & found.keys()} <= {"log_full"}
    assert len(answered) > 100
    assert {found[call_id] for call_id in answered} == {"answered", "admin"}
    said = [
        json.loads(line)["event"] for line in stage.server.log.read_text().splitlines() if '"room":"cdr.log"' in line
    ]
    assert (said[0], said[-1]) == ("cdr_log_filling", "cdr_log_has_room")
    assert "cdr_log_full" in said
    # And all of them are handed on, once.
    until(lambda: told(stage, "status")["outputs"].get("files") == {"waiting": 0, "failing": ""}, 60)
    handed = [
        json.loads(line)["call_id"]
        for path in (stage.server.folder / "files").glob("cdr-*.jsonl*")
        for line in path.read_text().splitlines()
    ]
    assert len(handed) == len(set(handed))
    assert set(handed) == set(found)
