"""The CSV files of prices: every row is taken or named in a fault, none is dropped or shifted (DOMAIN, TG-7).

Bundles and imports read them by the same code. Two vocabularies are known by their header: `prefix,name,rate,…` and
the carriers' `name,country,type,prefixes,origin_prefixes,rate_per_min,connection_fee`, whose rows hold many prefixes.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from sipsvc.errors import SipsvcError
from sipsvc.store.values import LONGEST_INTERVAL_S, clean, money, prefix

Fault = tuple[str, object, str]

REQUIRED = ("prefix", "name", "rate")
# What a header may call each column. A plural holds values with spaces between them.
COLUMNS: dict[str, str] = {
    "prefix": "prefix", "prefixes": "prefix", "code": "prefix", "dial_code": "prefix",
    "origin": "origin", "origin_prefixes": "origin",
    "name": "name", "destination": "name",
    "rate": "rate", "rate_per_min": "rate",
    "fee": "fee", "connection_fee": "fee",
    "kind": "kind", "type": "kind",
    "initial": "initial", "increment": "increment", "country": "country",
}  # fmt: skip
SEVERAL = frozenset({"prefixes", "origin_prefixes"})
# Only in a file made by populate: what a price was made of.
POPULATED = {"source_row": "source_row", "markup": "markup"}
# Written beside the rejected rows and passed over when they come back.
FAULT = "fault"
# ISO 3166, and what feeds make up beside it: S1 for a satellite network, F1 for freephone.
COUNTRY = re.compile(r"[A-Z][A-Z0-9]")
KINDS = frozenset({"", "L", "M", "O"})
NO_FEE = Decimal(0)
ANYONE = ("",)


class Row(NamedTuple):
    """One price per minute; `initial` and `increment` are seconds, `origin` "" is any caller.

    `country` is two letters (ISO 3166) or "", `kind` L (landline), M (mobile), O (other) or "". A row that was
    populated names the coverage row it was made of and its markup.
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


class Rejected(NamedTuple):
    """A row that is not taken: its number (the header is 1), its cells without a `fault`, and (column, value, reason).

    The column is "" where the row as a whole is at fault.
    """

    number: int
    cells: list[str]
    faults: list[tuple[str, str, str]]


class Unreadable(SipsvcError):
    """The file as a whole cannot be taken; `faults` are (place in it, value, reason)."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(said(fault) for fault in faults))
        self.faults = faults


def said(fault: Fault) -> str:
    """A fault as a sentence."""
    where, value, reason = fault
    return " ".join(part for part in (where, "" if value is None else repr(value), reason) if part)


def key(prefix: str, origin: str) -> str:
    """What there is one row of in a list at an instant, as one word."""
    return f"{prefix}:{origin}" if origin else prefix


def read_rows(path: Path, where: str, initial: int, increment: int, faults: list[Fault]) -> list[Row]:
    """The rows of a bundle's file; faults say `where`, row (the header is 1) and column."""
    rows: list[Row] = []

    def reject(row: Rejected) -> None:
        for column, value, reason in row.faults:
            faults.append((f"{where} row {row.number}{f' column {column}' if column else ''}", value, reason))

    try:
        rows.extend(PriceFile(path.read_bytes(), initial, increment).rows(reject))
    except OSError as error:
        faults.append((where, str(path), error.strerror or "cannot be read"))
    except Unreadable as error:
        faults += [(f"{where} {place}".rstrip(), value, reason) for place, value, reason in error.faults]
    return rows


