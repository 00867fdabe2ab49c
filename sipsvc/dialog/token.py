"""The token in our Record-Route: which call, sealed with the caller's tag, so that nobody can make one (SIP-16)."""

from __future__ import annotations

from hashlib import blake2b

KEY_ID = "1"
REF_LENGTH = 16


class Tokens:
    """`secret` survives restarts, so that calls do."""

    def __init__(self, secret: bytes) -> None:
        self._key = blake2b(b"record-route", key=secret, digest_size=32).digest()

    def make(self, ref: str, caller_tag: str) -> str:
        """`ref` is the call's 16 hex digits. The token is hex all through, so it fits a URI's user part."""
        seal = blake2b(f"{ref} {caller_tag}".encode("utf-8", "replace"), key=self._key, digest_size=8)
        return f"{KEY_ID}{ref}{seal.hexdigest()}"

    @staticmethod
    def ref(token: str) -> str:
        """The call a token speaks of. Whether it may is for the call's own token to say."""
        return token[1 : 1 + REF_LENGTH]
