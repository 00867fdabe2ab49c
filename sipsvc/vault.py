"""Secrets that have to be told again, such as a gateway's password: sealed by a key that is not in the database (TG-1).

The key lies in the data folder and is never changed, for what it sealed lies in the database.
"""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sipsvc.errors import ConfigError

NAME = "vault.key"
KEY_BYTES = 32
NONCE_BYTES = 12
MARK = "v1:"


class Unreadable(Exception):
    """What was sealed cannot be opened: another key sealed it, or somebody changed it."""


class Vault:
    """Seals with AES-256-GCM. The key is read when it is first needed, and made when something is to be sealed."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._cipher: AESGCM | None = None

    def seal(self, text: str, purpose: str) -> str:
        """`text` as it may be stored; only `open` with the same purpose reads it. "" stays "". Raises ConfigError."""
        if not text:
            return ""
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._ready(make=True).encrypt(nonce, text.encode(), purpose.encode())
        return MARK + b64encode(nonce + sealed).decode()

    def open(self, sealed: str, purpose: str) -> str:
        """What was sealed. Raises Unreadable, ConfigError where the key is damaged or not there."""
        if not sealed:
            return ""
        cipher = self._ready(make=False)
        try:
            data = b64decode(sealed.removeprefix(MARK), validate=True)
            return cipher.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], purpose.encode()).decode()
        except (InvalidTag, ValueError):
            raise Unreadable(f"it was not sealed with the key in {self._path}") from None

    def _ready(self, *, make: bool) -> AESGCM:
        if self._cipher is None:
            try:
                if make and not self._path.exists():
                    _make(self._path)
                key = bytes.fromhex(self._path.read_text().strip())
            except OSError as error:
                raise ConfigError([("data.dir", str(self._path), error.strerror or "cannot be used")]) from None
            except ValueError:
                key = b""
            if len(key) != KEY_BYTES:
                raise ConfigError([("data.dir", str(self._path), f"must hold {KEY_BYTES} bytes in hexadecimal")])
            self._cipher = AESGCM(key)
        return self._cipher


def _make(path: Path) -> None:
    """A new key, readable by its owner only. Of several who make one at once, the first one's is everybody's."""
    draft = path.with_name(f"{path.name}.{os.urandom(8).hex()}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(os.urandom(KEY_BYTES).hex().encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    with suppress(FileExistsError):
        os.link(draft, path)
    draft.unlink()
