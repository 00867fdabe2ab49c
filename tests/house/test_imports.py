"""Laws 1 and 2 of docs/architecture.md: the core does no I/O, imports point one way."""

from __future__ import annotations

import ast

import pytest

from tests.house.floors import Import, imports, modules, parents, room_of, rooms
from tests.house.source import PACKAGES, dotted, shown, tree

FORBIDDEN_IN_CORE = {
    "asyncio": "the rim runs the loop",
    "importlib": "imports stand at the top, where this test reads them",
    "logging": "the rim logs; the engine has effects and counters",
    "multiprocessing": "processes belong to the rim",
    "os": "files and environment belong to the rim",
    "pickle": "compiled frozen slotted classes do not survive it",
    "random": "random bytes are handed in",
    "redis": "a call waits for no server",
    "secrets": "random bytes are handed in",
    "select": "sockets belong to the rim",
    "selectors": "sockets belong to the rim",
    "socket": "sockets belong to the rim",
    "sqlalchemy": "a call waits for no database",
    "ssl": "sockets belong to the rim",
    "structlog": "the rim logs; the engine has effects and counters",
    "subprocess": "processes belong to the rim",
    "threading": "threads belong to the rim",
    "time": "the clock is handed in as Now",
    "uvloop": "the rim runs the loop",
}
CLOCKS = {"now", "utcnow", "today"}
IO_BUILTINS = {"open", "print", "input", "exec", "eval", "__import__"}


def ours(target: str) -> bool:
    return target.split(".")[0] in PACKAGES


def said(found: Import, why: str) -> str:
    return f"{shown(modules()[found.source])}:{found.line}: imports {found.target}: {why}"


def is_core(module: str) -> bool:
    room = room_of(module)
    return room is not None and room.core


@pytest.mark.rule("law 2")
def test_every_module_has_a_room_and_every_room_a_module() -> None:
    # `sipsvc` itself holds the version only.
    homeless = [shown(path) for module, path in modules().items() if module != "sipsvc" and room_of(module) is None]
    assert not homeless, f"add them to the floors table of docs/architecture.md: {homeless}"
    lived_in = {room.name for module in modules() if (room := room_of(module)) is not None}
    empty = sorted(set(rooms()) - lived_in)
    assert not empty, f"the floors table of docs/architecture.md names rooms that hold no module: {empty}"


@pytest.mark.rule("law 2")
def test_imports_point_down() -> None:
    faults = []
    for module in modules():
        here = room_of(module)
        for found in imports(module):
            there = room_of(found.target) if ours(found.target) else None
            if here is None or there is None or here == there:
                continue
            if there.floor == here.floor:
                faults.append(said(found, f"{here.name} and {there.name} share floor {here.floor}"))
            elif there.floor > here.floor:
                faults.append(said(found, f"{there.name} (floor {there.floor}) is above floor {here.floor}"))
            elif here.only is not None and there.name not in here.only:
                faults.append(said(found, f"{here.name} may import {', '.join(sorted(here.only))} only"))
    assert not faults, "\n".join(faults)


@pytest.mark.rule("law 2")
def test_sipsvc_never_imports_the_portal() -> None:
    """`serve` starts it as a process, by name; nothing in sipsvc imports it."""
    faults = [
        said(found, "the portal is never imported by sipsvc")
        for module in modules()
        if module.split(".")[0] == "sipsvc"
        for found in imports(module)
        if found.target.split(".")[0] == "portal_api"
    ]
    assert not faults, "\n".join(faults)


@pytest.mark.rule("law 2")
def test_no_circle_between_rooms() -> None:
    edges: dict[str, set[str]] = {name: set() for name in rooms()}
    for module in modules():
        here = room_of(module)
        for found in imports(module):
            there = room_of(found.target) if ours(found.target) else None
            if here is not None and there is not None and here != there:
                edges[here.name].add(there.name)
    # Take away rooms that know nobody left, until none is left or all that are left know one another.
    while leaves := {name for name, known in edges.items() if not known}:
        edges = {name: known - leaves for name, known in edges.items() if name not in leaves}
    assert not edges, f"these rooms know each other in a circle, or lean on one: {sorted(edges)}"


@pytest.mark.rule("law 1")
def test_core_imports_no_io() -> None:
    faults = []
    for module in filter(is_core, modules()):
        for found in imports(module):
            top = found.target.split(".")[0]
            if top in FORBIDDEN_IN_CORE:
                faults.append(said(found, FORBIDDEN_IN_CORE[top]))
            elif ours(found.target) and found.target != "sipsvc" and not is_core(found.target):
                faults.append(said(found, "a core room knows core rooms only"))
    assert not faults, "\n".join(faults)


@pytest.mark.rule("law 1")
def test_core_reaches_no_io_by_a_detour() -> None:
    """Nor through the `__init__` of a package above, nor through a helper."""
    faults = []
    for start in filter(is_core, modules()):
        seen: set[str] = set()
        ahead = parents(start)
        while ahead:
            module = ahead.pop()
            if module in seen or module not in modules():
                continue
            seen.add(module)
            for found in imports(module):
                if ours(found.target):
                    ahead.extend(parents(found.target))
                elif found.target.split(".")[0] in FORBIDDEN_IN_CORE:
                    faults.append(said(found, f"and {start} reaches it"))
    assert not faults, "\n".join(sorted(set(faults)))


@pytest.mark.rule("law 1")
def test_core_reads_no_clock_and_opens_nothing() -> None:
    faults = []
    for module, path in modules().items():
        if not is_core(module):
            continue
        for node in ast.walk(tree(path)):
            name = ""
            if isinstance(node, ast.Attribute) and node.attr in CLOCKS:
                owner = dotted(node.value).rpartition(".")[2]
                name = f"{owner}.{node.attr}" if owner in ("datetime", "date") else ""
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IO_BUILTINS:
                name = node.func.id
            if name:
                faults.append(f"{shown(path)}:{getattr(node, 'lineno', 0)}: {name} has no place in the core")
    assert not faults, "\n".join(faults)
