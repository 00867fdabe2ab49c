"""The price list resource, and how its rows are made of what gateways charge (TP-7)."""

from __future__ import annotations

from fastapi.responses import Response
from sqlalchemy import select

from portal_api.columns import AMOUNT, ID, INSTANT, TEXT, choice
from portal_api.context import Caller, Database, may
from portal_api.imports.resource import start_populating
from portal_api.imports.schemas import ImportStarted, PopulateIn
from portal_api.listing import Listing
from portal_api.pricelists.schemas import PriceListCreate, PriceListPatch, PriceListView, UsedByView
from portal_api.problems import Problem, documented
from portal_api.resource import router_of
from portal_api.spec import Spec, Values
from portal_api.writes import Answer, Posting, Write
from sipsvc.store import ledger, packages
from sipsvc.store.catalogue import is_used, remove_pricelist
from sipsvc.store.models import Customer, PriceList
from sipsvc.store.sections import PriceListFields


def _check(write: Write, row: PriceList | None, values: Values) -> Values:
    """The accounts of its customers are in its currency, which its packages have among theirs."""
    sold = [] if row is None else packages.sold_by(write.session, row)
    other = next((package for package in sold if values["currency"] not in package.currencies), None)
    if other is not None:
        reason = f"is none of those of the package {other.id} ({other.name}), whose price list it is"
        raise Problem(409, "A price package is sold by it.", [("currency", reason)])
    if row is not None and values["currency"] != row.currency:
        told = packages.abroad(write.session, row.partner, currencies={row.id: values["currency"]})
        if told is not None:
            raise Problem(409, "A customer would be sold in another currency.", [("currency", str(told))])
        customers = write.session.scalars(select(Customer).where(Customer.pricelist == row.id)).all()
        if customer := ledger.unsettled(write.session, [one.id for one in customers], row.currency):
            held = ledger.holding(write.session, customer, row.currency)
            reason = f"is that of the account of customer {customer}, which has {held}"
            raise Problem(409, "Accounts are to be settled first.", [("currency", reason)])
        ledger.recount(write.changes, customers, {row.id: values["currency"]})
    return values


def _remove(write: Write, row: PriceList) -> None:
    package = next(iter(packages.sold_by(write.session, row)), None)
    if package is not None:
        reason = f"is the price list of the package {package.id} ({package.name})"
        raise Problem(409, "A price package is sold by it.", [("id", reason)])
    if is_used(write.session, row):
        raise Problem(409, "Customers are charged by it.", [("id", "is the price list of a customer")])
    remove_pricelist(write.changes, row)


SPEC = Spec(
    kind="pricelist",
    word="price list",
    model=PriceList,
    view=PriceListView,
    settable=PriceListFields,
    create=PriceListCreate,
    patch=PriceListPatch,
    initial={"rows_version": 0},
    check=_check,
    remove=_remove,
    listing=Listing(
        name="term-pricelists",
        model=PriceList,
        view=PriceListView,
        columns={
            "name": TEXT,
            "partner": ID,
            "currency": TEXT,
            "strategy": choice("cheapest", "priority", "weight"),
            "minimum": AMOUNT,
            "created_at": INSTANT,
            "updated_at": INSTANT,
        },
        key=("id", ID),
        order="id",
    ),
)
router = router_of(SPEC)


@router.get(
    "/{id}/used-by",
    summary="Where a price list is used",
    response_model=UsedByView,
    responses=documented(404),
    dependencies=[may("pricelist", "read")],
)
def used_by(session: Database, who: Caller, id: str) -> Response:
    """Its packages, and how many customers have it as theirs: `GET /customers?filter[pricelist][eq]=` lists them."""
    row = SPEC.needed(session, id, who)
    sold = packages.sold_by(session, row)
    found = {"customers": packages.customers_of(session, row), "packages": sold}
    return Answer(200, UsedByView.model_validate(found).model_dump(mode="json")).response()


def _populate(writer: Posting, id: str, body: PopulateIn) -> Response:
    """The rows are made and compared by a job; nothing is in force before the import is applied."""
    return writer.run(lambda write: start_populating(write, SPEC.needed(write.session, id, write.who), body))


router.add_api_route(
    "/{id}/populate",
    _populate,
    methods=["POST"],
    status_code=202,
    summary="Make its rows of what gateways charge: an import, to be looked at and applied",
    response_model=ImportStarted,
    responses={200: {"model": ImportStarted, "description": "What a dry run says."}, **documented(404, 409)},
    dependencies=[may("pricelist", "update")],
)
