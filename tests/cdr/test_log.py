"""The local log: what is written is read again, whatever happened to the file or the disk (law 8)."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipsvc.cdr.log import RESERVE, LogFull, LogLocked, LogWriter, last_alive, open_calls, read_from, read_segments
from sipsvc.cdr.segments import encode, identify, outages, segment_numbers, segment_path
from tests.cdr.records import answer, end, refused, start, whole_call

Record = dict[str, Any]


class Durable:
    """Collects what the sync thread says and lets a test wait for it."""

    def __init__(self) -> None:
        self.said: list[int] = []
        self._changed = threading.Condition()

    def __call__(self, seq: int) -> None:
        with self._changed:
            self.said.append(seq)
            self._changed.notify_all()

    def wait_for(self, seq: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: bool(self.said) and self.said[-1] >= seq, timeout=30)


@contextmanager
def writing(folder: Path, durable: Durable | None = None, segment_bytes: int = 1 << 26) -> Iterator[LogWriter]:
    writer = LogWriter(folder, durable or Durable(), segment_bytes=segment_bytes)
    try:
        yield writer
    finally:
        writer.close()


def write(folder: Path, records: list[Record]) -> None:
    with writing(folder) as writer:
        writer.append([(record, seq, False) for seq, record in enumerate(records, 1)])


class Bad:
    """A Report that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, int, str]] = []

    def __call__(self, segment: int, offset: int, reason: str) -> None:
        self.lines.append((segment, offset, reason))


def records_of(folder: Path, report: Bad | None = None) -> list[Record]:
    return [entry.record for entry in read_segments(folder, report or Bad())]


def test_what_is_appended_is_read_in_order_with_positions(tmp_path: Path) -> None:
    records = [*whole_call(1), *whole_call(2), refused(3)]
    write(tmp_path, records)
    entries = list(read_segments(tmp_path))
    assert [entry.record for entry in entries] == records
    for number, entry in enumerate(entries, 1):
        rest = [later.record for later in read_from(tmp_path, entry.segment, entry.offset_after)]
        assert rest == records[number:]


def test_an_empty_or_missing_folder_has_no_records(tmp_path: Path) -> None:
    assert list(read_segments(tmp_path / "none")) == []
    assert open_calls(tmp_path) == []


@pytest.mark.rule("law 8")
def test_a_log_cut_at_any_byte_gives_every_whole_line_and_nothing_else(tmp_path: Path) -> None:
    lines = [encode(record) for record in (start(1), refused(2), answer(1))]
    data = b"".join(lines)
    path = segment_path(tmp_path, 1)
    for cut in range(len(data) + 1):
        path.write_bytes(data[:cut])
        whole = [n for n in range(4) if sum(map(len, lines[:n])) <= cut][-1]
        bad = Bad()
        assert len(records_of(tmp_path, bad)) == whole
        assert bad.lines == []


@pytest.mark.rule("law 8")
def test_after_a_torn_tail_the_next_segment_goes_on(tmp_path: Path) -> None:
    first, last = encode(start(1)), encode(end(1))
    for cut in range(1, len(last)):
        segment_path(tmp_path, 1).write_bytes(first + last[:cut])
        segment_path(tmp_path, 2).write_bytes(encode(refused(2)))
        bad = Bad()
        assert records_of(tmp_path, bad) == [start(1), refused(2)]
        assert bad.lines == [(1, len(first), "torn")]


def test_a_writer_after_a_torn_tail_begins_a_segment_and_keeps_the_open_call(tmp_path: Path) -> None:
    write(tmp_path, [start(1)])
    with open(segment_path(tmp_path, 1), "ab") as file:
        file.write(encode(answer(1))[:-1])
    write(tmp_path, [end(1)])
    assert records_of(tmp_path) == [start(1), start(1), end(1)]
    assert segment_numbers(tmp_path) == [1, 2]


