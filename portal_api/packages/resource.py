"""The price package resource: whose it is (PP-6), in which currencies (PP-1), and what is free by it (PP-4, PP-5)."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from fastapi.responses import Response
from sqlalchemy import select

from portal_api import cursors
from portal_api.columns import FLAG, ID, INSTANT, INTEGER, TEXT, choice
from portal_api.context import Caller, Database, may
from portal_api.listing import Listing
from portal_api.packages.schemas import FreeView, PackageCreate, PackagePatch, PackageSettable, PackageView
from portal_api.problems import UNUSABLE_FIELDS, Problem, documented
from portal_api.resource import router_of
from portal_api.schemas import ListQuery
from portal_api.spec import Reference, Spec, Values, delete_row
from portal_api.writes import Answer, Write
from sipsvc.store import offers, packages
from sipsvc.store.models import PriceList, PricePackage, WebProduct

OTHER_CURRENCY = "A customer would be sold in another currency than its account's."


def _check(write: Write, row: PricePackage | None, values: Values) -> Values:
    session = write.session
    partner = values["partner"] if row is None else row.partner
    customer = values.get("customer") if row is None else row.customer
    named, default = values["products"], values["default"]
    linked = session.scalars(select(WebProduct).where(WebProduct.partner == partner, WebProduct.id.in_(named))).all()
    missing = [name for name in named if name not in {product.id for product in linked}]
    if missing:
        raise Problem(422, UNUSABLE_FIELDS, [("products", f"there is no web product {missing[0]!r}")])
    pricelist = session.get_one(PriceList, values["pricelist"])
    country = values["country"]
    # What was right when it was set may stay when the rows have gone.
    asked = country and (row is None or (row.country, row.pricelist) != (country, pricelist.id))
    there = packages.countries(session, pricelist.id) if asked else {country}
    unlisted = offers.not_listed(values["currencies"], pricelist.currency)
    faults = [
        offers.whose(named, customer, default),
        ("currencies", unlisted) if unlisted else None,
        None if country in there else ("country", offers.no_such_country(country, there)),
    ]
    if any(faults):
        raise Problem(422, UNUSABLE_FIELDS, [fault for fault in faults if fault is not None])
    uncovered = offers.not_covered(values["currencies"], ((product.id, product.currencies) for product in linked))
    if uncovered:
        raise Problem(409, "A web product has more currencies.", [("currencies", uncovered)])
    taken = packages.taken(session, partner, None if row is None else row.id, named, customer, default)
    if taken is not None:
        raise Problem(409, "There is a package for that already.", [taken])
    # An id that is no package's yet, for one that has none before it is made.
    offer = packages.Offer("" if row is None else row.id, pricelist.id, customer, named, default)
    told = packages.abroad(session, partner, put=offer)
    if told is not None:
        raise Problem(409, OTHER_CURRENCY, [("pricelist", str(told))])
    return values


def _remove(write: Write, row: PricePackage) -> None:
    told = packages.abroad(write.session, row.partner, without=row.id)
    if told is not None:
        raise Problem(409, OTHER_CURRENCY, [("id", f"without it {told}")])
    delete_row(write, row)


SPEC = Spec(
    kind="package",
    word="price package",
    model=PricePackage,
    view=PackageView,
    settable=PackageSettable,
    create=PackageCreate,
    patch=PackagePatch,
    references={"pricelist": Reference(PriceList, "price list")},
    check=_check,
    remove=_remove,
    listing=Listing(
        name="price-packages",
        model=PricePackage,
        view=PackageView,
        columns={
            "name": TEXT,
            "partner": ID,
            "customer": ID,
            "kind": choice("payg", "unlimited_domestic", "unlimited_international"),
            "pricelist": ID,
            "country": ID,
            "minutes": INTEGER,
            "default": FLAG,
            "created_at": INSTANT,
            "updated_at": INSTANT,
        },
        key=("id", ID),
        order="id",
    ),
)
router = router_of(SPEC)


@router.get(
    "/{id}/free-destinations",
    summary="What calls are free by a price package",
    response_model=FreeView,
    responses=documented(404),
    dependencies=[may("package", "read")],
)
def list_free(session: Database, who: Caller, id: str, query: Annotated[ListQuery, Query()]) -> Response:
    """The names that the free rows of its price list have, in order, and how many prefixes there are of each."""
    package = SPEC.needed(session, id, who)
    after = None if query.after is None else _place(query.after)
    found = packages.free(session, package, after, query.size + 1)
    shown = found.some[: query.size]
    following = cursors.encode("free", shown[-1].name) if len(found.some) > query.size else None
    data = [one._asdict() for one in shown]
    counts = {"prefixes": found.prefixes, "destinations": found.destinations}
    return Answer(200, counts | {"data": data, "next": following}).response()


def _place(cursor: str) -> str:
    (name,) = cursors.decode(cursor, "free", 1)
    if type(name) is not str or "\0" in name:
        raise cursors.refused()
    return name
