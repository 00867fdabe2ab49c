"""docs/rules.md and the marks on tests agree, and the reader of both reads what it should."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest

from tests.house import rules, source
from tests.house.rules import Mark, Rule

FAMILIES = {
    "SIP": range(1, 39),
    "EX": range(1, 3),
    "ST": range(1, 2),
    "IP": range(1, 22),
    "LG": range(1, 3),
    "UI": range(1, 4),
    "WP": range(1, 5),
    "SP": range(1, 2),
    "GL": range(1, 2),
    "PP": range(1, 7),
    "TR": range(1, 19),
    "DG": range(1, 3),
    "DP": range(1, 3),
    "GW": range(1),
    "TG": range(1, 8),
    "TP": range(1, 8),
}


def test_every_rule_has_its_row() -> None:
    wanted = list(chain.from_iterable((f"{name}-{n}" for n in numbers) for name, numbers in FAMILIES.items()))
    wanted.extend(f"law {n}" for n in range(1, 9))
    assert sorted(rule.id for rule in rules.read_rules()) == sorted(wanted)


def test_built_rules_have_tests_and_marks_name_rules() -> None:
    faults = rules.faults(rules.read_rules(), rules.read_marks())
    assert not faults, "\n".join(faults)


def test_report_names_state_what_is_owed_and_tests() -> None:
    said = rules.report(
        [Rule("SIP-1", "built", "Parse.", 1), Rule("SIP-2", "partly: the rest", "A " * 99, 2)],
        [Mark("SIP-1", "tests/test_a.py::test_b", 5), Mark("SIP-1", "tests/test_a.py::test_b", 6)],
    )
    first, test, second, owed, count = said.splitlines()
    assert first.split() == ["SIP-1", "built", "Parse."]
    assert test.strip() == "tests/test_a.py::test_b"
    assert second.endswith("A…")
    assert owed.strip() == "owed: the rest"
    assert count == "2 rules: 1 built, 1 partly, 0 owed; 1 tests name one"


def test_faults_are_found() -> None:
    table = [Rule("SIP-1", "built", "x", 1), Rule("SIP-2", "owed", "x", 2), Rule("SIP-2", "owed", "x", 3)]
    assert rules.faults(table, [Mark("SIP-99", "tests/test_a.py::test_b", 7)]) == [
        "docs/rules.md:3: SIP-2 stands on line 2 already",
        "tests/test_a.py:7: there is no rule SIP-99",
        "docs/rules.md:1: SIP-1 is said to be built, but no test shows it",
    ]


MARKED = """
import pytest
pytestmark = [pytest.mark.rule("SIP-1")]
ROWS = [pytest.param(1, marks=pytest.mark.rule("SIP-2"))]
@pytest.mark.rule("SIP-3", "SIP-4")
@pytest.mark.rule("SIP-5")
def test_one(): ...
@pytest.mark.rule("SIP-6")
class TestTwo:
    @pytest.mark.rule("SIP-7")
    async def test_three(self): ...
    def test_four(self): ...
"""


@pytest.fixture
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A test file outside the repository, which is then the root."""
    monkeypatch.setattr(source, "ROOT", tmp_path)
    return tmp_path / "test_x.py"


def test_marks_are_read_wherever_they_stand(somewhere: Path) -> None:
    somewhere.write_text(MARKED, encoding="utf-8")
    assert sorted((mark.id, mark.test) for mark in rules.marks_in(somewhere)) == [
        ("SIP-1", "test_x.py"),
        ("SIP-2", "test_x.py"),
        ("SIP-3", "test_x.py::test_one"),
        ("SIP-4", "test_x.py::test_one"),
        ("SIP-5", "test_x.py::test_one"),
        ("SIP-6", "test_x.py::TestTwo"),
        ("SIP-7", "test_x.py::TestTwo::test_three"),
    ]


@pytest.mark.parametrize("call", ["rule()", "rule(NAME)", 'rule("SIP-1", why="x")', "rule(1)"])
def test_a_mark_that_cannot_be_read_is_refused(call: str, somewhere: Path) -> None:
    somewhere.write_text(f"import pytest\n@pytest.mark.{call}\ndef test_one(): ...\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"test_x\.py:2: a rule mark takes ids as plain texts"):
        rules.marks_in(somewhere)


@pytest.mark.parametrize("row", ["| SIP1 | built | x |", "| SIP-1 | done | x |", "| SIP-1 | partly: | x |"])
def test_a_row_that_cannot_be_read_is_refused(row: str, somewhere: Path) -> None:
    document = somewhere.parent / rules.DOCUMENT
    document.parent.mkdir()
    document.write_text(f"| id | state | rule |\n|---|---|---|\n{row}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"docs/rules\.md:3: a row is"):
        rules.read_rules()
