"""The token in our Record-Route: which call, sealed with the caller's tag, so that nobody can make one (SIP-16)."""

from __future__ import annotations

from hashlib import blake2b

from sipsvc.keys import ID_LENGTH, derive

REF_LENGTH = 16
# The id that every token had before there was more than one key.
_FIRST_ID = "1"


class Tokens:
    """`secrets` are newest first. A call keeps the token it was given, whatever key comes after."""

    def __init__(self, secrets: tuple[bytes, ...]) -> None:
        self.rekey(secrets)

    def rekey(self, secrets: tuple[bytes, ...]) -> None:
        """Tokens are made with the first of them from now on."""
        keys = list(derive(secrets, b"record-route").items())
        self._id, self._key = keys[0]
        self._oldest = keys[-1][1]

    def make(self, ref: str, caller_tag: str) -> str:
        """`ref` is the call's 16 hex digits. The token is hex all through, so it fits a URI's user part."""
        return f"{self._id}{ref}{_seal(self._key, ref, caller_tag)}"

    def make_first(self, ref: str, caller_tag: str) -> str:
        """The token of a call whose record does not hold it: it was made when there was but one key."""
        return f"{_FIRST_ID}{ref}{_seal(self._oldest, ref, caller_tag)}"

    @staticmethod
    def ref(token: str) -> str:
        """The call a token speaks of. Whether it may is for the call's own token to say."""
        return token[ID_LENGTH : ID_LENGTH + REF_LENGTH]


def _seal(key: bytes, ref: str, caller_tag: str) -> str:
    return blake2b(f"{ref} {caller_tag}".encode("utf-8", "replace"), key=key, digest_size=8).hexdigest()
