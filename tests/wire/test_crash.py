"""kill -9: calls in progress end properly after the restart, and each has one record (law 8)."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.waiting import until
from tests.wire.conftest import Stage


@pytest.mark.rule("law 8")
def test_calls_survive_a_kill(stage: Stage, tmp_path: Path) -> None:
    alpha, beta = stage.gateways(tmp_path)
    began = time.monotonic()
    client = stage.caller(tmp_path, "ip_call", calls=10, talk_ms=4000)
    try:
        until(lambda: len(alpha.received("ACK")) == 10)
        stage.server.kill()
        stage.server.start()
        client.wait(40)
        most_ms = (time.monotonic() - began) * 1000
    finally:
        for one in (client, alpha, beta):
            one.stop()
    counted = client.counters()
    assert (counted.ok, counted.failed) == (10, 0), client.errors()
    assert len(alpha.received("BYE")) >= 10
    for call_id in client.call_ids():
        cdr = stage.cdr(call_id)
        assert (cdr["code"], cdr["hangup_by"], cdr["recovered"]) == ("answered", "caller", False)
        assert 3500 <= cdr["duration_ms"] <= most_ms


@pytest.mark.rule("law 8")
def test_calls_in_set_up_at_a_kill_have_one_record_each(stage: Stage, tmp_path: Path) -> None:
    alpha, beta = stage.gateways(tmp_path, "slow_answer", "slow_answer")
    client = stage.caller(tmp_path, "ip_call", calls=10, talk_ms=1000)
    try:
        until(lambda: len(alpha.received("INVITE")) == 10)
        stage.server.kill()
        stage.server.start()
        client.wait(60)
    finally:
        for one in (client, alpha, beta):
            one.stop()
    for call_id in client.call_ids():
        # Nobody repeated its INVITE for 64 T1: closed, and nothing is charged.
        cdr = stage.cdr(call_id, 45)
        assert (cdr["code"], cdr["recovered"], cdr["sell"]) == ("server_restart", True, None)
    # And the server takes new calls.
    after = tmp_path / "after"
    stage.call(after, "ip_call").all_ok()
