"""`sipsvc import`: preview and apply a price file in this process; a running server takes it up (TG-7).

Exit status: 0 applied, or nothing to do; 1 not applied; 2 the file or what was asked cannot be used.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from sipsvc.errors import ConfigError
from sipsvc.imports import files, preview, steps
from sipsvc.store.changes import LOCAL, Changes, utc_now
from sipsvc.store.database import migrate, open_database, writing
from sipsvc.store.models import Gateway, PriceList
from sipsvc.store.pricefile import Unreadable
from sipsvc.store.rates import Owner
from sipsvc.store.types import instant

MEANINGS = {
    "new": "destinations that had no price",
    "dearer": "the first 60 seconds, fee included, cost more",
    "cheaper": "the first 60 seconds, fee included, cost less",
    "other": "the same price under another name, or in other increments",
    "gone": "destinations that will have no price",
    "same": "unchanged",
    "newly_expensive": "reach the list's threshold for expensive calls",
    "below_cost": "would be sold below what they cost",
}
KINDS = {"gateway": "gateway", "pricelist": "price list", None: "gateway or price list"}
FAULTS_SHOWN = 5


class Asked(NamedTuple):
    """The command's arguments. `kind` is `gateway`, `pricelist`, or None where the id tells."""

    target_id: str
    file: Path
    kind: str | None
    mode: str
    at: str | None
    yes: bool
    dry_run: bool
    accept_rejected: bool
    rejected: Path | None


def run(url: str, asked: Asked, console: Console) -> int:
    """The exit status. Raises ConfigError for what cannot be used, and what `steps.put` raises."""
    begin = _instant(asked.at)
    if asked.mode not in steps.MODES:
        raise ConfigError([("--mode", asked.mode, f"must be {' or '.join(steps.MODES)}")])
    try:
        content = asked.file.read_bytes()
    except OSError as error:
        raise ConfigError([("FILE", str(asked.file), error.strerror or "cannot be read")]) from None
    migrate(url)
    engine = open_database(url)
    try:
        return _import(engine, asked, content, begin, console)
    finally:
        engine.dispose()


def _import(engine: Engine, asked: Asked, content: bytes, begin: datetime | None, console: Console) -> int:
    with Session(engine) as session:
        owner = _target(session, asked.target_id, asked.kind)
        session.expunge_all()
    try:
        with _bar(console, f"reading {asked.file.name}") as progress:
            examined = steps.examine(engine, owner, content, progress, full=asked.mode == "full")
            progress(100)
    except Unreadable as error:
        raise ConfigError(
            [(f"{asked.file} {where}".rstrip(), value, why) for where, value, why in error.faults]
        ) from None
    reading, counts = examined.reading, examined.preview["counts"]
    _show(console, owner, asked, counts, len(reading.rows))
    if reading.rejected:
        _show_rejected(console, asked, examined)
        if not asked.accept_rejected:
            console.print("nothing applied: correct these rows, or say --accept-rejected to go without them")
            return 1
    if not any(counts[name] for name in preview.CLASSES):
        console.print("nothing to change")
        return 0
    if asked.dry_run:
        return 0
    when = "now" if begin is None else f"at {instant(begin)}"
    if not asked.yes and not typer.confirm(f"apply this to {owner.id} {when}?"):
        console.print("nothing applied")
        return 1
    with _bar(console, "applying"), writing(engine) as session:
        changes = Changes(session, LOCAL)
        item = steps.create(
            changes, owner, source="upload", mode=asked.mode, filename=asked.file.name, content=content, options={}
        )
        steps.keep(changes, item, examined, {})
        done = steps.put(changes, item, reading.rows, effective_from=begin, accept_rejected=asked.accept_rejected)
        import_id = item.id
    console.print(f"import {import_id} applied, in force from {done['effective_from']}")
    return 0


def _instant(at: str | None) -> datetime | None:
    if at is None:
        return None
    try:
        begin = datetime.fromisoformat(at)
    except ValueError:
        raise ConfigError([("--at", at, "is not an instant such as 2030-01-31T00:00:00Z")]) from None
    if begin.tzinfo is None:
        raise ConfigError([("--at", at, "names no time zone; write Z for UTC")])
    if begin < utc_now():
        raise ConfigError([("--at", at, "is in the past")])
    return begin


def _target(session: Session, target_id: str, kind: str | None) -> Owner:
    models = [steps.TARGETS[kind]] if kind else list(steps.TARGETS.values())
    found = [owner for owner in (session.get(model, target_id) for model in models) if owner is not None]
    if not found:
        raise ConfigError([("TARGET_ID", target_id, f"there is no such {KINDS[kind]}")])
    if len(found) > 1:
        raise ConfigError([("TARGET_ID", target_id, "is a gateway and a price list: say --gateway or --pricelist")])
    owner = found[0]
    assert isinstance(owner, Gateway | PriceList)
    return owner


@contextmanager
def _bar(console: Console, what: str) -> Iterator[Any]:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=not console.is_terminal) as progress:
        task = progress.add_task(what, total=100)
        yield lambda percent: progress.update(task, completed=percent)
        progress.update(task, completed=100)


def _show(console: Console, owner: Owner, asked: Asked, counts: dict[str, int], rows: int) -> None:
    kind = "gateway" if isinstance(owner, Gateway) else "price list"
    table = Table(title=f"{kind} {owner.id}: {rows} rows, {asked.mode}, prices in {owner.currency}")
    table.add_column("what")
    table.add_column("rows", justify="right")
    table.add_column("meaning")
    for name, meaning in MEANINGS.items():
        table.add_row(name.replace("_", " "), f"{counts[name]:,}", meaning)
    console.print(table)


def _show_rejected(console: Console, asked: Asked, examined: steps.Examined) -> None:
    reading = examined.reading
    console.print(f"{reading.rejected} rows of the file are rejected, the first of them:")
    for fault in reading.faults[:FAULTS_SHOWN]:
        column = f" column {fault['column']}" if fault["column"] else ""
        console.print(f"  row {fault['row']}{column} {fault['value']!r}: {fault['reason']}", markup=False)
    if asked.rejected is not None and reading.file is not None:
        asked.rejected.write_bytes(files.unpack(reading.file))
        console.print(f"all of them, to be corrected and uploaded: {asked.rejected}", markup=False)
