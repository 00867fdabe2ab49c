"""A worker that starts knows what was spent today: by the database, and by the log behind what was delivered."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from sipsvc.app import Worker, now
from sipsvc.cdr import aside
from sipsvc.cdr.log import LogWriter, read_segments
from sipsvc.feed.intake import Spent
from sipsvc.settings import DataSettings, Settings, SipSettings
from tests.cdr import records
from tests.portal.process import free_port
from tests.unit.wire import CUSTOMERS, SECRET, directory

DAY_MS = 86_400_000


def ended(number: int, at: int, amount: str | None, **changes: Any) -> dict[str, Any]:
    sell = records.priced("0.02", 60, amount) if amount else None
    return records.end(number, end_at=at, answer_at=at - 60_000 if amount else None, sell=sell, **changes)


@pytest.mark.rule("SIP-27", "law 8")
def test_what_was_delivered_counts_once_and_what_was_not_counts_too(tmp_path: Path) -> None:
    today = time.time_ns() // 1_000_000
    log = [
        ended(1, today, "5", customer="acme"),
        ended(2, today, "0.25", customer="acme"),
        ended(3, today - DAY_MS, "7", customer="acme"),
        ended(4, today, "9", customer="harbour"),
        ended(5, today, None, customer="acme"),
    ]
    writer = LogWriter(tmp_path / "cdr", lambda seq: None)
    writer.append([(record, seq, False) for seq, record in enumerate(log, 1)])
    writer.close()
    # The first is in the database, and what that has of today is told by the hour.
    delivered = next(iter(read_segments(tmp_path / "cdr"))).offset_after
    known = Spent([("acme", "USD", today, "5.500000")], "cdr-00000001.log", delivered)
    # Where midnight fell into this test, all of it was yesterday.
    assert spent_today(tmp_path, known) == (Decimal("5.75") if now().utc // DAY_MS == today // DAY_MS else 0)


def spent_today(folder: Path, known: Spent) -> Decimal:
    """As a worker that starts has it."""
    settings = Settings(data=DataSettings(dir=folder), sip=SipSettings(listen=[f"udp:127.0.0.1:{free_port()}"]))
    book = directory(customer=replace(CUSTOMERS, spend_cap_day=Decimal(100)))

    async def started() -> Decimal:
        worker = Worker(settings, book, (SECRET,), lambda: True)
        worker.start(asyncio.get_running_loop(), known)
        try:
            return worker._engine.admission.limits.spent(book, book.customers["acme"], now()).day
        finally:
            worker.stop()

    return asyncio.run(started())


@pytest.mark.rule("SIP-27", "law 8")
def test_what_the_database_refused_counts_once(tmp_path: Path) -> None:
    """It stands behind what was delivered no more, and nowhere in the database."""
    today = time.time_ns() // 1_000_000
    folder = tmp_path / "cdr"
    twice, tried, in_the_log = (ended(n, today, f"{n}", customer="acme") for n in (1, 2, 4))
    # Refused for what stands in them: the worker starts all the same.
    odd = [ended(8, today, "much", customer="acme"), {"kind": "end"}]
    writer = LogWriter(folder, lambda seq: None)
    writer.append([(in_the_log, 1, False)])
    writer.close()
    for one in (twice, twice, in_the_log, *odd):
        aside.add(folder, aside.line(today, "", "refused", [orjson.dumps(one)]))
    (folder / aside.RETRY).write_bytes(aside.line(today, "", "refused", [orjson.dumps(tried)]) + b"half a l")
    found = spent_today(tmp_path, Spent([], "", 0))
    assert found == (7 if now().utc // DAY_MS == today // DAY_MS else 0)
