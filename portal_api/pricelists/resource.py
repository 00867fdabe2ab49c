"""The price list resource, and its rows as a list of their own."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from fastapi.responses import Response

from portal_api.columns import AMOUNT, ID, INSTANT, ROW, TEXT, choice
from portal_api.context import Caller, Database, may, typed
from portal_api.listing import Listing
from portal_api.negotiation import CSV, CSV_TOO, JSON, offers
from portal_api.pricelists.schemas import PriceListCreate, PriceListPatch, PriceListView, PriceView
from portal_api.problems import Problem, documented
from portal_api.resource import router_of
from portal_api.spec import Spec
from portal_api.writes import Write
from sipsvc.store.catalogue import is_used, remove_pricelist
from sipsvc.store.models import PriceList, PriceRow
from sipsvc.store.sections import PriceListFields


def _remove(write: Write, row: PriceList) -> None:
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
    remove=_remove,
    listing=Listing(
        name="term-pricelists",
        model=PriceList,
        view=PriceListView,
        columns={
            "name": TEXT,
            "partner": ID,
            "currency": TEXT,
            "strategy": choice("cheapest", "priority"),
            "minimum": AMOUNT,
            "created_at": INSTANT,
            "updated_at": INSTANT,
        },
        key=("id", ID),
        order="id",
    ),
)
PRICES = Listing(
    name="prices",
    model=PriceRow,
    view=PriceView,
    columns={"prefix": TEXT, "origin": TEXT, "name": TEXT, "rate": AMOUNT, "valid_from": INSTANT},
    key=("id", ROW),
    order="prefix,origin",
)
router = router_of(SPEC)


@offers(JSON, CSV)
def _list_prices(request: Request, session: Database, who: Caller, id: str, query: Any) -> Response:
    SPEC.needed(session, id, who)
    # Those that are in force, or will be, for good.
    return PRICES.answer(request, session, who, query, PriceRow.pricelist == id, PriceRow.valid_to.is_(None))


router.add_api_route(
    "/{id}/prices",
    typed(_list_prices, query=PRICES.query),
    summary="The rows of one price list",
    response_model=PRICES.page,
    responses={200: CSV_TOO, **documented(404)},
    dependencies=[may("pricelist", "read")],
)
