"""Ctrl-C: a call in set-up finishes, new ones get 503, the records are on disk when the process is gone."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sipsvc.cdr.segments import read_segments
from tests.waiting import until
from tests.wire.conftest import Stage


@pytest.mark.rule("law 8")
def test_ctrl_c_drains(stage: Stage, tmp_path: Path) -> None:
    alpha, beta = stage.gateways(tmp_path, "slow_answer")
    client = stage.caller(tmp_path, "ip_call", talk_ms=4000, label="in-set-up")
    late = None
    try:
        until(lambda: len(alpha.received("INVITE")) == 1)
        stage.server.interrupt()
        time.sleep(0.2)
        late = stage.caller(tmp_path, "refused_503", label="too-late")
        assert late.wait(10) == 0, late.errors()
        assert stage.server.wait(30) == 0, stage.server.tail()
        until(lambda: len(alpha.received("ACK")) == 1)
        kinds = [
            entry.record["kind"]
            for entry in read_segments(stage.server.data / "cdr")
            if entry.record["cdr_id"] and entry.record["kind"] != "start"
        ]
        assert sorted(kinds) == ["answer", "end"], "the answer of the first call and the refusal of the second"
        # The call talks on without us; its BYE is for the next process.
        stage.server.start()
        assert client.wait(40) == 0, client.errors()
    finally:
        for one in (late, client, alpha, beta):
            if one is not None:
                one.stop()
    assert len(alpha.received("BYE")) == 1
    assert stage.cdr(client.call_ids()[0])["code"] == "answered"
    assert (lambda cdr: (cdr["status"], cdr["code"]))(stage.cdr(late.call_ids()[0])) == (503, "draining")
