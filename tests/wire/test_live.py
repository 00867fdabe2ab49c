"""A change of the catalogue in the running server: in force within a second, no call dropped, whatever its size."""

from __future__ import annotations

import json
import subprocess
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sipsvc.store import rates
from sipsvc.store.changes import LOCAL, Changes
from sipsvc.store.database import open_database, writing
from sipsvc.store.models import Customer, PriceList
from sipsvc.store.pricefile import Row
from tests.wire.conftest import Stage

# What the product promises from the commit of a change to the first call that is decided by it.
PROMISE_S = 1.0


def said(stage: Stage, event: str) -> list[dict[str, Any]]:
    lines = stage.server.log.read_text(errors="replace").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{") and f'"event":"{event}"' in line]


@pytest.mark.rule("law 3")
def test_a_price_changed_while_calls_run_is_the_next_calls_price(stage: Stage, tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{stage.server.data / 'sipsvc.db'}")
    alpha, beta = stage.gateways(tmp_path)
    before = after = None
    try:
        # Ten calls, of which the last ones begin before the change and all go on through it.
        before = stage.caller(tmp_path, "ip_call", calls=10, talk_ms=4000, label="before")
        time.sleep(1.0)
        with writing(engine) as session:
            changes = Changes(session, LOCAL)
            retail = session.get_one(PriceList, "retail")
            dearer = [Row("4420", "", "London", Decimal("0.12"), Decimal(0), 1, 1)]
            rates.apply(changes, retail, rates.compare(session, retail, dearer, full=False), at=changes.at)
            changes.rows_changed(retail, "London")
        time.sleep(PROMISE_S)
        after = stage.caller(tmp_path, "ip_call", calls=5, label="after")
        assert (after.wait(40), before.wait(40)) == (0, 0), f"{after.errors()}\n{before.errors()}"
    finally:
        for one in (before, after, alpha, beta):
            if one is not None:
                one.stop()
        engine.dispose()
    old = [stage.cdr(call_id) for call_id in before.call_ids()]
    new = [stage.cdr(call_id) for call_id in after.call_ids()]
    assert {cdr["code"] for cdr in old + new} == {"answered"}
    assert {(cdr["directory"], cdr["sell"]["rate"]) for cdr in new} == {(changes.directory, "0.120000")}
    assert {cdr["sell"]["rate"] for cdr in old} == {"0.030000"}
    assert all(cdr["directory"] < changes.directory for cdr in old)


@pytest.mark.rule("law 3")
def test_a_customer_suspended_and_the_feed_killed(stage: Stage, tmp_path: Path) -> None:
    """The worker keeps what it has while there is no feed; the next one brings what was missed."""
    engine = open_database(f"sqlite:///{stage.server.data / 'sipsvc.db'}")
    process = stage.server.process
    assert process is not None
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (feed,) = [pid for pid in children if b"feed" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")]
    subprocess.run(["kill", "-9", feed], check=True)
    stage.call(tmp_path, "ip_call").all_ok()
    try:
        with writing(engine) as session:
            changes = Changes(session, LOCAL)
            changes.update(session.get_one(Customer, "office"), {"status": "suspended"})
        end = time.monotonic() + 20
        while not any(line["version"] >= changes.directory for line in said(stage, "directory_live")):
            assert time.monotonic() < end, stage.server.tail()
            time.sleep(0.1)
        refused = stage.call(tmp_path / "refused", "blocked")
        refused.all_ok()
        assert stage.cdr(refused.call_ids[0])["code"] == "customer_suspended"
    finally:
        with writing(engine) as session:
            Changes(session, LOCAL).update(session.get_one(Customer, "office"), {"status": "active"})
        engine.dispose()
    time.sleep(PROMISE_S)
    stage.call(tmp_path / "again", "ip_call").all_ok()


@pytest.mark.rule("law 3")
def test_a_big_import_costs_no_call(stage: Stage) -> None:
    """A small one of `make load-import`, big enough to be compiled in a process of its own."""
    command = stage.server.command("demo-import", "--rate", "50", "--prefixes", "60000", "--seconds", "15")
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the import              live" in done.stdout
    assert "750 of 750, 0 failed" in done.stdout
