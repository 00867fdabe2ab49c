"""`sipsvc out` as a process that is killed again and again: files have each call once, webhook and stream at least
once, under one id (law 8)."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from sqlalchemy import Engine

from sipsvc.cdr.bound import OUTPUTS
from sipsvc.cdrsettings import CdrSettings, FilesSettings
from sipsvc.demo.server import Server
from sipsvc.out import process
from sipsvc.settings import DataSettings, Settings
from tests.cdr.records import refused, whole_call
from tests.out.conftest import Log
from tests.out.receiver import Receiver, receiving
from tests.processes import end
from tests.redis import Redis

TOTAL = 3_000


def config(tmp_path: Path, engine: Engine, receiver: Receiver, server: Redis) -> Path:
    path = tmp_path / "sipsvc.toml"
    database = engine.url.render_as_string(hide_password=False)
    path.write_text(
        f'[data]\ndir = "{tmp_path}"\ndatabase = "{database}"\n'
        f'[cdr.files]\ndir = "{tmp_path / "files"}"\n'
        f'[cdr.redis]\nurl = "{server.url}"\nstream = "here"\n'
        f'[[cdr.webhook]]\nname = "billing"\nurl = "{receiver.url}"\nsecret = "0123456789abcdef"\n'
    )
    return path


@pytest.fixture
def spawned() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Those that still run when a test fails are ended."""
    there: list[subprocess.Popen[bytes]] = []
    yield there
    for one in there:
        end(one, 10)


def spawn(path: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "sipsvc", "out", "--config", str(path)]
    with (path.parent / "out.log").open("ab") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def until(condition: object, seconds: float = 120.0) -> None:
    assert callable(condition)
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.005)


def lines(folder: Path, kind: str) -> list[str]:
    """The ids in all files of a kind, the open one too: each a whole line, each file with its heading."""
    found: list[str] = []
    for path in sorted(folder.glob(f"cdr-*.{kind}*")):
        data = path.read_bytes()
        assert data.endswith(b"\n")
        if kind == "csv":
            found += [row["cdr_id"] for row in csv.DictReader(data.decode().splitlines())]
        else:
            found += [orjson.loads(line)["cdr_id"] for line in data.splitlines()]
    return found


