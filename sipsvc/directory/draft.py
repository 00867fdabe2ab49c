"""A directory in the making: the tables by id, and with them the tables that are made from their items."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_network
from operator import attrgetter
from typing import Any

from sipsvc.directory.model import (
    Block,
    Customer,
    Directory,
    Gateway,
    Package,
    Platform,
    PriceList,
    ShortCode,
    Trunk,
)
from sipsvc.directory.prefix import PrefixTable
from sipsvc.errors import SipsvcError

Item = Customer | PriceList | Trunk | Gateway | Block | ShortCode | Package
EMPTY = Directory(0, Platform())
TABLES: dict[type, str] = {
    Customer: "customers", PriceList: "pricelists", Trunk: "trunks", Gateway: "gateways", Block: "blocks",
    ShortCode: "shortcodes", Package: "packages",
}  # fmt: skip
MADE = (
    "users", "networks", "certificates", "gateways_of", "limited_of", "addresses", "blocked", "blocked_for", "codes",
    "codes_for", "package_for",
)  # fmt: skip


class DirectoryError(SipsvcError):
    """A change that makes no directory; the one before stays in force."""


class Draft:
    """A table is the old directory's own until it is first changed, then a copy: copying is quick, making is not."""

    def __init__(self, base: Directory) -> None:
        self.platform = None if base is EMPTY else base.platform
        # Tables of rows on their way to the gateway or price list they are for.
        self.rows: dict[tuple[str, str], PrefixTable] = {}
        self._tables: dict[str, dict[Any, Any]] = {name: getattr(base, name) for name in (*TABLES.values(), *MADE)}
        self._copied: set[tuple[str, Any]] = set()
        # What did not fit when it came; what it lacks may have come behind it.
        self._doubtful: dict[tuple[str, str], Customer | Trunk | Package] = {}
        self._dropped: dict[str, set[str]] = {name: set() for name in TABLES.values()}
        # Whose gateways changed.
        self._partners: set[str] = set()

    def place(self, name: str, item: Item) -> None:
        """Put an item in, in the place of the one with its id. Raises ValueError for a source that is no network."""
        self._forget(self._tables[name].get(item.id))
        self._own(name)[item.id] = item
        self._dropped[name].discard(item.id)
        if isinstance(item, Customer | Trunk | Package):
            self._doubtful.pop((name, item.id), None)
            if self._misfit(item):
                self._doubtful[name, item.id] = item
        if isinstance(item, Trunk) and item.enabled:
            for name, key in _sole(item):
                table = self._own(name)
                if (holder := table.get(key)) is not None:
                    self._doubtful["trunks", holder.id] = holder
                table[key] = item
            if item.source:
                length, address = _network(item.source)
                there = self._inner("networks", length)
                listed = [*there.get(address, ()), item]
                there[address] = tuple(sorted(listed, key=_order))
        elif isinstance(item, Gateway):
            if not item.named:  # what a name's packets come from is not known beforehand
                addresses, where = self._own("addresses"), (item.host, item.port)
                addresses[where] = tuple(sorted((*addresses.get(where, ()), item.id)))
            self._partners.add(item.partner)
        elif isinstance(item, Block):
            self._inner(*_blocked(item))[item.prefix] = item
        elif isinstance(item, ShortCode):
            self._inner(*_codes(item))[item.code] = item
        elif isinstance(item, Package):
            for whose in _whose(item):
                self._own("package_for")[whose] = item

    def drop(self, name: str, id: str) -> None:
        """Take an item out, if it is there."""
        item = self._tables[name].get(id)
        if item is not None:
            self._forget(item)
            del self._own(name)[id]
            self._doubtful.pop((name, id), None)
            self._dropped[name].add(id)

    def rows_of(self, name: str, id: str) -> PrefixTable | None:
        """The table a gateway or price list has as things stand."""
        item = self._tables[name].get(id)
        return self.rows.get((name, id)) or (None if item is None else rows_of(item))

    def directory(self, version: int) -> Directory:
        """Raises DirectoryError where items do not fit together."""
        if self.platform is None:
            raise DirectoryError("the platform's settings are not there")
        for (name, owner), rows in self.rows.items():
            item = self._tables[name].get(owner)
            if item is None:
                raise DirectoryError(f"rows for {name[:-1]} {owner}, which is not there")
            self._own(name)[owner] = with_rows(item, rows)
            if isinstance(item, Gateway):
                self._partners.add(item.partner)
        self._check()
        if self._partners:
            self._sort_gateways()
        for name, key in self._copied:
            if key is not None and not self._tables[name][key]:
                del self._tables[name][key]
        return Directory(version, self.platform, **self._tables)

    def _check(self) -> None:
        """What a call takes for granted: that a trunk's customer and a customer's price list are there."""
        for item in self._doubtful.values():
            reason = self._misfit(item)
            if reason:
                raise DirectoryError(reason)
        for needed, name, key in (
            ("pricelists", "customers", "pricelist"),
            ("pricelists", "packages", "pricelist"),
            ("customers", "trunks", "customer"),
        ):
            gone = self._dropped[needed]
            # A scan of all there are, but only where something went that others may lean on.
            if gone and (missed := gone.intersection(map(attrgetter(key), self._tables[name].values()))):
                raise DirectoryError(f"{needed[:-1]} {min(missed)} is gone, but not the {name} that need it")

    def _misfit(self, item: Customer | Trunk | Package) -> str:
        """What is wrong with an item, "" for nothing."""
        if isinstance(item, Customer | Package):
            fits = item.pricelist in self._tables["pricelists"]
            kind = TABLES[type(item)][:-1]
            return "" if fits else f"{kind} {item.id}: its price list {item.pricelist} is not there"
        if item.customer not in self._tables["customers"]:
            return f"trunk {item.id}: its customer {item.customer} is not there"
        for name, key in _sole(item) if item.enabled else ():
            other = self._tables[name].get(key)
            if other is not None and other.id != item.id:
                return f"trunk {item.id}: its {_SOLE[name]} {key} is also that of trunk {other.id}"
        return ""

    def _sort_gateways(self) -> None:
        mine: dict[str, list[Gateway]] = {partner: [] for partner in self._partners}
        for gateway in self._tables["gateways"].values():
            if gateway.partner in mine:
                mine[gateway.partner].append(gateway)
        by_partner, limited = self._own("gateways_of"), self._own("limited_of")
        for partner, gateways in mine.items():
            gateways.sort(key=attrgetter("id"))
            some = [gateway for gateway in gateways if gateway.max_channels or gateway.max_cps]
            for table, listed in ((by_partner, gateways), (limited, some)):
                table.pop(partner, None)
                if listed:
                    table[partner] = tuple(listed)

    def _forget(self, item: Item | None) -> None:
        """Take an item out of the tables that are made from its kind, unless another has taken its place."""
        if isinstance(item, Trunk) and item.enabled:
            for name, key in _sole(item):
                _leave(self._own(name), key, item)
            if item.source:
                length, address = _network(item.source)
                _thin(self._inner("networks", length), address, lambda one: one.id == item.id)
        elif isinstance(item, Gateway):
            if not item.named:
                _thin(self._own("addresses"), (item.host, item.port), lambda one: one == item.id)
            self._partners.add(item.partner)
        elif isinstance(item, Block):
            _leave(self._inner(*_blocked(item)), item.prefix, item)
        elif isinstance(item, ShortCode):
            _leave(self._inner(*_codes(item)), item.code, item)
        elif isinstance(item, Package):
            for whose in _whose(item):
                _leave(self._own("package_for"), whose, item)

    def _own(self, name: str) -> dict[Any, Any]:
        """A table that may be changed."""
        if (name, None) not in self._copied:
            self._copied.add((name, None))
            self._tables[name] = dict(self._tables[name])
        return self._tables[name]

    def _inner(self, name: str, key: Any) -> dict[Any, Any]:
        """A table inside a table that may be changed."""
        outer = self._own(name)
        if (name, key) not in self._copied:
            self._copied.add((name, key))
            outer[key] = dict(outer.get(key, ()))
        inner: dict[Any, Any] = outer[key]
        return inner


