"""The delivery: every call of the log is in the database once, whatever dies or is away on the way (law 8)."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import Engine, event, func, select
from sqlalchemy.orm import Session

from sipsvc.cdr.deliver import BATCH, DatabaseAway, Deliverer, drain_once
from sipsvc.cdr.log import LogLocked, LogWriter, lock_file
from sipsvc.cdr.segments import encode, open_calls, segment_numbers, segment_path
from sipsvc.settings import DataSettings, Settings
from sipsvc.store import audit, ledger
from sipsvc.store.database import migrate, one_state, open_database
from sipsvc.store.models import Cdr, DeliveryPosition
from tests.cdr.records import BASE_MS, answer, end, late, refused, start, whole_call

Record = dict[str, Any]

LIVE = BASE_MS + 4_000
"""A clock at which a call answered at BASE_MS is not shown yet."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings(data=DataSettings(dir=tmp_path))
    (tmp_path / "cdr").mkdir()
    migrate(made.data.url)
    return made


@pytest.fixture
def folder(settings: Settings) -> Path:
    return settings.data.dir / "cdr"


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    made = open_database(settings.data.url)
    yield made
    made.dispose()


def segment(folder: Path, number: int, records: list[Record]) -> None:
    with open(segment_path(folder, number), "ab") as file:
        file.write(b"".join(encode(record) for record in records))


def deliverer(folder: Path, engine: Engine, clock: Callable[[], int] = lambda: LIVE) -> Deliverer:
    return Deliverer(folder, engine, clock=clock)


def drain(one: Deliverer) -> int:
    return sum(iter(one.step, 0))


def rows(engine: Engine) -> dict[str, Cdr]:
    with Session(engine) as session:
        return {row.cdr_id: row for row in session.scalars(select(Cdr))}


def charged(engine: Engine) -> tuple[int, Decimal]:
    """How many postings there are and what the customer was charged, in a ledger that adds up."""
    with one_state(engine) as connection, Session(connection) as session:
        assert audit.faults(session) == []
        return audit.count(session), ledger.account_of(session, "acme", "USD").charged


@pytest.mark.rule("law 8")
def test_a_call_becomes_one_row_with_all_its_records_say(folder: Path, engine: Engine) -> None:
    segment(folder, 1, [*whole_call(1), refused(2)])
    assert deliverer(folder, engine).step() == 2
    call, no = rows(engine)["cdr-000001"], rows(engine)["cdr-000002"]
    assert (call.state, call.status, call.hangup_by, call.duration_ms) == ("ended", 200, "caller", 60_000)
    assert (call.sell_amount, call.buy_amount, call.margin) == (
        Decimal("0.020000"),
        Decimal("0.010000"),
        Decimal("0.010000"),
    )
    assert (call.dialled, call.e164, call.gateway, call.trace) == (
        "00442071838750",
        "442071838750",
        "carrier-a",
        start(1)["trace"],
    )
    assert (no.state, no.status, no.code, no.sell_amount, no.answer_at) == ("ended", 403, "dest_expensive", None, None)


def test_an_empty_log_is_delivered(folder: Path, engine: Engine) -> None:
    assert deliverer(folder, engine).step() == 0


@pytest.mark.rule("law 8")
def test_the_row_is_the_same_whether_the_call_was_shown_before_its_end_or_not(folder: Path, engine: Engine) -> None:
    segment(folder, 1, whole_call(1))
    drain(deliverer(folder, engine))
    segment(folder, 1, [record | {"cdr_id": "seen"} for record in whole_call(1)[:2]])
    one = deliverer(folder, engine, lambda: BASE_MS + 6_001)
    assert one.step() == 0
    assert rows(engine)["seen"].state == "answered"
    segment(folder, 1, [end(1, 61_000, cdr_id="seen")])
    assert one.step() == 1
    unseen, seen = rows(engine)["cdr-000001"], rows(engine)["seen"]
    for column in Cdr.__table__.columns:
        # Its number says when it was stored.
        if not column.primary_key and column.name != "sequence":
            assert getattr(seen, column.name) == getattr(unseen, column.name), column


def test_a_long_call_is_shown_after_five_seconds_of_the_log_or_of_silence(folder: Path, engine: Engine) -> None:
    segment(folder, 1, [start(1), answer(1)])
    clock = [BASE_MS + 4_999]
    one = deliverer(folder, engine, lambda: clock[0])
    assert one.step() == 0
    assert rows(engine) == {}
    segment(folder, 1, [refused(2, 5_000)])
    assert one.step() == 1
    assert rows(engine)["cdr-000001"].state == "answered"
    segment(folder, 1, [start(3), answer(3, 1_000)])
    one.step()
    assert "cdr-000003" not in rows(engine)
    clock[0] = BASE_MS + 6_001
    one.step()
    assert rows(engine)["cdr-000003"].state == "answered"


