"""Price packages in the database: what is free, whose they are, and what hangs on what (PP-1..6)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, case, false, func, or_, select
from sqlalchemy.orm import Session

from sipsvc.store.changes import utc_now
from sipsvc.store.models import Customer, PriceList, PricePackage, PriceRow, WebProduct
from sipsvc.store.offers import DOMESTIC, PAYG, Fault


class Destination(NamedTuple):
    """Rows of one name."""

    name: str
    prefixes: int


class Free(NamedTuple):
    """What calls of a package are free: so many prefixes, under so many names, of which these are some."""

    prefixes: int
    destinations: int
    some: list[Destination]


def in_force() -> ColumnElement[bool]:
    """The condition that a price is in force or will be."""
    lasts = (PriceRow.valid_to > utc_now()) & (PriceRow.valid_to > PriceRow.valid_from)
    return or_(PriceRow.valid_to.is_(None), lasts)


def free_prefixes(session: Session, package: PricePackage) -> list[str] | None:
    """The prefixes of the rows whose calls are free, in order, `44*` for all that begin so; None for all there are.

    Where no row of another country begins like some, they are put together: a country may have 100,000 prefixes. Rows
    that ended are minded as well, for a directory may have them for as long as the new ones are compiled.
    """
    if package.kind != DOMESTIC:
        return None
    free = case((in_force() & (PriceRow.country == package.country), 1), else_=0)
    prefix = PriceRow.prefix
    rows = select(prefix, func.max(free)).where(PriceRow.pricelist == package.pricelist).group_by(prefix)
    return together(sorted(map(tuple, session.execute(rows))))


def free_among(session: Session, package: PricePackage, prefixes: Collection[str]) -> list[str] | None:
    """Those of `prefixes` whose calls are free, None for all there are."""
    if package.kind != DOMESTIC:
        return None
    ours = (PriceRow.pricelist == package.pricelist, PriceRow.country == package.country, in_force())
    return list(session.scalars(select(PriceRow.prefix).distinct().where(PriceRow.prefix.in_(prefixes), *ours)))


def together(rows: Sequence[tuple[str, int]]) -> list[str]:
    """Prefixes in order, each with whether it is free, as few that say the same of all of them."""
    behind: list[str] = []
    next_not = ""
    for prefix, free in reversed(rows):
        next_not = next_not if free else prefix
        behind.append(next_not)
    found: list[str] = []
    last_not = ""
    for (prefix, free), next_not in zip(rows, reversed(behind), strict=True):
        if not free:
            last_not = prefix
            continue
        if found and found[-1][-1] == "*" and prefix.startswith(found[-1][:-1]):
            continue
        same = max(_alike(prefix, last_not), _alike(prefix, next_not))
        found.append(f"{prefix[: same + 1]}*" if same < len(prefix) else prefix)
    return found


def _alike(one: str, other: str) -> int:
    """How many digits two prefixes have in common from their beginning."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def free(session: Session, package: PricePackage, after: str | None, limit: int) -> Free:
    """Up to `limit` of the names of what is free, behind the name `after`, and how much there is of it."""
    wanted = (PriceRow.pricelist == package.pricelist, in_force(), _is_free(package))
    sums = select(func.count(PriceRow.prefix.distinct()), func.count(PriceRow.name.distinct())).where(*wanted)
    prefixes, names = session.execute(sums).one()
    by_name = select(PriceRow.name, func.count(PriceRow.prefix.distinct())).where(*wanted).group_by(PriceRow.name)
    if after is not None:
        by_name = by_name.where(PriceRow.name > after)
    some = session.execute(by_name.order_by(PriceRow.name).limit(limit))
    return Free(int(prefixes), int(names), [Destination(name, int(count)) for name, count in some])


def _is_free(package: PricePackage) -> ColumnElement[bool]:
    if package.kind == DOMESTIC:
        return PriceRow.country == package.country
    return false() if package.kind == PAYG else PriceRow.prefix != ""


def countries(session: Session, pricelist: str) -> set[str]:
    """The countries that rows of the list are of, "" among them where one says none."""
    return set(session.scalars(select(PriceRow.country).distinct().where(PriceRow.pricelist == pricelist, in_force())))


