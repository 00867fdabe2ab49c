"""The rooms and their floors, read from the table in docs/architecture.md, which is the only place they stand."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.house.source import PACKAGES, ROOT, sources, table, tree

DOCUMENT = "docs/architecture.md"
LOWER = "any lower floor"


@dataclass(frozen=True, slots=True)
class Room:
    """`core` rooms do no I/O (law 1). `only` names the rooms it may import; None is every lower floor."""

    name: str
    floor: int
    core: bool
    only: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Import:
    """`target` is the module imported, as far as it can be told: `sipsvc.message.uri`, `asyncio`."""

    source: str
    line: int
    target: str


@cache
def rooms() -> dict[str, Room]:
    """By name, from rows `| floor | room | core or rim | may import | what it is |`. Raises ValueError."""
    found: dict[str, Room] = {}
    for line, (floor, name, kind, allowed, _) in table(DOCUMENT, 5):
        if not floor.isdigit():
            continue
        name = name.strip("`")
        if kind not in ("core", "rim") or name in found:
            raise ValueError(f"{DOCUMENT}:{line}: {name} must be core or rim, and stand once")
        only = None if allowed == LOWER else frozenset(part.strip(" `") for part in allowed.split(","))
        found[name] = Room(name, int(floor), kind == "core", only)
    if not found:
        raise ValueError(f"{DOCUMENT}: no table of floors")
    return found


def module_of(path: Path) -> str:
    """`sipsvc.message.uri`; a package is named by its folder."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> dict[str, Path]:
    return {module_of(path): path for path in sources(*PACKAGES)}


def room_of(module: str) -> Room | None:
    """The room a module belongs to: the longest name that fits, so `cdr.record` comes before `cdr`."""
    parts = module.split(".")
    if parts[0] == "sipsvc":
        parts = parts[1:]
    for length in range(len(parts), 0, -1):
        room = rooms().get(".".join(parts[:length]))
        if room is not None:
            return room
    return None


@cache
def imports(module: str) -> tuple[Import, ...]:
    """Everything a module imports, anywhere in it: in a function and for type checking counts as well."""
    found: list[Import] = []
    path = modules()[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found.extend(Import(module, node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            for alias in node.names:
                # `from sipsvc import errors` imports a module, `from sipsvc.errors import SipError` a name of one.
                inner = f"{base}.{alias.name}"
                found.append(Import(module, node.lineno, inner if inner in modules() else base))
    return tuple(found)


def parents(module: str) -> list[str]:
    """The packages whose `__init__` runs when `module` is imported, itself included."""
    parts = module.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts) + 1)]
