"""GET /cdrs, /cdrs/{id} and /cdrs/{id}/ladder, and POST /cdrs/{id}/hangup and /cdrs/{id}/rerate."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from portal_api.cdrs import ladders
from portal_api.cdrs.schemas import CdrView, HangupAsked, LadderView, RerateIn
from portal_api.columns import AMOUNT, FLAG, ID, INSTANT, INTEGER, TEXT, choice, unsorted
from portal_api.context import Caller, Database, may, typed
from portal_api.listing import Listing
from portal_api.negotiation import CSV, CSV_TOO, JSON, offers
from portal_api.principal import Principal
from portal_api.problems import Problem, documented
from portal_api.writes import Answer, Posting, Write
from sipsvc.store.changes import HANG_UP
from sipsvc.store.models import Cdr
from sipsvc.store.rerate import NotRated, rerate
from sipsvc.store.scope import find
from sipsvc.store.types import instant

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
    return Answer(200, LISTING.show(_needed(session, who, id), who)).response()


@router.get(
    "/{id}/ladder",
    summary="The messages of a call that is live or ended lately",
    response_model=LadderView,
    responses=documented(404, 410, 503),
)
def get_ladder(request: Request, session: Database, who: Caller, id: str) -> Response:
    """What came and went, and why the call went where it went; a customer sees its own side. 410 when it is too old."""
    row = _needed(session, who, id)
    session.rollback()  # the worker may take its time, and the database waits for nobody
    return Answer(200, ladders.show(request.app.state.folder, row, who)).response()


@router.post(
    "/{id}/hangup",
    status_code=202,
    summary="End a call that is up",
    response_model=HangupAsked,
    responses=documented(404, 409),
    dependencies=[may("cdr", "update")],
)
def hang_up(writer: Posting, id: str) -> Response:
    """Both parties are sent a BYE within a second; the record then ends with the code `admin`."""

    def action(write: Write) -> Answer:
        row = _needed(write.session, write.who, id)
        if row.state == "ended":
            raise Problem(409, "The call is over.")
        changes = write.changes
        changes.tell("cdr", id, 1, HANG_UP, {}, partner=row.partner, customer=row.customer)
        return Answer(202, {"cdr_id": id, "asked_at": instant(changes.at)})

    return writer.run(action)


@router.post(
    "/{id}/rerate",
    summary="Rate a call that ended again",
    response_model=LISTING.item,
    responses=documented(404, 409),
    dependencies=[may("ledger", "create")],
)
def rerate_cdr(writer: Posting, id: str, body: RerateIn) -> Response:
    """By its customer's price list of now. What it was charged is reversed and it is charged anew, as postings of the
    ledger; the call keeps what it was sold at in `rated_before`. Where nothing differs nothing is done."""

    def action(write: Write) -> Answer:
        # The catalogue's lock first: of two that ask for the same the second finds it done.
        changes = write.changes
        row = _needed(write.session, write.who, id)
        try:
            rerate(changes, row, body.at)
        except NotRated as error:
            raise Problem(409, f"The call cannot be rated again: {error}.") from None
        return Answer(200, LISTING.show(row, write.who))

    return writer.run(action)


def _needed(session: Session, who: Principal, id: str) -> Cdr:
    row = find(session, Cdr, id, who.who)
    if row is None:
        raise Problem(404, f"There is no call {id!r}.")
    return row
