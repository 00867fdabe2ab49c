"""What digest authentication computes, by the name of its algorithm (RFC 7616 §3.4, RFC 8760; SIP-21, SIP-33)."""

from __future__ import annotations

from hashlib import md5, sha256

# As they are named in messages, the strongest first. The -sess variants and SHA-512-256 are spoken by nobody in SIP.
ALGORITHMS = ("SHA-256", "MD5")


def hashed(algorithm: str, data: bytes) -> str:
    """Lower-case hex of `data`. `algorithm` is one of ALGORITHMS; raises ValueError for another."""
    if algorithm == "SHA-256":
        return sha256(data).hexdigest()
    if algorithm == "MD5":
        return md5(data, usedforsecurity=False).hexdigest()
    raise ValueError(f"no digest algorithm {algorithm!r}")


def ha1(algorithm: str, username: str, realm: str, password: str) -> str:
    """H(username:realm:password), of text as people write it (RFC 7616 §3.4.2; §4 has it in UTF-8).

    Bytes that are not UTF-8 may come as surrogates. Raises ValueError as `hashed` does.
    """
    return hashed(algorithm, f"{username}:{realm}:{password}".encode("utf-8", "surrogateescape"))


def response(
    algorithm: str, ha1: str, nonce: str, method: str, uri: str, *, qop: str = "", nc: str = "", cnonce: str = ""
) -> str:
    """The proof that its sender knows `ha1`; texts as they stand in the message, in the wire's Latin-1.

    With `qop` (`auth`) RFC 7616 §3.4.1, where `nc` is 8 hex digits as sent; without it RFC 2069 §2.1.2, which old
    servers speak. Raises ValueError as `hashed` does.
    """
    ha2 = hashed(algorithm, _bytes(f"{method}:{uri}"))
    middle = f"{nonce}:{nc}:{cnonce}:{qop}" if qop else nonce
    return hashed(algorithm, _bytes(f"{ha1}:{middle}:{ha2}"))


def _bytes(text: str) -> bytes:
    return text.encode("latin-1", "replace")
