"""The catalogue as a whole: what a bundle says becomes what is there; taking away what rows hang on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar

from sqlalchemy import delete, exists, or_, select
from sqlalchemy.orm import Session

from sipsvc.errors import ConfigError
from sipsvc.store import ledger, rates, sections
from sipsvc.store.bundle import Bundle, StoredTrunk
from sipsvc.store.changes import LOCAL, Actor, Changes
from sipsvc.store.models import (
    Block,
    Catalogue,
    CoverageRow,
    Customer,
    Gateway,
    Import,
    ImportFile,
    Job,
    OfPartner,
    Partner,
    PlatformSettings,
    PriceList,
    PricePackage,
    PriceRow,
    Resource,
    ShortCode,
    Token,
    Trunk,
    User,
    WebProduct,
)
from sipsvc.store.numbers import CustomerTables, PartnerTables
from sipsvc.store.pricefile import Row
from sipsvc.store.types import EPOCH

R = TypeVar("R", bound=Resource)
Owned = TypeVar("Owned", bound=OfPartner)
Values = dict[str, Any]


def version(session: Session) -> int:
    """The catalogue's version, 0 before the first change."""
    return session.execute(select(Catalogue.version)).scalar_one_or_none() or 0


def prepare(session: Session) -> None:
    """What is there before any partner: the platform's settings, at their defaults."""
    if session.get(PlatformSettings, 1) is None:
        Changes(session, LOCAL)
        session.add(PlatformSettings(id=1, **sections.Platform().model_dump()))
        session.flush()


def is_empty(session: Session) -> bool:
    """Whether there is no partner yet."""
    return not session.execute(select(exists().select_from(Partner))).scalar_one()


def replace(session: Session, bundle: Bundle, actor: Actor = LOCAL) -> int:
    """Make the platform's settings and blocks, and all of the bundle's partner, what `bundle` says.

    What stays the same is left alone; the partner's other resources go, but a customer that people, tokens or money
    belong to is closed. Returns the catalogue's version; the caller commits. Raises ConfigError where an id is another
    partner's, and where an account with a balance or with a call that is up would change its currency.
    """
    changes = Changes(session, actor)
    platform = session.get(PlatformSettings, 1)
    if platform is None:
        session.add(PlatformSettings(id=1, **bundle.platform.model_dump()))
    else:
        for name, value in bundle.platform.model_dump().items():
            setattr(platform, name, value)
    partner = bundle.partner.id
    own: Values = {"partner": partner}
    _sync(changes, Partner, {partner: {"name": bundle.partner.name}}, {"email": "", "time_zone": "UTC"})
    pricelists = _of_partner(session, PriceList, partner)
    gateways = _of_partner(session, Gateway, partner)
    customers = _of_partner(session, Customer, partner)
    currencies = _currencies(session, partner)
    accounts = [(customer, currencies[customer.pricelist]) for customer in customers]
    products = _of_partner(session, WebProduct, partner)
    trunks = {trunk.id: _trunk(trunk) for trunk in bundle.trunks}
    # First, for a username that goes to another trunk must be free.
    for trunk in _of_partner(session, Trunk, partner):
        if trunk.id not in trunks:
            changes.delete(trunk)
    sold = {item.id: item.model_dump(exclude={"rows", "id"}) for item in bundle.pricelists}
    _sync(changes, PriceList, sold, own | {"rows_version": 0})
    bought = {item.id: _gateway(item) for item in bundle.gateways}
    _sync(changes, Gateway, bought, own | {"rows_version": 0})
    brands = {item.id: item.model_dump(exclude={"id"}) for item in bundle.products}
    _sync(changes, WebProduct, brands, own)
    paying = {item.id: item.model_dump(exclude={"trunk", "id", "block", "shortcode"}) for item in bundle.customers}
    _sync(changes, Customer, paying, own | UNSAID)
    # Those that the bundle has no more too: who has an account is only closed, and keeps what it has.
    _settle(changes, {customer.id: before for customer, before in accounts}, _currencies(session, partner))
    _sync(changes, Trunk, trunks, own | {"enabled": True})
    offered = {item.id: item.model_dump(exclude={"id"}) for item in bundle.packages}
    _sync(changes, PricePackage, offered, own)
    for package in _of_partner(session, PricePackage, partner):
        if package.id not in offered:
            changes.delete(package)
    _replace_numbers(changes, bundle)
    for pricelist_id, rows in bundle.prices.items():
        _replace_rows(changes, session.get_one(PriceList, pricelist_id), rows)
    for gateway_id, rows in bundle.coverage.items():
        _replace_rows(changes, session.get_one(Gateway, gateway_id), rows)
    for customer in customers:
        if customer.id not in paying:
            _end(changes, customer)
    for gateway in gateways:
        if gateway.id not in bought:
            remove_gateway(changes, gateway)
    for pricelist in pricelists:
        if pricelist.id not in sold and not is_used(session, pricelist):
            remove_pricelist(changes, pricelist)
    for product in products:
        if product.id not in brands and not is_signed_up_on(session, product):
            changes.delete(product)
    return changes.directory


