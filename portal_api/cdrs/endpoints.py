"""GET /cdrs and /cdrs/{id}."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from portal_api.cdrs.schemas import CdrView
from portal_api.columns import AMOUNT, FLAG, ID, INSTANT, INTEGER, TEXT, choice, unsorted
from portal_api.context import Caller, Database, may, typed
from portal_api.listing import Listing
from portal_api.negotiation import CSV, CSV_TOO, JSON, offers
from portal_api.problems import Problem, documented
from portal_api.writes import Answer
from sipsvc.store.models import Cdr
from sipsvc.store.scope import find

BUYING = frozenset(
    ("gateway", "gateway_name", "sent_to", "attempts", "trace", "live", "buy", "buy_amount", "buy_currency", "margin")
)
"""What a call cost the partner and which way it went is not the customer's to see."""
LISTING = Listing(
    name="cdrs",
    model=Cdr,
    view=CdrView,
    columns={
        "invite_at": INSTANT,
        **{
            name: unsorted(column)
            for name, column in {
                "partner": ID,
                "customer": ID,
                "trunk": ID,
                "gateway": ID,
                "call_id": ID,
                "state": choice("answered", "ended"),
                "code": ID,
                "status": INTEGER,
                "answered": FLAG,
                "recovered": FLAG,
                "e164": TEXT,
                "caller": TEXT,
                "sell_prefix": TEXT,
                "sell_name": TEXT,
                "duration_ms": INTEGER,
                "sell_amount": AMOUNT,
            }.items()
        },
    },
    key=("cdr_id", ID),
    order="-invite_at",
    hidden=BUYING,
)
router = APIRouter(prefix="/cdrs", tags=["cdrs"], dependencies=[may("cdr", "read")])


@offers(JSON, CSV)
def _list_cdrs(request: Request, session: Database, who: Caller, query: Any) -> Response:
    return LISTING.answer(request, session, who, query)


router.add_api_route(
    "",
    typed(_list_cdrs, query=LISTING.query),
    summary="Calls, newest first",
    response_model=LISTING.page,
    responses={200: CSV_TOO},
)


@router.get("/{id}", summary="One call", response_model=LISTING.item, responses=documented(404))
def get_cdr(session: Database, who: Caller, id: str) -> Response:
    row = find(session, Cdr, id, who.who)
    if row is None:
        raise Problem(404, f"There is no call {id!r}.")
    return Answer(200, LISTING.show(row, who)).response()
