"""The CSV files of prices: every row is taken or named in a fault, none is dropped or shifted (DOMAIN)."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from sipsvc.store.sections import LONGEST_INTERVAL_S, clean, money, prefix

Fault = tuple[str, object, str]

REQUIRED = ("prefix", "name", "rate")
OPTIONAL = ("fee", "initial", "increment", "origin")
NO_FEE = Decimal(0)


class Row(NamedTuple):
    """One price per minute; `initial` and `increment` are seconds, `origin` "" is any caller.

    `country` is ISO 3166 or "", `kind` L (landline), M (mobile), O (other) or "". A row that was populated names the
    coverage row it was made of and its markup.
    """

    prefix: str
    origin: str
    name: str
    rate: Decimal
    fee: Decimal
    initial: int
    increment: int
    country: str = ""
    kind: str = ""
    source_row: int | None = None
    markup: Decimal | None = None


def read_rows(path: Path, where: str, initial: int, increment: int, faults: list[Fault]) -> list[Row]:
    """The rows of a file whose first row names the columns; faults say `where`, row (the header is 1) and column.

    `initial` and `increment` serve rows that name none. A byte order mark and any line end are taken.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        faults.append((where, str(path), error.strerror or "cannot be read"))
        return []
    except UnicodeDecodeError as error:
        faults.append((where, f"byte {error.start}", "is not UTF-8"))
        return []
    reader = _Reader(where, initial, increment, faults)
    # newline="" ends lines at CR, LF or both and leaves them as they are inside quotes.
    records = csv.reader(io.StringIO(text, newline=""), strict=True)
    number = 0
    try:
        for number, cells in enumerate(records, 1):
            if number == 1:
                if not reader.header(cells):
                    return []
            elif cells:
                reader.row(number, cells)
    except csv.Error as error:
        faults.append((f"{where} row {number + 1}", None, f"is not CSV: {error}"))
    if not number:
        faults.append((where, None, f"is empty; its first row must name the columns {', '.join(REQUIRED)}"))
    return reader.rows


class _Reader:
    """The state of one file. Repeated cells are checked once: a big list has few different rates."""

    def __init__(self, where: str, initial: int, increment: int, faults: list[Fault]) -> None:
        self.rows: list[Row] = []
        self._where = where
        self._faults = faults
        self._intervals = {"initial": initial, "increment": increment}
        self._columns: dict[str, int] = {}
        self._seen: dict[tuple[str, str], int] = {}
        self._money: dict[str, Decimal] = {}
        self._names: dict[str, str] = {}

    def header(self, cells: list[str]) -> bool:
        """Whether the columns can be read at all."""
        names = [cell.strip().lower() for cell in cells]
        here = f"{self._where} row 1"
        before = len(self._faults)
        for at, name in enumerate(names):
            if name not in REQUIRED + OPTIONAL:
                allowed = ", ".join(REQUIRED + OPTIONAL)
                self._faults.append((f"{here} column {at + 1}", cells[at], f"unknown column; there are {allowed}"))
            elif name in self._columns:
                self._faults.append((f"{here} column {at + 1}", cells[at], "stands twice"))
            self._columns[name] = at
        for name in REQUIRED:
            if name not in self._columns:
                self._faults.append((here, None, f"column {name} is missing"))
        return len(self._faults) == before

    def row(self, number: int, cells: list[str]) -> None:
        if len(cells) != len(self._columns):
            reason = f"has {len(cells)} cells, the first row has {len(self._columns)}"
            self._faults.append((f"{self._where} row {number}", ",".join(cells), reason))
            return
        before = len(self._faults)
        here = {name: cells[at].strip() for name, at in self._columns.items()}
        found = Row(
            prefix=self._prefix(number, "prefix", here["prefix"]),
            origin=self._prefix(number, "origin", here.get("origin", ""), needed=False),
            name=self._name(number, here["name"]),
            rate=self._amount(number, "rate", here["rate"]),
            fee=self._amount(number, "fee", here.get("fee", ""), needed=False),
            initial=self._interval(number, "initial", here.get("initial", "")),
            increment=self._interval(number, "increment", here.get("increment", "")),
        )
        if len(self._faults) > before:
            return
        first = self._seen.setdefault((found.prefix, found.origin), number)
        if first != number:
            reason = f"with origin {found.origin or 'any'} already stands in row {first}"
            self._fault(number, "prefix", found.prefix, reason)
            return
        self.rows.append(found)

    def _fault(self, number: int, column: str, value: str, reason: str) -> None:
        self._faults.append((f"{self._where} row {number} column {column}", value, reason))

    def _prefix(self, number: int, column: str, value: str, needed: bool = True) -> str:
        if value or needed:
            try:
                return prefix(value)
            except ValueError as error:
                self._fault(number, column, value, str(error))
        return value

    def _name(self, number: int, value: str) -> str:
        known = self._names.get(value)
        if known is None:
            try:
                known = self._names[value] = clean(value)
            except ValueError as error:
                self._fault(number, "name", value, str(error))
                return value
        return known

    def _amount(self, number: int, column: str, value: str, needed: bool = True) -> Decimal:
        if not value and not needed:
            return NO_FEE
        known = self._money.get(value)
        if known is None:
            try:
                known = self._money[value] = money(value)
            except ValueError as error:
                self._fault(number, column, value, str(error) if value else "is empty")
                return NO_FEE
        return known

    def _interval(self, number: int, column: str, value: str) -> int:
        if not value:
            return self._intervals[column]
        if value.isascii() and value.isdigit() and len(value) < 9 and 1 <= int(value) <= LONGEST_INTERVAL_S:
            return int(value)
        self._fault(number, column, value, f"must be whole seconds from 1 to {LONGEST_INTERVAL_S}")
        return 1