UNSAID: Values = {
    "funds": Decimal(0), "contact_first_name": "", "contact_last_name": "", "email": None, "phone": "",
    "billing_address": "", "billing_type": "", "plan": "", "tier": "",
}  # fmt: skip
"""What a bundle does not say of a customer."""
# A code in an id, where it may hold only letters and digits.
CODE_ID = str.maketrans({"*": "s", "#": "h"})


def is_used(session: Session, pricelist: PriceList) -> bool:
    """Whether a customer or a package has it."""
    return any(
        session.execute(select(exists().where(model.pricelist == pricelist.id))).scalar_one()
        for model in (Customer, PricePackage)
    )


def is_signed_up_on(session: Session, product: WebProduct) -> bool:
    """Whether a customer came by it."""
    return session.execute(select(exists().where(Customer.product == product.id))).scalar_one()


def named_by(session: Session, gateway: Gateway) -> str:
    """A short code that leads to it, "" for none."""
    codes = session.execute(select(ShortCode.code, ShortCode.gateways).where(ShortCode.partner == gateway.partner))
    return next((code for code, gateways in codes if gateway.id in gateways), "")


def remove_gateway(changes: Changes, gateway: Gateway) -> None:
    """With its coverage and imports. CDRs hold what they were rated by."""
    changes.session.execute(delete(CoverageRow).where(CoverageRow.gateway == gateway.id))
    _remove_imports(changes.session, "gateway", gateway.id)
    changes.delete(gateway)


def remove_pricelist(changes: Changes, pricelist: PriceList) -> None:
    """With its prices and imports; nobody may be charged by it any more."""
    changes.session.execute(delete(PriceRow).where(PriceRow.pricelist == pricelist.id))
    _remove_imports(changes.session, "pricelist", pricelist.id)
    changes.delete(pricelist)


def _remove_imports(session: Session, target: str, target_id: str) -> None:
    ours = select(Import.id).where(Import.target == target, Import.target_id == target_id)
    session.execute(delete(Job).where(Job.import_id.in_(ours)))
    session.execute(delete(ImportFile).where(ImportFile.import_id.in_(ours)))
    session.execute(delete(Import).where(Import.target == target, Import.target_id == target_id))


def _of_partner(session: Session, model: type[Owned], partner: str) -> list[Owned]:
    return list(session.scalars(select(model).where(model.partner == partner)))


def _gateway(item: sections.Gateway) -> Values:
    values = item.model_dump(exclude={"coverage", "id"})
    return values | {"rewrites": values.pop("rewrite")}


def _trunk(item: StoredTrunk) -> Values:
    values = item._asdict()
    del values["id"]
    return values | {"customer": values.pop("customer_id"), "username": item.username or None}


