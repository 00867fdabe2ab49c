"""Digest access authentication (RFC 7616, RFC 8760, RFC 3261 §22) and nonces that need no memory (SIP-21)."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import ClassVar, NamedTuple

from sipsvc.auth.hashes import response
from sipsvc.effects import Now
from sipsvc.keys import ID_LENGTH, derive
from sipsvc.message.grammar import QUOTED

_PARAM = re.compile(rf"[\s,]*+([A-Za-z0-9\-]++)\s*+=\s*+({QUOTED}|[^\s,\"]++)")
MAX_WINDOWS = 200_000


class Credentials(NamedTuple):
    """The parameters of an Authorization header that we read; "" where absent."""

    username: str
    realm: str
    nonce: str
    uri: str
    response: str
    qop: str
    nc: str
    cnonce: str
    algorithm: str


def parse_credentials(value: str) -> Credentials | None:
    """None when it is not Digest."""
    if value[:6].lower() != "digest" or value[6:7] not in ("", " ", "\t"):
        return None
    rest = value[7:]
    found: dict[str, str] = {}
    position = 0
    while (match := _PARAM.match(rest, position)) is not None:
        position = match.end()
        text = match.group(2)
        if text.startswith('"'):
            text = re.sub(r"\\(.)", r"\1", text[1:-1])
        found.setdefault(match.group(1).lower(), text)
    return Credentials(*(found.get(name, "") for name in Credentials._fields))


def expected(algorithm: str, ha1: str, credentials: Credentials, method: str) -> str:
    """The response that knows the password (RFC 7616 §3.4.1, qop=auth)."""
    _, _, nonce, uri, _, qop, nc, cnonce, _ = credentials
    return response(algorithm, ha1, nonce, method, uri, qop=qop, nc=nc, cnonce=cnonce)


class Nonces:
    """Makes and judges nonces: key id, time, random part and a keyed hash over them. `secrets` are newest first."""

    GOOD: ClassVar = "good"
    STALE: ClassVar = "stale"
    FOREIGN: ClassVar = "foreign"

    def __init__(self, secrets: tuple[bytes, ...]) -> None:
        self.rekey(secrets)
        self._seen: dict[str, tuple[int, int]] = {}
        self._forgotten = 0

    def rekey(self, secrets: tuple[bytes, ...]) -> None:
        """Nonces are made with the first of them from now on; those made with the others stay good."""
        self._keys = derive(secrets, b"nonce")
        self._id = next(iter(self._keys))

    def make(self, now: Now, random: bytes) -> str:
        stem = f"{self._id}{now.utc:012x}{random.hex()}"
        return stem + _seal(self._keys[self._id], stem)

    def check(self, nonce: str, lifetime_ms: int, now: Now) -> str:
        """Whether a nonce is ours and young enough. Judged before the password, used up after it."""
        stem, seal = nonce[:-16], nonce[-16:]
        key = self._keys.get(nonce[:ID_LENGTH])
        if key is None or len(stem) < 13 or _seal(key, stem) != seal:
            return self.FOREIGN
        made = int(stem[1:13], 16)
        return self.GOOD if made > self._forgotten and now.utc - made <= lifetime_ms else self.STALE

    def use(self, nonce: str, nc: str, lifetime_ms: int, now: Now) -> bool:
        """Mark a count as seen; False when it was seen before. A window of 64 counts lets them come late."""
        count = int(nc, 16)
        highest, seen = self._seen.get(nonce, (0, 0))
        if count > highest:
            seen = (seen << (count - highest)) & 0xFFFF_FFFF_FFFF_FFFF if count - highest < 64 else 0
            self._seen[nonce] = (count, seen | 1)
            if highest == 0:
                self._forget(lifetime_ms, now)
            return True
        bit = 1 << (highest - count)
        if highest - count >= 64 or seen & bit:
            return False
        self._seen[nonce] = (highest, seen | bit)
        return True

    def _forget(self, lifetime_ms: int, now: Now) -> None:
        """Drop windows whose nonce has expired, two for one that came, so that none has to wait for all of them.

        They are nearly in the order of their nonces; when too many are young, the oldest expire early.
        """
        for _ in range(2):
            first = next(iter(self._seen))
            made = int(first[1:13], 16)
            if now.utc - made <= lifetime_ms:
                if len(self._seen) <= MAX_WINDOWS:
                    return
                self._forgotten = max(self._forgotten, made)
            del self._seen[first]


def _seal(key: bytes, stem: str) -> str:
    return blake2b(stem.encode("latin-1", "replace"), key=key, digest_size=8).hexdigest()
