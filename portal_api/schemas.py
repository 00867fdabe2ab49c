"""How values look in JSON, on every resource: money is text with six places, an instant RFC 3339 with Z and ms."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from sipsvc.rating import text

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.IGNORECASE)
MAX_VALUE = 256

Item = TypeVar("Item")


def instant(value: datetime) -> str:
    """`2026-11-22T23:23:05.120Z`."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _rfc3339(value: Any) -> Any:
    # Pydantic alone would also take bare numbers, dates and blanks for the "T".
    if not isinstance(value, str) or not RFC3339.fullmatch(value):
        raise ValueError("must be an RFC 3339 instant such as 2026-11-22T00:00:00Z (a + is written %2B in a URL)")
    return value


Money = Annotated[Decimal, PlainSerializer(text, return_type=str), Field(examples=["0.012500"])]
Instant = Annotated[datetime, PlainSerializer(instant, return_type=str), Field(examples=["2026-11-22T23:23:05.120Z"])]
InstantIn = Annotated[AwareDatetime, BeforeValidator(_rfc3339), Field(examples=["2026-11-22T00:00:00Z"])]
Value = Annotated[str, Field(min_length=1, max_length=MAX_VALUE)]
Digits = Annotated[str, Field(pattern=r"^[0-9]+$", max_length=MAX_VALUE)]


class View(BaseModel):
    """A resource as it is shown; made from a row of the store."""

    model_config = ConfigDict(from_attributes=True)


class Page(BaseModel, Generic[Item]):
    """`next` goes into `page[after]` for what follows; null on the last page."""

    data: list[Item]
    next: str | None


class ListQuery(BaseModel):
    """What every list takes; a parameter that is not in the list is refused."""

    model_config = ConfigDict(extra="forbid", populate_by_name=False)

    size: int = Field(100, alias="page[size]", ge=1, le=500, description="How many at most.")
    after: Value | None = Field(None, alias="page[after]", description="`next` of the page before.")
