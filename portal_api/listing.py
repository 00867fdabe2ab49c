"""Lists: keyset pages, a closed set of filters and sorts, chosen fields, and the whole of it as CSV (IP-7, UI-3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Generic, TypeVar

import orjson
from fastapi import Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, create_model
from sqlalchemy import ColumnElement, Engine, Select, and_, func, literal, or_, select
from sqlalchemy.orm import Session

from portal_api import csvout, cursors
from portal_api.columns import SAID, Column, condition, schema_of, values_of
from portal_api.negotiation import CSV
from portal_api.principal import Principal
from portal_api.problems import UNUSABLE_FIELDS, UNUSABLE_PARAMETERS, Problem
from portal_api.schemas import Page, View
from sipsvc.store.database import one_state
from sipsvc.store.models import Base
from sipsvc.store.scope import visible

BATCH = 500
# Of a cursor, a sort and a choice of fields.
LONGEST = 1024

M = TypeVar("M", bound=Base)
Condition = ColumnElement[bool]
Key = tuple[str, bool]
"""A column's name, and whether it runs downwards."""


@dataclass(frozen=True)
class Listing(Generic[M]):
    """One list. `columns` may be filtered by, and sorted by where the kind of column allows it.

    `key` is a unique column, last in every order; `order` what is sorted by when nobody says. `hidden` are fields
    that customers do not see: not shown to them, nor filtered or sorted by. `more` are parameters of its own.
    """

    name: str
    model: type[M]
    view: type[View]
    columns: Mapping[str, Column]
    key: tuple[str, Column]
    order: str
    hidden: frozenset[str] = field(default_factory=frozenset)
    more: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)

    @cached_property
    def query(self) -> Any:
        """The annotation of an endpoint's `query`: a parameter that is not in the list is refused."""
        parameters: dict[str, Any] = {
            "size": (int, Field(100, alias="page[size]", ge=1, le=500, description="How many at most.")),
            "after": (
                str | None,
                Field(
                    None,
                    alias="page[after]",
                    description="`next` of the page before.",
                    json_schema_extra={"pattern": f"^[A-Za-z0-9_-]{{1,{LONGEST}}}$"},
                ),
            ),
            "sort": (
                str | None,
                Field(
                    None,
                    description=f"Columns with commas between, `-` for downwards. Default: `{self.order}`.",
                    json_schema_extra={"pattern": self._words("-?", self._sortable)},
                ),
            ),
            "fields": (
                str | None,
                Field(
                    None,
                    description="The fields to show, with commas between; all by default.",
                    json_schema_extra={"pattern": self._words("", tuple(self.view.model_fields))},
                ),
            ),
        }
        parameters |= self.more
        for name, column in self._filterable.items():
            for operator in column.operators:
                schema = schema_of(column, operator)
                parameters[f"{name}__{operator}"] = (
                    str | None,
                    Field(
                        None,
                        alias=f"filter[{name}][{operator}]",
                        description=f"Where {name} {SAID[operator]}.",
                        json_schema_extra={"x-schema": schema},
                    ),
                )
        model = create_model(f"{self.view.__name__}Query", __config__=ConfigDict(extra="forbid"), **parameters)
        return Annotated[model, Query()]

    @cached_property
    def item(self) -> Any:
        """The model of one row: with `fields`, and with what is hidden, no field is sure to be there."""
        schema = {"examples": self.view.model_json_schema(by_alias=True).get("examples", [])}

        def loose(found: dict[str, Any]) -> None:
            found.pop("required", None)
            found |= schema

        name = f"{self.view.__name__.removesuffix('View')}Item"
        body = {
            "__module__": __name__,
            "__doc__": self.view.__doc__,
            "model_config": ConfigDict(json_schema_extra=loose),
        }
        return type(name, (self.view,), body)

    @cached_property
    def page(self) -> Any:
        """The model of an answer."""
        return Page.__class_getitem__(self.item)

    def show(self, row: M, who: Principal) -> dict[str, Any]:
        """One row as `who` may see it."""
        shut = self.hidden if who.sells_only else frozenset()
        return self.view.model_validate(row).model_dump(mode="json", exclude=set(shut))

    def answer(
        self, request: Request, session: Session, who: Principal, query: BaseModel, *conditions: Condition
    ) -> Response:
        """The page, or all of it as CSV, of the rows that `who` may see and that meet `conditions` too."""
        shut = self.hidden if who.sells_only else frozenset()
        wanted = (visible(self.model, who.who), *conditions, *self._filters(query, shut))
        keys = self._keys(_given(query, "sort"), shut)
        shown = self._shown(_given(query, "fields"), shut)
        if request.state.media == CSV:
            statement = select(self.model).where(*wanted).order_by(*self._ordering(keys))
            return csvout.response(self.name, shown, _rows(request.app.state.engine, statement, self.view, shown))
        after = _given(query, "after")
        if after is not None:
            wanted = (*wanted, self._behind(keys, after))
        size = int(getattr(query, "size"))  # noqa: B009
        statement = select(self.model).where(*wanted).order_by(*self._ordering(keys)).limit(size + 1)
        rows = list(session.scalars(statement))
        found = rows[:size]
        following = self._cursor(keys, found[-1]) if len(rows) > size else None
        data = [self.view.model_validate(row).model_dump(mode="json", include=set(shown)) for row in found]
        return Response(orjson.dumps({"data": data, "next": following}), media_type="application/json")

    @property
    def _filterable(self) -> Mapping[str, Column]:
        return {self.key[0]: self.key[1], **self.columns}

    @property
    def _sortable(self) -> tuple[str, ...]:
        return tuple(name for name, column in self._filterable.items() if column.sortable)

    def _words(self, before: str, names: Sequence[str]) -> str:
        one = before + "(" + "|".join(names) + ")"
        return f"^{one}(,{one}){{0,{len(names) - 1}}}$"

    def _filters(self, query: BaseModel, shut: frozenset[str]) -> list[Condition]:
        conditions: list[Condition] = []
        unknown: list[tuple[str, str]] = []
        faults: list[tuple[str, str]] = []
        for name in query.model_fields_set:
            column, _, operator = name.rpartition("__")
            if not column:
                continue
            field_name = f"filter[{column}][{operator}]"
            if column in shut:
                unknown.append((field_name, "there is no such parameter here"))
                continue
            try:
                values = values_of(self._column(column), operator, getattr(query, name))
            except ValueError as error:
                faults.append((field_name, str(error)))
            else:
                conditions.append(condition(getattr(self.model, column), operator, values))
        if unknown:
            raise Problem(400, UNUSABLE_PARAMETERS, unknown + faults)
        if faults:
            raise Problem(422, UNUSABLE_FIELDS, faults)
        return conditions

    def _keys(self, sort: str | None, shut: frozenset[str]) -> list[Key]:
        """What to sort by; the unique key closes it."""
        keys: dict[str, bool] = {}
        for word in (self.order if sort is None else sort).split(","):
            name = word.removeprefix("-")
            if name not in self._sortable or name in shut:
                raise _no_such("sort", name, [column for column in self._sortable if column not in shut])
            keys.setdefault(name, word.startswith("-"))
            if name == self.key[0]:
                break
        keys.setdefault(self.key[0], next(reversed(keys.values())))
        return list(keys.items())

    def _shown(self, given: str | None, shut: frozenset[str]) -> list[str]:
        names = [name for name in self.view.model_fields if name not in shut]
        if given is None:
            return names
        chosen = list(dict.fromkeys(given.split(",")))
        for name in chosen:
            if name not in names:
                raise _no_such("fields", name, names)
        return chosen

    def _column(self, name: str) -> Column:
        return self.key[1] if name == self.key[0] else self.columns[name]

    def _expression(self, name: str) -> Any:
        attribute = getattr(self.model, name)
        if not self.model.__table__.c[attribute.property.columns[0].name].nullable:
            return attribute
        return func.coalesce(attribute, literal(self._column(name).blank, attribute.type), type_=attribute.type)

    def _ordering(self, keys: list[Key]) -> list[Any]:
        return [self._expression(name).desc() if down else self._expression(name).asc() for name, down in keys]

    def _behind(self, keys: list[Key], cursor: str) -> Condition:
        """What follows the cursor's row: a later first column, or the same and a later second one, and so on."""
        values = self._read_cursor(keys, cursor)
        alternatives: list[Condition] = []
        same: list[Condition] = []
        for (name, down), value in zip(keys, values, strict=True):
            expression = self._expression(name)
            bound = literal(value, getattr(self.model, name).type)
            alternatives.append(and_(*same, expression < bound if down else expression > bound))
            same.append(expression == bound)
        return or_(*alternatives)

    def _cursor(self, keys: list[Key], row: M) -> str:
        """Opaque: which list and order it is of, and where the next page begins."""
        place = []
        for name, _ in keys:
            column = self._column(name)
            value = getattr(row, name)
            place.append(column.freeze(column.blank if value is None else value))
        return cursors.encode(self.name, _said(keys), *place)

    def _read_cursor(self, keys: list[Key], cursor: str) -> list[Any]:
        order, *place = cursors.decode(cursor, self.name, 1 + len(keys))
        if order != _said(keys):
            raise cursors.refused()
        try:
            return [self._column(name).thaw(value) for (name, _), value in zip(keys, place, strict=True)]
        except ValueError:
            raise cursors.refused() from None


def _said(keys: list[Key]) -> str:
    return ",".join(("-" if down else "") + name for name, down in keys)


def _given(query: BaseModel, name: str) -> str | None:
    value = getattr(query, name)
    if value is not None and not 0 < len(value) <= LONGEST:
        said = type(query).model_fields[name].alias or name
        raise Problem(422, UNUSABLE_FIELDS, [(said, f"must have 1 to {LONGEST} characters")])
    return None if value is None else str(value)


def _no_such(parameter: str, name: str, names: Sequence[str]) -> Problem:
    reason = f"there is no {name!r} here, only {', '.join(names)}"
    return Problem(400, UNUSABLE_PARAMETERS, [(parameter, reason)])


def _rows(engine: Engine, statement: Select[Any], view: type[View], shown: list[str]) -> Iterator[dict[str, Any]]:
    """Every row, of one state of the database, read as it is sent."""
    with one_state(engine) as connection, Session(connection) as session:
        for row in session.scalars(statement.execution_options(yield_per=BATCH)):
            yield view.model_validate(row).model_dump(include=set(shown))
