"""How values look in JSON, on every resource: money is text with six places, an instant RFC 3339 with Z and ms."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    create_model,
)

from sipsvc.rating import text
from sipsvc.store.types import instant
from sipsvc.store.values import NO_CONTROLS, Section, clean

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.IGNORECASE | re.ASCII)
MAX_VALUE = 256

Item = TypeVar("Item")


def instant_of(value: Any) -> datetime:
    """An RFC 3339 instant. Raises ValueError with why."""
    if isinstance(value, datetime):
        return value
    # Python alone would also take dates, and blanks for the "T".
    if not isinstance(value, str) or not RFC3339.fullmatch(value):
        raise ValueError("must be an RFC 3339 instant such as 2026-11-22T00:00:00Z (a + is written %2B in a URL)")
    try:
        return datetime.fromisoformat(value.upper())
    except ValueError:
        raise ValueError("is no instant there ever is") from None


Money = Annotated[Decimal, PlainSerializer(text, return_type=str, when_used="json"), Field(examples=["0.012500"])]
Instant = Annotated[
    datetime,
    PlainSerializer(instant, return_type=str, when_used="json"),
    Field(examples=["2026-11-22T23:23:05.120Z"]),
]
InstantIn = Annotated[
    datetime,
    BeforeValidator(instant_of),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-11-22T00:00:00Z"]}),
]
Value = Annotated[
    str,
    AfterValidator(clean),
    Field(min_length=1, max_length=MAX_VALUE, json_schema_extra={"pattern": f"^{NO_CONTROLS}*$"}),
]


class View(BaseModel):
    """Something as it is shown; made from a row of the store."""

    model_config = ConfigDict(from_attributes=True)


class ResourceView(View):
    """What every resource shows. `version` is its ETag."""

    id: str
    version: int
    created_at: Instant
    updated_at: Instant


class Page(BaseModel, Generic[Item]):
    """`next` goes into `page[after]` for what follows; null on the last page."""

    data: list[Item]
    next: str | None


class ListQuery(BaseModel):
    """What a list takes that is made of sums, not rows; a parameter that is not in the list is refused."""

    model_config = ConfigDict(extra="forbid", populate_by_name=False)

    size: int = Field(100, alias="page[size]", ge=1, le=500, description="How many at most.")
    after: Value | None = Field(None, alias="page[after]", description="`next` of the page before.")


OWNER = Annotated[
    Value | None,
    Field(
        description="The partner's id, which the platform has to name; for everybody else it is their own.",
        examples=[None],
    ),
]
OPTIONAL_OWNER = Annotated[
    Value | None,
    Field(
        description="The partner's id. Without one it is the platform's, or the partner's of whoever asks.",
        examples=[None],
    ),
]


def examples(*shown: dict[str, Any]) -> ConfigDict:
    """The configuration of a body with examples."""
    return ConfigDict(json_schema_extra={"examples": list(shown)})


def patch_of(model: type[Section], name: str, example: dict[str, Any], leave: frozenset[str] = frozenset()) -> Any:
    """The body of a PATCH: `model`'s fields, none of them needed; null only where the field may be null.

    Rules between fields are not looked at here but when the body has been merged with what is there.
    """
    fields: dict[str, Any] = {}
    for key, info in model.model_fields.items():
        if key not in leave:
            kind = Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
            extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
            fields[key] = (kind, Field(None, description=info.description, repr=info.repr, json_schema_extra=extra))

    def no_defaults(schema: dict[str, Any]) -> None:
        for inner in schema["properties"].values():
            inner.pop("default", None)
        schema["examples"] = [example]

    config = ConfigDict(strict=True, extra="forbid", frozen=True, json_schema_extra=no_defaults)
    return create_model(name, __config__=config, __doc__="The fields to change.", **fields)