def _sync(changes: Changes, model: type[R], wanted: Mapping[str, Values], fresh: Values) -> None:
    """Create or update rows by id; `fresh` is what a new one has besides."""
    for row_id, values in wanted.items():
        row = changes.session.get(model, row_id)
        if row is None:
            changes.create(model(id=row_id, **fresh | values))
        elif "partner" in fresh and getattr(row, "partner", None) != fresh["partner"]:
            raise ConfigError([(f"{model.__tablename__} id", row_id, "is taken by another partner")])
        else:
            changes.update(row, values)


def _replace_numbers(changes: Changes, bundle: Bundle) -> None:
    """Blocks of the platform, and the partner's blocks and short codes for all and for single customers."""
    partner = bundle.partner.id
    blocks: list[tuple[dict[str, Values], Values]] = [
        ({f"block-{item.prefix}": item.model_dump() for item in bundle.blocks}, {"partner": None, "customer": None})
    ]
    codes: list[tuple[dict[str, Values], Values]] = []
    levels: list[tuple[str, PartnerTables | CustomerTables, str | None]] = [("p", bundle.partner, None)]
    levels += [("c", customer, customer.id) for customer in bundle.customers]
    for letter, tables, customer in levels:
        own: Values = {"partner": partner, "customer": customer}
        name = f"{letter}-{tables.id}"
        blocks.append(({f"block-{name}-{item.prefix}": item.model_dump() for item in tables.block}, own))
        coded = {item.code.translate(CODE_ID): item.model_dump() for item in tables.shortcode}
        codes.append(({f"code-{name}-{code}": values for code, values in coded.items()}, own))
    ours = or_(Block.partner.is_(None), Block.partner == partner)
    for model, wanted, where in ((Block, blocks, ours), (ShortCode, codes, ShortCode.partner == partner)):
        kept = {row_id for rows, _ in wanted for row_id in rows}
        for row in changes.session.scalars(select(model).where(where)).all():
            if row.id not in kept:
                changes.delete(row)
        for rows, owner in wanted:
            _sync(changes, model, rows, owner)


def _replace_rows(changes: Changes, owner: Gateway | PriceList, rows: Sequence[Row]) -> None:
    difference = rates.compare(changes.session, owner, rows, full=True)
    if difference.empty:
        return
    first = rates.horizon(changes.session, owner) is None
    rates.apply(changes, owner, difference, at=EPOCH if first else changes.at)
    said = f"bundle: {len(difference.new)} new, {len(difference.changed)} changed, {len(difference.gone)} gone"
    changes.rows_changed(owner, said)


def _currencies(session: Session, partner: str) -> dict[str, str]:
    """What the partner's price lists are in, by id."""
    found = session.execute(select(PriceList.id, PriceList.currency).where(PriceList.partner == partner))
    return {row.id: row.currency for row in found}


def _settle(changes: Changes, customers: Mapping[str, str], currencies: Mapping[str, str]) -> None:
    """Accounts follow the currencies of their price lists. `customers` says what each account was in.

    Raises ConfigError where one that has a balance, or a call that is up, would go over to another.
    """
    moved = []
    faults: list[tuple[str, object, str]] = []
    for customer_id, before in customers.items():
        customer = changes.session.get_one(Customer, customer_id)
        after = currencies[customer.pricelist]
        if after == before:
            continue
        moved.append(customer)
        if ledger.unsettled(changes.session, [customer_id], before):
            held = ledger.holding(changes.session, customer_id, before)
            reason = f"is in {after}, and the account of customer {customer_id} has {held}"
            faults.append(("customer pricelist", customer.pricelist, reason))
    if faults:
        raise ConfigError(faults)
    ledger.recount(changes, moved, currencies)


def _end(changes: Changes, customer: Customer) -> None:
    session = changes.session
    there = (select(User.id).where(User.customer == customer.id), select(Token.id).where(Token.customer == customer.id))
    if ledger.has_account(session, customer.id) or any(session.execute(found.limit(1)).first() for found in there):
        changes.update(customer, {"status": "closed"})
    else:
        changes.delete(customer)
