"""Every rule with its state and the tests that show it: `python -m tests.house.rules`.

Exits 1 when a rule said to be built has no test, or a test names a rule that docs/rules.md does not have.
"""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.house.source import dotted, shown, sources, table, tree

DOCUMENT = "docs/rules.md"
RULE_ID = re.compile(r"[A-Z]{2,3}-\d+|law \d")
STATE = re.compile(r"built|owed|partly: \S.*")


@dataclass(frozen=True, slots=True)
class Rule:
    """One row. `state` is `built`, `owed` or `partly: what is owed`; `line` is where the row stands."""

    id: str
    state: str
    sentence: str
    line: int


@dataclass(frozen=True, slots=True)
class Mark:
    """One id that a test is marked with. `test` is `tests/x.py::test_y`, or the file for a mark on all of it."""

    id: str
    test: str
    line: int


def read_rules() -> list[Rule]:
    """The rows `| id | state | sentence |` of docs/rules.md, in its order. Raises ValueError with the line."""
    rules = []
    for line, (name, state, sentence) in table(DOCUMENT, 3):
        if name in ("id", ""):
            continue
        if not RULE_ID.fullmatch(name) or not STATE.fullmatch(state) or not sentence:
            raise ValueError(f"{DOCUMENT}:{line}: a row is `| SIP-1 | built, owed or partly: what is owed | rule |`")
        rules.append(Rule(name, state, sentence, line))
    return rules


def is_rule_mark(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and dotted(node.func) in ("pytest.mark.rule", "mark.rule")


def ids_of(call: ast.Call, where: str) -> list[str]:
    """The ids of one mark. Raises ValueError when one is not written out, for then it cannot be read here."""
    ids = [each.value for each in call.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    if not ids or len(ids) != len(call.args) or call.keywords:
        raise ValueError(f"{where}:{call.lineno}: a rule mark takes ids as plain texts and nothing else")
    return ids


def marks_in(path: Path) -> list[Mark]:
    """A mark belongs to the function or class it decorates; anywhere else (`pytestmark`, a table) to the file."""
    where = shown(path)
    owners: dict[ast.AST, str] = {}

    def own(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                name = f"{prefix}::{node.name}"
                owners.update((inner, name) for decorator in node.decorator_list for inner in ast.walk(decorator))
                if isinstance(node, ast.ClassDef):
                    owners.update((inner, name) for each in node.body for inner in ast.walk(each))
                    own(node.body, name)

    own(tree(path).body, where)
    return [
        Mark(name, owners.get(node, where), node.lineno)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and is_rule_mark(node)
        for name in ids_of(node, where)
    ]


def read_marks() -> list[Mark]:
    return [mark for path in sources("tests") if path.name.startswith("test_") for mark in marks_in(path)]


def faults(rules: list[Rule], marks: list[Mark]) -> list[str]:
    """What `make rules` fails on, one line each."""
    found = []
    first: dict[str, Rule] = {}
    for rule in rules:
        if rule.id in first:
            found.append(f"{DOCUMENT}:{rule.line}: {rule.id} stands on line {first[rule.id].line} already")
        first.setdefault(rule.id, rule)
    found.extend(
        f"{mark.test.partition('::')[0]}:{mark.line}: there is no rule {mark.id}"
        for mark in marks
        if mark.id not in first
    )
    shown_by = {mark.id for mark in marks}
    found.extend(
        f"{DOCUMENT}:{rule.line}: {rule.id} is said to be built, but no test shows it"
        for rule in rules
        if rule.state == "built" and rule.id not in shown_by
    )
    return found


def shortened(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


def report(rules: list[Rule], marks: list[Mark]) -> str:
    lines = []
    for rule in rules:
        state = rule.state.partition(":")[0]
        lines.append(f"{rule.id:<7} {state:<7} {shortened(rule.sentence, 104)}")
        if state == "partly":
            lines.append(f"{'':16}owed: {rule.state.partition(': ')[2]}")
        lines.extend(f"{'':16}{test}" for test in sorted({mark.test for mark in marks if mark.id == rule.id}))
    states = [rule.state.partition(":")[0] for rule in rules]
    count = ", ".join(f"{states.count(state)} {state}" for state in ("built", "partly", "owed"))
    lines.append(f"{len(rules)} rules: {count}; {len({mark.test for mark in marks})} tests name one")
    return "\n".join(lines)


def main() -> int:
    try:
        rules, marks = read_rules(), read_marks()
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(report(rules, marks) + "\n")
    found = faults(rules, marks)
    sys.stderr.writelines(f"{fault}\n" for fault in found)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
