"""The repository's files and Python sources as the house tests read them."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("sipsvc", "portal_api")
# Made by tools or by running the service, never written by hand.
NOT_OURS = {"__pycache__", "build", "data", "dist", "venv"}


@cache
def files() -> tuple[Path, ...]:
    """Every file of the repository in order of path, without hidden folders and what tools leave behind."""
    found: list[Path] = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".")
            and not name.endswith(".egg-info")
            and not (name in NOT_OURS and (name == "__pycache__" or Path(folder) == ROOT))
        ]
        found.extend(Path(folder, name) for name in names if not name.startswith("."))
    return tuple(sorted(found))


def sources(*tops: str) -> list[Path]:
    """The Python files under the top folders named."""
    return [path for path in files() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in tops]


def shown(path: Path) -> str:
    """As it is written in a report: from the repository's root, with slashes."""
    return path.relative_to(ROOT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=shown(path))


def dotted(node: ast.expr) -> str:
    """`a.b.c` of a chain of names, "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


def table(document: str, columns: int) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of every Markdown table row of `document` that has so many columns, headings too."""
    for number, line in enumerate((ROOT / document).read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("|") and line.endswith("|") and set(line) - set("|-: "):
            cells = [cell.strip() for cell in line[1:-1].split("|")]
            if len(cells) == columns:
                yield number, cells
