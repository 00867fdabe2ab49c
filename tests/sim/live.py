"""Changes of the catalogue in the middle of a run: each makes another setting, and the engine is swapped over to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

from tests.sim.plan import GatewaySpec, Row, Setting

Change = Callable[[Random, Setting], Setting]


def draw_changes(seed: int, first: Setting) -> list[tuple[float, Setting]]:
    """When, in milliseconds after the beginning, which setting begins; most runs have some."""
    rng = Random(f"live {seed}")
    found = []
    for at in sorted(rng.uniform(0, 62_000) for _ in range(rng.choice((0, 0, 1, 2, 4, 8, 20)))):
        changed = rng.choice(CHANGES)(rng, first)
        first = replace(changed, version=first.version + 1)
        found.append((at, first))
    return found


def prices(rng: Random, setting: Setting) -> Setting:
    """A customer pays another price for everything that is not expensive, by rows that were not there before."""
    chosen = rng.choice(setting.customers[:2])
    rows = tuple(_dearer(rng, row, setting.version) for row in chosen.rows)
    return _with_customer(setting, chosen.id, rows=rows)


def costs(rng: Random, setting: Setting) -> Setting:
    """A gateway's prices move, and with them the order of hunting."""
    chosen = rng.choice(setting.gateways)
    rows = tuple(
        replace(row, id=row.id + 100_000 * setting.version, rate=f"{float(row.rate) * rng.choice((0.5, 1.5)):.6f}")
        for row in chosen.rows
    )
    return _with_gateways(setting, replace(chosen, rows=rows))


def addresses(rng: Random, setting: Setting) -> Setting:
    """Two gateways move to each other's address. Who lives there stays."""
    one, other = rng.sample(setting.gateways, 2)
    if one.name or other.name:
        return setting  # a name is no address: who it leads to is for the name server to say
    if one.login != other.login:
        return setting  # who lives there keeps asking for its own credentials
    return _with_gateways(
        setting,
        replace(one, address=other.address, dead=other.dead),
        replace(other, address=one.address, dead=one.dead),
    )


def coverage(rng: Random, setting: Setting) -> Setting:
    """Two gateways' tables are exchanged."""
    one, other = rng.sample(setting.gateways, 2)
    return _with_gateways(setting, replace(one, rows=other.rows), replace(other, rows=one.rows))


def suspended(rng: Random, setting: Setting) -> Setting:
    """The first customer is suspended, or let in again; its calls go on."""
    status = setting.customers[0].status
    return _with_customer(setting, setting.customers[0].id, status="active" if status == "suspended" else "suspended")


def dressed(rng: Random, setting: Setting) -> Setting:
    """A gateway wants another prefix."""
    chosen = rng.choice(setting.gateways)
    return _with_gateways(setting, replace(chosen, uri_prefix=rng.choice(("77#", "0011", ""))))


CHANGES: tuple[Change, ...] = (prices, prices, costs, addresses, coverage, suspended, dressed)


def _dearer(rng: Random, row: Row, version: int) -> Row:
    if float(row.rate) > 0.2:
        return row
    return replace(row, id=row.id + 1_000 * version, rate=f"0.{rng.randrange(30_000, 200_000):06d}")


def _with_customer(setting: Setting, name: str, **changes: object) -> Setting:
    customers = tuple(replace(one, **changes) if one.id == name else one for one in setting.customers)  # type: ignore[arg-type]
    return replace(setting, customers=customers)


def _with_gateways(setting: Setting, *changed: GatewaySpec) -> Setting:
    by_id = {one.id: one for one in (*setting.gateways, *changed)}
    return replace(setting, gateways=tuple(by_id.values()))
