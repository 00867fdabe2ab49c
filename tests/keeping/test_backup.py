"""A backup made while calls are written and delivered holds each of them once, and goes where nothing is."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import inspect, text

from sipsvc import keyring
from sipsvc.cdr.deliver import Deliverer, drain_once
from sipsvc.cdr.log import LogWriter, last_alive, lock_file, open_calls
from sipsvc.cdr.segments import kept, segment_numbers
from sipsvc.errors import ConfigError
from sipsvc.feed.images import tables_folder
from sipsvc.firstrun import BROKEN_OFF, prepare
from sipsvc.keeping import databases
from sipsvc.keeping.archive import BadArchive
from sipsvc.keeping.backup import NotBackedUp, backup
from sipsvc.keeping.restore import NotRestored, restore
from sipsvc.settings import DataSettings, Settings
from sipsvc.store.database import open_database
from sipsvc.vault import Vault
from tests.cdr.records import answer, end, start
from tests.keeping.conftest import Place

Rows = dict[str, tuple[Any, ...]]
SEGMENT = 40_000


def rows(settings: Settings) -> Rows:
    """Every column of every call, by its id; that there is one row each is the table's key to say."""
    engine = open_database(settings.data.url)
    with engine.connect() as connection:
        found = connection.execute(text("SELECT * FROM cdr")).mappings().all()
    engine.dispose()
    return {row["cdr_id"]: tuple(row.values()) for row in found}


