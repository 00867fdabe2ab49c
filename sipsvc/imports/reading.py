"""An uploaded file as rows, with what was rejected as a file to correct (TG-7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sipsvc.imports.files import PackedCsv
from sipsvc.store.models import PriceList
from sipsvc.store.pricefile import FAULT, PriceFile, Rejected, Row
from sipsvc.store.rates import Owner

# How many faults are told with the import; all are in the file.
TOLD = 20
REPORT_EVERY = 5_000

Progress = Callable[[int], None]
"""Told how far something is, 0 to 100. It may raise, and the work ends there."""


class Reading(NamedTuple):
    """`rejected` is the number of rows of the file that are not among `rows`, `file` these with their faults, packed.

    `faults` tells the first of them: row, column, value and reason.
    """

    rows: list[Row]
    rejected: int
    file: bytes | None
    faults: list[dict[str, str | int]]


def read(content: bytes, owner: Owner, progress: Progress, *, populated: bool = False) -> Reading:
    """Every row is taken or rejected. Rows that name no intervals get the price list's, a gateway's 1 second.

    Raises Unreadable where the file as a whole cannot be taken.
    """
    initial, increment = (owner.initial, owner.increment) if isinstance(owner, PriceList) else (1, 1)
    source = PriceFile(content, initial, increment, populated=populated)
    # The fault comes first: behind a row of too many cells it would stand under no header.
    file = PackedCsv([FAULT, *source.header])
    faults: list[dict[str, str | int]] = []

    def reject(row: Rejected) -> None:
        said = (f"{column}: {reason}" if column else reason for column, _, reason in row.faults)
        file.write([f"row {row.number}: {'; '.join(said)}", *row.cells])
        for column, value, reason in row.faults[: TOLD - len(faults)]:
            faults.append({"row": row.number, "column": column, "value": value, "reason": reason})

    rows: list[Row] = []
    for number, row in enumerate(source.rows(reject)):
        rows.append(row)
        if not number % REPORT_EVERY:
            progress(100 * source.read // source.size)
    progress(100)
    return Reading(rows, file.lines, file.finish() if file.lines else None, faults)
