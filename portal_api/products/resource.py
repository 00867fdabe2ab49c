"""The web product resource: its price package covers all its currencies, whichever of the two is changed (PP-1)."""

from __future__ import annotations

from portal_api.columns import ID, INSTANT, TEXT, choice
from portal_api.listing import Listing
from portal_api.problems import Problem
from portal_api.products.schemas import ProductCreate, ProductPatch, ProductView
from portal_api.resource import router_of
from portal_api.spec import Spec, Values
from portal_api.writes import Write
from sipsvc.store import packages
from sipsvc.store.catalogue import is_signed_up_on
from sipsvc.store.models import WebProduct
from sipsvc.store.offers import ProductFields


def _check(write: Write, row: WebProduct | None, values: Values) -> Values:
    package = None if row is None else packages.of_product(write.session, row)
    missing = sorted(set(values["currencies"]).difference(package.currencies)) if package is not None else []
    if package is not None and missing:
        reason = f"may not hold {', '.join(missing)}, which its package {package.id} ({package.name}) has not"
        raise Problem(409, "Its price package does not cover that.", [("currencies", reason)])
    return values


def _remove(write: Write, row: WebProduct) -> None:
    package = packages.of_product(write.session, row)
    if package is not None:
        reason = f"is linked to the package {package.id} ({package.name})"
        raise Problem(409, "A price package is for it.", [("id", reason)])
    if is_signed_up_on(write.session, row):
        raise Problem(409, "Customers came by it.", [("id", "is the web product of a customer")])
    write.changes.delete(row)


SPEC = Spec(
    kind="product",
    word="web product",
    model=WebProduct,
    view=ProductView,
    settable=ProductFields,
    create=ProductCreate,
    patch=ProductPatch,
    check=_check,
    remove=_remove,
    listing=Listing(
        name="web-products",
        model=WebProduct,
        view=ProductView,
        columns={
            "name": TEXT,
            "partner": ID,
            "type": choice("business_voip", "residential_voip", "live_support_chat"),
            "created_at": INSTANT,
            "updated_at": INSTANT,
        },
        key=("id", ID),
        order="id",
    ),
)
router = router_of(SPEC)
