"""A price list's rows made from what gateways charge (TG-7, TP-5, TP-6, TP-7)."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import Engine, or_, select
from sqlalchemy.orm import Session

from sipsvc.errors import ConfigError
from sipsvc.imports.minutes import first_minute
from sipsvc.imports.steps import Step, found, record
from sipsvc.rating import ZERO, text
from sipsvc.rating.populate import sell_fee, sell_rate
from sipsvc.store.changes import utc_now
from sipsvc.store.models import CoverageRow, Gateway, PriceList
from sipsvc.store.pricefile import Fault, Row, key
from sipsvc.store.rates import BATCH
from sipsvc.store.values import money

HEADER = (
    "prefix", "origin", "name", "rate", "fee", "initial", "increment", "country", "kind", "source_row", "markup"
)  # fmt: skip
COST_OF = ("cheapest", "dearest")
ONE = Decimal(1)
MOST = Decimal(10**8)


class Options(NamedTuple):
    """What is asked for. An empty filter takes all; `fx` turns a gateway's currency into the list's, by gateway id.

    `cost_of` says whose cost counts where several gateways go to a destination.
    """

    gateways: tuple[str, ...]
    markup: Decimal
    fx: dict[str, Decimal]
    min_rate: Decimal
    max_profit: Decimal | None
    countries: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    name_contains: str = ""
    cost_of: str = "cheapest"
    zero_cost_too: bool = False


def options(asked: dict[str, Any], pricelist: PriceList) -> Options:
    """What an import's `options` (JSON values, decimals as text) mean; floor and cap are the list's where not said."""
    cap = asked.get("max_profit", pricelist.max_profit)
    return Options(
        gateways=tuple(asked["gateways"]),
        markup=money(asked["markup"]),
        fx={gateway: money(factor) for gateway, factor in asked.get("fx", {}).items()},
        min_rate=money(asked.get("min_rate", pricelist.min_rate)),
        max_profit=None if cap is None else money(cap),
        countries=tuple(asked.get("countries", ())),
        kinds=tuple(asked.get("kinds", ())),
        prefixes=tuple(asked.get("prefixes", ())),
        name_contains=asked.get("name_contains", ""),
        cost_of=asked.get("cost_of", "cheapest"),
        zero_cost_too=asked.get("zero_cost_too", False),
    )


def check(session: Session, pricelist: PriceList, asked: Options) -> list[Gateway]:
    """The gateways, in the order of their ids. Raises ConfigError naming the field."""
    faults: list[Fault] = []
    gateways: list[Gateway] = []
    for at, gateway_id in enumerate(asked.gateways):
        gateway = session.get(Gateway, gateway_id)
        if gateway is None or gateway.partner != pricelist.partner:
            faults.append((f"gateways[{at}]", gateway_id, "there is no such gateway"))
        elif gateway in gateways:
            faults.append((f"gateways[{at}]", gateway_id, "stands twice"))
        elif gateway.currency != pricelist.currency and not asked.fx.get(gateway_id):
            reason = f"is needed: the gateway's currency is {gateway.currency}, the list's {pricelist.currency}"
            faults.append((f"fx.{gateway_id}", None, reason))
        else:
            gateways.append(gateway)
    faults += [(f"fx.{other}", text(factor), "is not one of gateways") for other, factor in asked.fx.items()
               if other not in asked.gateways]  # fmt: skip
    if not asked.gateways:
        faults.append(("gateways", None, "names none"))
    if not asked.markup:
        faults.append(("markup", text(asked.markup), "must be above 0"))
    if faults:
        raise ConfigError(faults)
    return sorted(gateways, key=lambda gateway: gateway.id)


def populate(step: Step, import_id: str) -> None:
    """Make the rows, and validate them as if they had been uploaded. Raises ConfigError."""
    with Session(step.engine) as session:
        item = found(session, import_id)
        pricelist = session.get_one(PriceList, item.target_id)
        asked = options(item.options, pricelist)
        gateways = check(session, pricelist, asked)
        session.expunge_all()
    content = _csv(_rows(step.engine, pricelist, gateways, asked))
    values = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    record(step, import_id, pricelist, content, full=item.mode == "full", populated=True, values=values)


class _Cost(NamedTuple):
    row: Row
    minute: Decimal


def _rows(engine: Engine, pricelist: PriceList, gateways: list[Gateway], asked: Options) -> Iterator[Row]:
    """The sell rows, each destination's of the gateway whose cost counts."""
    minute = first_minute()
    costs: dict[str, _Cost] = {}
    dearest = asked.cost_of == "dearest"
    for gateway in gateways:
        fx = asked.fx.get(gateway.id, ONE)
        for row in _coverage(engine, gateway, asked):
            cost = _Cost(_sold(row, pricelist, asked, fx), minute(row) * fx)
            there = costs.setdefault(key(row.prefix, row.origin), cost)
            if cost.minute > there.minute if dearest else cost.minute < there.minute:
                costs[key(row.prefix, row.origin)] = cost
    return (costs[word].row for word in sorted(costs))


def _sold(row: Row, pricelist: PriceList, asked: Options, fx: Decimal) -> Row:
    rate = sell_rate(
        row.rate,
        markup=asked.markup,
        fx=fx,
        min_rate=asked.min_rate,
        max_profit=asked.max_profit,
        zero_cost_too=asked.zero_cost_too,
    )
    fee = sell_fee(row.fee, markup=asked.markup, fx=fx) if row.fee else ZERO
    if rate >= MOST or fee >= MOST:
        reason = f"makes the price of {key(row.prefix, row.origin)} larger than can be stored"
        raise ConfigError([("markup", text(asked.markup), reason)])
    return row._replace(
        rate=rate, fee=fee, initial=pricelist.initial, increment=pricelist.increment, markup=asked.markup
    )


def _coverage(engine: Engine, gateway: Gateway, asked: Options) -> Iterator[Row]:
    """What the gateway charges now, filtered; each row names itself as its source."""
    now = utc_now()
    model = CoverageRow
    statement = select(
        model.prefix, model.origin, model.name, model.rate, model.fee, model.initial, model.increment, model.country,
        model.kind, model.id,
    ).where(
        model.gateway == gateway.id, model.valid_from <= now, or_(model.valid_to.is_(None), model.valid_to > now)
    )  # fmt: skip
    if asked.countries:
        statement = statement.where(model.country.in_(asked.countries))
    if asked.kinds:
        statement = statement.where(model.kind.in_(asked.kinds))
    if asked.prefixes:
        statement = statement.where(or_(*(model.prefix.startswith(one, autoescape=True) for one in asked.prefixes)))
    if asked.name_contains:
        statement = statement.where(model.name.icontains(asked.name_contains, autoescape=True))
    with (
        engine.connect() as connection,
        connection.execute(statement, execution_options={"yield_per": BATCH}) as found,
    ):
        for cells in found:
            yield Row(*cells)


def _csv(rows: Iterator[Row]) -> bytes:
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(HEADER)
    for row in rows:
        amounts = {name: text(getattr(row, name)) for name in ("rate", "fee", "markup")}
        writer.writerow((row._asdict() | amounts)[name] for name in HEADER)
    return file.getvalue().encode()
