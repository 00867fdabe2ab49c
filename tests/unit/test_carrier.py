"""A carrier's challenges: which is answered, how, and how often (RFC 3261 §22, RFC 7616, RFC 8760; SIP-33)."""

from __future__ import annotations

import re

import pytest

from sipsvc.auth.carrier import MOST_REALMS, MOST_TEXT, Answers, Demand, Login, demands
from sipsvc.auth.digest import parse_credentials
from sipsvc.auth.hashes import ha1, response
from sipsvc.message import Message, parse

LOGIN = Login("alice", "wonder")
URI = "sip:33123456789@203.0.113.1:5080"
CNONCE = "0a4f113b"


def refusal(*challenges: str, status: int = 407) -> Message:
    """A 407; a challenge without a header name is Proxy-Authenticate."""
    lines = [one if "Authenticate:" in one else f"Proxy-Authenticate: {one}" for one in challenges]
    return parse(
        "\r\n".join(
            [
                f"SIP/2.0 {status} No",
                "Via: SIP/2.0/UDP h;branch=z9hG4bK1",
                "From: <sip:a@h>;tag=1",
                "To: <sip:b@h>;tag=2",
                "Call-ID: c",
                "CSeq: 1 INVITE",
                *lines,
                "Content-Length: 0\r\n\r\n",
            ]
        ).encode("latin-1")
    )


def digest(realm: str = "carrier", nonce: str = "n1", *more: str) -> str:
    return ", ".join([f'Digest realm="{realm}"', f'nonce="{nonce}"', *more])


def learnt(*challenges: str, login: Login = LOGIN) -> Answers:
    answers = Answers(login)
    assert answers.learn(refusal(*challenges), set())
    return answers


def said(answers: Answers, method: str = "INVITE") -> list[tuple[str, dict[str, str]]]:
    """Header name and parameters of each line."""
    found = []
    for line in answers.lines(method, URI, CNONCE):
        name, _, value = line.partition(": ")
        credentials = parse_credentials(value)
        assert credentials is not None
        found.append((name, credentials._asdict()))
    return found


@pytest.mark.rule("SIP-33")
@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_qop_auth_is_answered_with_a_count(algorithm: str) -> None:
    answers = learnt(digest("carrier", "n1", f"algorithm={algorithm}", 'qop="auth,auth-int"', 'opaque="o\\"1"'))
    known = ha1(algorithm, "alice", "carrier", "wonder")
    for count in ("00000001", "00000002"):
        ((name, given),) = said(answers, "BYE")
        assert name == "Proxy-Authorization"
        assert given == {
            "username": "alice", "realm": "carrier", "nonce": "n1", "uri": URI, "qop": "auth", "nc": count,
            "cnonce": CNONCE, "algorithm": algorithm,
            "response": response(algorithm, known, "n1", "BYE", URI, qop="auth", nc=count, cnonce=CNONCE),
        }  # fmt: skip
    assert 'opaque="o\\"1"' in answers.lines("BYE", URI, CNONCE)[0]


@pytest.mark.rule("SIP-33")
def test_without_qop_the_answer_is_rfc_2069s() -> None:
    ((_, given),) = said(learnt(digest()))
    assert given["response"] == response("MD5", ha1("MD5", "alice", "carrier", "wonder"), "n1", "INVITE", URI)
    assert given["qop"] == given["nc"] == given["cnonce"] == ""


@pytest.mark.rule("SIP-33")
@pytest.mark.parametrize(
    "offered",
    [
        [digest("carrier", "n1", "algorithm=MD5"), digest("carrier", "n2", "algorithm=SHA-256")],
        [digest("carrier", "n2", "algorithm=sha-256"), digest("carrier", "n1")],
        [f"{digest('carrier', 'n1')}, {digest('carrier', 'n2', 'algorithm=SHA-256')}"],
        [digest("carrier", "n1"), digest("carrier", "n0", "algorithm=SHA-512-256"), "Basic YTpi=",
         digest("carrier", "n2", 'algorithm="SHA-256"', 'qop=auth')],
    ],
)  # fmt: skip
def test_of_several_algorithms_the_strongest_we_speak(offered: list[str]) -> None:
    ((_, given),) = said(learnt(*offered))
    assert (given["nonce"], given["algorithm"]) == ("n2", "SHA-256")


