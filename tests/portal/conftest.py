"""A real API process on a free port of loopback, with a small catalogue and some calls in SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from sipsvc.settings import Settings
from sipsvc.store import catalogue, cdrs
from sipsvc.store.bundle import load_bundle
from sipsvc.store.database import open_database, writing
from tests.cdr.conftest import no_settings_from_outside
from tests.cdr.records import answer, end, refused, start
from tests.portal.process import prepared, serving
from tests.portal.world import World, populate, running
from tests.postgres import Postgres

__all__ = ["no_settings_from_outside"]

PASSWORD = "portal-Test-7"

BUNDLE = f"""
[partner]
id = "demo"
name = "Demo"
[[customer]]
id = "acme"
name = "Acme Ltd"
pricelist = "retail"
max_channels = 30
[customer.dial_plan]
national = "0"
country = "44"
[customer.caller_ids]
allowed = ["4420*"]
default = "442079460000"
otherwise = "default"
[[customer.trunk]]
id = "acme-digest"
username = "acme"
password = "{PASSWORD}"
[[customer.trunk]]
id = "acme-office"
source = "192.0.2.10/32"
[[customer]]
id = "bolt"
name = "Bolt GmbH"
status = "suspended"
pricelist = "retail"
[[customer.trunk]]
id = "bolt-office"
source = "192.0.2.20/32"
[[gateway]]
id = "carrier-a"
name = "Carrier A"
host = "192.0.2.80"
p_asserted_identity = true
uri_prefix = "9#"
coverage = "coverage.csv"
[[gateway.rewrite]]
pattern = "^44"
replacement = "0044"
[[pricelist]]
id = "retail"
name = "Retail"
minimum = "0.01"
expensive_at = "0.50"
rows = "prices.csv"
[[block]]
prefix = "979"
reason = "premium rate"
"""

PREFIXES = [f"44{n}" for n in range(10, 40)] + ["44", "33", "49", "882"]


def write_bundle(folder: Path, rate: str = "0.0125") -> Path:
    """A bundle's files in `folder`; `rate` is what all prefixes but 882 cost."""
    rows = [f"{prefix},Place {prefix},{'1.5' if prefix == '882' else rate}" for prefix in PREFIXES]
    (folder / "prices.csv").write_text("\n".join(["prefix,name,rate", *rows]) + "\n")
    (folder / "coverage.csv").write_text("prefix,name,rate\n44,United Kingdom,0.009\n33,France,0.007\n882,Sat,1\n")
    (folder / "bundle.toml").write_text(BUNDLE)
    return folder / "bundle.toml"


def store_bundle(settings: Settings, bundle: Path) -> int:
    """Load it; the catalogue's version."""
    engine = open_database(settings.data.url)
    with writing(engine) as session:
        version = catalogue.replace(session, load_bundle(bundle))
    engine.dispose()
    return version


def calls() -> list[dict[str, Any]]:
    """Rows: 25 ended calls, one refused, one up, one recovered; a second apart, in this order."""
    rows = []
    for n in range(25):
        rows.append(cdrs.merge(start(n, 1_000 * n), answer(n), end(n, 1_000 * n + 61_000)))
    rows.append(cdrs.merge(None, None, refused(25, 25_000, customer="bolt", e164="8821234567")))
    rows.append(cdrs.merge(start(26, 26_000), answer(26, 27_000, gateway="carrier-b"), None))
    rows.append(cdrs.merge(start(27, 27_000, e164="33612345678"), None, end(27, 28_000, recovered=True)))
    return rows


@dataclass(frozen=True)
class Portal:
    """A running API and how to reach it."""

    settings: Settings
    client: httpx.Client
    anyone: httpx.Client
    token: str
    port: int

    def get(self, path: str, **query: str) -> httpx.Response:
        """`path` under /api/v1, with the token; `__` in a query's name stands for brackets."""
        names = {name: name.replace("__", "[", 1).replace("__", "][") for name in query}
        params = {names[n] + ("]" if "[" in names[n] else ""): value for n, value in query.items()}
        return self.client.get(f"/api/v1/{path}", params=params)


@pytest.fixture(scope="session")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """Shared by all tests that change nothing."""
    folder = tmp_path_factory.mktemp("portal")
    settings, token = prepared(folder)
    store_bundle(settings, write_bundle(folder))
    engine = open_database(settings.data.url)
    with writing(engine) as session:
        cdrs.upsert(session, calls())
    engine.dispose()
    with serving(settings) as (_, port):
        base = f"http://127.0.0.1:{port}"
        with (
            httpx.Client(base_url=base, headers={"Authorization": f"Bearer {token}"}) as client,
            httpx.Client(base_url=base) as anyone,
        ):
            yield Portal(settings, client, anyone, token, port)


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Two partners with two customers each, on either database. Tests leave every row of it as it was."""
    database = ""
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        database = server.url(server.database())
    with running(tmp_path_factory.mktemp("world"), database) as made:
        populate(made)
        yield made