class PriceFile:
    """A file whose first row names the columns. `header` is that row, without a column `fault`.

    `initial` and `increment` serve rows that name none. A byte order mark and any line end are taken. Raises
    Unreadable, as `rows` does. Repeated cells are checked once: a big list has few different rates.
    """

    def __init__(self, content: bytes, initial: int, increment: int, *, populated: bool = False) -> None:
        self.header: list[str] = []
        self.size = len(content)
        self._content = content
        self._bytes = io.BytesIO(content)
        self._known = COLUMNS | POPULATED if populated else COLUMNS
        self._defaults = {"initial": initial, "increment": increment}
        self._columns: dict[str, int] = {}
        self._titles: dict[str, str] = {}
        self._plural: set[str] = set()
        self._fault_at: int | None = None
        self._width = 0
        self._seen: dict[str, int] = {}
        self._money: dict[str, Decimal] = {}
        self._names: dict[str, str] = {}
        self._countries: set[str] = set()
        # newline="" ends lines at CR, LF or both and leaves them as they are inside quotes.
        self._records = csv.reader(io.TextIOWrapper(self._bytes, "utf-8-sig", newline=""), strict=True)
        self._number = 0
        cells = self._next()
        if cells is None:
            raise Unreadable([("", None, f"is empty; its first row must name the columns {', '.join(REQUIRED)}")])
        self._name_columns(cells)

    @property
    def read(self) -> int:
        """How many bytes have been read."""
        return min(self._bytes.tell(), self.size)

    def rows(self, reject: Callable[[Rejected], None]) -> Iterator[Row]:
        """Every row once; what is wrong goes to `reject` instead, a line of the file as a whole."""
        simple = not self._plural
        while (cells := self._next()) is not None:
            if not cells:
                continue
            number = self._number
            if self._fault_at is not None and self._fault_at < len(cells):
                del cells[self._fault_at]
            if len(cells) != self._width:
                reason = f"has {len(cells)} cells, the first row has {self._width}"
                reject(Rejected(number, cells, [("", ",".join(cells), reason)]))
                continue
            faults: list[tuple[str, str, str]] = []
            here = {name: cells[at].strip() for name, at in self._columns.items()}
            pattern = self._row(here, faults)
            if simple:
                prefixes: tuple[str, ...] | list[str] = (pattern.prefix,)
                origins: tuple[str, ...] | list[str] = (pattern.origin,)
                self._check("prefix", pattern.prefix, faults)
                if pattern.origin:
                    self._check("origin", pattern.origin, faults)
            else:
                prefixes = self._several("prefix", pattern.prefix, faults)
                origins = (self._several("origin", pattern.origin, faults) if pattern.origin else None) or ANYONE
            taken = [] if faults else self._take(number, prefixes, origins, faults)
            if faults:
                reject(Rejected(number, cells, faults))
            elif simple:
                yield pattern
            else:
                for one, origin in taken:
                    yield pattern._replace(prefix=one, origin=origin)

    def _next(self) -> list[str] | None:
        try:
            cells = next(self._records, None)
        except csv.Error as error:
            raise Unreadable([(f"row {self._number + 1}", None, f"is not CSV: {error}")]) from None
        except UnicodeDecodeError:
            raise Unreadable([self._not_utf8()]) from None
        self._number += 1
        return cells

    def _not_utf8(self) -> Fault:
        """Where, in the whole file: the decoder has seen a part of it."""
        try:
            self._content.decode()
        except UnicodeDecodeError as error:
            line = len((self._content[: error.start] + b".").splitlines())
            return ("", f"byte {error.start} in line {line}", "is not UTF-8; save the file as CSV UTF-8")
        raise AssertionError("a part of the file is not UTF-8, and the whole is")

    def _name_columns(self, cells: list[str]) -> None:
        faults: list[Fault] = []
        at = 0
        for position, cell in enumerate(cells, 1):
            title = cell.strip().lower().replace(" ", "_")
            if title == FAULT and self._fault_at is None:
                self._fault_at = position - 1
                continue
            name = self._known.get(title)
            if name is None:
                reason = f"unknown column; there are {', '.join(self._known)}"
                faults.append((f"row 1 column {position}", cell, reason))
            elif name in self._columns:
                faults.append((f"row 1 column {position}", cell, "stands twice"))
            else:
                self._columns[name] = at
                self._titles[name] = cell.strip()
                if title in SEVERAL:
                    self._plural.add(name)
            self.header.append(cell)
            at += 1
        faults += [("row 1", None, f"column {name} is missing") for name in REQUIRED if name not in self._columns]
        if faults:
            raise Unreadable(faults)
        self._width = len(self.header)

    def _row(self, here: dict[str, str], faults: list[tuple[str, str, str]]) -> Row:
        """The row as if its prefix and origin were one each."""
        rate, name = self._money.get(here["rate"]), self._names.get(here["name"])
        country, kind = here.get("country", ""), here.get("kind", "")
        if country and country not in self._countries:
            if COUNTRY.fullmatch(country):
                self._countries.add(country)
            else:
                self._fault("country", country, "must be two capital letters such as GB", faults)
        if kind not in KINDS:
            self._fault("kind", kind, "must be L (landline), M (mobile) or O (other)", faults)
        fee = here.get("fee")
        return Row(
            here["prefix"],
            here.get("origin", ""),
            self._name(here["name"], faults) if name is None else name,
            self._amount("rate", here["rate"], faults) if rate is None else rate,
            self._amount("fee", fee, faults) if fee else NO_FEE,
            self._interval("initial", here.get("initial"), faults),
            self._interval("increment", here.get("increment"), faults),
            country,
            kind,
            int(here["source_row"]) if "source_row" in here else None,
            self._amount("markup", here["markup"], faults) if "markup" in here else None,
        )

    def _take(
        self, number: int, prefixes: tuple[str, ...] | list[str], origins: tuple[str, ...] | list[str],
        faults: list[tuple[str, str, str]],
    ) -> list[tuple[str, str]]:  # fmt: skip
        """Mark every (prefix, origin) as seen, or none and say why."""
        taken = [(one, origin) for one in prefixes for origin in origins]
        keys = [key(one, origin) for one, origin in taken]
        seen = self._seen
        for (one, origin), word in zip(taken, keys, strict=True):
            first = seen.setdefault(word, number)
            if first != number:
                self._fault("prefix", one, f"with origin {origin or 'any'} already stands in row {first}", faults)
        if len(keys) > 1 and len(set(keys)) < len(keys):
            twice = next(one for at, (one, _) in enumerate(taken) if keys[at] in keys[:at])
            self._fault("prefix", twice, "stands twice in this row", faults)
        if faults:
            for word in keys:
                if seen.get(word) == number:
                    del seen[word]
        return taken

    def _fault(self, name: str, value: str, reason: str, faults: list[tuple[str, str, str]]) -> None:
        faults.append((self._titles[name], value, reason))

    def _check(self, name: str, value: str, faults: list[tuple[str, str, str]]) -> None:
        try:
            prefix(value)
        except ValueError as error:
            self._fault(name, value, str(error), faults)

    def _several(self, name: str, value: str, faults: list[tuple[str, str, str]]) -> list[str]:
        found = value.split() if name in self._plural else [value]
        for one in found or [""]:
            self._check(name, one, faults)
        return found

    def _name(self, value: str, faults: list[tuple[str, str, str]]) -> str:
        try:
            self._names[value] = clean(value)
        except ValueError as error:
            self._fault("name", value, str(error), faults)
        return value

    def _amount(self, name: str, value: str, faults: list[tuple[str, str, str]]) -> Decimal:
        known = self._money.get(value)
        if known is None:
            try:
                known = self._money[value] = money(value)
            except ValueError as error:
                self._fault(name, value, str(error) if value else "is empty", faults)
                return NO_FEE
        return known

    def _interval(self, name: str, value: str | None, faults: list[tuple[str, str, str]]) -> int:
        if not value:
            return self._defaults[name]
        if value.isascii() and value.isdigit() and len(value) < 9 and 1 <= int(value) <= LONGEST_INTERVAL_S:
            return int(value)
        self._fault(name, value, f"must be whole seconds from 1 to {LONGEST_INTERVAL_S}", faults)
        return 1
