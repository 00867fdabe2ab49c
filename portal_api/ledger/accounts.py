"""GET /customers/{id}/balance and /customers/{id}/statement."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from portal_api.context import Caller, may
from portal_api.customers.resource import SPEC
from portal_api.ledger.schemas import BalanceView, DayLineView, LineView, StatementQuery, StatementView
from portal_api.problems import documented
from portal_api.resource import PREFIX
from portal_api.writes import Answer
from sipsvc.store import ledger
from sipsvc.store.database import one_state
from sipsvc.store.models import Customer
from sipsvc.store.statement import Line, statement
from sipsvc.store.types import instant

router = APIRouter(
    prefix=f"/{SPEC.path}", tags=["ledger"], dependencies=[may("customer", "read"), may("ledger", "read")]
)


@router.get(
    "/{id}/balance",
    summary="What is on a customer's account",
    response_model=BalanceView,
    responses=documented(404),
)
def get_balance(request: Request, who: Caller, id: str) -> Response:
    with one_state(request.app.state.engine) as connection, Session(connection) as session:
        customer = SPEC.needed(session, id, who)
        account = ledger.account_of(session, id, ledger.currency_of(session, customer.pricelist))
    metered = customer.prepaid or customer.credit_limit is not None
    shown = BalanceView(
        customer=id,
        currency=account.currency,
        balance=account.balance,
        funds=account.funds,
        charged=account.charged,
        prepaid=customer.prepaid,
        credit_limit=customer.credit_limit,
        low_balance=customer.low_balance,
        available=account.balance + (customer.credit_limit or 0) if metered else None,
        link=_link(id, account.currency),
    )
    return Answer(200, shown.model_dump(mode="json")).response()


@router.get(
    "/{id}/statement",
    summary="What came and went on a customer's account",
    response_model=StatementView,
    responses=documented(404),
)
def get_statement(request: Request, who: Caller, id: str, query: Annotated[StatementQuery, Query()]) -> Response:
    """Sums of each kind, in all and a day, each with the link that lists its postings; those link to their calls."""
    with one_state(request.app.state.engine) as connection, Session(connection) as session:
        customer = SPEC.needed(session, id, who)
        currency = query.currency or ledger.currency_of(session, customer.pricelist)
        found = statement(session, customer, currency, *query.days())
    shown = StatementView(
        customer=id,
        currency=currency,
        time_zone=customer.time_zone,
        begin=found.begin,
        end=found.end,
        opening=found.opening,
        closing=found.closing,
        totals=[LineView(**_line(customer, currency, line)) for line in found.totals],
        days=[DayLineView(**_line(customer, currency, line), day=line.day) for line in found.days],
    )
    return Answer(200, shown.model_dump(mode="json")).response()


def _line(customer: Customer, currency: str, line: Line) -> dict[str, Any]:
    # Those of a re-rating come with its number.
    numbered = line.kind in (ledger.REVERSAL, ledger.RECHARGE)
    kind = {"filter[kind][starts]": f"{line.kind}."} if numbered else {"filter[kind][eq]": line.kind}
    when = {"filter[at][gte]": instant(line.span.begin), "filter[at][lt]": instant(line.span.end)}
    link = _link(customer.id, currency, **kind, **when)
    return {"kind": line.kind, "postings": line.postings, "amount": line.amount, "link": link}


def _link(customer: str, currency: str, **more: str) -> str:
    """Where the postings are listed."""
    asked = {"filter[customer][eq]": customer, "filter[currency][eq]": currency, **more}
    return f"{PREFIX}/ledger?{urlencode(asked)}"
