"""From the database to the items a directory is made of: plain values, as the builder takes and JSON holds them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Connection, Select, func, or_, select, type_coerce
from sqlalchemy.orm import Session

from sipsvc import directory as d
from sipsvc.directory.build import CREDIT, SPENDS
from sipsvc.directory.image import Cells, compile_image
from sipsvc.errors import ConfigError
from sipsvc.store import models as m
from sipsvc.store import packages
from sipsvc.store.changes import HANG_UP, utc_now
from sipsvc.store.offers import DOMESTIC
from sipsvc.store.schedule import compiled
from sipsvc.store.types import to_ms

Fields = dict[str, Any]
BATCH = 500
# Prices that ended are left out, but not those a clock set back a little would ask for.
PAST_MS = 3_600_000


class State(NamedTuple):
    """The catalogue's version, and when the change that made it began, UTC milliseconds."""

    version: int
    changed_at: int


def state(session: Session) -> State:
    """Raises ConfigError when no catalogue was ever loaded."""
    found = session.execute(select(m.Catalogue.version, m.Catalogue.changed_at)).one_or_none()
    if found is None or session.get(m.PlatformSettings, 1) is None:
        raise ConfigError([("catalogue", None, "none is loaded yet; load a bundle first")])
    return State(found[0], to_ms(found[1]))


def platform(session: Session) -> Fields:
    """The platform's settings."""
    row = session.get_one(m.PlatformSettings, 1)
    times = ("t1_ms", "t2_ms", "t4_ms", "durable_wait_ms", "min_se_s", "session_expires_s")
    timing = {name: getattr(row, name) for name in times} | {"max_call_ms": row.max_call_s * 1000}
    return {
        "realm": row.realm,
        "nonce_lifetime_ms": row.nonce_lifetime_s * 1000,
        "timing": timing,
        "digest": row.digest,
        "rates": row.rates,
    }


def items(session: Session, kind: str, ids: Collection[str] | None = None) -> Iterator[Fields]:
    """The items of a kind, those with `ids` or all, in the order of ids."""
    model, fields = KINDS[kind]
    rows = _items(session, model, ids)
    return _whole_packages(session, rows) if kind == "package" else map(fields, rows)


def _items(session: Session, model: Any, ids: Collection[str] | None) -> Iterator[Any]:
    if ids is None:
        yield from session.scalars(select(model).order_by(model.id).execution_options(yield_per=BATCH))
        return
    left = iter(sorted(ids))
    while batch := list(islice(left, BATCH)):
        yield from session.scalars(select(model).where(model.id.in_(batch)).order_by(model.id))


def _whole_packages(session: Session, rows: Iterable[m.PricePackage]) -> Iterator[Fields]:
    """With what is free by them, which is looked for once for each list and country."""
    found: dict[tuple[str, str], list[str] | None] = {}
    for row in rows:
        key = row.pricelist, row.country
        if key not in found:
            found[key] = packages.free_prefixes(session, row)
        yield _package(row) | {"free": found[key]}


def changed(session: Session, since: int) -> dict[str, set[str]]:
    """The ids of the items of each kind that were changed, made or deleted after version `since`."""
    found: dict[str, set[str]] = {kind: set() for kind in KINDS}
    told = select(m.History.kind, m.History.resource_id).distinct()
    for kind, resource in session.execute(told.where(m.History.directory > since, m.History.kind.in_(KINDS))):
        found[kind].add(resource)
    return found


def not_free_as(session: Session, sent: Mapping[str, d.Package], since: int, limit: int) -> Iterator[str]:
    """Of the packages `sent` those that other rows are free by now, for rows of their lists changed after `since`.

    With more changed prefixes than `limit` that is taken for granted.
    """
    lists = select(m.PriceList.id).where(m.PriceList.rows_version > since)
    domestic = select(m.PricePackage).where(m.PricePackage.kind == DOMESTIC, m.PricePackage.pricelist.in_(lists))
    prefixes: dict[str, list[str]] = {}
    free: dict[tuple[str, str], set[str]] = {}
    for row in session.scalars(domestic).all():
        before, pricelist = sent.get(row.id), row.pricelist
        if pricelist not in prefixes:
            prefixes[pricelist] = changed_prefixes(session.connection(), "pricelist", pricelist, since, limit + 1)
        changed = prefixes[pricelist]
        if before is None or len(changed) > limit:
            yield row.id
            continue
        key = pricelist, row.country
        if key not in free:
            free[key] = set(packages.free_among(session, row, changed) or ())
        if any((prefix in free[key]) != before.covers(prefix) for prefix in changed):
            yield row.id


def hung_up(session: Session, since: int, after: datetime) -> list[str]:
    """The calls whose end an administrator asked for after version `since` and not before `after`."""
    asked = select(m.History.resource_id).where(m.History.kind == "cdr", m.History.action == HANG_UP)
    return list(session.scalars(asked.where(m.History.directory > since, m.History.at >= after).distinct()))