def taken(
    session: Session, partner: str, own: str | None, products: Sequence[str], customer: str | None, default: bool
) -> Fault | None:
    """The field that says whose a package is to be, where another of the partner's is that already (PP-5, PP-6).

    `own` is the id of the package itself, where it is there.
    """
    for other in session.scalars(select(PricePackage).where(PricePackage.partner == partner)):
        if other.id == own:
            continue
        shared = sorted(set(products).intersection(other.products))
        if shared:
            return "products", f"web product {shared[0]} has the package {other.id} ({other.name}) already"
        if customer is not None and other.customer == customer:
            return "customer", f"has the package {other.id} ({other.name}) already"
        if default and other.default:
            return "default", f"is the package {other.id} ({other.name}) already"
    return None


def of_product(session: Session, product: WebProduct) -> PricePackage | None:
    """The package that is linked to it."""
    theirs = session.scalars(select(PricePackage).where(PricePackage.partner == product.partner))
    return next((package for package in theirs if product.id in package.products), None)


def of_customer(session: Session, customer: Customer) -> PricePackage | None:
    """Its own, before its product's, before the partner's default (PP-6)."""
    single = PricePackage.customer.is_(None) | (PricePackage.customer == customer.id)
    theirs = session.scalars(select(PricePackage).where(PricePackage.partner == customer.partner, single))
    return Offered(theirs).to(customer.id, customer.product)


class Offer(NamedTuple):
    """A package as it is going to be; a `PricePackage` is one too."""

    id: str
    pricelist: str
    customer: str | None
    products: Sequence[str]
    default: bool


P = TypeVar("P", Offer, PricePackage)


class Offered(Generic[P]):
    """A partner's packages by whose they are."""

    def __init__(self, packages: Iterable[P]) -> None:
        self._theirs: dict[tuple[str, str | None], P] = {}
        for package in packages:
            if package.customer is not None:
                self._theirs["customer", package.customer] = package
                continue
            self._theirs |= {("product", product): package for product in package.products}
            if package.default:
                self._theirs["default", None] = package

    def to(self, customer: str | None, product: str | None) -> P | None:
        """What is sold to a customer that came by that product."""
        keys = (("customer", customer), ("product", product), ("default", None))
        return next((self._theirs[key] for key in keys if key in self._theirs), None)


class Payer(NamedTuple):
    """A customer as it is going to be, `id` None for one that is not there yet."""

    id: str | None
    product: str | None
    pricelist: str


class Abroad(NamedTuple):
    """A customer whose account is in another currency than its package sells in."""

    customer: str | None
    package: str
    account: str
    sold: str

    def __str__(self) -> str:
        whose = f"the account of customer {self.customer}" if self.customer is not None else "the account"
        return f"{whose} is in {self.account}, and its package {self.package} sells in {self.sold}"


def abroad(
    session: Session,
    partner: str,
    *,
    put: Offer | None = None,
    without: str | None = None,
    payer: Payer | None = None,
    currencies: Mapping[str, str] | None = None,
) -> Abroad | None:
    """The first customer of a partner that would be sold in another currency than its account's; None for none.

    An account is in the currency of its customer's price list, and what a package sells by has to be in it. What is
    asked is how it would be with the package `put` there, `without` another, with `currencies` of price lists changed,
    or of the one customer `payer` alone.
    """
    stored = session.scalars(select(PricePackage).where(PricePackage.partner == partner))
    offers = [Offer(p.id, p.pricelist, p.customer, p.products, p.default) for p in stored if p.id != without]
    offered = Offered([*(offer for offer in offers if put is None or offer.id != put.id), *([put] if put else [])])
    lists = select(PriceList.id, PriceList.currency).where(PriceList.partner == partner)
    known = {row.id: row.currency for row in session.execute(lists)} | dict(currencies or {})
    everybody = select(Customer.id, Customer.product, Customer.pricelist).where(Customer.partner == partner)
    for one in [payer] if payer is not None else (Payer(*row) for row in session.execute(everybody)):
        package = offered.to(one.id, one.product)
        if package is not None and known[package.pricelist] != known[one.pricelist]:
            return Abroad(one.id, package.id, known[one.pricelist], known[package.pricelist])
    return None


def sold_by(session: Session, pricelist: PriceList) -> list[PricePackage]:
    """The packages whose list it is, in the order of ids."""
    return list(
        session.scalars(select(PricePackage).where(PricePackage.pricelist == pricelist.id).order_by(PricePackage.id))
    )


def customers_of(session: Session, pricelist: PriceList) -> int:
    """How many customers name it as theirs."""
    return session.execute(select(func.count()).where(Customer.pricelist == pricelist.id)).scalar_one()
