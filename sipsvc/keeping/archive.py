"""A backup as one file: a tar of its members behind a manifest that knows each by size and SHA-256."""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

import orjson

from sipsvc.errors import SipsvcError

FORMAT = 1
MANIFEST = "manifest.json"
CHUNK = 1 << 20
# Of text mostly; more would cost much time for little room.
COMPRESSION = 3
LARGEST_MANIFEST = 16 * 1024 * 1024


class BadArchive(SipsvcError):
    """It is no backup, is damaged, or was made by a version newer than this one."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup is of. Instants are UTC ms; `seen_at` is when a server was last known to run.

    `delivered` is up to which segment and offset of the log the database has it. `members` are size and SHA-256 of each
    by its name.
    """

    format: int
    version: str
    made_at: int
    schema: str
    database: str
    delivered: tuple[str, int]
    seen_at: int
    members: dict[str, tuple[int, str]]


def fingerprint(path: Path) -> tuple[int, str]:
    """Size in bytes and SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()


def pack(folder: Path, manifest: Manifest, target: Path) -> None:
    """Write the members in `folder` to `target`, which is there whole or not at all. Raises OSError."""
    draft = target.with_name(f"{target.name}.part")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with tarfile.open(fileobj=file, mode="w:gz", compresslevel=COMPRESSION) as tar:
                told = orjson.dumps(asdict(manifest), option=orjson.OPT_INDENT_2)
                tar.addfile(_entry(MANIFEST, len(told), manifest), BytesIO(told))
                for name, (size, _) in manifest.members.items():
                    with (folder / name).open("rb") as member:
                        tar.addfile(_entry(name, size, manifest), member)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(target)
    finally:
        draft.unlink(missing_ok=True)


def _entry(name: str, size: int, manifest: Manifest) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = size, 0o600, manifest.made_at // 1_000
    return entry


class Archive:
    """A backup that is read, from its beginning to its end."""

    def __init__(self, path: Path, tar: tarfile.TarFile) -> None:
        self._path = path
        self._tar = tar
        self.manifest = self._manifest()

    def unpack(self, folder: Path) -> None:
        """Put every member into `folder`, for its owner's eyes. Raises BadArchive where one is not what it was."""
        wanted = dict(self.manifest.members)
        for entry in self._entries():
            expected = wanted.pop(entry.name, None)
            if expected is None:
                raise BadArchive(f"{self._path}: {entry.name} is not in the manifest, or stands twice")
            if self._copy(entry, folder / entry.name) != expected:
                raise BadArchive(f"{self._path}: {entry.name} is damaged")
        if wanted:
            raise BadArchive(f"{self._path}: {', '.join(wanted)} is missing")

    def _manifest(self) -> Manifest:
        entry = next(self._entries(), None)
        if entry is None or entry.name != MANIFEST or entry.size > LARGEST_MANIFEST:
            raise BadArchive(f"{self._path} is no backup: it does not begin with {MANIFEST}")
        file = self._tar.extractfile(entry)
        try:
            told: dict[str, Any] = orjson.loads(file.read() if file is not None else b"")
            if told["format"] > FORMAT:
                raise BadArchive(
                    f"{self._path} was made by sipsvc {told['version']}, in a format ({told['format']}) newer than "
                    f"this version knows ({FORMAT})"
                )
            members = {str(name): (int(size), str(digest)) for name, (size, digest) in told["members"].items()}
            manifest = Manifest(**{**told, "delivered": tuple(told["delivered"]), "members": members})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise BadArchive(f"{self._path}: {MANIFEST} is damaged") from error
        for name in members:
            parts = PurePosixPath(name).parts
            if len(parts) != 2 or ".." in parts or parts[0] == "/":
                raise BadArchive(f"{self._path}: {name!r} is no member's name")
        return manifest

    def _entries(self) -> Iterator[tarfile.TarInfo]:
        try:
            while (entry := self._tar.next()) is not None:
                if not entry.isfile():
                    raise BadArchive(f"{self._path}: {entry.name} is no file")
                yield entry
        except (tarfile.TarError, OSError, EOFError, ValueError) as error:
            raise BadArchive(f"{self._path} is damaged: {error}") from error

    def _copy(self, entry: tarfile.TarInfo, target: Path) -> tuple[int, str]:
        file = self._tar.extractfile(entry)
        assert file is not None
        target.parent.mkdir(mode=0o700, exist_ok=True)
        digest, size = hashlib.sha256(), 0
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as copy:
            while True:
                try:
                    block = file.read(CHUNK)
                except (tarfile.TarError, OSError, EOFError) as error:
                    raise BadArchive(f"{self._path}: {entry.name} is damaged: {error}") from error
                if not block:
                    break
                digest.update(block)
                size += len(block)
                copy.write(block)
            copy.flush()
            os.fsync(copy.fileno())
        return size, digest.hexdigest()


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Raises BadArchive, OSError where it cannot be opened."""
    with path.open("rb") as file:
        try:
            tar = tarfile.open(fileobj=file, mode="r:gz")  # noqa: SIM115 - closed below
        except (tarfile.TarError, EOFError, OSError) as error:
            raise BadArchive(f"{path} is no backup: {error}") from error
        with tar:
            yield Archive(path, tar)
