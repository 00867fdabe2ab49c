"""GET /statistics/daily."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from itertools import islice
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import orjson
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from portal_api import csvout, cursors
from portal_api.context import Caller, may
from portal_api.negotiation import CSV, CSV_TOO, JSON, offers
from portal_api.principal import Principal
from portal_api.schemas import Page
from portal_api.statistics.schemas import DailyQuery, DayView, MoneyView
from sipsvc.store.database import one_state
from sipsvc.store.statistics import FILTERS, GROUPS, Line, daily

KEYS = ("customer", "sell_prefix", "sell_name", "gateway")
COUNTS = tuple(name for name in DayView.model_fields if name not in ("day", "money", *KEYS))
COLUMNS = ["day", *KEYS, *COUNTS, *MoneyView.model_fields]
Place = tuple[date, tuple[str, ...]]

router = APIRouter(prefix="/statistics", tags=["statistics"], dependencies=[may("statistics", "read")])


@router.get("/daily", summary="Calls a day", response_model=Page[DayView], responses={200: CSV_TOO})
@offers(JSON, CSV)
def list_days(request: Request, who: Caller, query: Annotated[DailyQuery, Query()]) -> Response:
    engine = request.app.state.engine
    after = None if query.after is None else _place(query)
    if request.state.media == CSV:

        def rows() -> Iterator[dict[str, Any]]:
            with one_state(engine) as connection, Session(connection) as session:
                for line in _behind(session, who, query, after):
                    yield from _flat(_view(line, query))

        return csvout.response("statistics", COLUMNS, rows())
    with one_state(engine) as connection, Session(connection) as session:
        found = list(islice(_behind(session, who, query, after), query.size + 1))
    shown = found[: query.size]
    following = None
    if len(found) > query.size:
        following = cursors.encode("statistics", _asked(query), shown[-1].day.isoformat(), *shown[-1].group)
    data = [_view(line, query).model_dump(mode="json") for line in shown]
    return Response(orjson.dumps({"data": data, "next": following}), media_type=JSON)


def _behind(session: Session, who: Principal, query: DailyQuery, after: Place | None) -> Iterator[Line]:
    """Lines behind a place: those of its day are added up again, those of earlier days are not."""
    only = {name: value for name in FILTERS if (value := getattr(query, name)) is not None}
    first = query.first if after is None else max(after[0], query.first)
    lines = daily(session, who.who, first, query.last, ZoneInfo(query.time_zone), query.group, only=only)
    return (line for line in lines if after is None or (line.day, line.group) > after)


def _asked(query: DailyQuery) -> str:
    """A cursor is good for the lines it was made of only."""
    return f"{query.group} {query.time_zone}"


def _place(query: DailyQuery) -> Place:
    assert query.after is not None
    width = len(GROUPS[query.group]) if query.group else 0
    asked, day, *group = cursors.decode(query.after, "statistics", 2 + width)
    try:
        if asked != _asked(query) or not all(type(part) is str for part in group):
            raise ValueError
        return date.fromisoformat(day), tuple(group)
    except (TypeError, ValueError):
        raise cursors.refused() from None


def _view(line: Line, query: DailyQuery) -> DayView:
    names = [column.key for column in GROUPS[query.group]] if query.group else []
    keys: dict[str, str | None] = dict.fromkeys(KEYS) | dict(zip(names, line.group, strict=True))
    money = [MoneyView.model_validate(line.money[currency]) for currency in sorted(line.money)]
    return DayView(day=line.day, money=money, **keys, **{name: getattr(line, name) for name in COUNTS})


def _flat(view: DayView) -> Iterator[dict[str, Any]]:
    """A line for each currency; the counts stand in the first only, so that each column adds up."""
    row = view.model_dump(exclude={"money"})
    row["day"] = view.day.isoformat()
    for number, money in enumerate(view.money or [None]):
        counts = row if number == 0 else {**row, **dict.fromkeys(COUNTS)}
        yield counts | (money.model_dump() if money is not None else dict.fromkeys(MoneyView.model_fields))
