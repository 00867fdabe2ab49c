"""The bundle `sipsvc load` reads: one TOML file and the CSV files it names, valid as a whole or refused as a whole.

Every fault is collected before anything is refused; `config/README.md` documents the keys.
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from sipsvc.errors import ConfigError
from sipsvc.settings import key_of, read_toml, reason_of
from sipsvc.store import offers
from sipsvc.store.addresses import at_port, default_port, is_address, network
from sipsvc.store.blockfile import read_blocks
from sipsvc.store.numbers import Block, BlockList, CustomerTables, PartnerTables, block_at_level
from sipsvc.store.offercheck import check_offers
from sipsvc.store.pricefile import Fault, Row, read_rows
from sipsvc.store.sections import Gateway, Platform, PriceList, Trunk, usable
from sipsvc.store.values import Section

RANDOM_PASSWORD = "@random"
SINGLE = ("platform", "partner")
MANY = ("customer", "gateway", "pricelist", "block", "blocklist", "product", "package")
SECRET = ("password", "ha1_md5", "ha1_sha256", "auth_password")

S = TypeVar("S", bound=Section)
Item = tuple[str, dict[str, Any]]


class StoredTrunk(NamedTuple):
    """A trunk as it is kept: no password."""

    id: str
    customer_id: str
    source: str
    port: int
    username: str
    ha1_md5: str
    max_channels: int
    ha1_sha256: str
    algorithms: list[str]
    tech_prefix: str
    certificate: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """A valid catalogue. `prices` and `coverage` hold rows by price list and gateway.

    `made_passwords`, by username, are those of trunks with `@random`: to be shown now or never.
    """

    platform: Platform
    partner: PartnerTables
    customers: list[CustomerTables]
    trunks: list[StoredTrunk]
    gateways: list[Gateway]
    pricelists: list[PriceList]
    blocks: list[Block]
    products: list[offers.Product]
    packages: list[offers.Package]
    prices: dict[str, list[Row]]
    coverage: dict[str, list[Row]]
    made_passwords: dict[str, str] = field(default_factory=dict, repr=False)


def load_bundle(path: str | Path) -> Bundle:
    """Read and check it all. Raises ConfigError with every fault found."""
    path = Path(path)
    raw = read_toml(path, "bundle")
    faults: list[Fault] = [(key, None, "unknown key") for key in raw if key not in SINGLE + MANY]
    platform = _section(Platform, "platform", raw.get("platform", {}), faults)
    partner = _section(PartnerTables, "partner", raw.get("partner", {}), faults)
    items = {key: _items(key, raw.get(key, []), faults) for key in MANY}
    customers = _sections(CustomerTables, items["customer"], faults)
    gateways = _sections(Gateway, items["gateway"], faults)
    pricelists = _sections(PriceList, items["pricelist"], faults)
    blocks = _sections(Block, items["block"], faults)
    blocklists = _sections(BlockList, items["blocklist"], faults)
    products = _sections(offers.Product, items["product"], faults)
    packages = _sections(offers.Package, items["package"], faults)
    _check_unique(items, faults)
    _check_references(items, faults)
    _check_sources(items, faults)
    _check_numbers(raw.get("partner"), items, faults)
    blocks += _listed(path.parent, items["blocklist"], blocklists, {item.prefix for item in blocks}, faults)
    _check_algorithms(platform, items, faults)
    prices = _files(path.parent, items["pricelist"], "rows", 60, faults)
    coverage = _files(path.parent, items["gateway"], "coverage", 1, faults)
    check_offers(items, prices, faults)
    if faults or platform is None or partner is None:
        raise ConfigError(list(dict.fromkeys((where, _printable(value), reason) for where, value, reason in faults)))
    made: dict[str, str] = {}
    return Bundle(
        platform=platform,
        partner=partner,
        customers=customers,
        trunks=[_stored(trunk, owner.id, platform.realm, made) for owner in customers for trunk in owner.trunk],
        gateways=gateways,
        pricelists=pricelists,
        blocks=blocks,
        products=products,
        packages=packages,
        prices=prices,
        coverage=coverage,
        made_passwords=made,
    )


def _section(model: type[S], where: str, raw: Any, faults: list[Fault]) -> S | None:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        for fault in error.errors():
            loc, value = fault["loc"], fault["input"]
            # An unknown key may be a misspelt password.
            if fault["type"] == "extra_forbidden" or (loc and loc[-1] in SECRET):
                value = "(hidden)"
            faults.append((key_of((where, *loc)), value, reason_of(fault["type"], fault["msg"])))
        return None


def _sections(model: type[S], items: list[Item], faults: list[Fault]) -> list[S]:
    found = (_section(model, where, raw, faults) for where, raw in items)
    return [section for section in found if section is not None]


def _items(key: str, raw: Any, faults: list[Fault]) -> list[Item]:
    """The tables of `[[key]]` with the name of each."""
    if not isinstance(raw, list) or not all(isinstance(item, dict) for item in raw):
        faults.append((key, None, f"must be tables headed [[{key}]]"))
        return []
    return [(f"{key}[{at}]", item) for at, item in enumerate(raw)]


def _trunks(items: dict[str, list[Item]]) -> Iterator[Item]:
    for where, customer in items["customer"]:
        trunks = customer.get("trunk", [])
        for at, trunk in enumerate(trunks if isinstance(trunks, list) else []):
            if isinstance(trunk, dict):
                yield f"{where}.trunk[{at}]", trunk


# The checks between tables read what stands there, not what passed, so that one fault does not hide another.


def _check_unique(items: dict[str, list[Item]], faults: list[Fault]) -> None:
    trunks = list(_trunks(items))
    for key, tables in (
        ("id", items["customer"]),
        ("id", items["gateway"]),
        ("id", items["pricelist"]),
        ("id", items["product"]),
        ("id", items["package"]),
        ("id", trunks),
        ("username", trunks),
        ("certificate", trunks),
        ("prefix", items["block"]),
    ):
        seen: dict[str, str] = {}
        for where, table in tables:
            value = table.get(key)
            if isinstance(value, str) and value:
                first = seen.setdefault(value, where)
                if first != where:
                    faults.append((f"{where}.{key}", value, f"is already used by {first}"))


def _check_references(items: dict[str, list[Item]], faults: list[Fault]) -> None:
    for owner, key, target, word in (
        ("customer", "pricelist", "pricelist", "price list"),
        ("customer", "product", "product", "web product"),
        ("package", "pricelist", "pricelist", "price list"),
        ("package", "customer", "customer", "customer"),
        ("package", "products", "product", "web product"),
    ):
        there = {table.get("id") for _, table in items[target] if isinstance(table.get("id"), str)}
        for where, table in items[owner]:
            named = table.get(key)
            for wanted in named if isinstance(named, list) else [named]:
                if isinstance(wanted, str) and wanted not in there:
                    faults.append((f"{where}.{key}", wanted, f"there is no such {word}"))


def _check_numbers(partner: Any, items: dict[str, list[Item]], faults: list[Fault]) -> None:
    """A prefix or code stands once at its level, an entry fits its level, and a code's gateways are there."""
    levels: list[Item] = [("partner", partner if isinstance(partner, dict) else {}), *items["customer"]]
    gateways = {table.get("id") for _, table in items["gateway"] if isinstance(table.get("id"), str)}
    for where, table in items["block"]:
        _check_level(where, table, True, faults)
    for owner, tables in levels:
        for kind, key in (("block", "prefix"), ("shortcode", "code")):
            seen: dict[str, str] = {}
            there = tables.get(kind, [])
            for at, table in enumerate(there if isinstance(there, list) else []):
                if not isinstance(table, dict):
                    continue
                where, value = f"{owner}.{kind}[{at}]", table.get(key)
                if isinstance(value, str) and (first := seen.setdefault(value, where)) != where:
                    faults.append((f"{where}.{key}", value, f"is already used by {first}"))
                if kind == "block":
                    _check_level(where, table, False, faults)
                named = table.get("gateways", [])
                for name in named if isinstance(named, list) else []:
                    if isinstance(name, str) and name not in gateways:
                        faults.append((f"{where}.gateways", name, "there is no such gateway"))


