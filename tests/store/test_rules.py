"""Rewrite rules compile or say why not, and where (SIP-30)."""

from __future__ import annotations

import re

import pytest

from sipsvc.directory.rules import check_replacement, compile_rule

pytestmark = pytest.mark.rule("SIP-30")


def test_a_rule_rewrites() -> None:
    rule = compile_rule(r"^44(\d+)$")
    check_replacement(rule, r"0\1")
    assert rule.sub(r"0\1", "447700900123") == "07700900123"


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(abc", "missing ): (abc"),
        ("12a**", "bad repetition operator: ** (at character 4)"),
        ("x[z-a]", "invalid character class range: z-a (at character 3)"),
        ("a(?=x)", "invalid perl operator: (?= (at character 2)"),
        ("é(", "missing ): é("),
        ("tail\\", "trailing \\"),
    ],
)
def test_a_broken_rule_says_why(pattern: str, why: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(why)}$"):
        compile_rule(pattern)


@pytest.mark.parametrize(
    ("replacement", "why"),
    [(r"\2", "the pattern has 1 groups"), (r"a\n", "at character 2"), ("a\\", "at character 2"), (r"\0", "only")],
)
def test_a_replacement_without_its_group(replacement: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check_replacement(compile_rule("(a)"), replacement)
