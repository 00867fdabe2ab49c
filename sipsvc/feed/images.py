"""Compiled price tables as files: named for their owner and the catalogue's version they hold, written whole."""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from sipsvc.directory.image import ImageError, is_whole
from sipsvc.settings import Settings

SUFFIX = ".image"
_OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

Key = tuple[str, str]


def tables_folder(settings: Settings) -> Path:
    """Where they are."""
    return settings.data.dir / "tables"


class Name(NamedTuple):
    """`kind` and `owner` whose rows they are; every row changed up to `version` is in it."""

    kind: str
    owner: str
    version: int

    @property
    def key(self) -> Key:
        return self.kind, self.owner

    def __str__(self) -> str:
        """Raises ValueError for an owner whose id cannot stand in a file's name."""
        if not _OWNER.fullmatch(self.owner):
            raise ValueError(f"{self.kind} {self.owner!r} cannot have a file")
        return f"{self.kind}.{self.owner}.{self.version}{SUFFIX}"


def parse_name(text: str) -> Name | None:
    """None for what is no image's name."""
    kind, _, rest = text.removesuffix(SUFFIX).partition(".")
    owner, _, version = rest.rpartition(".")
    if not (text.endswith(SUFFIX) and kind and owner and version.isascii() and version.isdigit()):
        return None
    return Name(kind, owner, int(version))


class Images:
    """The folder. One process writes and clears it, others map what is named to them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Read once and found to be whole, or written by ourselves.
        self._good: set[Name] = set()

    def write(self, name: Name, image: bytes) -> None:
        """Whole or not at all. Not synced: what a crash tears is found out by its checksum and compiled again."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self.folder / f"{name}.{os.getpid()}"
        draft.write_bytes(image)
        draft.rename(self.folder / str(name))
        self._good.add(name)

    def newest(self, key: Key) -> Name | None:
        """The latest whole image of an owner's rows."""
        found = sorted((name for name in self._names() if name.key == key), key=lambda name: -name.version)
        return next((name for name in found if self._is_good(name)), None)

    def keep(self, used: Mapping[Key, int], *, only: bool) -> None:
        """Remove other versions of what is `used`; with `only` everything else as well. What is mapped stays mapped."""
        for path in self._paths():
            name = parse_name(path.name)
            known = name is not None and name.key in used
            if (known and name is not None and name.version != used[name.key]) or (only and not known):
                path.unlink(missing_ok=True)

    def _is_good(self, name: Name) -> bool:
        if name not in self._good:
            try:
                if not is_whole((self.folder / str(name)).read_bytes()):
                    return False
            except OSError:
                return False
            self._good.add(name)
        return True

    def _names(self) -> list[Name]:
        return [name for path in self._paths() if (name := parse_name(path.name)) is not None]

    def _paths(self) -> list[Path]:
        return list(self.folder.iterdir()) if self.folder.is_dir() else []


def mapped(path: Path) -> memoryview:
    """A file's bytes, of which only those looked at are read. Raises OSError, and ImageError for an empty file."""
    with path.open("rb") as file:
        try:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except ValueError:
            raise ImageError(f"{path.name} is empty") from None