def _check_level(where: str, table: dict[str, Any], of_platform: bool, faults: list[Fault]) -> None:
    fault = block_at_level(table.get("liftable") is True, table.get("lift_expensive") is True, of_platform)
    if fault is not None:
        faults.append((f"{where}.{fault[0]}", True, fault[1]))


def _listed(
    folder: Path, items: list[Item], lists: list[BlockList], taken: set[str], faults: list[Fault]
) -> list[Block]:
    """What the files of block lists hold, but for prefixes that the bundle speaks of itself."""
    found: dict[str, Block] = {}
    if len(items) == len(lists):  # else a list's own check has said what is wrong
        for (where, _), one in zip(items, lists, strict=True):
            if "\0" in one.file or not (folder / one.file).is_file():
                faults.append((f"{where}.file", one.file, "there is no such file beside the bundle"))
                continue
            rows = read_blocks((folder / one.file).read_bytes(), one.liftable, True)
            faults += [(f"{one.file} {place}".rstrip(), value, reason) for place, value, reason in rows.faults]
            found |= {block.prefix: block for block in rows.blocks if block.prefix not in taken}
    return list(found.values())


def _check_sources(items: dict[str, list[Item]], faults: list[Fault]) -> None:
    """Two trunks, or a trunk and a gateway, that one packet would fit alike are refused (SIP-20)."""
    gateways: dict[tuple[str, int], str] = {}
    for where, table in items["gateway"]:
        host, port = table.get("host"), table.get("port", 0)
        if isinstance(host, str) and isinstance(port, int) and is_address(host):
            address = str(ipaddress.ip_address(host))
            gateways.setdefault((address, port or default_port(host, table.get("transport", "udp"))), where)
    seen: dict[tuple[str, int, str], str] = {}
    for where, table in _trunks(items):
        source, port, tech_prefix = table.get("source"), table.get("port", 0), table.get("tech_prefix", "")
        if not (isinstance(source, str) and source and isinstance(port, int) and isinstance(tech_prefix, str)):
            continue
        try:
            found = network(source)
        except ValueError:
            continue  # the trunk's own check has said so
        first = seen.setdefault((str(found), port, tech_prefix), where)
        if first != where:
            faults.append((f"{where}.source", source, f"{at_port(port, tech_prefix)} is already the source of {first}"))
        single = str(found.network_address) if found.num_addresses == 1 else ""
        if (single, port) in gateways:
            reason = f"with port {port} is the address of {gateways[single, port]}"
            faults.append((f"{where}.source", source, reason))


