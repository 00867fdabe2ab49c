"""A migrated database for each test, on SQLite and on PostgreSQL, and a small bundle to bend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from sipsvc.store.database import open_database
from tests.databases import migrated_copy
from tests.postgres import Postgres

BUNDLE = """
[platform]
realm = "here"

[partner]
name = "Partner"

[[customer]]
id = "acme"
name = "Acme"
pricelist = "retail"
[[customer.trunk]]
id = "acme-pbx"
username = "acme"
password = "secret"

[[customer]]
id = "harbour"
name = "Harbour"
pricelist = "retail"
[[customer.trunk]]
id = "harbour-pbx"
source = "192.0.2.0/24"

[[gateway]]
id = "alpha"
name = "Alpha"
host = "198.51.100.1"
coverage = "coverage.csv"
[[gateway.rewrite]]
pattern = '^44'
replacement = '0'

[[gateway]]
id = "beta"
name = "Beta"
host = "198.51.100.2"
coverage = "coverage.csv"

[[pricelist]]
id = "retail"
name = "Retail"
rows = "prices.csv"

[[block]]
prefix = "1900"
reason = "premium"
"""
PRICES = "prefix,name,rate\n44,United Kingdom,0.012\n447,Mobile,0.024\n"
COVERAGE = "prefix,name,rate,fee,initial,increment,origin\n44,UK,0.006,0.001,30,6,\n44,UK from France,0.005,,,,33\n"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database's URL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'made' / 'sipsvc.db'}"
    server: Postgres = request.getfixturevalue("postgres")
    return server.url(server.database())


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """On a migrated database of its own."""
    engine = open_database(migrated_copy(request.param, request, tmp_path))
    yield engine
    engine.dispose()


@pytest.fixture
def write_bundle(tmp_path: Path) -> Callable[..., Path]:
    """Write a bundle and its files; returns the path of the TOML file."""

    def write(toml: str = BUNDLE, prices: str | bytes = PRICES, coverage: str | bytes = COVERAGE) -> Path:
        for name, text in (("bundle.toml", toml), ("prices.csv", prices), ("coverage.csv", coverage)):
            (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
        return tmp_path / "bundle.toml"

    return write