def rows_of(item: Gateway | PriceList) -> PrefixTable:
    """What a gateway costs, or what a price list sells at."""
    return item.coverage if isinstance(item, Gateway) else item.rows


def with_rows(item: Gateway | PriceList, rows: PrefixTable) -> Gateway | PriceList:
    """The same with other rows."""
    return replace(item, coverage=rows) if isinstance(item, Gateway) else replace(item, rows=rows)


def _blocked(item: Block) -> tuple[str, str]:
    """The table a block stands in, and the key of the table inside it."""
    return ("blocked_for", item.customer) if item.customer else ("blocked", item.partner)


def _codes(item: ShortCode) -> tuple[str, str]:
    """The same of a short code."""
    return ("codes_for", item.customer) if item.customer else ("codes", item.partner)


def _whose(item: Package) -> list[tuple[str, str]]:
    """The keys a package stands under: a customer's own is no one else's."""
    if item.customer:
        return [("customer", item.customer)]
    return [*(("product", one) for one in item.products), *([("default", item.partner)] if item.default else ())]


def _leave(table: dict[Any, Any], key: Any, item: Any) -> None:
    """Delete `key` if it is `item`'s still."""
    there = table.get(key)
    if there is not None and there.id == item.id:
        del table[key]


def _thin(table: dict[Any, tuple[Any, ...]], key: Any, gone: Callable[[Any], bool]) -> None:
    """Take one out of the tuple at `key`, and the key when none is left."""
    left = tuple(one for one in table[key] if not gone(one))
    if left:
        table[key] = left
    else:
        del table[key]


# What only one trunk may have, by the table that is made of it.
_SOLE = {"users": "username", "certificates": "certificate"}


def _sole(trunk: Trunk) -> list[tuple[str, str]]:
    """What is this trunk's alone: the table and the key there."""
    return [(table, key) for table, name in _SOLE.items() if (key := getattr(trunk, name))]


def _order(trunk: Trunk) -> tuple[bool, int, int, str]:
    """Which of one network is asked first: the one with a port, then the longest tech prefix (SIP-20)."""
    return trunk.port == 0, trunk.port, -len(trunk.tech_prefix), trunk.id


def _network(source: str) -> tuple[tuple[int, int], int]:
    """Where a source network stands in the table of networks. Raises ValueError."""
    network = ip_network(source)
    return (network.version, network.prefixlen), int(network.network_address)