def rows_versions(session: Session) -> dict[tuple[str, str], int]:
    """For each gateway and price list, by (kind, id), the version at which its rows last changed."""
    found = {}
    for kind in ROWS:
        owner = KINDS[kind][0]
        for id_, version in session.execute(select(owner.id, owner.rows_version)):
            found[kind, id_] = version
    return found


def rows(connection: Connection, kind: str, owner: str) -> Iterator[Cells]:
    """All rows of a gateway or price list that are in force, or will be, as an image is compiled from them."""
    _, column = ROWS[kind]
    found = connection.execution_options(yield_per=10_000).execute(_alive(kind).where(column == owner))
    yield from map(tuple, found)


def count_rows(connection: Connection, kind: str, owner: str) -> int:
    """How many rows there are, those that ended among them."""
    _, column = ROWS[kind]
    return int(connection.execute(select(func.count()).where(column == owner)).scalar_one())


def changed_prefixes(connection: Connection, kind: str, owner: str, since: int, limit: int) -> list[str]:
    """Up to `limit` prefixes that have a row written after version `since`."""
    model, column = ROWS[kind]
    found = select(model.prefix).distinct().where(column == owner, model.changed > since).limit(limit)
    return list(connection.scalars(found))


def groups(connection: Connection, kind: str, owner: str, prefixes: Iterable[str]) -> Iterator[tuple[str, list[Cells]]]:
    """Each of `prefixes` with its rows, none where it has none left."""
    model, column = ROWS[kind]
    left = iter(prefixes)
    while batch := list(islice(left, BATCH)):
        wanted = _alive(kind).where(column == owner, model.prefix.in_(batch))
        found = sorted(map(tuple, connection.execute(wanted)), key=itemgetter(1))
        there = {prefix: list(group) for prefix, group in groupby(found, itemgetter(1))}
        for prefix in batch:
            yield prefix, there.get(prefix, [])


def for_call(session: Session, customer: str, number: Callable[[d.Customer, d.Directory], str]) -> d.Directory:
    """As much of the catalogue as decides one customer's call to `number(customer, short codes)`, "" where it is none.

    Prices are there of all times, but of the number's prefixes only: so it takes no longer for a list of 500,000 rows
    than for one of ten. Without that customer there is none in it.
    """
    builder = d.Builder()
    builder.place(d.Platform())
    row = session.get(m.Customer, customer)
    if session.get(m.PlatformSettings, 1) is not None:
        builder.put("platform", platform(session))
    if row is not None:
        found = _of_scope(session, m.ShortCode, row)
        codes = [d.shortcode_of(fields) for fields in items(session, "shortcode", found)]
        digits = number(d.customer_of(_customer(row)), d.assemble(0, d.Platform(), codes))
        prefixes = [digits[:length] for length in range(1, len(digits) + 1)]
        offered = session.scalars(_scoped(m.PricePackage, m.PricePackage, row)).all()
        gateways = session.scalars(select(m.Gateway.id).where(m.Gateway.partner == row.partner)).all()
        wanted: dict[str, Sequence[str]] = {
            "pricelist": sorted({row.pricelist, *(package.pricelist for package in offered)}),
            "gateway": gateways,
            "customer": [row.id],
            "trunk": session.scalars(select(m.Trunk.id).where(m.Trunk.customer == row.id)).all(),
            "block": _of_scope(session, m.Block, row, m.Block.prefix.in_(prefixes)),
            "shortcode": found,
        }
        for package in offered:
            builder.put("package", _package(package) | {"free": packages.free_among(session, package, prefixes)})
        for kind, ids in wanted.items():
            for fields in items(session, kind, ids):
                builder.put(kind, fields)
            if kind in ROWS:
                for owner, cells in _of_prefixes(session.connection(), kind, ids, prefixes).items():
                    builder.table(kind, owner, d.Image(compile_image(cells)), {})
    return builder.commit(session.execute(select(m.Catalogue.version)).scalar_one_or_none() or 0)


def _of_scope(session: Session, model: Any, customer: m.Customer, *more: ColumnElement[bool]) -> Sequence[str]:
    """The ids of what is the platform's, the customer's partner's or its own, and of no other customer."""
    return session.scalars(_scoped(model.id, model, customer).where(*more)).all()


def _scoped(wanted: Any, model: Any, customer: m.Customer) -> Select[Any]:
    whose = or_(model.partner.is_(None), model.partner == customer.partner)
    single = or_(model.customer.is_(None), model.customer == customer.id)
    return select(wanted).where(whose, single)


def _of_prefixes(
    connection: Connection, kind: str, owners: Sequence[str], prefixes: Sequence[str]
) -> dict[str, list[Cells]]:
    """The rows of some prefixes by owner, whenever they are or were in force."""
    model, column = ROWS[kind]
    found: dict[str, list[Cells]] = {}
    wanted = _cells(kind).add_columns(column).where(column.in_(owners), model.prefix.in_(prefixes))
    for *cells, owner in connection.execute(wanted):
        found.setdefault(owner, []).append(tuple(cells))
    return found