@pytest.mark.rule("SIP-15", "law 8")
def test_a_late_answer_is_added_to_the_call_it_cost_once(folder: Path, engine: Engine) -> None:
    records = [start(1), start(2), end(1), late(1), late(1, "other"), end(2), late(1), late(2)]
    segment(folder, 1, records)
    assert drain(deliverer(folder, engine)) == 2
    found = rows(engine)
    assert [one["tag"] for one in found["cdr-000001"].attempts[0]["late"]] == ["ghost", "other"]
    assert found["cdr-000002"].attempts[0]["late"] == [late(2)["late"]]
    assert found["cdr-000001"].margin == Decimal("0.01")
    segment(folder, 1, [late(2, "third")])  # a day later, with nothing else in the batch
    drain(deliverer(folder, engine))
    assert [one["tag"] for one in rows(engine)["cdr-000002"].attempts[0]["late"]] == ["ghost", "third"]
    # From the beginning again, as after the loss of the position: nothing comes twice.
    with Session(engine) as session, session.begin():
        session.query(DeliveryPosition).delete()
    drain(deliverer(folder, engine))
    assert [one["tag"] for one in rows(engine)["cdr-000001"].attempts[0]["late"]] == ["ghost", "other"]


@pytest.mark.rule("SIP-15", "law 8")
@pytest.mark.parametrize("odd", [late(9), late(1, attempt=5), {**late(1), "late": None}, {**late(1), "attempt": "x"}])
def test_a_late_answer_of_no_call_is_kept_apart(odd: Record, folder: Path, engine: Engine) -> None:
    segment(folder, 1, [start(1), end(1), odd, start(2), end(2), late(2)])
    one = deliverer(folder, engine)
    assert drain(one) == 2
    assert one.rejected == 1
    assert orjson.loads((folder / "rejected.log").read_bytes())["records"] == [odd]
    assert rows(engine)["cdr-000002"].attempts[0]["late"] == [late(2)["late"]]


@pytest.mark.rule("SIP-15", "law 8")
def test_a_late_answer_closes_no_call(folder: Path) -> None:
    writer = LogWriter(folder, lambda seq: None, segment_bytes=1)
    writer.append([(start(1), 1, False), (answer(1), 2, False), (late(1), 3, False)])
    writer.append([(start(2), 4, False)])  # begins a segment
    writer.close()
    assert [record["kind"] for record in open_calls(folder)] == ["start", "answer", "start"]


@pytest.mark.rule("law 8")
def test_batches_are_bounded_and_positions_go_on(folder: Path, engine: Engine) -> None:
    segment(folder, 1, [record for n in range(BATCH + 7) for record in whole_call(n)])
    one = deliverer(folder, engine)
    assert [one.step(), one.step(), one.step()] == [BATCH, 7, 0]
    assert len(rows(engine)) == BATCH + 7


@pytest.mark.rule("law 8")
def test_a_new_deliverer_at_any_point_goes_on_where_the_last_one_was(folder: Path, engine: Engine) -> None:
    """Calls overlap, so the position always lies behind the start of one still open."""
    records = []
    for n in range(30):
        records += [start(n), answer(n)] + ([end(n - 3)] if n >= 3 else []) + [refused(100 + n)]
    for record in records:
        segment(folder, 1, [record])
        drain(deliverer(folder, engine))
    found = rows(engine)
    assert len(found) == 27 + 30
    assert all(row.call_id and row.customer == "acme" and row.state == "ended" for row in found.values())


@pytest.mark.rule("law 8")
def test_a_restart_does_not_deliver_again(folder: Path, engine: Engine) -> None:
    segment(folder, 1, [record for n in range(20) for record in whole_call(n)])
    assert drain(deliverer(folder, engine)) == 20
    assert drain(deliverer(folder, engine)) == 0


@pytest.mark.rule("law 8")
def test_a_log_begun_anew_is_delivered_although_the_database_is_further(folder: Path, engine: Engine) -> None:
    segment(folder, 7, [record for n in range(20) for record in whole_call(n)])
    drain(deliverer(folder, engine))
    segment_path(folder, 7).unlink()
    segment(folder, 1, whole_call(50))
    assert drain(deliverer(folder, engine)) == 1
    segment(folder, 2, whole_call(51))
    assert drain(deliverer(folder, engine)) == 1
    segment_path(folder, 2).write_bytes(b"")
    segment(folder, 2, [refused(52)])
    assert drain(deliverer(folder, engine)) == 1
    assert len(rows(engine)) == 23