class Calling:
    """Calls one after the other into the log, each of them three records, and a deliverer behind them."""

    def __init__(self, settings: Settings) -> None:
        self.folder = settings.data.dir / "cdr"
        self.ended = 0
        self._engine = open_database(settings.data.url)
        self._over = threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._write, self._deliver)]

    def _write(self) -> None:
        writer = LogWriter(self.folder, lambda seq: None, segment_bytes=SEGMENT)
        number = 0
        while not self._over.is_set():
            number += 1
            records = [start(number), answer(number)]
            # The one before ends now, so that there is always one that is up.
            records += [end(number - 1)] if number > 1 else []
            writer.append([(record, 3 * number + seq, False) for seq, record in enumerate(records)])
            self.ended = number - 1
            time.sleep(0.0005)
        writer.close()

    def _deliver(self) -> None:
        deliverer = Deliverer(self.folder, self._engine)
        while not self._over.is_set():
            if not deliverer.step():
                time.sleep(0.01)

    @contextmanager
    def going_on(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in self._threads:
                thread.join()
            self._engine.dispose()

    def until(self, ended: int) -> None:
        give_up = time.monotonic() + 60
        while self.ended < ended:
            assert time.monotonic() < give_up
            time.sleep(0.01)


@pytest.mark.rule("law 8")
def test_what_is_backed_up_under_load_is_there_once(place: Place, tmp_path: Path) -> None:
    here, there = place("here", migrated=True), place("there")
    calling = Calling(here)
    with calling.going_on():
        calling.until(400)
        before = calling.ended
        # While the database is copied and the log is not yet, delivery goes on and deletes what it has delivered.
        path, manifest = backup(here, tmp_path, lambda: calling.until(calling.ended + 600))
        after = calling.ended
        calling.until(after + 100)
    assert drain_once(here) >= 0
    restore(there, path)
    copied = rows(there)
    assert len(copied) <= after
    drain_once(there)
    restored, original = rows(there), rows(here)
    ended = {name: row for name, row in restored.items() if "ended" in row}
    # Each call that had ended by the end of the backup, as it is in the original; of the later ones none.
    assert set(ended) >= {f"cdr-{number:06d}" for number in range(1, before + 600)}
    assert all(original[name] == row for name, row in ended.items())
    still_open = {record["cdr_id"] for record in open_calls(there.data.dir / "cdr")}
    assert len(still_open) <= 1
    assert not still_open & ended.keys()
    assert segment_numbers(here.data.dir / "cdr")[0] > 1, "nothing was deleted meanwhile"
    assert manifest.delivered[0] <= max(name.split("/")[1] for name in manifest.members if "cdr-0" in name)


@pytest.mark.rule("law 8")
def test_no_segment_is_deleted_while_somebody_copies_them(tmp_path: Path) -> None:
    here = Settings(data=DataSettings(dir=tmp_path / "here"))
    engine, _, _ = prepare(here, None)
    folder = here.data.dir / "cdr"
    for number in (1, 2):
        writer = LogWriter(folder, lambda seq: None)
        writer.append([(start(number), 1, False), (end(number), 2, False)])
        writer.close()
    deliverer = Deliverer(folder, engine)
    with kept(folder):
        while deliverer.step():
            pass
        assert segment_numbers(folder) == [1, 2]
    deliverer.step()
    assert segment_numbers(folder) == [2]
    engine.dispose()


def small(settings: Settings) -> None:
    """Two calls, one of them delivered, and everything else that is kept."""
    writer = LogWriter(settings.data.dir / "cdr", lambda seq: None)
    writer.append([(record, seq, False) for seq, record in enumerate([start(1), answer(1), end(1)], 1)])
    drain_once(settings)
    writer.append([(record, seq, False) for seq, record in enumerate([start(2), answer(2)], 4)])
    writer.close()
    (settings.data.dir / "cdr" / "rejected.log").write_bytes(b'{"cdr_id":"odd"}\n')
    (settings.data.dir / "cdr" / "retry.log").write_bytes(b'{"cdr_id":"tried"}\n')
    keyring.load(settings.data.dir, 1_790_000_000_000)


@pytest.mark.rule("law 8", "SIP-16", "TG-1")
def test_keys_log_and_what_was_refused_come_along(place: Place, tmp_path: Path) -> None:
    here, there = place("here", migrated=True), place("there")
    small(here)
    sealed = Vault(here.data.dir).seal("carrier's password", "gateway")
    seen = last_alive(here.data.dir / "cdr")
    path, manifest = backup(here, tmp_path / "kept.tar.gz")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {"secrets/keys.json", "secrets/vault.key", "cdr/rejected.log"} < set(manifest.members)
    restore(there, path)
    assert Vault(there.data.dir).open(sealed, "gateway") == "carrier's password"
    assert keyring.load(there.data.dir, 1_790_000_000_000) == keyring.load(here.data.dir, 1_790_000_000_000)
    for secret in ("keys.json", "vault.key"):
        assert stat.S_IMODE((there.data.dir / secret).stat().st_mode) == 0o600
    assert rows(there) == rows(here)
    assert [record["kind"] for record in open_calls(there.data.dir / "cdr")] == ["start", "answer"]
    assert (there.data.dir / "cdr" / "rejected.log").read_bytes() == b'{"cdr_id":"odd"}\n'
    assert (there.data.dir / "cdr" / "retry.log").read_bytes() == b'{"cdr_id":"tried"}\n'
    # A call that was up is charged as far as the server of then ran, whenever this one begins.
    assert last_alive(there.data.dir / "cdr") == seen
    # A server can begin on it, and there is nothing left of the restore.
    engine, _, _ = prepare(there, None)
    engine.dispose()
    assert not list(there.data.dir.glob("restore*"))


def test_a_last_line_in_the_making_is_left_out(place: Place, tmp_path: Path) -> None:
    here, there = place("here", migrated=True), place("there")
    small(here)
    with (here.data.dir / "cdr" / "cdr-00000001.log").open("ab") as log:
        log.write(b'1234abcd {"kind":"start","cdr_id":"half')
    restore(there, backup(here, tmp_path / "kept")[0])
    assert (there.data.dir / "cdr" / "cdr-00000001.log").read_bytes().endswith(b"}\n")


def test_a_place_with_something_in_it_is_replaced_only_by_force(place: Place, tmp_path: Path) -> None:
    here, there = place("here", migrated=True), place("there", migrated=True)
    small(here)
    path, _ = backup(here, tmp_path / "kept")
    writer = LogWriter(there.data.dir / "cdr", lambda seq: None)
    writer.append([(start(77), 1, False), (end(77), 2, False)])
    writer.close()
    drain_once(there)
    tables_folder(there).mkdir()
    (tables_folder(there) / "stale.image").write_bytes(b"old")
    engine = open_database(there.data.url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE of_a_newer_version (id INTEGER)"))
    before = rows(there)
    with pytest.raises(NotRestored, match=r"a log of calls, a database.*--force"):
        restore(there, path)
    assert rows(there) == before
    engine.dispose()
    restore(there, path, force=True)
    assert rows(there) == rows(here)
    assert "of_a_newer_version" not in inspect(engine).get_table_names()
    assert not tables_folder(there).exists()
    engine.dispose()


def test_what_another_server_set_aside_does_not_stay(made: tuple[Settings, Path], tmp_path: Path) -> None:
    """Nor is such a place taken for an empty one."""
    here, _ = made
    folder = here.data.dir / "cdr"
    for name in ("retry.log", "rejected.log"):
        (folder / name).unlink()
    path, _ = backup(here, tmp_path / "without")
    there = Settings(data=DataSettings(dir=tmp_path / "there"))
    (there.data.dir / "cdr").mkdir(parents=True)
    for name in ("retry.log", "outputs"):
        (there.data.dir / "cdr" / name).write_bytes(b"{}\n")
    with pytest.raises(NotRestored, match="a log of calls"):
        restore(there, path)
    restore(there, path, force=True)
    assert not [name for name in ("retry.log", "outputs") if (there.data.dir / "cdr" / name).exists()]


def test_a_database_that_cannot_be_put_back_costs_neither_log_nor_keys(
    made: tuple[Settings, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, path = made
    kept_files = {file: file.read_bytes() for file in here.data.dir.rglob("*") if file.suffix in (".log", ".json")}

    def fails(*_: Any) -> None:
        raise databases.NotKept("the database cannot be put back")

    with monkeypatch.context() as patch:
        patch.setattr(databases, "put_back", fails)
        with pytest.raises(databases.NotKept):
            restore(here, path, force=True)
    assert {file: file.read_bytes() for file in kept_files} == kept_files
    with pytest.raises(ConfigError, match="a restore was broken off"):
        prepare(here, None)
    restore(here, path, force=True)
    assert len(rows(here)) == 1


@pytest.mark.parametrize("name", ["lock", "deliver.lock", "out.lock"])
def test_a_running_server_is_not_restored_over(place: Place, tmp_path: Path, name: str) -> None:
    here = place("here", migrated=True)
    small(here)
    path, _ = backup(here, tmp_path / "kept")
    held = lock_file(here.data.dir / "cdr" / name)
    with pytest.raises(NotRestored, match=r"a server runs here.*held by process"):
        restore(here, path, force=True)
    with open(held, "rb"):
        assert len(rows(here)) == 1


@pytest.fixture
def made(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Settings, Path]:
    here = Settings(data=DataSettings(dir=tmp_path / "here"))
    engine, _, _ = prepare(here, None)
    engine.dispose()
    small(here)
    return here, backup(here, tmp_path / "kept")[0]


def rewritten(path: Path, change: Any) -> Path:
    """The archive with its (name, content) pairs as `change` leaves them."""
    with tarfile.open(path) as tar:
        parts = [(entry.name, tar.extractfile(entry).read()) for entry in tar]  # type: ignore[union-attr]
    with tarfile.open(path, "w:gz") as tar:
        for name, content in change(parts):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def told(**news: Any) -> Any:
    def change(parts: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        return [("manifest.json", orjson.dumps({**orjson.loads(parts[0][1]), **news})), *parts[1:]]

    return change


def spoilt(parts: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    return [(name, content[:-2] + b"x\n" if name.startswith("cdr/cdr") else content) for name, content in parts]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (spoilt, r"cdr/cdr-00000001\.log is damaged"),
        (lambda parts: parts[:-1], "is missing"),
        (lambda parts: [*parts, ("cdr/more", b"")], "not in the manifest"),
        (lambda parts: [*parts, parts[-1]], "stands twice"),
        (lambda parts: parts[1:], "does not begin with manifest"),
        (lambda parts: [("manifest.json", b"{}"), *parts[1:]], "is damaged"),
        (told(format=2, version="9.0"), r"made by sipsvc 9\.0, in a format \(2\) newer"),
        (told(schema="9999", version="9.0"), r"whose schema \(9999\) this version does not know"),
        (told(members={"../../etc/passwd": [0, ""]}), "no member's name"),
        (told(members={"/etc": [0, ""]}), "no member's name"),
    ],
)
def test_what_is_damaged_or_newer_is_refused_and_nothing_changed(
    made: tuple[Settings, Path], tmp_path: Path, change: Any, why: str
) -> None:
    here, path = made
    before = rows(here)
    with pytest.raises(BadArchive, match=why):
        restore(here, rewritten(path, change), force=True)
    assert rows(here) == before
    assert not list(here.data.dir.glob("restore*"))


@pytest.mark.parametrize("cut", [0, 20, 0.5, 0.98])
def test_a_file_that_ends_early_is_refused(made: tuple[Settings, Path], cut: float) -> None:
    here, path = made
    whole = path.read_bytes()
    path.write_bytes(whole[: int(cut if cut >= 1 else cut * len(whole))])
    with pytest.raises(BadArchive):
        restore(here, path, force=True)
    assert len(rows(here)) == 1


def test_a_file_that_is_no_tar_is_refused(made: tuple[Settings, Path]) -> None:
    here, path = made
    path.write_bytes(gzip.compress(b"something else" * 100))
    with pytest.raises(BadArchive, match="no backup"):
        restore(here, path)


def test_a_backup_of_the_other_database_is_refused(made: tuple[Settings, Path], tmp_path: Path) -> None:
    _, path = made
    other = Settings(data=DataSettings(dir=tmp_path / "other", database="postgresql://nobody@127.0.0.1:1/none"))
    with pytest.raises(NotRestored, match=r"of a sqlite database, data\.database is postgresql"):
        restore(other, path)


def test_a_server_does_not_start_on_half_a_restore(made: tuple[Settings, Path]) -> None:
    here, path = made
    (here.data.dir / BROKEN_OFF).write_text("")
    with pytest.raises(ConfigError, match="a restore was broken off"):
        prepare(here, None)
    with pytest.raises(NotRestored, match="force"):
        restore(here, path)
    restore(here, path, force=True)
    engine, _, _ = prepare(here, None)
    engine.dispose()


def test_what_cannot_be_written_or_is_not_there_is_told(made: tuple[Settings, Path], tmp_path: Path) -> None:
    here, path = made
    with pytest.raises(NotBackedUp, match="is there already"):
        backup(here, path)
    with pytest.raises(NotBackedUp, match=r"none/x\.part|none"):
        backup(here, tmp_path / "none" / "x")
    with pytest.raises(NotRestored, match="No such file"):
        restore(here, tmp_path / "nowhere")
    assert not list(tmp_path.glob("*.part"))


def test_without_its_client_programs_postgresql_is_not_begun(
    tmp_path: Path, made: tuple[Settings, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    other = Settings(data=DataSettings(dir=tmp_path / "other", database="postgresql://nobody@127.0.0.1:1/none"))
    with pytest.raises(ConfigError, match="needs pg_dump, which is not installed"):
        backup(other, tmp_path / "x")
