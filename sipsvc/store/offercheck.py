"""What the price packages of a bundle must be to each other, to its web products, and to its price lists (PP-1..6)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sipsvc.store import offers
from sipsvc.store.pricefile import Fault, Row

Table = Mapping[str, Any]
Item = tuple[str, Table]


def check_offers(items: Mapping[str, Sequence[Item]], prices: Mapping[str, Sequence[Row]], faults: list[Fault]) -> None:
    """Reads what stands there, not what passed, so that one fault does not hide another."""
    lists, products = _by_id(items["pricelist"]), _by_id(items["product"])
    countries = {name: {row.country for row in rows} for name, rows in prices.items()}
    seen: dict[tuple[str, str], str] = {}
    for where, table in items["package"]:
        linked, customer, default = _texts(table.get("products")), table.get("customer"), table.get("default") is True
        told = offers.whose(linked, customer if isinstance(customer, str) else None, default)
        if told is not None:
            faults.append((f"{where}.{told[0]}", None, told[1]))
        keys: list[tuple[str, Any]] = [("products", name) for name in linked]
        keys += [("customer", customer), ("default", "" if default and told is None else None)]
        for key, value in keys:
            if isinstance(value, str) and (first := seen.setdefault((key, value), where)) != where:
                faults.append((f"{where}.{key}", value or True, f"is that of {first} already"))
        reasons = _currencies(table, _currency(lists, table), [(name, products.get(name, {})) for name in linked])
        faults += [(f"{where}.currencies", None, reason) for reason in reasons if reason]
        country = table.get("country")
        if table.get("kind") == offers.DOMESTIC and isinstance(country, str) and offers.COUNTRY.fullmatch(country):
            there = countries.get(str(table.get("pricelist")))
            if there is not None and country not in there:
                faults.append((f"{where}.country", country, offers.no_such_country(country, there)))

    for where, customer in items["customer"]:
        package = _offered(items["package"], customer)
        own, sold = (_currency(lists, table) for table in (customer, package))
        if own and sold and own != sold:
            reason = f"is in {own}, and the package of this customer sells in {sold}"
            faults.append((f"{where}.pricelist", customer.get("pricelist"), reason))


def _currency(lists: Mapping[str, Table], table: Table | None) -> str:
    """Of the price list that a customer or package names; "" where none is told."""
    pricelist = None if table is None else table.get("pricelist")
    found = lists[pricelist].get("currency", "USD") if isinstance(pricelist, str) and pricelist in lists else ""
    return found if isinstance(found, str) else ""


def _offered(packages: Sequence[Item], customer: Table) -> Table | None:
    """A customer's own package, else its product's, else the default."""
    tables = [table for _, table in packages]
    own = (table for table in tables if table.get("customer") and table.get("customer") == customer.get("id"))
    by_product = (table for table in tables if customer.get("product") in _texts(table.get("products")))
    default = (table for table in tables if table.get("default") is True)
    return next(own, None) or next(by_product, None) or next(default, None)


def _currencies(table: Table, sold: str, products: list[tuple[str, Table]]) -> Iterator[str]:
    """What is wrong with a package's currencies, "" for nothing. Without any, its own check has said so."""
    currencies = _texts(table.get("currencies"))
    if currencies:
        yield offers.not_listed(currencies, sold) if sold else ""
        yield offers.not_covered(currencies, [(name, _texts(one.get("currencies"))) for name, one in products])


def _by_id(items: Iterable[Item]) -> dict[str, Table]:
    return {table["id"]: table for _, table in items if isinstance(table.get("id"), str)}


def _texts(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
