"""From the database to the immutable Directory that calls are decided on (law 3)."""

from __future__ import annotations

from decimal import Decimal

from sqlalchemy import BigInteger, Connection, Engine, select, type_coerce
from sqlalchemy.orm import InstrumentedAttribute, Session

from sipsvc import directory as d
from sipsvc.directory.rules import compile_rule
from sipsvc.errors import ConfigError
from sipsvc.store import models as m
from sipsvc.store.database import one_state
from sipsvc.store.types import from_scaled


def load_directory(engine: Engine) -> d.Directory:
    """The whole catalogue, as it stood at one instant. Raises ConfigError when none is loaded."""
    with one_state(engine) as connection, Session(connection) as session:
        catalogue = session.get(m.Catalogue, 1)
        platform = session.get(m.PlatformSettings, 1)
        if catalogue is None or platform is None:
            raise ConfigError([("catalogue", None, "none is loaded yet; load a bundle first")])
        prices, coverage = _price_tables(connection), _coverage_tables(connection)
        return d.Directory(
            version=catalogue.version,
            platform=_platform(platform),
            customers={row.id: _customer(row) for row in session.scalars(select(m.Customer).order_by(m.Customer.id))},
            trunks=tuple(
                _trunk(row) for row in session.scalars(select(m.Trunk).order_by(m.Trunk.customer, m.Trunk.id))
            ),
            gateways={
                row.id: _gateway(row, coverage.get(row.id) or d.PrefixTable(()))
                for row in session.scalars(select(m.Gateway).order_by(m.Gateway.id))
            },
            pricelists={
                row.id: _pricelist(row, prices.get(row.id) or d.PrefixTable(()))
                for row in session.scalars(select(m.PriceList).order_by(m.PriceList.id))
            },
            blocks={row.prefix: row.reason for row in session.scalars(select(m.Block))},
        )


def _price_tables(connection: Connection) -> dict[str, d.PrefixTable]:
    return _tables(connection, m.PriceRow, m.PriceRow.pricelist)


def _coverage_tables(connection: Connection) -> dict[str, d.PrefixTable]:
    return _tables(connection, m.CoverageRow, m.CoverageRow.gateway)


def _tables(
    connection: Connection, model: type[m.PriceRow] | type[m.CoverageRow], owner: InstrumentedAttribute[str]
) -> dict[str, d.PrefixTable]:
    """A table for each owner. Amounts and names are shared: a list of 200,000 rows has a few hundred of each."""
    columns = (
        owner,
        model.id,
        model.prefix,
        model.name,
        type_coerce(model.rate, BigInteger),
        type_coerce(model.fee, BigInteger),
        model.initial,
        model.increment,
        model.origin,
    )
    amounts: dict[int, Decimal] = {}
    names: dict[str, str] = {}
    rows: dict[str, list[d.PriceRow]] = {}
    found = connection.execute(select(*columns).where(model.valid_to.is_(None)).order_by(model.id))
    for owner_id, row_id, prefix, name, rate, fee, initial, increment, origin in found.fetchall():
        if rate not in amounts:
            amounts[rate] = from_scaled(rate)
        if fee not in amounts:
            amounts[fee] = from_scaled(fee)
        row = d.PriceRow(
            row_id, prefix, names.setdefault(name, name), amounts[rate], amounts[fee], initial, increment, origin
        )
        there = rows.get(owner_id)
        if there is None:
            rows[owner_id] = [row]
        else:
            there.append(row)
    return {owner_id: d.PrefixTable(listed) for owner_id, listed in rows.items()}


def _platform(row: m.PlatformSettings) -> d.Platform:
    return d.Platform(
        realm=row.realm,
        nonce_lifetime_ms=row.nonce_lifetime_s * 1000,
        timing=d.Timing(
            t1_ms=row.t1_ms,
            t2_ms=row.t2_ms,
            t4_ms=row.t4_ms,
            max_call_ms=row.max_call_s * 1000,
            durable_wait_ms=row.durable_wait_ms,
        ),
    )


def _customer(row: m.Customer) -> d.Customer:
    return d.Customer(
        id=row.id,
        name=row.name,
        partner=row.partner,
        status=row.status,
        pricelist=row.pricelist,
        allow_expensive=row.allow_expensive,
        max_channels=row.max_channels,
        dial_plan=d.DialPlan(**row.dial_plan | {"international": tuple(row.dial_plan["international"])}),
        caller_ids=d.CallerIds(**row.caller_ids | {"allowed": tuple(row.caller_ids["allowed"])}),
    )


def _trunk(row: m.Trunk) -> d.Trunk:
    return d.Trunk(
        id=row.id,
        customer=row.customer,
        source=row.source,
        port=row.port,
        username=row.username or "",
        ha1_md5=row.ha1_md5,
        enabled=row.enabled,
    )


def _gateway(row: m.Gateway, coverage: d.PrefixTable) -> d.Gateway:
    return d.Gateway(
        id=row.id,
        name=row.name,
        host=row.host,
        port=row.port,
        currency=row.currency,
        coverage=coverage,
        priority=row.priority,
        enabled=row.enabled,
        trusted=row.trusted,
        remote_party_id=row.remote_party_id,
        p_asserted_identity=row.p_asserted_identity,
        caller_prefix=row.caller_prefix,
        caller_prefix_in=frozenset(row.caller_prefix_in),
        uri_prefix=row.uri_prefix,
        uri_prefix_escaped=row.uri_prefix_escaped,
        rewrites=tuple(_rewrite(row.id, rule) for rule in row.rewrites),
        hunt_codes=frozenset(row.hunt_codes),
        provisional_timeout_ms=row.provisional_timeout_ms,
        ring_timeout_ms=row.ring_timeout_s * 1000,
    )


def _rewrite(gateway: str, rule: dict[str, str]) -> d.Rewrite:
    try:
        regex = compile_rule(rule["pattern"])
    except ValueError as error:
        # Checked when it was stored, so only another version of RE2 can come to this.
        raise ConfigError([(f"gateway {gateway} rewrites", rule["pattern"], str(error))]) from None
    return d.Rewrite(pattern=rule["pattern"], replacement=rule["replacement"], regex=regex)


def _pricelist(row: m.PriceList, rows: d.PrefixTable) -> d.PriceList:
    return d.PriceList(
        id=row.id,
        name=row.name,
        currency=row.currency,
        rows=rows,
        minimum=row.minimum,
        expensive_at=row.expensive_at,
        strategy=row.strategy,
    )
