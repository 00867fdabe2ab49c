"""`sipsvc backup`: database, log and keys of a server in one file, while it runs.

The order matters. The database goes first, the log after it: so whatever the database has not, the log has, from the
very position the database names, and delivery goes on from there with nothing lost and nothing twice. A log copied
first would end before that position; a call that ended in between would stand in the database as ended and in the log
as open, and be ended once more. Delivery goes on meanwhile, but deletes no segment before all are copied.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from sipsvc import __version__, keyring, vault
from sipsvc.cdr.aside import REJECTED, RETRY
from sipsvc.cdr.deliver import cdr_folder
from sipsvc.cdr.segments import OUTAGES, kept, last_alive, segment_numbers, segment_path
from sipsvc.errors import SipsvcError
from sipsvc.keeping import databases
from sipsvc.keeping.archive import CHUNK, FORMAT, Manifest, fingerprint, pack
from sipsvc.settings import Settings

# What opens sealed passwords, nonces and tokens: whoever has the backup has them.
SECRETS = (keyring.NAME, keyring.OLD_NAME, vault.NAME)


class NotBackedUp(SipsvcError):
    """Nothing was written."""


def backup(settings: Settings, where: Path, between: Callable[[], None] = lambda: None) -> tuple[Path, Manifest]:
    """Write a backup to the file `where`, or a file named by the instant into the folder `where`.

    `between` is called when the database is copied and the log is not. Raises ConfigError, NotKept, NotBackedUp.
    """
    made_at = time.time_ns() // 1_000_000
    name = datetime.fromtimestamp(made_at // 1_000, UTC).strftime("sipsvc-%Y%m%dT%H%M%SZ.tar.gz")
    target = where / name if where.is_dir() else where
    if target.exists():
        raise NotBackedUp(f"{target} is there already")
    url = settings.data.url
    databases.ready(url, "pg_dump")
    try:
        with tempfile.TemporaryDirectory(prefix=f"{target.name}.", suffix=".part", dir=target.parent) as draft:
            folder = Path(draft)
            for part in ("database", "cdr", "secrets"):
                (folder / part).mkdir(mode=0o700)
            log = cdr_folder(settings)
            log.mkdir(parents=True, exist_ok=True)
            with kept(log):
                # What is refused from here on stands in the log behind the copied position, and is refused again.
                # A try moves lines from the one file to the other and back: so no move of them is missed.
                for part in (RETRY, REJECTED, RETRY):
                    _copy_if_there(log / part, folder / "cdr" / part)
                _copy_if_there(log / OUTAGES, folder / "cdr" / OUTAGES)
                state = databases.save(url, folder / "database" / databases.FILES[databases.kind(url)])
                between()
                for number in segment_numbers(log):
                    _copy_lines(segment_path(log, number), segment_path(folder / "cdr", number))
            for secret in SECRETS:
                _copy_if_there(settings.data.dir / secret, folder / "secrets" / secret)
            members = {f"{path.parent.name}/{path.name}": fingerprint(path) for path in sorted(folder.glob("*/*"))}
            seen_at = last_alive(log)
            kind = databases.kind(url)
            manifest = Manifest(FORMAT, __version__, made_at, state.schema, kind, state.delivered, seen_at, members)
            pack(folder, manifest, target)
    except OSError as error:
        raise NotBackedUp(f"{error.filename or target}: {error.strerror or error}") from error
    return target, manifest


def _copy_lines(source: Path, target: Path) -> None:
    """Without a last line that is in the making."""
    with source.open("rb") as log, target.open("wb") as copy:
        offset = whole = 0
        while block := log.read(CHUNK):
            copy.write(block)
            end = block.rfind(b"\n")
            whole = offset + end + 1 if end >= 0 else whole
            offset += len(block)
        copy.truncate(whole)


def _copy_if_there(source: Path, target: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.copyfile(source, target)
