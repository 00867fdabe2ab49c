"""SHA-256 and MD5: what is offered, what an account may answer by, and no telling who is wrong (SIP-21, SIP-22)."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from sipsvc.auth import hashes
from sipsvc.auth.identify import NOBODY
from sipsvc.directory import Directory, Trunk
from tests.unit.test_digest import REALM, TRUNKS, Phone, trunk, verdict
from tests.unit.wire import Wire, directory

BOTH = ("SHA-256", "MD5")
MORE = (
    trunk("narrow", "wonder", algorithms=("SHA-256",)),
    trunk("old", "wonder", algorithms=("MD5",)),
    trunk("before", "wonder", ha1_sha256=""),
    trunk("new", "wonder", ha1_md5=""),
)


def book(*offered: str, trunks: tuple[Trunk, ...] = TRUNKS + MORE) -> Directory:
    made = directory(trunks=trunks)
    return replace(made, platform=replace(made.platform, digest=offered))


@pytest.mark.rule("SIP-21")
@pytest.mark.parametrize("offered", [("MD5",), ("SHA-256",), BOTH, BOTH[::-1]])
def test_a_challenge_for_each_algorithm_in_order(offered: tuple[str, ...]) -> None:
    phone = Phone(Wire(book(*offered)))
    challenges = phone.challenge().message.all_whole("proxy-authenticate")
    found = [
        re.fullmatch(rf'Digest realm="{REALM}", nonce="\w+", algorithm=(.+), qop="auth"', one) for one in challenges
    ]
    assert [one[1] if one else "" for one in found] == list(offered)


@pytest.mark.rule("SIP-21")
@pytest.mark.parametrize(
    ("user", "offered", "algorithm", "passes"),
    [
        ("alice", BOTH, "SHA-256", True),
        ("alice", BOTH, "MD5", True),
        ("alice", ("MD5",), "SHA-256", False),
        ("alice", ("SHA-256",), "MD5", False),
        ("narrow", BOTH, "SHA-256", True),
        ("narrow", BOTH, "MD5", False),
        ("narrow", ("MD5",), "MD5", False),
        ("old", BOTH, "MD5", True),
        ("old", BOTH, "SHA-256", False),
        ("before", BOTH, "MD5", True),
        ("before", BOTH, "SHA-256", False),
        ("new", BOTH, "SHA-256", True),
        ("new", BOTH, "MD5", False),
    ],
)
def test_the_realm_offers_and_the_account_narrows(
    user: str, offered: tuple[str, ...], algorithm: str, passes: bool
) -> None:
    phone = Phone(Wire(book(*offered)), user, algorithm=algorithm)
    assert verdict(phone.say([phone.line(phone.nonce())])) == ("passed" if passes else "407")


@pytest.mark.rule("SIP-21")
def test_an_unnamed_algorithm_is_md5_and_no_other_is_taken_for_it() -> None:
    phone = Phone(Wire(book(*BOTH)))
    assert verdict(phone.say([phone.line(phone.nonce(), algorithm="")])) == "passed"
    phone = Phone(Wire(book("SHA-256")))
    assert verdict(phone.say([phone.line(phone.nonce(), algorithm="")])) == "407"
    phone = Phone(Wire(book(*BOTH)), algorithm="SHA-256")
    for wrong in ("MD5", "", "SHA-256-sess", "SHA-512-256", "SHA256"):
        assert verdict(phone.say([phone.line(phone.nonce(), algorithm=wrong)])) == "407"
    assert verdict(phone.say([phone.line(phone.nonce(), algorithm="sha-256")])) == "passed"


@pytest.mark.rule("SIP-21")
def test_windows_of_counts_and_stale_are_the_same_for_sha_256() -> None:
    phone = Phone(Wire(book(*BOTH)), algorithm="SHA-256")
    nonce = phone.nonce()
    assert verdict(phone.say([phone.line(nonce, "00000002")])) == "passed"
    assert verdict(phone.say([phone.line(nonce, "00000001")])) == "passed"
    sent = phone.say([phone.line(nonce, "00000002")])
    assert ["stale=true" in one for one in sent.message.all_whole("proxy-authenticate")] == [True, True]
    phone.wire.wait(300_001)
    assert verdict(phone.say([phone.line(nonce, "00000003")])) == "stale"


@pytest.mark.rule("SIP-22")
@pytest.mark.parametrize(("user", "algorithm"), [("before", "SHA-256"), ("new", "MD5"), ("nobody", "SHA-256")])
@pytest.mark.parametrize("guess", ["", "0" * 32, "0" * 64])
def test_a_hash_that_is_not_kept_opens_nothing(user: str, algorithm: str, guess: str) -> None:
    phone = Phone(Wire(book(*BOTH)), user, algorithm=algorithm)
    phone.ha1 = guess
    assert guess in ("", *NOBODY.values())
    assert verdict(phone.say([phone.line(phone.nonce())])) == "407"


# Whoever fails, by user, password and algorithm: unknown, wrong, disabled, not allowed, not kept, not offered.
FAILURES = [
    *product(("nobody", "alice", "off", "narrow", "old", "before", "new", ""), ("wrong",), BOTH),
    *product(("nobody", "off"), ("wonder",), BOTH),
    ("narrow", "wonder", "MD5"),
    ("old", "wonder", "SHA-256"),
    ("before", "wonder", "SHA-256"),
    ("new", "wonder", "MD5"),
]


@pytest.mark.rule("SIP-22")
@pytest.mark.parametrize("offered", [BOTH, ("MD5",), ("SHA-256",)])
def test_every_failure_gets_the_same_bytes_for_the_same_work(
    offered: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    work: list[str] = []
    hash_ = hashes.hashed

    def counted(algorithm: str, data: bytes) -> str:
        work.append(algorithm)
        return hash_(algorithm, data)

    monkeypatch.setattr(hashes, "hashed", counted)
    answers: set[bytes] = set()
    hashed: dict[str, set[tuple[str, ...]]] = {}
    for user, password, algorithm in FAILURES:
        wire = Wire(book(*offered))
        phone = Phone(wire, user, password, algorithm=algorithm)
        line = phone.line(phone.nonce())
        work.clear()
        sent = phone.say([line])
        hashed.setdefault(algorithm, set()).add(tuple(work))
        # The caller's own Via, which its username made, is its own to know.
        answers.add(re.sub(rb'nonce="[^"]+"|^Via: .*?$', b"", sent.data, flags=re.MULTILINE))
        assert wire.engine.counters == {"no_credentials": 1, "wrong_credentials": 1}
        assert wire.records == []
    assert {len(tag) for tag in re.findall(rb"tag=(\w+)", b"".join(answers))} == {3, 16}
    assert len({re.sub(rb";tag=\w{16}", b"", one) for one in answers}) == 1
    # By either algorithm two hashes, whoever it is.
    assert all(len(done) == 1 for done in hashed.values()), hashed
    assert {len(one) for done in hashed.values() for one in done} == {2}


@pytest.mark.rule("SIP-22")
def test_the_same_request_gets_the_same_answer_whether_there_is_such_a_user_or_not() -> None:
    """Two servers, one of which knows the user: byte by byte, nonces aside, also inside the To tag."""

    def refused(trunks: tuple[Trunk, ...], **changes: Any) -> bytes:
        phone = Phone(Wire(book(*BOTH, trunks=trunks)), "alice", "wrong")
        data = phone.say([phone.line(phone.nonce(), **changes)]).data
        return re.sub(rb'nonce="[^"]+"', b"", data)

    assert refused(TRUNKS) == refused(())
    assert refused(TRUNKS, algorithm="MD5-sess") == refused((), algorithm="MD5-sess")