@pytest.mark.rule("SIP-33")
@pytest.mark.parametrize(
    "challenge",
    [
        digest("carrier", "n1", "algorithm=MD5-sess"), digest("carrier", "n1", "algorithm=AKAv1-MD5"),
        digest("carrier", "n1", 'qop="auth-int"'), 'Digest realm="carrier"', 'Digest realm="carrier", nonce=""',
        "Basic realm=carrier", "Digest", "", ",", '"', digest("carrier", "n" * (MOST_TEXT + 1)),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_not(challenge: str) -> None:
    answers = Answers(LOGIN)
    assert not answers.learn(refusal(challenge), set())
    assert answers.lines("INVITE", URI, CNONCE) == ()


@pytest.mark.rule("SIP-33")
def test_proxy_and_server_are_answered_each_in_its_header_and_stay_answered() -> None:
    answers, answered = Answers(LOGIN), set[tuple[str, str, bool]]()
    assert answers.learn(refusal(digest("proxy", "n1")), answered)
    assert answers.learn(refusal(f"WWW-Authenticate: {digest('server', 'n2')}", status=401), answered)
    assert [(name, given["realm"], given["nonce"]) for name, given in said(answers)] == [
        ("Proxy-Authorization", "proxy", "n1"),
        ("Authorization", "server", "n2"),
    ]
    # Of more realms than anybody has, the first are answered.
    many = [digest(f"realm{number}", "n") for number in range(MOST_REALMS + 3)]
    assert len(said(learnt(*many))) == MOST_REALMS


@pytest.mark.rule("SIP-33")
def test_only_our_realm_where_it_is_set() -> None:
    login = Login("alice", "wonder", "carrier")
    answers = learnt(digest("other", "n1"), digest("carrier", "n2"), login=login)
    assert [given["realm"] for _, given in said(answers)] == ["carrier"]
    assert not Answers(login).learn(refusal(digest("other", "n1")), set())


@pytest.mark.rule("SIP-33")
def test_a_second_refusal_is_final_but_for_a_stale_nonce() -> None:
    answers, answered = Answers(LOGIN), set[tuple[str, str, bool]]()
    assert answers.learn(refusal(digest("carrier", "n1")), answered)
    assert answers.learn(refusal(digest("carrier", "n2", "stale=TRUE")), answered)
    assert said(answers)[0][1]["nonce"] == "n2"
    assert not answers.learn(refusal(digest("carrier", "n3", "stale=true")), answered)
    again = set[tuple[str, str, bool]]()
    assert answers.learn(refusal(digest("carrier", "n1")), again)
    assert not answers.learn(refusal(digest("carrier", "n4")), again)


@pytest.mark.rule("SIP-33")
def test_counts_belong_to_their_nonce() -> None:
    answers = learnt(digest("carrier", "n1", "qop=auth"))
    assert said(answers)[0][1]["nc"] == "00000001"
    assert answers.learn(refusal(digest("carrier", "n1", "qop=auth")), set())
    assert said(answers)[0][1]["nc"] == "00000002"
    assert answers.learn(refusal(digest("carrier", "n2", "qop=auth")), set())
    assert said(answers)[0][1]["nc"] == "00000001"


@pytest.mark.rule("SIP-33", "SIP-5")
def test_names_and_passwords_of_any_alphabet() -> None:
    login = Login('é"\\\r\nEvil: 1', "pässwort")
    (line,) = learnt(digest("r\xc3\xa9", "n1"), login=login).lines("INVITE", URI, CNONCE)
    assert line.isprintable() or "\xc3" in line
    assert not re.search(r"[\r\n]", line)
    assert line.startswith('Proxy-Authorization: Digest username="\xc3\xa9\\"\\\\  Evil: 1", realm="r\xc3\xa9"')
    assert ha1("MD5", login.username, "ré", "pässwort")  # a realm that is UTF-8 on the wire is hashed as that
    given = parse_credentials(line.partition(": ")[2])
    assert given is not None
    assert given.response == response("MD5", ha1("MD5", login.username, "ré", "pässwort"), "n1", "INVITE", URI)


@pytest.mark.rule("TG-1")
def test_a_password_is_not_shown() -> None:
    assert "wonder" not in repr(LOGIN)
    assert "wonder" not in f"{LOGIN}"


def test_the_demand_of_a_challenge() -> None:
    assert demands(refusal(digest("a, b", "n1", 'stale="true"'))) == [
        Demand("Proxy-Authorization", "a, b", "n1", "", "MD5", False, True)
    ]