@pytest.mark.rule("law 8")
@given(place=st.integers(min_value=0), new=st.binary(min_size=1, max_size=4))
def test_damage_costs_the_lines_it_touches_and_no_other(
    tmp_path_factory: pytest.TempPathFactory, place: int, new: bytes
) -> None:
    folder = tmp_path_factory.mktemp("log")
    records = [start(1), refused(2), answer(1), refused(3), end(1)]
    lines = [encode(record) for record in records]
    data = b"".join(lines)
    at = place % len(data)
    damaged = data[:at] + new + data[at + len(new) :]
    segment_path(folder, 1).write_bytes(damaged)
    segment_path(folder, 2).write_bytes(encode(refused(4)))
    untouched = []
    begin = 0
    for record, line in zip(records, lines, strict=True):
        if damaged[begin : begin + len(line)] == line and damaged[begin - 1 : begin] in (b"\n", b""):
            untouched.append(record)
        begin += len(line)
    bad = Bad()
    assert records_of(folder, bad) == [*untouched, refused(4)]
    assert bool(bad.lines) == (damaged != data)


@given(st.binary())
def test_no_bytes_make_the_reader_fail(tmp_path_factory: pytest.TempPathFactory, junk: bytes) -> None:
    folder = tmp_path_factory.mktemp("log")
    segment_path(folder, 1).write_bytes(junk + b"\n" + encode(start(1)))
    assert records_of(folder) == [start(1)]


@pytest.mark.parametrize(
    "body",
    [b"[]", b"null", b"{}", b'{"kind":"start"}', b'{"kind":"other","cdr_id":"a"}', b'{"kind":"end","cdr_id":1}', b"{"],
)
def test_a_line_with_a_right_checksum_and_no_record_is_damaged(body: bytes) -> None:
    assert identify(b"%08x %b" % (crc32(body), body)) is None


def test_a_line_longer_than_a_read_is_read(tmp_path: Path) -> None:
    big = start(1, trace=[["x" * 3_000_000]])
    write(tmp_path, [big, refused(2)])
    assert records_of(tmp_path) == [big, refused(2)]


def test_text_that_is_not_unicode_still_makes_a_record(tmp_path: Path) -> None:
    write(tmp_path, [start(1, dialled="12\udc80"), start(2, cseq=1 << 70)])
    first, second = records_of(tmp_path)
    assert first == start(1, dialled="12?")
    assert second["cdr_id"] == start(2)["cdr_id"]


@pytest.mark.rule("law 8")
def test_durable_is_said_in_order_and_only_once_each(tmp_path: Path) -> None:
    durable = Durable()
    with writing(tmp_path, durable) as writer:
        for seq in range(1, 200):
            writer.append([(refused(seq), seq, True)])
        durable.wait_for(199)
    assert durable.said == sorted(set(durable.said))
    assert len(records_of(tmp_path)) == 199


@pytest.mark.rule("law 8")
def test_what_nobody_waits_for_is_synced_all_the_same(tmp_path: Path) -> None:
    durable = Durable()
    with writing(tmp_path, durable) as writer:
        writer.append([(start(1), 1, False)])
        durable.wait_for(1)


def test_close_syncs_the_rest(tmp_path: Path) -> None:
    durable = Durable()
    with writing(tmp_path, durable) as writer:
        writer.append([(start(1), 1, False), (start(2), 2, False)])
    assert durable.said[-1] == 2


def test_a_callback_that_fails_does_not_end_the_syncing(tmp_path: Path) -> None:
    durable = Durable()

    def fails_first(seq: int) -> None:
        durable(seq)
        if seq == 1:
            raise RuntimeError("Event loop is closed")

    writer = LogWriter(tmp_path, fails_first)
    writer.append([(start(1), 1, True)])
    durable.wait_for(1)
    writer.append([(start(2), 2, True)])
    durable.wait_for(2)
    writer.close()


