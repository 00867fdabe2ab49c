"""The CSV files of blocked prefixes, such as the premium and satellite ranges that ship (SIP-26)."""

from __future__ import annotations

import csv
import io
from typing import NamedTuple

from pydantic import ValidationError
from sqlalchemy import select

from sipsvc.settings import reason_of
from sipsvc.store.changes import Changes
from sipsvc.store.models import Block as Row
from sipsvc.store.numbers import Block, block_at_level
from sipsvc.store.pricefile import Fault

REQUIRED = ("prefix", "reason")
# What a row may say besides; the last three are for people.
COLUMNS = (*REQUIRED, "action", "liftable", "kind", "country", "source")
# Everybody else's writes wait while one file is put into force.
MOST_ROWS = 5_000
FLAGS = {"true": True, "false": False}


class Read(NamedTuple):
    """The blocks of a file, or what is wrong with it: (row and column, value, reason), the header being row 1."""

    blocks: list[Block]
    faults: list[Fault]


class Written(NamedTuple):
    """What became of the entries of a file."""

    created: int
    updated: int
    unchanged: int


def read_blocks(content: bytes, liftable: bool, of_platform: bool) -> Read:
    """`liftable` serves blocks that do not say; `of_platform` tells whose they are to be."""
    blocks: list[Block] = []
    faults: list[Fault] = []
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return Read([], [("", f"byte {error.start}", "is not UTF-8; save the file as CSV UTF-8")])
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    number = 0
    names: list[str] | None = None
    seen: dict[str, int] = {}
    try:
        for number, cells in enumerate(rows, 1):
            if number > MOST_ROWS + 1:
                faults.append((f"row {number}", None, f"is one too many: a file holds up to {MOST_ROWS} entries"))
                break
            if names is None:
                names = _columns(cells, faults)
                if faults:
                    break
            elif any(cell.strip() for cell in cells):
                if len(cells) != len(names):
                    reason = f"has {len(cells)} cells, the first row has {len(names)}"
                    faults.append((f"row {number}", ",".join(cells), reason))
                    continue
                here = {name: cell.strip() for name, cell in zip(names, cells, strict=True)}
                first = seen.setdefault(here["prefix"], number)
                if first != number:
                    faults.append((f"row {number} column prefix", here["prefix"], f"already stands in row {first}"))
                elif (block := _block(number, here, liftable, of_platform, faults)) is not None:
                    blocks.append(block)
    except csv.Error as error:
        faults.append((f"row {number + 1}", None, f"is not CSV: {error}"))
    if names is None and not faults:
        faults.append(("", None, f"is empty; its first row must name the columns {', '.join(REQUIRED)}"))
    return Read(blocks, faults)


def put(changes: Changes, blocks: list[Block], partner: str | None, customer: str | None) -> Written:
    """Make each prefix what `blocks` say at this level; prefixes that they do not name stay as they are."""
    level = (Row.partner.is_not_distinct_from(partner), Row.customer.is_not_distinct_from(customer))
    there = {row.prefix: row for row in changes.session.scalars(select(Row).where(*level))}
    created = updated = 0
    for block in blocks:
        row = there.get(block.prefix)
        if row is None:
            changes.create(Row(partner=partner, customer=customer, **block.model_dump()))
            created += 1
        else:
            updated += changes.update(row, block.model_dump())
    return Written(created, updated, len(blocks) - created - updated)


def _columns(cells: list[str], faults: list[Fault]) -> list[str]:
    names = [cell.strip().lower() for cell in cells]
    for at, name in enumerate(names, 1):
        if name not in COLUMNS:
            faults.append((f"row 1 column {at}", name, f"unknown column; there are {', '.join(COLUMNS)}"))
        elif name in names[: at - 1]:
            faults.append((f"row 1 column {at}", name, "stands twice"))
    faults += [("row 1", None, f"column {name} is missing") for name in REQUIRED if name not in names]
    return names


def _block(number: int, here: dict[str, str], liftable: bool, of_platform: bool, faults: list[Fault]) -> Block | None:
    action, said = here.get("action") or "block", here.get("liftable", "")
    if said and said not in FLAGS:
        faults.append((f"row {number} column liftable", said, "must be true or false"))
        return None
    may = FLAGS[said] if said else liftable and action == "block"
    values = {"prefix": here["prefix"], "reason": here["reason"], "action": action, "liftable": may}
    try:
        block = Block.model_validate(values)
    except ValidationError as error:
        for fault in error.errors():
            column = str(fault["loc"][0])
            faults.append((f"row {number} column {column}", here.get(column), reason_of(fault["type"], fault["msg"])))
        return None
    wrong = block_at_level(block.liftable, False, of_platform)
    if wrong is not None:
        faults.append((f"row {number} column {wrong[0]}", said, wrong[1]))
        return None
    return block