@pytest.mark.rule("law 8")
def test_killed_again_and_again_it_loses_nothing(
    tmp_path: Path, engine: Engine, log: Log, redis_server: Redis, spawned: list[subprocess.Popen[bytes]]
) -> None:
    with redis_server.client() as client:
        client.flushall()
    files = tmp_path / "files"
    with receiving() as receiver:
        count = 0

        def sometimes(cdr_id: str) -> int:
            nonlocal count
            count += 1
            # It hangs up, or fails, now and then.
            return 0 if count % 997 == 0 else 503 if count % 1009 == 0 else 200

        receiver.answer = sometimes
        path = config(tmp_path, engine, receiver, redis_server)

        def written() -> int:
            return sum(part.read_bytes().count(b"\n") for part in files.glob("*.jsonl*"))

        for turn in range(6):
            numbers = range(turn * TOTAL // 6, (turn + 1) * TOTAL // 6)
            before = written(), len(receiver.taken)
            child = spawn(path)
            spawned.append(child)
            for at in range(0, len(numbers), 50):
                log.write(*(record for number in numbers[at : at + 50] for record in whole_call(number)))
            # Both have begun, and are nowhere near the end.
            until(lambda before=before: written() > before[0] and len(receiver.taken) > before[1])
            if turn < 5:
                child.send_signal(signal.SIGKILL)
                assert child.wait() == -signal.SIGKILL
        wanted = {f"cdr-{number:06d}" for number in range(TOTAL)}
        until(lambda: set(receiver.taken) == wanted)
        with redis_server.client() as client:
            until(lambda: client.xlen("here") >= TOTAL and len(lines(files, "csv")) == TOTAL)
            entries = [fields[b"cdr_id"].decode() for _, fields in client.xrange("here")]
        done = {"waiting": 0, "failing": ""}
        until(lambda: told(log.folder) == dict.fromkeys(("files", "redis", "webhook:billing"), done))
        child.terminate()
        assert child.wait(60) == 0
        posts = list(receiver.posts)
    for kind in ("csv", "jsonl"):
        found = lines(files, kind)
        assert (len(found), set(found)) == (TOTAL, wanted)
    assert set(entries) == wanted
    assert {post.key for post in posts} == wanted
    assert all(post.cdr_id == post.key for post in posts)
    assert not (log.folder / OUTPUTS).exists()
    assert "Traceback" not in (tmp_path / "out.log").read_text()


def told(folder: Path) -> dict[str, dict[str, object]]:
    try:
        return dict(json.loads((folder / OUTPUTS).read_bytes()))
    except FileNotFoundError:
        return {}


def test_an_output_that_never_begins_is_told_with_all_that_wait(
    tmp_path: Path, engine: Engine, log: Log, spawned: list[subprocess.Popen[bytes]]
) -> None:
    (tmp_path / "files").write_text("no folder")
    log.write(refused(1), refused(2))
    path = tmp_path / "sipsvc.toml"
    database = engine.url.render_as_string(hide_password=False)
    path.write_text(f'[data]\ndir = "{tmp_path}"\ndatabase = "{database}"\n[cdr.files]\ndir = "{tmp_path / "files"}"\n')
    child = spawn(path)
    spawned.append(child)
    wanted = {"files": {"waiting": 2, "failing": f"{tmp_path / 'files'}: File exists"}}
    until(lambda: told(log.folder) == wanted, 60)
    child.terminate()
    assert child.wait(60) == 0
    assert not (log.folder / OUTPUTS).exists()


def test_one_that_ends_by_a_fault_leaves_what_it_told(
    tmp_path: Path, engine: Engine, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It grows old, which is how the worker sees that nothing is handed on."""
    log.write(refused(1))
    seen: list[dict[str, dict[str, object]]] = []

    class Never:
        def wait(self, seconds: float) -> bool:
            seen.append(told(log.folder))
            return False

    monkeypatch.setattr(process, "Stop", Never)
    monkeypatch.setattr(process.Hand, "run", lambda hand: None)
    settings = Settings(
        data=DataSettings(dir=tmp_path, database=engine.url.render_as_string(hide_password=False)),
        cdr=CdrSettings(files=FilesSettings(dir=str(tmp_path / "files"))),
    )
    with pytest.raises(SystemExit, match="out-files"):
        process.main(settings)
    # Told before anything was waited for, and still there.
    assert seen == [{"files": {"waiting": 1, "failing": "not begun"}}]
    assert told(log.folder) == seen[0]


def test_serve_takes_away_what_was_told_when_nothing_is_to_be_handed_on(tmp_path: Path) -> None:
    server = Server(tmp_path, None, api=False)
    stale = server.data / "cdr" / OUTPUTS
    stale.parent.mkdir(parents=True)
    stale.write_bytes(orjson.dumps({"files": {"waiting": 3, "failing": ""}}))
    server.start()
    try:
        until(lambda: not stale.exists(), 30)
    finally:
        server.stop()


@pytest.mark.rule("law 8")
def test_the_end_of_the_parent_is_the_end_and_a_second_one_waits(
    tmp_path: Path, engine: Engine, log: Log, redis_server: Redis
) -> None:
    with receiving() as receiver:
        path = config(tmp_path, engine, receiver, redis_server)
        read_end, write_end = os.pipe()
        command = [sys.executable, "-m", "sipsvc", "out", "--config", str(path)]
        first = subprocess.Popen(
            command,
            env=os.environ | {"SIPSVC_PARENT_FD": str(read_end)},
            pass_fds=(read_end,),
            stderr=subprocess.DEVNULL,
        )
        os.close(read_end)
        log.write(refused(1))
        until(lambda: receiver.taken == ["cdr-000001"])
        second = spawn(path)
        until(lambda: "waits_for_lock" in (tmp_path / "out.log").read_text())
        os.close(write_end)
        assert first.wait(60) == 0
        log.write(refused(2))
        until(lambda: receiver.taken == ["cdr-000001", "cdr-000002"])
        second.terminate()
        assert second.wait(60) == 0