def _check_algorithms(platform: Platform | None, items: dict[str, list[Item]], faults: list[Fault]) -> None:
    """A username that could answer none of the platform's challenges is refused (SIP-21)."""
    if platform is None:
        return
    offered = ", ".join(platform.digest)
    for where, table in _trunks(items):
        algorithms, password = table.get("algorithms", []), table.get("password")
        kept = {name: password or table.get(key) for name, key in (("MD5", "ha1_md5"), ("SHA-256", "ha1_sha256"))}
        known = isinstance(algorithms, list) and all(name in ("MD5", "SHA-256") for name in algorithms)
        if not (table.get("username") and any(kept.values()) and known):
            continue  # the trunk's own check has said so
        if not usable(platform.digest, algorithms, kept):
            reason = f"of the algorithms that the platform offers ({offered}) this trunk can use none"
            faults.append((f"{where}.algorithms", algorithms, reason))


def _files(folder: Path, items: list[Item], key: str, interval: int, faults: list[Fault]) -> dict[str, list[Row]]:
    """The rows of each item's file, by the item's id; the item's `initial` and `increment` are the rows' default."""
    found: dict[str, list[Row]] = {}
    for where, table in items:
        name = table.get(key)
        if not isinstance(name, str) or not name.strip() or "\0" in name:
            continue  # the item's own check has said so
        if not (folder / name).is_file():
            faults.append((f"{where}.{key}", name, "there is no such file beside the bundle"))
            continue
        initial, increment = (table.get(word, interval) for word in ("initial", "increment"))
        whole = isinstance(initial, int) and isinstance(increment, int)
        rows = read_rows(folder / name, name, initial if whole else interval, increment if whole else interval, faults)
        found[str(table.get("id"))] = rows
    return found


def _stored(trunk: Trunk, customer: str, realm: str, made: dict[str, str]) -> StoredTrunk:
    """Hashes take the password's place."""
    hashes = {"MD5": trunk.ha1_md5, "SHA-256": trunk.ha1_sha256}
    if trunk.password:
        password = trunk.password
        if password == RANDOM_PASSWORD:
            password = made[trunk.username] = secrets.token_urlsafe(18)
        hashes = ha1s(trunk.username, realm, password)
    return StoredTrunk(
        trunk.id,
        customer,
        trunk.source,
        trunk.port,
        trunk.username,
        hashes["MD5"],
        trunk.max_channels,
        hashes["SHA-256"],
        list(trunk.algorithms),
        trunk.tech_prefix,
        trunk.certificate,
    )


def ha1s(username: str, realm: str, password: str) -> dict[str, str]:
    """What a digest is checked against (RFC 7616 §3.4.2) by algorithm, in hex."""
    text = f"{username}:{realm}:{password}".encode()
    return {
        "MD5": hashlib.md5(text, usedforsecurity=False).hexdigest(),
        "SHA-256": hashlib.sha256(text).hexdigest(),
    }


def _printable(value: object) -> object:
    """A table or list at fault may hold a password, and would not fit a line anyway."""
    return None if isinstance(value, dict | list) else value
