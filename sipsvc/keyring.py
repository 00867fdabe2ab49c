"""The file of secrets in the data folder: made once, changed by age or on demand (SIP-16, SIP-21)."""

from __future__ import annotations

import json
import os
from pathlib import Path

from sipsvc.errors import ConfigError
from sipsvc.keys import key_id

NAME = "keys.json"
# What there was before secrets were changed: one, 32 bytes.
OLD_NAME = "secret"
SECRET_BYTES = 32
# Old ones stay good for nonces under way; a call keeps its token by itself.
KEPT = 3
MAX_AGE_MS = 30 * 86_400_000

Ring = list[tuple[int, bytes]]


def load(folder: Path, now_ms: int) -> tuple[bytes, ...]:
    """The secrets, newest first; a new one where there is none, or the newest is 30 days old.

    Raises ConfigError for a file that is damaged, OSError where none can be read or written.
    """
    ring = _read(folder)
    if not ring or now_ms - ring[0][0] >= MAX_AGE_MS:
        ring = _renew(folder, ring, now_ms)
    return tuple(secret for _, secret in ring)


def rotate(folder: Path, now_ms: int) -> tuple[bytes, ...]:
    """Put a new secret before the others. Raises as `load` does."""
    return tuple(secret for _, secret in _renew(folder, _read(folder), now_ms))


def private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    draft = path.with_name(path.name + ".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)


def _read(folder: Path) -> Ring:
    path = folder / NAME
    if path.exists():
        try:
            listed = json.loads(path.read_bytes())["keys"]
            ring = [(int(one["made_at"]), bytes.fromhex(one["secret"])) for one in listed]
        except (ValueError, KeyError, TypeError):
            ring = []
        if not ring or any(len(secret) != SECRET_BYTES for _, secret in ring):
            raise ConfigError([("data.dir", str(path), "is damaged; delete it to make new keys")])
        return ring
    old = folder / OLD_NAME
    if not old.exists():
        return []
    secret = old.read_bytes()
    if len(secret) != SECRET_BYTES:
        raise ConfigError([("data.dir", str(old), f"must hold {SECRET_BYTES} bytes; delete it to make a new one")])
    ring = [(int(old.stat().st_mtime * 1000), secret)]
    _write(folder, ring)
    old.unlink()
    return ring


def _renew(folder: Path, ring: Ring, now_ms: int) -> Ring:
    kept = ring[: KEPT - 1]
    taken = {key_id(secret) for _, secret in kept}
    while key_id(secret := os.urandom(SECRET_BYTES)) in taken:
        continue
    ring = [(now_ms, secret), *kept]
    _write(folder, ring)
    return ring


def _write(folder: Path, ring: Ring) -> None:
    keys = [{"made_at": made_at, "secret": secret.hex()} for made_at, secret in ring]
    private(folder / NAME, json.dumps({"keys": keys}, indent=1).encode() + b"\n")
