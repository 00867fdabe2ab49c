"""GET /ledger and /ledger/{id}; POST /ledger takes a payment, or a credit or debit by hand."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from portal_api.columns import AMOUNT, ID, INSTANT, TEXT, choice, unsorted
from portal_api.context import Caller, Database, may, typed
from portal_api.ledger.schemas import PaymentIn, PostingView
from portal_api.listing import Listing
from portal_api.negotiation import CSV, CSV_TOO, JSON, offers
from portal_api.problems import Problem, documented
from portal_api.resource import PREFIX
from portal_api.spec import unknown
from portal_api.writes import Answer, Posting, Write
from sipsvc.rating import text
from sipsvc.store import ledger
from sipsvc.store.changes import new_id
from sipsvc.store.models import Customer, LedgerPosting
from sipsvc.store.scope import find

LISTING = Listing(
    name="ledger",
    model=LedgerPosting,
    view=PostingView,
    columns={
        "at": INSTANT,
        **{
            name: unsorted(column)
            for name, column in {
                "partner": ID,
                "customer": ID,
                "debit": ID,
                "credit": ID,
                "amount": AMOUNT,
                "currency": ID,
                "source_type": choice(ledger.CDR, ledger.PAYMENT),
                "source_id": ID,
                "kind": TEXT,
            }.items()
        },
    },
    key=("id", ID),
    order="-at",
)
router = APIRouter(prefix="/ledger", tags=["ledger"], dependencies=[may("ledger", "read")])


@offers(JSON, CSV)
def _list_postings(request: Request, session: Database, who: Caller, query: Any) -> Response:
    return LISTING.answer(request, session, who, query)


router.add_api_route(
    "",
    typed(_list_postings, query=LISTING.query),
    summary="Postings, newest first",
    response_model=LISTING.page,
    responses={200: CSV_TOO},
)


@router.get("/{id}", summary="One posting", response_model=LISTING.item, responses=documented(404))
def get_posting(session: Database, who: Caller, id: str) -> Response:
    row = find(session, LedgerPosting, id, who.who)
    if row is None:
        raise Problem(404, f"There is no posting {id!r}.")
    return Answer(200, LISTING.show(row, who)).response()


def _pay(writer: Posting, body: PaymentIn) -> Response:
    """It is posted, and the customer's funds are changed, in one transaction; calls know of it within a second.

    The same `reference` again answers with what was posted by it (200). A debit of more than balance and credit limit
    cover is 409 where the account is prepaid or has a limit; what calls in progress will cost is not looked at.
    """

    def action(write: Write) -> Answer:
        # The catalogue's lock first: what is checked from here on stays true until the commit.
        changes = write.changes
        customer = find(write.session, Customer, body.customer, write.who.who)
        if customer is None:
            raise unknown("customer", "customer")
        reference = new_id() if body.reference is None else f"{customer.id}/{body.reference}"
        account = "payments" if body.kind == "payment" else "adjustments"
        try:
            row, new = ledger.post(
                changes,
                customer,
                kind=body.kind,
                source=(ledger.PAYMENT, reference),
                amount=body.amount,
                against=f"{account}:{customer.partner}",
                gives=body.kind != "debit",
                memo=body.memo,
                covered=True,
            )
        except ledger.Overdrawn as error:
            reason = f"is more than the {text(error.left)} that balance and credit limit cover"
            raise Problem(409, "The account does not have that much.", [("amount", reason)]) from None
        except ledger.Differs:
            reason = f"names a {body.kind} of another amount already"
            raise Problem(409, "That was posted already.", [("reference", reason)]) from None
        headers = {"Location": f"{PREFIX}/ledger/{row.id}"}
        return Answer(201 if new else 200, LISTING.show(row, write.who), headers)

    return writer.run(action)


router.add_api_route(
    "",
    _pay,
    methods=["POST"],
    status_code=201,
    summary="Post a payment, a credit or a debit",
    response_model=PostingView,
    responses={
        200: {"model": PostingView, "description": "What was posted by the reference, or what a dry run says."},
        **documented(409),
    },
    dependencies=[may("ledger", "create")],
)