@pytest.mark.rule("law 8")
def test_segments_go_when_delivered_and_the_carried_over_serve_their_calls(folder: Path, engine: Engine) -> None:
    writer = LogWriter(folder, lambda _: None, segment_bytes=4_000)
    one = deliverer(folder, engine)
    seq = 0

    def append(*records: Record) -> None:
        nonlocal seq
        for record in records:
            seq += 1
            writer.append([(record, seq, False)])

    append(start(1), answer(1), start(2))
    for n in range(10, 60):
        append(*whole_call(n))
        drain(one)
        assert len(segment_numbers(folder)) <= 2
    drain(deliverer(folder, engine))
    append(end(1))
    assert drain(deliverer(folder, engine)) == 1
    append(answer(2), end(2))
    assert drain(one) == 2
    writer.close()
    found = rows(engine)
    assert len(found) == 52
    assert found["cdr-000001"].call_id == start(1)["call_id"]
    assert found["cdr-000002"].call_id == start(2)["call_id"]


@pytest.mark.rule("law 8")
def test_a_segment_stays_while_a_call_stands_nowhere_else(folder: Path, engine: Engine) -> None:
    segment(folder, 1, [start(1), refused(2)])
    segment(folder, 2, [refused(3)])
    segment(folder, 3, [answer(1), refused(4)])
    one = deliverer(folder, engine)
    drain(one)
    assert segment_numbers(folder) == [1, 2, 3]
    segment(folder, 3, [end(1)])
    assert drain(deliverer(folder, engine)) == 1
    assert segment_numbers(folder) == [3]
    assert rows(engine)["cdr-000001"].call_id == start(1)["call_id"]


def test_damaged_lines_are_counted_and_the_rest_arrives(folder: Path, engine: Engine) -> None:
    segment(folder, 1, whole_call(1))
    with open(segment_path(folder, 1), "ab") as file:
        file.write(b"00000000 {}\n\x00\xff\n" + encode(refused(2))[:-5] + b"\n")
    segment(folder, 1, whole_call(3))
    one = deliverer(folder, engine)
    assert drain(one) == 2
    assert one.bad_lines == 3
    assert set(rows(engine)) == {"cdr-000001", "cdr-000003"}


@pytest.mark.rule("law 8")
@pytest.mark.parametrize(
    "fault",
    [
        {"sell": {"amount": "much"}},
        {"margin": "0.1234567"},
        {"end_at": None},
        {"end_at": "soon"},
        {"status": 1 << 63},
        {"hangup_by": ["who"]},
        {"margin": "99999999999999999999"},
    ],
)
def test_a_record_that_cannot_be_a_row_is_kept_apart_and_the_rest_goes_on(
    folder: Path, engine: Engine, fault: Record
) -> None:
    strange = end(2, **fault)
    segment(folder, 1, [*whole_call(1), start(2), answer(2), strange, *whole_call(3)])
    one = deliverer(folder, engine)
    assert drain(one) == 3
    assert one.rejected == 1
    assert set(rows(engine)) == {"cdr-000001", "cdr-000003"}
    (line,) = (folder / "rejected.log").read_bytes().splitlines()
    kept = orjson.loads(line)
    assert kept["cdr_id"] == "cdr-000002"
    assert kept["reason"]
    assert [record["kind"] for record in kept["records"]] == ["start", "answer", "end"]
    assert drain(deliverer(folder, engine)) == 0
    assert charged(engine) == (4, Decimal("0.04")), "what was not stored is not posted"


