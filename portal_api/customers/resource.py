"""The customer resource: signed up with its first user (IP-8, IP-12), edited within bounds (IP-16), never deleted."""

from __future__ import annotations

from decimal import Decimal

from portal_api.columns import FLAG, ID, INSTANT, INTEGER, TEXT, choice
from portal_api.customers.schemas import (
    CustomerCreate,
    CustomerCreated,
    CustomerPatch,
    CustomerSettable,
    CustomerView,
)
from portal_api.listing import Listing
from portal_api.problems import Problem
from portal_api.resource import PREFIX, router_of
from portal_api.spec import Reference, Spec, Values, insert
from portal_api.users.schemas import UserView
from portal_api.writes import Answer, Write, shown
from sipsvc.store import ledger, packages, signup
from sipsvc.store.models import Customer, PriceList, User, WebProduct
from sipsvc.store.values import Section

SETTLED = "is settled when the customer is signed up"


def _check(write: Write, row: Customer | None, values: Values) -> Values:
    """Of a new one the administrator's name is looked at too; it is no field of the customer."""
    taken: list[tuple[str, str]] = []
    if row is None:
        values = dict(values)
        if signup.username_taken(write.session, values.pop("admin_username")):
            taken.append(("admin_username", "is taken"))
    email = values["email"]
    own = None if row is None else row.id
    if email not in (None, None if row is None else row.email) and signup.email_taken(write.session, email, own):
        taken.append(("email", "is taken"))
    if taken:
        raise Problem(409, "Somebody has that already.", taken)
    if row is None or (row.product, row.pricelist) != (values["product"], values["pricelist"]):
        payer = packages.Payer(own, values["product"], values["pricelist"])
        told = packages.abroad(write.session, values["partner"] if row is None else row.partner, payer=payer)
        if told is not None:
            raise Problem(409, "It would be sold in another currency than its account's.", [("pricelist", str(told))])
    if row is not None and values["pricelist"] != row.pricelist:
        before, after = (ledger.currency_of(write.session, one) for one in (row.pricelist, values["pricelist"]))
        if before != after and ledger.unsettled(write.session, [row.id], before):
            reason = f"is in {after}, and the account has {ledger.holding(write.session, row.id, before)}"
            raise Problem(409, "The account is to be settled first.", [("pricelist", reason)])
        values = values | {"funds": ledger.account_of(write.session, row.id, after).funds}
    return values


def _make(spec: Spec[Customer], write: Write, body: Section) -> Answer:
    """The customer and its administrator, or neither."""
    assert isinstance(body, CustomerCreate)
    customer = insert(spec, write, body)
    admin = User(
        partner=customer.partner,
        customer=customer.id,
        username=body.admin_username,
        email=body.email,
        first_name=body.contact_first_name,
        last_name=body.contact_last_name,
        role="customer_admin",
        extension="",
        caller_ids=[],
    )
    write.changes.create(admin)
    made = spec.show(customer) | {"admin_user": UserView.model_validate(admin).model_dump(mode="json")}
    return shown(201, made, f"{PREFIX}/{spec.path}/{customer.id}")


SPEC = Spec(
    kind="customer",
    word="customer",
    model=Customer,
    view=CustomerView,
    settable=CustomerSettable,
    create=CustomerCreate,
    patch=CustomerPatch,
    created=CustomerCreated,
    initial={"funds": Decimal(0)},
    references={"pricelist": Reference(PriceList, "price list"), "product": Reference(WebProduct, "web product")},
    fixed=dict.fromkeys(("plan", "tier", "billing_type"), SETTLED),
    check=_check,
    make=_make,
    listing=Listing(
        name="customers",
        model=Customer,
        view=CustomerView,
        columns={
            "name": TEXT,
            "partner": ID,
            "status": choice("trial", "active", "suspended", "closed"),
            "pricelist": ID,
            "product": ID,
            "allow_expensive": FLAG,
            "max_channels": INTEGER,
            "contact_last_name": TEXT,
            "email": TEXT,
            "billing_type": choice("usage", "user_bundle", "port_bundle"),
            "plan": choice("standard", "advanced"),
            "tier": choice("basic", "plus", "pro", "enterprise"),
            "created_at": INSTANT,
            "updated_at": INSTANT,
        },
        key=("id", ID),
        order="id",
    ),
)
router = router_of(SPEC)
