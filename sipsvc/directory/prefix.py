"""Longest-prefix match (DOMAIN, longest match): a compiled image, and what has changed since it was compiled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from sipsvc.directory.image import ABSENT, DIGITS, Cells, Image, PriceRow, choose, compile_image

NOTHING: Mapping[str, tuple[PriceRow, ...]] = {}


class PrefixTable:
    """Rows by prefix; several rows of one prefix differ in `origin` or in the time they are in force.

    `overlay` stands in the place of whole prefixes of the image, an empty tuple for a prefix that is gone: so one row
    of 200,000 changes without the others being compiled again.
    """

    __slots__ = ("_image", "_lengths", "_overlay")

    def __init__(
        self,
        rows: Iterable[PriceRow] = (),
        image: Image | None = None,
        overlay: Mapping[str, tuple[PriceRow, ...]] = NOTHING,
    ) -> None:
        """Of an image, which costs nothing that grows with it; else `rows` are compiled in memory.

        Raises ValueError as `compile_image` does, and for money finer than millionths.
        """
        self._image = Image(compile_image(map(cells, rows))) if image is None else image
        self._overlay = {
            prefix: tuple(sorted(rows, key=lambda row: (-len(row.origin), row.origin, row.valid_from)))
            if len(rows) > 1
            else rows
            for prefix, rows in overlay.items()
        }
        self._lengths = tuple(sorted({len(prefix) for prefix in overlay}, reverse=True))

    @classmethod
    def opened(cls, image: Image, overlay: Mapping[str, tuple[PriceRow, ...]] = NOTHING) -> PrefixTable:
        """Of an image that is there."""
        return cls((), image, overlay)

    def changed(self, overlay: Mapping[str, tuple[PriceRow, ...]]) -> PrefixTable:
        """The same table with these prefixes replaced, beside those replaced before."""
        return PrefixTable.opened(self._image, {**self._overlay, **overlay})

    @property
    def size(self) -> int:
        """How many rows there are, whenever they are in force; counts the overlay."""
        size: int = self._image.size
        for prefix, rows in self._overlay.items():
            entry = self._entry(prefix)
            if entry >= 0 and self._image.length(entry) == len(prefix):
                size -= len(self._image.rows(entry, prefix))
            size += len(rows)
        return size

    def find(self, number: str, caller: str, at: int) -> PriceRow | None:
        """The row for E.164 digits `number` at the instant `at`, UTC milliseconds.

        The longest prefix that has a row in force then; of its rows the longest origin that `caller` begins with. A
        prefix whose rows in force all belong to other origins ends the search: no shorter prefix stands in.
        """
        if not 0 < len(number) <= DIGITS:
            number = number[:DIGITS]
            if not number:
                return None
        return self._merged(number, caller, at) if self._overlay else self._image.find(number, caller, at)

    def _entry(self, number: str) -> int:
        """The image's longest prefix of `number`, -1 for none."""
        entry = self._image.innermost(number)
        while entry >= 0 and self._image.length(entry) > len(number):
            entry = self._image.parent(entry)
        return entry

    def _merged(self, number: str, caller: str, at: int) -> PriceRow | None:
        """Prefixes of the overlay and the image, longest first; of equal ones the overlay's."""
        image = self._image
        entry = self._entry(number)
        have = len(number)
        overlaid = [number[:size] for size in self._lengths if size <= have and number[:size] in self._overlay]
        for prefix in (*overlaid, ""):
            while entry >= 0 and (length := image.length(entry)) >= len(prefix):
                found = choose(image.rows(entry, number), caller, at) if length > len(prefix) else ABSENT
                if found is not ABSENT:
                    return found
                entry = image.parent(entry)
            found = choose(self._overlay.get(prefix, ()), caller, at)
            if found is not ABSENT:
                return found
        return None


def cells(row: PriceRow) -> Cells:
    """A row as the compiler takes it. Raises ValueError for money finer than millionths."""
    return (row.id, row.prefix, row.origin, row.name, _millionths(row.rate), _millionths(row.fee), row.initial,
            row.increment, row.valid_from, row.valid_to)  # fmt: skip


def _millionths(amount: Decimal) -> int:
    scaled = amount.scaleb(6)
    if scaled != int(scaled):
        raise ValueError(f"{amount} has more than 6 decimal places")
    return int(scaled)