@pytest.mark.rule("law 8")
def test_a_locked_database_loses_nothing(settings: Settings, folder: Path, engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def impatient(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA busy_timeout=10").close()

    segment(folder, 1, [start(1), answer(1), *whole_call(2)])
    other = sqlite3.connect(settings.data.dir / "sipsvc.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    one = deliverer(folder, engine)
    for _ in range(3):
        with pytest.raises(DatabaseAway, match="locked"):
            one.step()
    segment(folder, 1, [end(1), refused(3)])
    other.execute("ROLLBACK")
    other.close()
    assert drain(one) == 3
    assert set(rows(engine)) == {"cdr-000001", "cdr-000002", "cdr-000003"}
    assert one.rejected == 0


def test_a_database_without_tables_is_away_not_a_fault_of_the_records(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'bare.db'}")
    segment(tmp_path, 1, whole_call(1))
    one = deliverer(tmp_path, engine)
    with pytest.raises(DatabaseAway, match="no such table"):
        one.step()
    migrate(f"sqlite:///{tmp_path / 'bare.db'}")
    assert one.step() == 1
    engine.dispose()


def test_two_deliverers_on_one_folder_are_refused(settings: Settings, folder: Path) -> None:
    held = lock_file(folder / "deliver.lock")
    with pytest.raises(LogLocked):
        drain_once(settings)
    os.close(held)
    assert drain_once(settings) == 0


# -- as a process --

CHILD = """
import sys
from pathlib import Path
from sipsvc.cdr.deliver import main
from sipsvc.settings import DataSettings, Settings
main(Settings(data=DataSettings(dir=Path(sys.argv[1]))))
"""


def spawn(settings: Settings, parent_fd: int | None = None) -> subprocess.Popen[bytes]:
    environment = dict(os.environ)
    if parent_fd is not None:
        environment["SIPSVC_PARENT_FD"] = str(parent_fd)
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(settings.data.dir)],
        env=environment,
        pass_fds=() if parent_fd is None else (parent_fd,),
        stdout=subprocess.DEVNULL,
    )


def count(engine: Engine) -> int:
    with Session(engine) as session:
        return session.execute(select(func.count()).select_from(Cdr)).scalar_one()


def wait_until(engine: Engine, wanted: int) -> None:
    give_up = time.monotonic() + 60
    while count(engine) < wanted:
        assert time.monotonic() < give_up, f"{count(engine)} of {wanted} rows"
        time.sleep(0.002)


@pytest.mark.rule("law 8")
def test_a_deliverer_killed_again_and_again_delivers_each_call_once(
    settings: Settings, folder: Path, engine: Engine
) -> None:
    total, overlap = 6_000, 40
    writer = LogWriter(folder, lambda _: None, segment_bytes=1_000_000)
    records = []
    for n in range(total + overlap):
        records += [start(n), answer(n)] if n < total else []
        records += [end(n - overlap)] if n >= overlap else []
    for at in range(0, len(records), 100):
        writer.append([(record, at + n, False) for n, record in enumerate(records[at : at + 100])])
    for wanted in (1, 1_200, 2_400, 3_600, 4_800):
        child = spawn(settings)
        wait_until(engine, wanted)
        child.kill()
        assert child.wait() == -signal.SIGKILL
    drain_once(settings)
    writer.close()
    found = rows(engine)
    assert set(found) == {f"cdr-{n:06d}" for n in range(total)}
    assert all(
        row.state == "ended" and row.call_id == f"call-{int(cdr_id[4:])}@192.0.2.1" for cdr_id, row in found.items()
    )
    assert not (folder / "rejected.log").exists()
    assert len(segment_numbers(folder)) == 1
    assert charged(engine) == (2 * total, total * Decimal("0.02"))


@pytest.mark.rule("law 8")
def test_the_end_of_the_parent_is_the_end_after_a_last_delivery(
    settings: Settings, folder: Path, engine: Engine
) -> None:
    read_end, write_end = os.pipe()
    child = spawn(settings, read_end)
    os.close(read_end)
    segment(folder, 1, whole_call(1))
    wait_until(engine, 1)
    child.send_signal(signal.SIGINT)
    segment(folder, 1, whole_call(2))
    wait_until(engine, 2)
    segment(folder, 1, [record for n in range(3, 1_500) for record in whole_call(n)])
    os.close(write_end)
    assert child.wait(timeout=60) == 0
    assert count(engine) == 1_499


def test_sigterm_is_the_end_after_a_last_delivery(settings: Settings, folder: Path, engine: Engine) -> None:
    segment(folder, 1, whole_call(1))
    child = spawn(settings)
    wait_until(engine, 1)
    segment(folder, 1, whole_call(2))
    child.terminate()
    assert child.wait(timeout=60) == 0
    assert count(engine) == 2


def test_a_second_deliverer_waits_for_the_first(settings: Settings, folder: Path, engine: Engine) -> None:
    held = lock_file(folder / "deliver.lock")
    segment(folder, 1, whole_call(1))
    child = spawn(settings)
    time.sleep(1)
    assert count(engine) == 0
    os.close(held)
    wait_until(engine, 1)
    child.terminate()
    assert child.wait(timeout=60) == 0
