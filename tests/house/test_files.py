"""How files look: short, finished, at home on any machine, with no test put off."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.house.source import PACKAGES, ROOT, dotted, files, shown, sources, tree

MOST_LINES = 450
WRITTEN = {".cfg", ".ini", ".md", ".py", ".service", ".sh", ".toml", ".xml", ".yaml", ".yml"}
# Put together here, so that this file does not find itself.
UNFINISHED = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "NotImplemented" + "Error")))
MACHINE_PATH = re.compile(r"(?<![\w.:/$}])/(?:work|root|home|Users|mnt|tmp)/\w")
# A Markdown link, or a path that climbs.
LINK = re.compile(r"\]\(([^)\s]+)\)|((?:\.\./)+[\w./-]+)")
PUT_OFF = {"skip", "skipif", "xfail", "importorskip", "skipIf", "skipUnless", "expectedFailure"}


def written() -> list[Path]:
    """What people wrote: sources, documents, settings."""
    return [path for path in files() if path.suffix in WRITTEN or path.name in ("Makefile", "Dockerfile")]


def lines_matching(pattern: re.Pattern[str], paths: list[Path]) -> list[str]:
    return [
        f"{shown(path)}:{number}: {line.strip()}"
        for path in paths
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if pattern.search(line)
    ]


def test_no_file_is_too_long() -> None:
    lengths = {shown(path): len(path.read_text(encoding="utf-8").splitlines()) for path in written()}
    long = {name: length for name, length in lengths.items() if length > MOST_LINES}
    assert not long, f"make two names of each: {long}"


def test_nothing_is_left_unfinished() -> None:
    faults = lines_matching(UNFINISHED, [path for path in written() if path.suffix != ".md"])
    assert not faults, "\n".join(faults)


def test_no_path_of_somebodys_machine() -> None:
    faults = lines_matching(MACHINE_PATH, written())
    assert not faults, "\n".join(faults)


def test_lock_names_no_index() -> None:
    faults = lines_matching(re.compile(r"--(?:extra-)?index-url|--trusted-host|://"), [ROOT / "requirements.lock"])
    assert not faults, "\n".join(faults)


def test_links_in_documents_lead_to_files_of_the_repository() -> None:
    faults = []
    for path in written():
        if path.suffix != ".md":
            continue
        for match in LINK.finditer(path.read_text(encoding="utf-8")):
            link = match[1] or match[2]
            target = link.partition("#")[0]
            if "://" in link or link.startswith("mailto:") or not target:
                continue
            there = (path.parent / target).resolve()
            if not there.is_relative_to(ROOT) or not there.exists():
                faults.append(f"{shown(path)}: {link}")
    assert not faults, "\n".join(faults)


def test_every_python_file_says_what_it_is_for() -> None:
    silent = [
        shown(path) for path in sources(*PACKAGES, "tests") if tree(path).body and ast.get_docstring(tree(path)) is None
    ]
    assert not silent, f"these files do not say what they are for: {silent}"


def swallows(node: ast.AST) -> bool:
    """`except: pass` in any of its shapes, a bare `except:`, and `suppress(Exception)`."""
    if isinstance(node, ast.ExceptHandler):
        does_nothing = all(
            isinstance(step, ast.Pass) or (isinstance(step, ast.Expr) and isinstance(step.value, ast.Constant))
            for step in node.body
        )
        return node.type is None or does_nothing
    if isinstance(node, ast.Call) and dotted(node.func) in ("suppress", "contextlib.suppress"):
        return any(dotted(error) in ("Exception", "BaseException") for error in node.args)
    return False


def test_no_exception_is_swallowed() -> None:
    faults = [
        f"{shown(path)}:{getattr(node, 'lineno', 0)}"
        for path in sources(*PACKAGES, "tests")
        for node in ast.walk(tree(path))
        if swallows(node)
    ]
    assert not faults, "\n".join(faults)


def test_no_test_is_put_off() -> None:
    faults = []
    for path in sources("tests"):
        for node in ast.walk(tree(path)):
            name = dotted(node) if isinstance(node, ast.Attribute) else ""
            if name.split(".")[0] in ("pytest", "mark", "unittest") and name.rpartition(".")[2] in PUT_OFF:
                faults.append(f"{shown(path)}:{getattr(node, 'lineno', 0)}: {name}")
    assert not faults, "\n".join(faults)
