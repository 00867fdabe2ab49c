"""`sipsvc backup` beside a server that takes calls, and `restore` where there is none (law 8)."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from sipsvc.cdr.deliver import drain_once
from sipsvc.demo.server import Server
from sipsvc.settings import load
from sipsvc.store.database import open_database
from tests.keeping.test_backup import rows
from tests.waiting import until
from tests.wire.conftest import Stage

CALLS = 300


def command(server: Server, *words: str) -> subprocess.CompletedProcess[str]:
    whole = [*server.command(*words), "--config", str(server.config)]
    return subprocess.run(whole, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.rule("law 8")
def test_a_backup_while_calls_are_made_goes_back_into_an_empty_place(stage: Stage, tmp_path: Path) -> None:
    alpha, beta = stage.gateways(tmp_path)
    client = stage.caller(tmp_path, "ip_call", calls=CALLS, talk_ms=1_000)
    try:
        until(lambda: len(alpha.received("BYE")) > CALLS // 10)
        begun = time.time_ns() // 1_000_000
        made = command(stage.server, "backup", str(tmp_path))
        assert made.returncode == 0, made.stderr
        assert len(alpha.received("BYE")) < CALLS, "all calls were over before it was made"
        client.wait(90)
    finally:
        for one in (client, alpha, beta):
            one.stop()
    for call_id in client.call_ids():
        stage.cdr(call_id)
    (path,) = tmp_path.glob("sipsvc-*.tar.gz")
    assert str(path) in made.stdout
    there = Server(tmp_path / "there", None, api=False)
    refused = command(stage.server, "restore", str(path), "--force")
    assert (refused.returncode, "a server runs here" in refused.stderr) == (1, True)
    restored = command(there, "restore", str(path))
    assert restored.returncode == 0, restored.stderr
    drain_once(load(there.config))
    found, original = rows(load(there.config)), rows(load(stage.server.config))
    over = {key: row for key, row in found.items() if "ended" in row}
    assert len(over) > CALLS // 10
    assert all(original[key] == row for key, row in over.items())
    engine = open_database(load(stage.server.config).data.url)
    with engine.connect() as connection:
        before = set(connection.scalars(text("SELECT cdr_id FROM cdr WHERE end_at < :begun"), {"begun": begun}))
    engine.dispose()
    assert len(before) > CALLS // 10
    assert before <= over.keys()