def _alive(kind: str) -> Select[Any]:
    """Rows that may still be asked for."""
    model, _ = ROWS[kind]
    begins, ends = (type_coerce(column, BigInteger) for column in (model.valid_from, model.valid_to))
    past = to_ms(utc_now()) - PAST_MS
    return _cells(kind).where(or_(model.valid_to.is_(None), (ends > begins) & (ends > past)))


def _cells(kind: str) -> Select[Any]:
    """The columns of Cells as the database has them."""
    model, _ = ROWS[kind]
    begins, ends = (type_coerce(column, BigInteger) for column in (model.valid_from, model.valid_to))
    return select(
        model.id,
        model.prefix,
        model.origin,
        model.name,
        type_coerce(model.rate, BigInteger),
        type_coerce(model.fee, BigInteger),
        model.initial,
        model.increment,
        begins,
        func.coalesce(ends, d.FOREVER),
    )


def _customer(row: m.Customer) -> Fields:
    return {
        "id": row.id,
        "name": row.name,
        "partner": row.partner,
        "status": row.status,
        "pricelist": row.pricelist,
        "allow_expensive": row.allow_expensive,
        "max_channels": row.max_channels,
        "max_cps": row.max_cps,
        "busy_status": row.busy_status,
        "dial_plan": row.dial_plan,
        "caller_ids": row.caller_ids,
        **{name: _optional(getattr(row, name)) for name in (*SPENDS, *CREDIT)},
        "zone": row.time_zone,
        "prepaid": row.prepaid,
        "funds": str(row.funds),
        "product": row.product or "",
    }


def _trunk(row: m.Trunk) -> Fields:
    same = (
        "id", "customer", "source", "port", "ha1_md5", "enabled", "max_channels", "ha1_sha256", "algorithms",
        "tech_prefix", "certificate",
    )  # fmt: skip
    return {name: getattr(row, name) for name in same} | {"username": row.username or ""}


def _gateway(row: m.Gateway) -> Fields:
    same = (
        "id", "name", "partner", "host", "port", "currency", "priority", "enabled", "trusted", "remote_party_id",
        "p_asserted_identity", "caller_prefix", "caller_prefix_in", "uri_prefix", "uri_prefix_escaped", "hunt_codes",
        "provisional_timeout_ms", "transport", "tcp_if_large", "auth_username", "auth_password", "auth_realm",
        "plus_in_caller", "diversion", "max_channels", "max_cps", "weight", "ping_interval_s", "down_after", "up_after",
        "registration", "registration_expires_s",
    )  # fmt: skip
    return {name: getattr(row, name) for name in same} | {
        "rewrites": [[rule["pattern"], rule["replacement"]] for rule in row.rewrites],
        "ring_timeout_ms": row.ring_timeout_s * 1000,
        "schedule": [compiled(text, utc_now().year) for text in row.schedule],
    }


def _pricelist(row: m.PriceList) -> Fields:
    same = ("id", "name", "partner", "currency", "strategy", "expected_s", "allow_loss")
    return {name: getattr(row, name) for name in same} | {
        "minimum": str(row.minimum),
        "expensive_at": _optional(row.expensive_at),
    }


def _optional(amount: Decimal | None) -> str | None:
    return None if amount is None else str(amount)


def _block(row: m.Block) -> Fields:
    same = ("id", "prefix", "reason", "action", "liftable", "lift_expensive")
    return {name: getattr(row, name) for name in same} | {"partner": row.partner or "", "customer": row.customer or ""}


def _shortcode(row: m.ShortCode) -> Fields:
    same = ("id", "partner", "code", "name", "number", "gateways", "dial", "emergency")
    return {name: getattr(row, name) for name in same} | {"customer": row.customer or ""}


def _package(row: m.PricePackage) -> Fields:
    """Without what is free by it."""
    same = ("id", "name", "partner", "kind", "pricelist", "minutes", "products", "default")
    return {name: getattr(row, name) for name in same} | {"customer": row.customer or ""}


# In an order in which each finds what it needs when it is put into a directory.
KINDS: dict[str, tuple[Any, Callable[[Any], Fields]]] = {
    "pricelist": (m.PriceList, _pricelist),
    "gateway": (m.Gateway, _gateway),
    "customer": (m.Customer, _customer),
    "trunk": (m.Trunk, _trunk),
    "block": (m.Block, _block),
    "shortcode": (m.ShortCode, _shortcode),
    "package": (m.PricePackage, _package),
}
# The rows of each kind that has them, and the column that says whose they are.
ROWS: dict[str, tuple[Any, Any]] = {
    "pricelist": (m.PriceRow, m.PriceRow.pricelist),
    "gateway": (m.CoverageRow, m.CoverageRow.gateway),
}