def test_a_disk_that_shows_no_time_does_not_end_the_syncing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = threading.Event()

    def fails(*_: Any) -> None:
        tried.set()
        raise OSError(errno.EIO, "Input/output error")

    durable = Durable()
    with writing(tmp_path, durable) as writer:
        monkeypatch.setattr(os, "utime", fails)
        monkeypatch.setattr(writer._gauge, "measure", lambda: 1 // 0)
        assert tried.wait(30)
        writer.append([(start(1), 1, True)])
        durable.wait_for(1)


@pytest.mark.rule("law 8")
def test_a_restart_gives_back_what_was_kept_free_behind_the_segment_before(tmp_path: Path) -> None:
    """Else it would be missing on a disk that is nearly full. It takes a file system that can."""
    write(tmp_path, whole_call(1))
    old = segment_path(tmp_path, 1)
    before = old.read_bytes()
    assert old.stat().st_blocks * 512 >= RESERVE
    with writing(tmp_path):
        assert old.stat().st_blocks * 512 < RESERVE // 2
    assert old.read_bytes() == before


@pytest.mark.rule("law 8")
def test_open_calls_are_carried_into_every_new_segment(tmp_path: Path) -> None:
    with writing(tmp_path, segment_bytes=20_000) as writer:
        writer.append([(start(1), 1, False), (answer(1), 2, False), (start(2), 3, False)])
        for seq in range(4, 100):
            writer.append([(refused(seq), seq, False)])
        writer.append([(end(1), 100, False)])
    numbers = segment_numbers(tmp_path)
    assert len(numbers) > 3
    newest = [entry.record for entry in read_from(tmp_path, numbers[-1], 0)]
    assert newest[:3] == [start(1), answer(1), start(2)]
    assert newest[-1] == end(1)
    # The oldest are no longer needed to know what is open.
    for number in numbers[:-1]:
        os.unlink(segment_path(tmp_path, number))
    assert open_calls(tmp_path) == [start(2)]


def test_many_open_calls_do_not_rotate_at_every_append(tmp_path: Path) -> None:
    with writing(tmp_path, segment_bytes=5_000) as writer:
        for seq in range(1, 101):
            writer.append([(start(seq), seq, False)])
    assert len(segment_numbers(tmp_path)) < 25
    assert open_calls(tmp_path) == [start(n) for n in range(1, 101)]


@pytest.mark.rule("law 8")
def test_open_calls_after_a_restart_are_each_once_and_in_order(tmp_path: Path) -> None:
    write(tmp_path, [start(1), start(2), answer(2), *whole_call(3), refused(4), answer(1)])
    write(tmp_path, [start(5)])
    write(tmp_path, [end(2)])
    assert open_calls(tmp_path) == [start(1), answer(1), start(5)]


@pytest.mark.rule("law 8")
def test_two_writers_on_one_folder_are_refused(tmp_path: Path) -> None:
    with writing(tmp_path), pytest.raises(LogLocked, match=f"held by process {os.getpid()}"):
        LogWriter(tmp_path, Durable())
    write(tmp_path, [start(1)])


CHILD = """
import sys
from pathlib import Path
from sipsvc.cdr.log import LogFull, LogWriter
from sipsvc.cdr.segments import encode
from tests.cdr.records import refused, start

folder, limit = Path(sys.argv[1]), int(sys.argv[2])
if limit:
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
writer = LogWriter(folder, lambda seq: None)
kept = []
seq = warned = 0
while True:
    batch = [(refused(seq + n), seq + n, False) for n in range(1, 6)]
    written = len(batch)
    try:
        writer.append(batch)
    except LogFull as error:
        written = error.written
        if written < len(batch):
            print(f"warned {warned} bytes before: {error}", file=sys.stderr)
            kept += [record["cdr_id"] for record, _, _ in batch[:written]]
            break
        warned += sum(len(encode(record)) for record, _, _ in batch)
    kept += [record["cdr_id"] for record, _, _ in batch]
    seq += 5
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
else:
    (folder / "ballast").unlink()
    writer.append([])
writer.append([(start(999), seq + 6, True)])
kept.append("cdr-000999")
writer.close()
print(" ".join(kept))
"""


def run_until_full(folder: Path, limit: int) -> tuple[list[str], str]:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(folder), str(limit)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split(), done.stderr


@pytest.mark.rule("law 8")
@pytest.mark.parametrize("limit", [10_000, 10_001, 10_500, 12_345])
def test_a_full_file_leaves_no_half_line_and_says_what_went_in(tmp_path: Path, limit: int) -> None:
    kept, said = run_until_full(tmp_path, limit)
    assert "cannot be written" in said
    bad = Bad()
    assert [record["cdr_id"] for record in records_of(tmp_path, bad)] == kept
    assert bad.lines == []
    assert len(kept) > 5


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB where this process may mount one, else a plain folder."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mounted = False
    if os.geteuid() == 0:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)], capture_output=True, check=False
        )
        mounted = done.returncode == 0
    yield folder
    if mounted:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.rule("law 8")
