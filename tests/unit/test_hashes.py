"""Digest by algorithm: the vectors of RFC 7616, SIP's of RFC 8760's kind, and the form without qop (SIP-21, SIP-33)."""

from __future__ import annotations

import pytest

from sipsvc.auth.hashes import ALGORITHMS, ha1, hashed, response

NONCE, CNONCE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"


@pytest.mark.rule("SIP-33")
@pytest.mark.parametrize(
    ("algorithm", "right"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_vectors_of_rfc_7616_3_9_1(algorithm: str, right: str) -> None:
    known = ha1(algorithm, "Mufasa", "http-auth@example.org", "Circle of Life")
    proof = response(algorithm, known, NONCE, "GET", "/dir/index.html", qop="auth", nc="00000001", cnonce=CNONCE)
    assert proof == right


def test_the_vector_of_rfc_2069_which_has_no_qop() -> None:
    known = ha1("MD5", "Mufasa", "testrealm@host.com", "CircleOfLife")
    nonce = "dcd98b7102dd2f0e8b11d0f600bfb0c093"
    # The RFC prints e966c932…, which its errata 749 corrects.
    assert response("MD5", known, nonce, "GET", "/dir/index.html") == "1949323746fe6a43ef61f9606e7febea"


def test_passwords_are_utf_8_and_what_is_none_is_taken_as_its_bytes() -> None:
    assert ha1("MD5", "é", "r", "p") == hashed("MD5", b"\xc3\xa9:r:p")
    assert ha1("MD5", "u", b"\xe9".decode("utf-8", "surrogateescape"), "p") == hashed("MD5", b"u:\xe9:p")


def test_an_algorithm_nobody_speaks_is_no_algorithm() -> None:
    assert ALGORITHMS[0] == "SHA-256"
    with pytest.raises(ValueError, match="no digest algorithm 'MD4'"):
        hashed("MD4", b"")
