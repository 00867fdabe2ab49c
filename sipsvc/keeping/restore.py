"""`sipsvc restore`: a server's state as a backup has it, in a place where no server runs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sipsvc.cdr.aside import REJECTED, RETRY
from sipsvc.cdr.bound import OUTPUTS
from sipsvc.cdr.deliver import cdr_folder
from sipsvc.cdr.log import LogLocked, lock_file
from sipsvc.cdr.segments import ALIVE, DELIVERED, OUTAGES, segment_numbers, segment_path
from sipsvc.errors import SipsvcError
from sipsvc.feed.images import tables_folder
from sipsvc.firstrun import BROKEN_OFF
from sipsvc.keeping import databases
from sipsvc.keeping.archive import BadArchive, Manifest, opened
from sipsvc.keeping.backup import SECRETS
from sipsvc.keyring import private
from sipsvc.settings import Settings
from sipsvc.store.database import known_revision

STAGE = "restore.new"


class NotRestored(SipsvcError):
    """The place is not fit, or files could not be written there: where BROKEN_OFF stands in it, it is half changed."""


def restore(settings: Settings, path: Path, *, force: bool = False) -> Manifest:
    """Put back what `path` holds. With `force` what is there is replaced.

    Raises BadArchive before anything is changed; NotRestored, ConfigError, NotKept.
    """
    try:
        with opened(path) as archive:
            manifest = archive.manifest
            _fits(path, manifest, settings.data.url)
            settings.data.dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            with alone(settings):
                there = _there(settings)
                if there and not force:
                    raise NotRestored(f"there is something already ({', '.join(there)}): --force replaces it")
                stage = settings.data.dir / STAGE
                shutil.rmtree(stage, ignore_errors=True)
                stage.mkdir(mode=0o700)
                try:
                    archive.unpack(stage)
                    _replace(settings, manifest, stage)
                finally:
                    shutil.rmtree(stage, ignore_errors=True)
    except OSError as error:
        raise NotRestored(f"{error.filename or path}: {error.strerror or error}") from error
    return manifest


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """No server runs on this data folder, and none begins to meanwhile. Raises NotRestored."""
    folder = cdr_folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    held = []
    try:
        for name in ("lock", "deliver.lock", "out.lock"):
            try:
                held.append(lock_file(folder / name))
            except LogLocked as error:
                raise NotRestored(f"a server runs here: {error}") from error
        yield
    finally:
        for descriptor in held:
            os.close(descriptor)


def _fits(path: Path, manifest: Manifest, url: str) -> None:
    if not known_revision(manifest.schema):
        raise BadArchive(
            f"{path} was made by sipsvc {manifest.version}, whose schema ({manifest.schema}) this version does not know"
        )
    if manifest.database != databases.kind(url):
        raise NotRestored(f"{path} is of a {manifest.database} database, data.database is {databases.kind(url)}")
    databases.ready(url, "pg_restore")


def _there(settings: Settings) -> list[str]:
    """What would be replaced."""
    folder, data = cdr_folder(settings), settings.data.dir
    found = [name for name in (*SECRETS, BROKEN_OFF) if (data / name).exists()]
    if segment_numbers(folder) or any((folder / name).exists() for name in (REJECTED, RETRY)):
        found.append("a log of calls")
    if databases.tables(settings.data.url):
        found.append("a database")
    return found


def _replace(settings: Settings, manifest: Manifest, stage: Path) -> None:
    """From here on there is no way back; a server does not start on what is only half there."""
    folder, data = cdr_folder(settings), settings.data.dir
    private(data / BROKEN_OFF, b"sipsvc restore was broken off here: run it again with --force\n")
    # First what may fail for a reason of its own: until it is done, log and keys of before are there still.
    databases.put_back(settings.data.url, stage / "database" / databases.FILES[manifest.database])
    for number in segment_numbers(folder):
        segment_path(folder, number).unlink()
    for name in (DELIVERED, REJECTED, RETRY, ALIVE, OUTAGES, OUTPUTS):
        (folder / name).unlink(missing_ok=True)
    for name in SECRETS:
        (data / name).unlink(missing_ok=True)
    # Compiled from the database, and made anew when they are missing.
    shutil.rmtree(tables_folder(settings), ignore_errors=True)
    for source, target in (("cdr", folder), ("secrets", data)):
        for path in sorted((stage / source).glob("*")):
            shutil.move(path, target / path.name)
    if manifest.seen_at:
        alive = folder / ALIVE
        alive.touch(mode=0o640)
        os.utime(alive, ns=(manifest.seen_at * 1_000_000,) * 2)
    for one in (folder, data):
        descriptor = os.open(one, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    (data / BROKEN_OFF).unlink()
