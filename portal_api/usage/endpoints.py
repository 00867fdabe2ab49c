"""GET /usage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from portal_api import csvout, cursors
from portal_api.context import Caller, may
from portal_api.negotiation import CSV, CSV_TOO, JSON, offers
from portal_api.schemas import Page
from portal_api.usage.schemas import UsageQuery, UsageView
from sipsvc.store.database import one_state
from sipsvc.store.usage import Usage, usage

COLUMNS = [
    "customer", "partner", "month", "time_zone", "begin", "end", "currency", "calls", "answered", "duration_ms",
    "billed_s", "amount",
]  # fmt: skip
BATCH = 100

router = APIRouter(prefix="/usage", tags=["usage"], dependencies=[may("usage", "read")])


@router.get("", summary="What each customer used in a month", response_model=Page[UsageView], responses={200: CSV_TOO})
@offers(JSON, CSV)
def list_usage(request: Request, who: Caller, query: Annotated[UsageQuery, Query()]) -> Response:
    engine, of = request.app.state.engine, query.first()
    after = None if query.after is None else _place(query.after)
    if request.state.media == CSV:

        def rows() -> Iterator[dict[str, Any]]:
            with one_state(engine) as connection, Session(connection) as session:
                behind = after
                while found := usage(session, who.who, of, customer=query.customer, after=behind, limit=BATCH):
                    for one in found:
                        yield from _lines(one)
                    behind = found[-1].customer

        return csvout.response("usage", COLUMNS, rows())
    with one_state(engine) as connection, Session(connection) as session:
        found = usage(session, who.who, of, customer=query.customer, after=after, limit=query.size + 1)
    shown = found[: query.size]
    following = cursors.encode("usage", shown[-1].customer) if len(found) > query.size else None
    data = [UsageView(**asdict(one) | {"month": query.month}).model_dump(mode="json") for one in shown]
    return Response(orjson.dumps({"data": data, "next": following}), media_type=JSON)


def _place(cursor: str) -> str:
    (customer,) = cursors.decode(cursor, "usage", 1)
    if type(customer) is not str or "\0" in customer:
        raise cursors.refused()
    return customer


def _lines(one: Usage) -> Iterator[dict[str, Any]]:
    """A line for each currency, and one for the calls without a price, so that each column adds up."""
    common = {name: getattr(one, name) for name in ("customer", "partner", "time_zone", "begin", "end")}
    common["month"] = f"{one.month:%Y-%m}"
    counts = ("calls", "answered", "duration_ms", "billed_s")
    for amount in one.amounts:
        yield common | asdict(amount)
    left = {name: getattr(one, name) - sum(getattr(amount, name) for amount in one.amounts) for name in counts}
    if any(left.values()) or not one.amounts:
        yield common | left | {"currency": "", "amount": None}
