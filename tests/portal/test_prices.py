"""Single prices and price files over HTTP: set, ended, reverted; uploaded, looked at, applied, taken back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from sipsvc.imports.runner import work_once
from sipsvc.store.changes import utc_now
from sipsvc.store.database import open_database
from sipsvc.store.types import instant
from tests.portal.world import ANY, World, post

CSV = {"Content-Type": "text/csv"}
GOOD = b"""prefix,name,rate,fee,origin
33,France,0.004,0,
33,France from GB,0.003,0,44
336,"France, Mobile",0.02,0.01,
"""


@pytest.fixture
def owner(world: World) -> httpx.Client:
    return world.partner_admin("north")


@pytest.fixture
def pricelist(owner: httpx.Client) -> Iterator[str]:
    """The path of a new list, taken away again."""
    made = post(owner, "term-pricelists", {"name": "Prices", "initial": 30, "increment": 6, "min_rate": "0.01"})
    yield f"/term-pricelists/{made['id']}"
    assert owner.delete(f"/term-pricelists/{made['id']}", headers=ANY).status_code == 204


@pytest.fixture
def gateway(owner: httpx.Client) -> Iterator[str]:
    """The id of a new gateway, taken away again with its coverage and imports."""
    made = post(owner, "gateways", {"name": "Carrier", "host": "198.51.100.9", "currency": "EUR"})
    yield made["id"]
    assert owner.delete(f"/gateways/{made['id']}", headers=ANY).status_code == 204


def done(world: World, client: httpx.Client, started: dict[str, Any]) -> dict[str, Any]:
    """The job when it is over, done as `sipsvc work` does it."""
    engine = open_database(world.settings.data.url)
    while work_once(engine):
        pass
    engine.dispose()
    job: dict[str, Any] = client.get(f"/jobs/{started['id']}").json()
    return job


@pytest.mark.rule("UI-2", "TP-1", "TP-2")
def test_a_price_is_set_changed_ended_and_reverted(owner: httpx.Client, pricelist: str) -> None:
    path = f"{pricelist}/prices/4420"
    made = owner.put(path, json={"name": "London", "rate": "0.02"})
    assert (made.status_code, made.headers["ETag"]) == (200, '"1"')
    assert {k: made.json()[k] for k in ("rate", "fee", "initial", "increment", "version")} == {
        "rate": "0.020000", "fee": "0.000000", "initial": 30, "increment": 6, "version": 1,
    }  # fmt: skip
    assert owner.put(path, json={"name": "London", "rate": "0.03"}).status_code == 428
    assert owner.patch(path, json={"rate": "0.03"}, headers={"If-Match": '"7"'}).status_code == 412
    assert owner.patch(path, json={"rate": 0.03}, headers=ANY).json()["errors"][0]["field"] == "rate"
    tried = owner.patch(path, json={"rate": "0.03"}, headers=ANY, params={"dry_run": "true"})
    assert tried.json()["rate"] == "0.030000"
    assert owner.get(path).json()["rate"] == "0.020000"
    changed = owner.patch(path, json={"rate": "0.03"}, headers={"If-Match": '"1"'})
    assert (changed.json()["rate"], changed.json()["name"], changed.headers["ETag"]) == ("0.030000", "London", '"2"')
    assert owner.get(path, headers={"If-None-Match": '"2"'}).status_code == 304
    assert owner.get(path, params={"as_of": made.json()["valid_from"]}).json()["rate"] == "0.020000"
    back = owner.post(f"{path}/revert", json={"version": 1}, headers={"If-Match": '"2"'})
    assert (back.json()["rate"], back.json()["version"]) == ("0.020000", 3)
    assert owner.post(f"{path}/revert", json={"version": 9}, headers=ANY).json()["errors"][0]["field"] == "version"
    told = owner.get(f"{path}/history").json()["data"]
    assert [entry["action"] for entry in told] == ["revert", "set", "set"]
    assert told[1]["changes"]["rate"] == ["0.020000", "0.030000"]
    assert owner.delete(path, headers=ANY).status_code == 204
    assert owner.get(path).status_code == 404
    assert owner.delete(path, headers=ANY).status_code == 404
    # It tells in the list's own history too.
    assert owner.get(f"{pricelist}/history").json()["data"][0]["action"] == "rows"


def test_a_price_from_a_time_on_and_by_origin(owner: httpx.Client, pricelist: str) -> None:
    path, later = f"{pricelist}/prices/33", instant(utc_now() + timedelta(days=7))
    for origin, rate in (("", "0.05"), ("44", "0.04")):
        assert owner.put(path, json={"name": "France", "rate": rate}, params={"origin": origin}).status_code == 200
    assert owner.get(path, params={"origin": "44"}).json()["rate"] == "0.040000"
    owner.patch(path, json={"rate": "0.06", "effective_from": later}, headers=ANY).raise_for_status()
    now = instant(utc_now())
    assert owner.get(path, params={"as_of": now}).json()["rate"] == "0.050000"
    assert owner.get(path, params={"as_of": later}).json()["rate"] == "0.060000"
    # Nothing is put before what already waits, nor into the past.
    assert owner.patch(path, json={"rate": "0.07"}, headers=ANY).status_code == 409
    past = owner.patch(path, json={"rate": "0.07", "effective_from": "2020-01-01T00:00:00Z"}, headers=ANY)
    assert (past.status_code, past.json()["errors"][0]["field"]) == (422, "effective_from")
    listed = owner.get(f"{pricelist}/prices", params={"as_of": now, "sort": "prefix,origin"}).json()["data"]
    assert [(row["prefix"], row["origin"], row["rate"]) for row in listed] == [
        ("33", "", "0.050000"), ("33", "44", "0.040000"),
    ]  # fmt: skip
    table = owner.get(f"{pricelist}/prices", headers={"Accept": "text/csv"}, params={"fields": "prefix,origin,rate"})
    assert table.text.splitlines() == ["prefix,origin,rate", "33,,0.060000", "33,44,0.040000"]


@pytest.mark.rule("TG-7")
def test_a_price_file_is_looked_at_applied_and_taken_back(world: World, owner: httpx.Client, gateway: str) -> None:
    query = {"gateway": gateway, "filename": "france.csv"}
    answer = owner.post("/coverage-imports", params=query, content=GOOD + b"33x,Nowhere,1,0,\n", headers=CSV)
    assert answer.status_code == 202
    started = answer.json()
    path = f"/coverage-imports/{started['id']}"
    assert answer.headers["Location"] == f"/api/v1{path}"
    assert done(world, owner, started["job"])["status"] == "done"
    item = owner.get(path).json()
    assert (item["status"], item["rows"], item["rejected"], item["filename"]) == ("validated", 3, 1, "france.csv")
    assert item["preview"]["counts"]["new"] == 3
    (fault,) = item["preview"]["faults"]
    assert (fault["row"], fault["column"], fault["value"]) == (5, "prefix", "33x")
    rejected = owner.get(f"{path}/rejected", headers={"Accept": "text/csv"}).text
    assert "33x,Nowhere" in rejected
    assert owner.get(f"{path}/changes", headers={"Accept": "text/csv"}).text.count("\n") == 4
    # Rows that were rejected are not left out in silence.
    refused = owner.post(f"{path}/apply", json={})
    assert (refused.status_code, "1 rows of the file were rejected" in refused.json()["detail"]) == (409, True)
    assert owner.post(f"{path}/undo").status_code == 409
    asked = owner.post(f"{path}/apply", json={"accept_rejected": True})
    assert asked.status_code == 202
    assert done(world, owner, asked.json())["result"]["new"] == 3
    assert owner.get(f"/gateways/{gateway}/coverage/336").json()["name"] == "France, Mobile"
    assert owner.get(f"/gateways/{gateway}/coverage/33", params={"origin": "44"}).json()["rate"] == "0.003000"
    told = owner.get(f"{path}/history").json()["data"]
    assert told[0]["changes"]["status"] == ["validated", "applied"]
    assert done(world, owner, owner.post(f"{path}/undo").json())["status"] == "done"
    assert owner.get(f"/gateways/{gateway}/coverage").json()["data"] == []
    assert owner.get(path).json()["status"] == "undone"


@pytest.mark.rule("TP-5", "TP-7")
def test_a_list_is_populated_from_coverage(world: World, owner: httpx.Client, gateway: str, pricelist: str) -> None:
    for prefix, rate in (("33", "0.004"), ("336", "0.02")):
        owner.put(f"/gateways/{gateway}/coverage/{prefix}", json={"name": "France", "rate": rate}).raise_for_status()
    missing = owner.post(f"{pricelist}/populate", json={"gateways": [gateway], "markup": "1.5"})
    assert (missing.status_code, missing.json()["errors"][0]["field"]) == (422, f"fx.{gateway}")
    body = {"gateways": [gateway], "markup": "1.5", "fx": {gateway: "1.1"}}
    started = owner.post(f"{pricelist}/populate", json=body, headers={"Idempotency-Key": "populate-1"}).json()
    again = owner.post(f"{pricelist}/populate", json=body, headers={"Idempotency-Key": "populate-1"})
    assert (again.json()["id"], again.headers["Idempotent-Replayed"]) == (started["id"], "true")
    assert done(world, owner, started["job"])["status"] == "done"
    applied = owner.post(f"/pricelist-imports/{started['id']}/apply", json={}).json()
    assert done(world, owner, applied)["error"] == ""
    # 0.004 × 1.1 × 1.5 is 0.0066 and raised to the floor; 0.02 is above it.
    rates = {row["prefix"]: row["rate"] for row in owner.get(f"{pricelist}/prices").json()["data"]}
    assert rates == {"33": "0.010000", "336": "0.033000"}


def test_what_cannot_be_read_is_invalid_and_says_why(world: World, owner: httpx.Client, gateway: str) -> None:
    started = owner.post(
        "/coverage-imports", params={"gateway": gateway}, content=b"colour,price\nred,1\n", headers=CSV
    ).json()
    assert done(world, owner, started["job"])["status"] == "done"
    item = owner.get(f"/coverage-imports/{started['id']}").json()
    assert item["status"] == "invalid"
    assert "colour" in item["error"]
    refused = owner.post(f"/coverage-imports/{started['id']}/apply", json={})
    assert (refused.status_code, "invalid" in refused.json()["detail"]) == (409, True)
    assert owner.post("/coverage-imports", params={"gateway": gateway}, json={}).status_code == 415
    empty = owner.post("/coverage-imports", params={"gateway": gateway}, content=b"", headers=CSV)
    assert (empty.status_code, empty.json()["errors"][0]["field"]) == (422, "body")
    # A price list's import is none of coverage.
    assert owner.get(f"/pricelist-imports/{started['id']}").status_code == 404
