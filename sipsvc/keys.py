"""The keys that nonces and Record-Route tokens are sealed with: newest first, so that they can be changed (SIP-16).

What was sealed with an older key is good for as long as that key is kept; its id says which one it was.
"""

from __future__ import annotations

from hashlib import blake2b

# One hexadecimal digit. Whoever adds a secret sees to it that no other of the ring has its id.
ID_LENGTH = 1


def key_id(secret: bytes) -> str:
    """Which key it is, as everybody may see."""
    return blake2b(b"key-id", key=secret, digest_size=1).hexdigest()[:ID_LENGTH]


def derive(secrets: tuple[bytes, ...], purpose: bytes) -> dict[str, bytes]:
    """A key for one purpose by id, newest first. Of two with one id the newer counts."""
    keys: dict[str, bytes] = {}
    for secret in secrets:
        keys.setdefault(key_id(secret), blake2b(purpose, key=secret, digest_size=32).digest())
    return keys
