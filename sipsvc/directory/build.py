"""From items to the next Directory: what a change touches is made anew, everything else is shared (law 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from sipsvc.directory.draft import EMPTY, TABLES, DirectoryError, Draft, Item, with_rows
from sipsvc.directory.image import Image, PriceRow
from sipsvc.directory.model import (
    Block,
    CallerIds,
    Customer,
    DialPlan,
    Directory,
    Gateway,
    Package,
    Platform,
    PriceList,
    Rewrite,
    ShortCode,
    Timing,
    Trunk,
)
from sipsvc.directory.prefix import PrefixTable
from sipsvc.directory.rules import compile_rule
from sipsvc.directory.schedule import window_of

NO_ROWS = PrefixTable()
SPENDS = ("spend_alert_hour", "spend_alert_day", "spend_cap_hour", "spend_cap_day")
CREDIT = ("credit_limit", "low_balance")
Overlay = Mapping[str, tuple[PriceRow, ...]]


class Builder:
    """Takes items in any order between two commits. Kinds are platform, customer, pricelist, trunk, gateway, block,
    shortcode, package.

    A fault in an item is kept until `commit`, which then raises it and forgets everything since the last commit.
    """

    def __init__(self, directory: Directory = EMPTY) -> None:
        self.directory = directory
        self._draft = Draft(directory)
        self._fault: DirectoryError | None = None

    def begin(self, full: bool) -> None:
        """Forget what was not committed. `full`: what follows is everything there is, and not a change."""
        self._draft = Draft(EMPTY if full else self.directory)
        self._fault = None

    def put(self, kind: str, fields: Mapping[str, Any]) -> None:
        """One item, whole, by the names of its type's fields; money is text, a rewrite (pattern, replacement).

        A gateway or price list has the rows that were given for it, before or after, in this change or an earlier one.
        """
        try:
            item = _MAKERS[kind](fields)
            if isinstance(item, Gateway | PriceList):
                rows = self._draft.rows_of(f"{kind}s", item.id)
                item = item if rows is None else with_rows(item, rows)
            self.place(item)
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            self.refuse(f"{kind} {fields.get('id', '')}: {type(error).__name__} {error}")

    def place(self, item: Item | Platform) -> None:
        """One item as it is, a gateway or price list with its rows."""
        if isinstance(item, Platform):
            self._draft.platform = item
            return
        name = TABLES[type(item)]
        before = getattr(self.directory, name).get(item.id)
        # A full set is mostly what there was: kept, the old one costs nothing to put away.
        self._draft.place(name, before if item == before else item)

    def drop(self, kind: str, id: str) -> None:
        """An item that is no longer there, if it ever was: what came and went between two commits was never seen."""
        name = f"{kind}s"
        if name in TABLES.values():
            self._draft.drop(name, id)
        else:
            self.refuse(f"{kind} {id}: is of no kind that can be dropped")

    def table(self, kind: str, id: str, image: Image | None, overlay: Overlay) -> None:
        """The rows of a gateway or price list: those of `image`, None for the one it has, under `overlay`."""
        if kind not in ("gateway", "pricelist"):
            self.refuse(f"{kind} {id}: has no rows")
        elif image is not None:
            self._draft.rows[f"{kind}s", id] = PrefixTable.opened(image, overlay)
        elif (before := self._draft.rows_of(f"{kind}s", id)) is not None:
            self._draft.rows[f"{kind}s", id] = before.changed(overlay)
        else:
            self.refuse(f"{kind} {id}: has no table to be changed")

    def commit(self, version: int) -> Directory:
        """The directory with all that came since the last commit. Raises DirectoryError, and it stays as it was."""
        draft, fault = self._draft, self._fault
        self.begin(False)
        if fault is not None:
            raise fault
        self.directory = draft.directory(version)
        self._draft = Draft(self.directory)
        return self.directory

    def refuse(self, reason: str) -> None:
        """Let the next commit fail for this, if for nothing before it."""
        self._fault = self._fault or DirectoryError(reason)


def assemble(version: int, platform: Platform, items: Iterable[Item]) -> Directory:
    """A directory of these items. Raises DirectoryError."""
    builder = Builder()
    builder.place(platform)
    for item in items:
        builder.place(item)
    return builder.commit(version)


def _platform(fields: Mapping[str, Any]) -> Platform:
    rates = {currency: Decimal(rate) for currency, rate in fields.get("rates", {}).items()}
    made = {"timing": Timing(**fields["timing"]), "rates": rates, "digest": tuple(fields["digest"])}
    return Platform(**{**fields, **made})


def customer_of(fields: Mapping[str, Any]) -> Customer:
    """A customer of plain values, as `Builder.put` takes them."""
    plan, ids = fields["dial_plan"], fields["caller_ids"]
    dial_plan = DialPlan(**{**plan, "international": tuple(plan["international"])})
    money = {name: _optional(fields.get(name)) for name in (*SPENDS, *CREDIT)}
    money["funds"] = Decimal(fields.get("funds", 0))
    caller_ids = CallerIds(**{**ids, "allowed": tuple(ids["allowed"])})
    return Customer(**{**fields, **money, "dial_plan": dial_plan, "caller_ids": caller_ids})


def _pricelist(fields: Mapping[str, Any]) -> PriceList:
    money = {"minimum": Decimal(fields["minimum"]), "expensive_at": _optional(fields["expensive_at"])}
    return PriceList(**{**fields, **money, "rows": NO_ROWS})


def _gateway(fields: Mapping[str, Any]) -> Gateway:
    rewrites = tuple(Rewrite(pattern, to, compile_rule(pattern)) for pattern, to in fields["rewrites"])
    sets = {name: frozenset(fields[name]) for name in ("caller_prefix_in", "hunt_codes")}
    schedule = tuple(window_of(one) for one in fields.get("schedule", ()))
    return Gateway(**{**fields, **sets, "rewrites": rewrites, "schedule": schedule, "coverage": NO_ROWS})


def _optional(amount: str | None) -> Decimal | None:
    return None if amount is None else Decimal(amount)


def shortcode_of(fields: Mapping[str, Any]) -> ShortCode:
    """A short code of plain values, as `Builder.put` takes them."""
    return ShortCode(**{**fields, "gateways": tuple(fields["gateways"])})


def package_of(fields: Mapping[str, Any]) -> Package:
    """A package of plain values, as `Builder.put` takes them."""
    free = fields.get("free")
    made = {"free": None if free is None else frozenset(free), "products": tuple(fields.get("products", ()))}
    return Package(**{**fields, **made})


_MAKERS: dict[str, Callable[[Mapping[str, Any]], Item | Platform]] = {
    "platform": _platform,
    "customer": customer_of,
    "pricelist": _pricelist,
    "trunk": lambda fields: Trunk(**{**fields, "algorithms": tuple(fields["algorithms"])}),
    "gateway": _gateway,
    "block": lambda fields: Block(**fields),
    "shortcode": shortcode_of,
    "package": package_of,
}
