"""Digest: vectors, nonces without memory, the window of counts, and one answer to whoever is wrong (SIP-21, SIP-22)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from hashlib import md5, sha256
from random import Random
from typing import Any

import pytest

from sipsvc.auth import digest
from sipsvc.auth.digest import Nonces, expected, parse_credentials
from sipsvc.auth.identify import NOBODY
from sipsvc.directory import Directory, Trunk
from sipsvc.effects import Flow, Listener, Now
from tests.unit.wire import BEGIN, CALLEE, CUSTOMERS, SECRET, STRANGER, US, Sent, Wire, directory, gateway, request

REALM, URI = "sipsvc", f"sip:{CALLEE}@{US}"


HASHES: dict[str, Callable[[bytes], Any]] = {"MD5": md5, "SHA-256": sha256}


def hashed(*parts: str, algorithm: str = "MD5") -> str:
    return str(HASHES[algorithm](":".join(parts).encode()).hexdigest())


def trunk(name: str, password: str, **changes: Any) -> Trunk:
    """With a hash for each algorithm."""
    by_md5, by_sha256 = (hashed(name, REALM, password, algorithm=algorithm) for algorithm in HASHES)
    return replace(Trunk(name, "acme", username=name, ha1_md5=by_md5, ha1_sha256=by_sha256), **changes)


TRUNKS = (trunk("alice", "wonder"), trunk("off", "wonder", enabled=False))


def book(**changes: Any) -> Directory:
    return directory(trunks=TRUNKS, customer=replace(CUSTOMERS, **changes))


def test_the_vector_of_rfc_7616() -> None:
    credentials = parse_credentials(
        'Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", algorithm=MD5, '
        'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001, qop=auth, '
        'cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", response="8ca523f5e9506fed4657c9700eebdbec"'
    )
    assert credentials is not None
    ha1 = hashed("Mufasa", "http-auth@example.org", "Circle of Life")
    assert expected("MD5", ha1, credentials, "GET") == credentials.response


@pytest.mark.parametrize(
    ("value", "fields"),
    [
        ('Digest username="a", nc=1', {"username": "a", "nc": "1"}),
        ('digest\tUSERNAME = "a" ,realm="b"', {"username": "a", "realm": "b"}),
        ('DIGEST   username= "a\\"b",  , qop="auth"', {"username": 'a"b', "qop": "auth"}),
        ('Digest username="a, b=c", username="d"', {"username": "a, b=c"}),
        ("Digest", {"username": ""}),
        ("Digest =,=", {"username": ""}),
        ('Digest username="a', {"username": ""}),
        ("Basic YTpi", None),
        ("", None),
    ],
)
def test_reading_credentials(value: str, fields: dict[str, str] | None) -> None:
    credentials = parse_credentials(value)
    if fields is None:
        assert credentials is None
    else:
        assert credentials is not None
        assert {name: getattr(credentials, name) for name in fields} == fields


class Phone:
    """A caller with credentials, computed here and not by the code under test."""

    def __init__(
        self,
        wire: Wire,
        user: str = "alice",
        password: str = "wonder",
        *,
        algorithm: str = "MD5",
        flow: Flow = STRANGER,
    ) -> None:
        self.wire = wire
        self.user = user
        self.algorithm = algorithm
        self.flow = flow
        self.ha1 = self.hashed(user, REALM, password)
        self.cseq = 1

    def hashed(self, *parts: str) -> str:
        return hashed(*parts, algorithm=self.algorithm)

    def challenge(self) -> Sent:
        return self.say([])

    def nonce(self) -> str:
        found = re.search('nonce="([^"]+)"', self.challenge().message.get("proxy-authenticate") or "")
        assert found is not None
        return found[1]

    def line(self, nonce: str, nc: str = "00000001", **changes: str) -> str:
        qop, cnonce, uri = changes.get("qop", "auth"), "c0ffee", changes.get("uri", URI)
        response = self.hashed(self.ha1, nonce, nc, cnonce, qop, self.hashed(changes.get("method", "INVITE"), uri))
        if "qop" in changes and not qop:
            response = self.hashed(self.ha1, nonce, self.hashed("INVITE", uri))
        parts = {
            "username": f'"{self.user}"', "realm": f'"{REALM}"', "nonce": f'"{nonce}"', "uri": f'"{uri}"',
            "response": f'"{response}"', "nc": nc, "cnonce": f'"{cnonce}"', "qop": qop, "algorithm": self.algorithm,
        }  # fmt: skip
        parts.update({name: value for name, value in changes.items() if name in ("response", "algorithm", "realm")})
        return "Proxy-Authorization: Digest " + ", ".join(f"{name}={value}" for name, value in parts.items() if value)

    def say(self, lines: list[str], method: str = "INVITE") -> Sent:
        """The last thing that left because of an INVITE with these credentials."""
        self.cseq += 1
        via = f"SIP/2.0/UDP phone.example:5060;branch=z9hG4bK-{self.user}{self.cseq}"
        sent = self.wire.give(
            request(method, URI, *lines, Via=via, CSeq=f"{self.cseq} {method}", Call_ID=f"c{self.cseq}"), self.flow
        )
        return sent[-1]


def verdict(sent: Sent) -> str:
    """`passed`, or `407`, or `stale`."""
    if sent.message.status != 407:
        return "passed" if sent.what == "INVITE" else sent.what
    return "stale" if "stale=true" in (sent.message.get("proxy-authenticate") or "") else "407"


# What is wrong with the credentials, and what becomes of it.
ATTEMPTS: list[tuple[str, Callable[[Phone, str], list[str]], str]] = [
    ("nothing", lambda p, n: [p.line(n)], "passed"),
    ("algorithm unnamed", lambda p, n: [p.line(n, algorithm="")], "passed"),
    ("algorithm in small letters", lambda p, n: [p.line(n, algorithm="md5")], "passed"),
    ("response in capitals", lambda p, n: [p.line(n).replace("response", "RESPONSE")], "passed"),
    ("digest URI without a user", lambda p, n: [p.line(n, uri="sip:192.0.2.1")], "passed"),
    ("digest URI by realm", lambda p, n: [p.line(n, uri="sip:sipsvc")], "passed"),
    ("credentials for somebody else first", lambda p, n: [p.line(n, realm='"other"'), p.line(n)], "passed"),
    ("another realm", lambda p, n: [p.line(n, realm='"other"')], "407"),
    ("Basic", lambda p, n: ["Proxy-Authorization: Basic YTpi"], "407"),
    ("Authorization instead", lambda p, n: [p.line(n).replace("Proxy-", "")], "407"),
    ("digest URI elsewhere", lambda p, n: [p.line(n, uri="sip:1@203.0.113.9")], "407"),
    ("digest URI no URI", lambda p, n: [p.line(n, uri="*")], "407"),
    ("no qop", lambda p, n: [p.line(n, qop="")], "407"),
    ("qop auth-int", lambda p, n: [p.line(n, qop="auth-int")], "407"),
    ("algorithm MD5-sess", lambda p, n: [p.line(n, algorithm="MD5-sess")], "407"),
    ("algorithm SHA-256", lambda p, n: [p.line(n, algorithm="SHA-256")], "407"),
    ("nc too short", lambda p, n: [p.line(n, "1")], "407"),
    ("nc no number", lambda p, n: [p.line(n, "0000000g")], "407"),
    ("response of another method", lambda p, n: [p.line(n, method="BYE")], "407"),
    ("response cut short", lambda p, n: [p.line(n, response='"abc"')], "407"),
    ("response not ASCII", lambda p, n: [p.line(n, response='"\xe9"')], "407"),
    ("nonce of nobody", lambda p, n: [p.line("1" * len(n))], "407"),
    ("nonce changed", lambda p, n: [p.line(n[:-1] + ("0" if n[-1] != "0" else "1"))], "407"),
    ("nonce younger than it is", lambda p, n: [p.line(n[:12] + ("0" if n[12] != "0" else "1") + n[13:])], "407"),
    ("nonce empty", lambda p, n: [p.line("")], "407"),
]


@pytest.mark.rule("SIP-21")
@pytest.mark.parametrize(("lines", "outcome"), [row[1:] for row in ATTEMPTS], ids=[row[0] for row in ATTEMPTS])
def test_credentials(lines: Callable[[Phone, str], list[str]], outcome: str) -> None:
    phone = Phone(Wire(book()))
    sent = phone.say(lines(phone, phone.nonce()))
    assert verdict(sent) == outcome
    if outcome == "passed":
        assert all("sipsvc" not in value for value in sent.message.all_whole("proxy-authorization"))
        assert phone.wire.records[0]["auth"] == "digest"


@pytest.mark.rule("SIP-21")
def test_the_challenge_and_what_a_gateway_sees_of_the_answer() -> None:
    phone = Phone(Wire(book()))
    asked = phone.challenge().message.get("proxy-authenticate") or ""
    assert re.fullmatch(r'Digest realm="sipsvc", nonce="[0-9a-f]+", algorithm=MD5, qop="auth"', asked)
    nonce = phone.nonce()
    others = 'Proxy-Authorization: Digest username="x", realm="carrier", nonce="n", uri="u", response="r"'
    sent = phone.say([others, phone.line(nonce)])
    assert sent.message.all_whole("proxy-authorization") == [others.partition(": ")[2]]


@pytest.mark.rule("SIP-21")
@pytest.mark.parametrize("method", ["ACK", "CANCEL"])
def test_ack_and_cancel_are_never_challenged(method: str) -> None:
    wire = Wire(book())
    assert 407 not in [one.message.status for one in wire.give(request(method), STRANGER)]


@pytest.mark.rule("SIP-21")
def test_a_nonce_grows_old_and_outlives_a_restart() -> None:
    wire = Wire(book())
    phone = Phone(wire)
    nonce = phone.nonce()
    wire.wait(300_000)
    assert verdict(phone.say([phone.line(nonce)])) == "passed"
    wire.wait(1)
    assert verdict(phone.say([phone.line(nonce, "00000002")])) == "stale"
    assert verdict(phone.say([Phone(wire, "alice", "wrong").line(nonce, "00000003")])) == "407"
    begun_again = Wire(book(), begin=Now(5, BEGIN.utc + 200_000), seed=9)
    other = Phone(begun_again)
    assert verdict(other.say([other.line(nonce, "00000004")])) == "passed"


# Counts in the order they come, and which of them pass.
COUNTS: list[tuple[list[int], list[bool]]] = [
    ([1, 2, 3], [True, True, True]),
    ([1, 1], [True, False]),
    ([3, 1, 2, 1, 3], [True, True, True, False, False]),
    ([5, 200, 5, 136, 137, 137], [True, True, False, False, True, False]),
    ([1, 65, 1, 2, 66, 2], [True, True, False, True, True, False]),
    ([0xFFFFFFFF, 1, 0xFFFFFFFF], [True, False, False]),
]


@pytest.mark.rule("SIP-21")
@pytest.mark.parametrize(("counts", "passed"), COUNTS)
def test_the_window_of_counts(counts: list[int], passed: list[bool]) -> None:
    nonces = Nonces((SECRET,))
    nonce = nonces.make(BEGIN, b"abcd")
    assert [nonces.use(nonce, f"{count:08x}", 300_000, BEGIN) for count in counts] == passed
    assert nonces.use(nonces.make(BEGIN, b"efgh"), "00000001", 300_000, BEGIN)


@pytest.mark.rule("SIP-21")
def test_a_replay_is_stale_and_uses_nothing_up() -> None:
    phone = Phone(Wire(book()))
    nonce = phone.nonce()
    wrong = Phone(phone.wire, "alice", "wrong")
    assert verdict(wrong.say([wrong.line(nonce)])) == "407"
    assert verdict(phone.say([phone.line(nonce)])) == "passed"
    assert verdict(phone.say([phone.line(nonce)])) == "stale"
    assert verdict(phone.say([phone.line(nonce, "00000002")])) == "passed"


@pytest.mark.rule("SIP-21", "SIP-3")
def test_the_memory_of_counts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "MAX_WINDOWS", 2_000)
    nonces, random = Nonces((SECRET,)), Random(1)
    made = [nonces.make(Now(0, BEGIN.utc + step), random.randbytes(4)) for step in range(6_000)]
    now = Now(0, BEGIN.utc + 6_000)
    assert all(nonces.use(nonce, "00000001", 300_000, now) for nonce in made)
    remembered = [nonce for nonce in made if nonces.check(nonce, 300_000, now) == Nonces.GOOD]
    assert 0 < len(remembered) <= 2_001
    assert not any(nonces.use(nonce, "00000001", 300_000, now) for nonce in remembered)


WRONG = [("nobody", "wonder"), ("alice", "wrong"), ("off", "wonder"), ("off", "wrong"), ("", "")]


@pytest.mark.rule("SIP-22")
def test_whoever_is_wrong_gets_the_same_answer_for_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    work: list[bytes] = []

    def counted(data: bytes, **options: Any) -> Any:
        work.append(data)
        return md5(data, **options)

    answers, hashes, counters = set(), set(), []
    for user, password in WRONG:
        phone = Phone(Wire(book()), user, password)
        line = phone.line(phone.nonce())
        with monkeypatch.context() as patch:
            patch.setattr("sipsvc.auth.hashes.md5", counted)
            work.clear()
            sent = phone.say([line])
        hashes.add(len(work))
        message = re.sub('nonce="[^"]+"', "", sent.message.get("proxy-authenticate") or "")
        answers.add((sent.message.status, sent.message.reason, message, tuple(sent.message.names)))
        counters.append(phone.wire.engine.counters)
        assert phone.wire.records == []
    assert len(answers) == 1
    assert len(hashes) == 1
    assert all(counter["wrong_credentials"] == 1 for counter in counters)


@pytest.mark.rule("SIP-22")
@pytest.mark.parametrize("user", ["nobody", "off"])
def test_the_stand_in_for_an_unknown_password_opens_nothing(user: str) -> None:
    phone = Phone(Wire(book()), user)
    phone.ha1 = NOBODY["MD5"]
    assert verdict(phone.say([phone.line(phone.nonce())])) == "407"


@pytest.mark.rule("SIP-22", "SIP-27")
@pytest.mark.parametrize(("password", "said"), [("wonder", "403 INVITE"), ("wrong", "407")])
def test_a_suspended_customer_is_told_so_only_with_the_right_password(password: str, said: str) -> None:
    phone = Phone(Wire(book(status="suspended")), "alice", password)
    assert verdict(phone.say([phone.line(phone.nonce())])) == said
    assert [record.get("code") for record in phone.wire.records if record["kind"] == "end"] == (
        ["customer_suspended"] if said != "407" else []
    )


@pytest.mark.rule("SIP-21", "SIP-20")
def test_digest_over_ipv6() -> None:
    listeners = (Listener("UDP", "2001:db8::1", 5060, True),)
    wire = Wire(directory(gateway(host="2001:db8::7"), trunks=TRUNKS), listeners=listeners)
    phone = Phone(wire)
    assert verdict(phone.say([phone.line(phone.nonce(), uri="sip:[2001:db8::1]")])) == "passed"
