"""Any challenge at all: it is read as its grammar says, and what is none raises nothing (SIP-33, SIP-3, SIP-5)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipsvc.auth.carrier import Answers, Login, demands, read_challenges
from sipsvc.auth.digest import parse_credentials
from sipsvc.message import Message

TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=12)
TOKEN = st.text("abcXYZ019-.!%*_+`'~", min_size=1, max_size=8)
BLANK = st.sampled_from(["", " ", "\t ", "  "])
PIECES = st.sampled_from(
    ["Digest ", "digest\t", "Basic ", "realm=", "nonce=", "qop=", "stale=", "algorithm=", "MD5", "SHA-256", "auth",
     "true", '"', "\\", ",", "=", " ", "\\\"", '"a, b"', "é", "\r", "\n", "\0"]
)  # fmt: skip
SOUP = st.lists(PIECES | st.text(max_size=3), max_size=40).map("".join)


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@st.composite
def challenges(draw: st.DrawFn) -> tuple[str, list[dict[str, str]]]:
    """A header value of several digest challenges, and the parameters of each as they stand between the quotes."""
    values, expected = [], []
    for _ in range(draw(st.integers(1, 3))):
        names = draw(st.lists(TOKEN.map(str.lower), min_size=1, max_size=5, unique=True))
        params, parts = {}, []
        for name in names:
            written = draw(st.sampled_from([name, name.upper()]))
            if draw(st.booleans()):
                value = quoted(draw(TEXT))
                params[name] = value[1:-1]
            else:
                value = params[name] = draw(TOKEN)
            parts.append(f"{written}{draw(BLANK)}={draw(BLANK)}{value}")
        separator = f"{draw(BLANK)},{draw(BLANK)}"
        values.append(f"Digest {separator.join(parts)}")
        expected.append(params)
    return ", ".join(values), expected


@pytest.mark.rule("SIP-33")
@given(challenges())
def test_each_challenge_with_its_parameters(case: tuple[str, list[dict[str, str]]]) -> None:
    value, expected = case
    assert read_challenges(value) == expected


@pytest.mark.rule("SIP-33", "SIP-5")
@given(st.lists(SOUP, max_size=4), st.text(max_size=8))
def test_nothing_raises_and_every_answer_is_one_line(values: list[str], username: str) -> None:
    refusal = Message([f"Proxy-Authenticate: {value}" for value in values], ["proxy-authenticate"] * len(values), b"")
    answers = Answers(Login(username.encode("utf-8", "replace").decode(), "secret"))
    learnt = answers.learn(refusal, set())
    assert learnt == bool(demands(refusal))
    for line in answers.lines("INVITE", "sip:1@h", "ab"):
        assert not any(sign in line for sign in "\r\n\0")
        given = parse_credentials(line.partition(": ")[2])
        assert given is not None
        assert given.nonce and given.response and given.algorithm in ("MD5", "SHA-256")
