"""`sipsvc demo-import`: a big price list is imported while SIPp calls; no call may fail, no wake-up may come late."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from sipsvc.demo.api import DemoError
from sipsvc.demo.load import calls, write_bundle
from sipsvc.demo.server import Server, free_port
from sipsvc.store import rates
from sipsvc.store.changes import LOCAL, Changes
from sipsvc.store.database import open_database, writing
from sipsvc.store.models import Customer, PriceList
from sipsvc.store.pricefile import Row

BEFORE_S = 3.0
LIVE_WITHIN_S = 120.0


def run(rate: int = 100, prefixes: int = 500_000, seconds: int = 60) -> int:
    """The exit code: 0 when no call failed and the import came into force while they went on."""
    folder = Path(tempfile.mkdtemp(prefix="sipsvc-import-"))
    good = False
    server: Server | None = None
    try:
        port = free_port()
        server = Server(folder, write_bundle(folder / "bundle", port), api=False)
        server.start()
        print(f"{prefixes} prefixes are imported while {rate} calls a second go through {server.target}", flush=True)
        one, count = server, rate * seconds
        client = calls(server, folder, rate, count, port, lambda: _meanwhile(one, prefixes))
        counted = client.counters()
        server.stop()
        late = _said(server, "loop_was_late")[-1]["most_ms"]
        print(f"calls answered          {counted.ok} of {count}, {counted.failed} failed {', '.join(counted.reasons)}")
        print(f"latest wake-up of the SIP loop {late} ms")
        good = (counted.ok, counted.failed) == (count, 0)
    except DemoError as error:
        print(error)
    finally:
        if server is not None:
            server.stop()
        if good:
            shutil.rmtree(folder)
        else:
            print(f"kept for a look: {folder}")
    print("as asked" if good else "NOT as asked")
    return 0 if good else 1


def _meanwhile(server: Server, prefixes: int) -> None:
    """Import; while it is compiled, change a customer; say when each was live."""
    time.sleep(BEFORE_S)
    # As whoever imports in earnest: behind the calls.
    os.nice(10)
    engine = open_database(f"sqlite:///{server.data / 'sipsvc.db'}")
    began = time.monotonic()
    with writing(engine) as session:
        changes = Changes(session, LOCAL)
        pricelist = session.get_one(PriceList, "retail")
        rows = [
            Row(str(number), "", f"Place {number % 700}", Decimal(number % 900 + 1).scaleb(-6), Decimal(0), 60, 60)
            for number in range(10_000_000, 10_000_000 + prefixes)
        ]
        rates.apply(changes, pricelist, rates.compare(session, pricelist, rows, full=False), at=changes.at)
        changes.rows_changed(pricelist, f"{prefixes} rows")
        imported = changes.directory
    print(f"stored in               {time.monotonic() - began:.1f} s", flush=True)
    with writing(engine) as session:
        changes = Changes(session, LOCAL)
        changes.update(session.get_one(Customer, "load"), {"max_channels": 1_000_000})
        edited = changes.directory
    engine.dispose()
    _tell("a small edit meanwhile", _live(server, lambda line: line["version"] >= edited))
    _tell("the import", _live(server, lambda line: line["version"] >= imported and line["tables"]))


def _tell(what: str, live: dict[str, Any]) -> None:
    print(f"{what:<23} live {live['behind_ms']} ms after its commit; the loop was held {live['longest_ms']} ms at most")


def _live(server: Server, wanted: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """The first such `directory_live` line of the server's log. Raises DemoError."""
    end = time.monotonic() + LIVE_WITHIN_S
    while time.monotonic() < end:
        for line in _said(server, "directory_live"):
            if wanted(line):
                return line
        time.sleep(0.05)
    raise DemoError(f"a change is not live after {LIVE_WITHIN_S:.0f} s:\n{server.tail()}")


def _said(server: Server, event: str) -> list[dict[str, Any]]:
    lines = server.log.read_text(errors="replace").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{") and f'"event":"{event}"' in line]
