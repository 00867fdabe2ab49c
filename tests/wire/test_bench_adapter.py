"""The benchmark's adapter makes a bundle that loads: a small data set of the same shape."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench import adapter

FILES = {
    "customers.csv": "id,auth,source_ip,username,password,realm,caller_prefix\n"
    "one,ip,127.0.0.1,,,,44\ntwo,digest,,user,pass word,bench,44\n",
    "gateways.csv": "id,host,port,tech_prefix\nA,127.0.0.1,15081,1001\nB,127.0.0.1,15082,1002\n",
    "coverage_A.csv": "prefix,description,rate_per_min\n44,UK,0.01000\n33,FR,0.02000\n",
    "coverage_B.csv": "prefix,description,rate_per_min\n44,UK,0.01100\n33,FR,0.01900\n",
    "blocked.csv": "prefix,reason\n979,expensive destination\n",
    "rewrite.csv": "scope,pattern,replacement\ndialled,^(\\+|00),\n",
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


def test_the_bundle_loads(data: Path, tmp_path: Path) -> None:
    config = adapter.make(data, tmp_path / "run")
    done = subprocess.run(
        [sys.executable, "-m", "sipsvc", "load", str(tmp_path / "run" / "bundle.toml"), "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert adapter.count(tmp_path / "run") == 0


def test_prices_cover_the_dearer_gateway(data: Path, tmp_path: Path) -> None:
    adapter.make(data, tmp_path / "run")
    prices = (tmp_path / "run" / "prices.csv").read_text().splitlines()
    assert prices[1:] == ["44,Destination 44,0.02000", "33,Destination 33,0.03800"]


def test_another_rewrite_rule_is_refused(data: Path, tmp_path: Path) -> None:
    (data / "rewrite.csv").write_text("scope,pattern,replacement\ndialled,^0,44\n")
    with pytest.raises(ValueError, match="rewrite"):
        adapter.make(data, tmp_path / "run")