def test_a_full_disk_leaves_no_half_line_and_the_log_goes_on_when_there_is_room(tiny_disk: Path) -> None:
    mounted = os.path.ismount(tiny_disk)
    if mounted:
        (tiny_disk / "ballast").write_bytes(bytes(12 * 1024 * 1024))
    kept, said = run_until_full(tiny_disk, 0 if mounted else 20_000)
    if mounted:
        assert "No space left on device" in said
        # Until then calls that are under way could be written, while no new one was to begin.
        (warned,) = re.findall(r"warned (\d+) bytes", said)
        assert RESERVE - 10_000 <= int(warned) <= 2 * RESERVE
    bad = Bad()
    assert [record["cdr_id"] for record in records_of(tiny_disk, bad)] == kept
    assert bad.lines == []


def fill(path: Path) -> None:
    """Take all the room there is."""
    with path.open("wb", buffering=0) as ballast, suppress(OSError):
        while True:
            ballast.write(bytes(4096))


@pytest.mark.rule("law 8")
@pytest.mark.parametrize("torn", [b"", b'0a1b2c3d {"kind":"st'])
def test_a_writer_begins_on_a_full_disk_and_takes_the_ends_of_the_calls_there_are(tiny_disk: Path, torn: bytes) -> None:
    write(tiny_disk, [start(1), answer(1)])
    with segment_path(tiny_disk, 1).open("ab") as file:
        file.write(torn)
    full = os.path.ismount(tiny_disk)
    if full:
        fill(tiny_disk / "ballast")
    with writing(tiny_disk) as writer:
        # Whether it warns that little room is left depends on the file system's blocks.
        with suppress(LogFull):
            writer.append([(end(1), 1, False)])
        assert segment_numbers(tiny_disk) == ([1] if full else [1, 2])
        (tiny_disk / "ballast").unlink(missing_ok=True)
        writer.append([(start(2), 2, False)])
    bad = Bad()
    assert open_calls(tiny_disk) == [start(2)]
    assert end(1) in records_of(tiny_disk, bad)
    assert [reason for *_, reason in bad.lines] == ([] if full or not torn else ["torn"])


@pytest.mark.rule("law 8")
def test_a_killed_writer_loses_nothing_it_appended(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from sipsvc.cdr.log import LogWriter\n"
        "from tests.cdr.records import start\n"
        "writer = LogWriter(Path(sys.argv[1]), lambda seq: None)\n"
        "for seq in range(1, 501):\n"
        "    writer.append([(start(seq), seq, False)])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], timeout=60, check=False)
    assert done.returncode == -9
    assert open_calls(tmp_path) == [start(n) for n in range(1, 501)]


@pytest.mark.rule("law 8", "SIP-19")
def test_a_restart_knows_until_when_a_writer_lived(tmp_path: Path) -> None:
    """Also where nothing was written: that no BYE came in an hour is known by nothing else."""
    assert last_alive(tmp_path) == 0
    before = time.time_ns() // 1_000_000
    with writing(tmp_path):
        os.utime(tmp_path / "alive", (1, 1))
        give_up = time.monotonic() + 20
        while last_alive(tmp_path) < before - 1:
            assert time.monotonic() < give_up, "it does not show that it lives"
            time.sleep(0.05)
        os.utime(tmp_path / "alive", (1, 1))
    assert last_alive(tmp_path) >= before - 1


@pytest.mark.rule("law 8", "SIP-19")
def test_a_restart_knows_of_each_time_without_a_writer(tmp_path: Path) -> None:
    ends = []
    for number in range(1, 4):
        assert outages(tmp_path) == ends
        write(tmp_path, [start(number)])
        ends.append(last_alive(tmp_path))
    assert outages(tmp_path) == ends
