"""What lists can be filtered and sorted by: for each kind of column its operators, and how a value is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, func

from portal_api.schemas import MAX_VALUE, instant_of
from sipsvc.store.types import EPOCH, from_ms, from_scaled, to_ms, to_scaled
from sipsvc.store.values import clean, money

MOST_IN = 50
MAX_MS = 253_402_300_799_999  # the end of the year 9999, where datetime ends
MAX_INT = 2**31 - 1

Read = Callable[[str], Any]
Scalar = str | int


@dataclass(frozen=True, slots=True)
class Column:
    """`read` makes a filter's value and raises ValueError; `schema` says the same to OpenAPI.

    `blank` stands for NULL when sorting. `freeze` and `thaw` carry a value in a cursor; `thaw` raises ValueError.
    """

    operators: tuple[str, ...]
    read: Read
    schema: Mapping[str, Any]
    blank: Any
    freeze: Callable[[Any], Scalar]
    thaw: Callable[[Any], Any]
    sortable: bool = True


def unsorted(column: Column) -> Column:
    """To be filtered by only: a list of millions cannot be put in any order somebody asks for."""
    return replace(column, sortable=False)


def _integer(value: str) -> int:
    if not (value.isascii() and value.removeprefix("-").isdigit()) or not -MAX_INT <= int(value) <= MAX_INT:
        raise ValueError(f"must be a whole number from -{MAX_INT} to {MAX_INT}")
    return int(value)


def _flag(value: str) -> bool:
    if value not in ("true", "false"):
        raise ValueError("must be true or false")
    return value == "true"


def _amount(value: str) -> Decimal:
    return -money(value[1:]) if value.startswith("-") else money(value)


def _between(low: int, high: int) -> Callable[[Any], int]:
    def thaw(value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            raise ValueError("is not a cursor of this list")
        return value

    return thaw


def _string(value: Any) -> str:
    if type(value) is not str:
        raise ValueError("is not a cursor of this list")
    return clean(value)


_whole = _between(-MAX_INT, MAX_INT)
_row_number = _between(0, 2**63 - 1)
_milliseconds = _between(0, MAX_MS)
_millionths = _between(-(2**63) + 1, 2**63 - 1)

# Control characters are refused in text everywhere; the schema says so.
PLAIN = "^[^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]+$"

TEXT = Column(("eq", "ne", "in", "starts", "contains"), clean, {"type": "string", "pattern": PLAIN}, "", str, _string)
ID = Column(("eq", "ne", "in"), clean, {"type": "string", "pattern": PLAIN}, "", str, _string)
INTEGER = Column(
    ("eq", "ne", "in", "gte", "lt"),
    _integer,
    {"type": "integer", "minimum": -MAX_INT, "maximum": MAX_INT},
    0,
    int,
    _whole,
)
ROW = Column((), _integer, {}, 0, int, _row_number)
"""A row's number, which a list may be sorted by."""
FLAG = Column(
    ("eq",), _flag, {"type": "string", "enum": ["true", "false"]}, False, int, lambda value: bool(_whole(value))
)
AMOUNT = Column(
    ("eq", "gte", "lt"),
    _amount,
    {"type": "string", "pattern": r"^-?[0-9]{1,8}(\.[0-9]{1,6})?$"},
    Decimal(0),
    to_scaled,
    lambda value: from_scaled(_millionths(value)),
)
INSTANT = Column(
    ("gte", "lt"),
    instant_of,
    {"type": "string", "format": "date-time"},
    EPOCH,
    to_ms,
    lambda value: from_ms(_milliseconds(value)),
)


def choice(*values: str) -> Column:
    """One of a few words."""

    def read(value: str) -> str:
        if value not in values:
            raise ValueError(f"must be one of {', '.join(values)}")
        return value

    return Column(("eq", "ne", "in"), read, {"type": "string", "enum": list(values)}, "", str, _string)


def condition(attribute: Any, operator: str, values: list[Any]) -> ColumnElement[bool]:
    """`attribute` compared with the value, or for `in` with any of the values."""
    found: ColumnElement[bool] = _COMPARE[operator](attribute, values if operator == "in" else values[0])
    return found


def values_of(column: Column, operator: str, given: str) -> list[Any]:
    """Reads what a filter was given; `in` takes several with commas between. Raises ValueError with why."""
    if not given or len(given) > MAX_VALUE:
        raise ValueError(f"must have 1 to {MAX_VALUE} characters")
    parts = given.split(",") if operator == "in" else [given]
    if len(parts) > MOST_IN:
        raise ValueError(f"has more than {MOST_IN} values")
    return [column.read(part) for part in parts]


def schema_of(column: Column, operator: str) -> dict[str, Any]:
    """How a filter's value looks to OpenAPI."""
    if operator == "in":
        inner = column.schema.get("enum")
        one = "(" + "|".join(inner) + ")" if inner else None
        plain = {"type": "string", "minLength": 1, "maxLength": MAX_VALUE}
        if one:
            return plain | {"pattern": f"^{one}(,{one}){{0,{MOST_IN - 1}}}$"}
        if column.schema.get("type") == "integer":
            return plain | {"pattern": f"^[0-9]{{1,9}}(,[0-9]{{1,9}}){{0,{MOST_IN - 1}}}$"}
        return plain | {"pattern": "^[^,\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]+$"}
    bounds = {"minLength": 1, "maxLength": MAX_VALUE} if column.schema.get("pattern") == PLAIN else {}
    return {**column.schema, **bounds}


def _ne(attribute: Any, value: Any) -> ColumnElement[bool]:
    # Where nothing stands, it is not that value either.
    found: ColumnElement[bool] = attribute.is_distinct_from(value)
    return found


def _starts(attribute: Any, value: str) -> ColumnElement[bool]:
    # LIKE minds the case on one database and not on the other.
    return func.substr(attribute, 1, len(value)) == value


def _contains(attribute: Any, value: str) -> ColumnElement[bool]:
    found: ColumnElement[bool] = func.lower(attribute).contains(value.lower(), autoescape=True)
    return found


_COMPARE: Mapping[str, Callable[[Any, Any], Any]] = {
    "eq": lambda attribute, value: attribute == value,
    "ne": _ne,
    "in": lambda attribute, values: attribute.in_(values),
    "gte": lambda attribute, value: attribute >= value,
    "lt": lambda attribute, value: attribute < value,
    "starts": _starts,
    "contains": _contains,
}
SAID: Mapping[str, str] = {
    "eq": "is",
    "ne": "is not",
    "in": "is one of, with commas between",
    "gte": "is at least, or at that instant or later",
    "lt": "is below, or before that instant",
    "starts": "begins with",
    "contains": "holds, in any case",
}

__all__ = [
    "AMOUNT", "FLAG", "ID", "INSTANT", "INTEGER", "ROW", "SAID", "TEXT", "Column", "choice", "condition",
    "schema_of", "unsorted", "values_of",
]  # fmt: skip
