"""The short code resource: a code stands once for the partner and once for each customer (SIP-25)."""

from __future__ import annotations

from sqlalchemy import select

from portal_api.columns import FLAG, ID, INSTANT, TEXT
from portal_api.listing import Listing
from portal_api.problems import UNUSABLE_FIELDS, Problem
from portal_api.resource import router_of
from portal_api.shortcodes.schemas import ShortCodeCreate, ShortCodePatch, ShortCodeView
from portal_api.spec import Spec, Values, another, delete_row
from portal_api.writes import Write
from sipsvc.store.models import Gateway, ShortCode
from sipsvc.store.numbers import ShortCode as ShortCodeFields


def _check(write: Write, row: ShortCode | None, values: Values) -> Values:
    partner = values["partner"] if row is None else row.partner
    customer = values.get("customer") if row is None else row.customer
    named = values["gateways"]
    theirs = select(Gateway.id).where(Gateway.partner == partner, Gateway.id.in_(named))
    there = set(write.session.scalars(theirs)) if named else set()
    missing = [name for name in named if name not in there]
    if missing:
        raise Problem(422, UNUSABLE_FIELDS, [("gateways", f"there is no gateway {missing[0]!r}")])
    if another(write, ShortCode, row, partner=partner, customer=customer, code=values["code"]):
        raise Problem(409, "That code stands for something already.", [("code", "is taken")])
    return values


SPEC = Spec(
    kind="shortcode",
    word="short code",
    model=ShortCode,
    view=ShortCodeView,
    settable=ShortCodeFields,
    create=ShortCodeCreate,
    patch=ShortCodePatch,
    check=_check,
    remove=delete_row,
    listing=Listing(
        name="shortcodes",
        model=ShortCode,
        view=ShortCodeView,
        columns={
            "code": TEXT,
            "name": TEXT,
            "partner": ID,
            "customer": ID,
            "number": TEXT,
            "emergency": FLAG,
            "created_at": INSTANT,
            "updated_at": INSTANT,
        },
        key=("id", ID),
        order="id",
    ),
)
router = router_of(SPEC)
