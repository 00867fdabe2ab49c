"""A draft with imports: decided on as if they were applied, on both databases, and nothing is (EX-1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from sipsvc.imports.runner import work_once
from sipsvc.store.database import open_database
from tests.portal.world import ANY, World, post

CSV = {"Content-Type": "text/csv"}
COVERAGE = b"prefix,name,rate\n33,France,0.004\n331,Paris,0.003\n3399,Elsewhere,0.001\n49,Germany,0.005\n"
PRICES = b"prefix,name,rate\n33,France,0.02\n33x,Nowhere,0.01\n"


@pytest.fixture(autouse=True)
def nothing_left(world: World) -> Iterator[None]:
    """What a test makes goes again, for the world's calls are to be decided as before."""
    client = world.partner_admin()
    kinds = ("gateways", "term-pricelists")
    before = {kind: {one["id"] for one in client.get(f"/{kind}").json()["data"]} for kind in kinds}
    yield
    for kind in kinds:
        for one in client.get(f"/{kind}").json()["data"]:
            if one["id"] not in before[kind]:
                assert client.delete(f"/{kind}/{one['id']}", headers=ANY).status_code == 204


def upload(world: World, client: httpx.Client, kind: str, content: bytes, **query: str) -> str:
    answer = client.post(f"/{kind}", params=query, content=content, headers=CSV)
    assert answer.status_code == 202, answer.text
    engine = open_database(world.settings.data.url)
    while work_once(engine):
        pass
    engine.dispose()
    assert client.get(f"/{kind}/{answer.json()['id']}").json()["status"] == "validated"
    return str(answer.json()["id"])


@pytest.mark.rule("EX-1", "IP-2")
def test_what_an_import_would_make_of_a_call(world: World) -> None:
    tenant, client = world.tenant(), world.partner_admin()
    gateway, pricelist = (
        post(client, "gateways", {"name": "Drafted", "host": "198.51.100.200"})["id"],
        post(client, "term-pricelists", {"name": "Drafted"})["id"],
    )
    full = upload(world, client, "coverage-imports", COVERAGE, gateway=gateway, mode="full")
    prices = upload(world, client, "pricelist-imports", PRICES, pricelist=pricelist, mode="partial")
    question = {"customer": tenant.customer, "dialled": "0033123456789", "caller": "442079460001"}
    moved = {
        "kind": "customers", "id": tenant.customer,
        "set": {"pricelist": pricelist, "caller_ids": {"allowed": ["*"]}, "status": "active"},
    }  # fmt: skip

    def ask(**draft: Any) -> Any:
        return post(client, "explain", question | {"draft": {"changes": [moved]} | draft}, 200)

    assert ask()["code"] == "no_price"
    assert ask(imports=[full])["code"] == "no_price"
    said = ask(imports=[full, prices])
    bought = [(one["gateway"], one["buy"]["prefix"], one["buy"]["rate"]) for one in said["attempts"]]
    assert (gateway, "331", "0.003000") in bought
    assert said["sell"]["rate"] == "0.020000"
    single = {"gateway": gateway, "prefix": "331234", "rate": "0.009"}
    said = ask(imports=[full, prices], prices=[single])
    assert [one["buy"]["rate"] for one in said["attempts"] if one["gateway"] == gateway] == ["0.009000"]
    assert ask()["code"] == "no_price"
    assert client.get(f"/gateways/{gateway}/coverage").json()["data"] == []

    def refused(who: httpx.Client, ids: list[str]) -> tuple[int, list[str]]:
        answer = who.post("/explain", json=question | {"draft": {"imports": ids}})
        return answer.status_code, [fault["field"] for fault in answer.json()["errors"]]

    assert refused(client, ["none"]) == (422, ["draft.imports.0.id"])
    assert refused(client, [full, full]) == (422, ["draft.imports.1.id"])
    foreign = {"customer": world.tenant("south").customer, "dialled": "0033123456789"}
    answer = world.partner_admin("south").post("/explain", json=foreign | {"draft": {"imports": [full]}})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "draft.imports.0.id")
    applied = client.post(f"/coverage-imports/{full}/apply", json={})
    assert applied.status_code == 202, applied.text
    engine = open_database(world.settings.data.url)
    while work_once(engine):
        pass
    engine.dispose()
    assert refused(client, [full]) == (422, ["draft.imports.0.id"])


@pytest.mark.rule("EX-1")
def test_a_full_import_ends_what_it_does_not_have(world: World) -> None:
    tenant, client = world.tenant(), world.partner_admin()
    gateway = post(client, "gateways", {"name": "Ended", "host": "198.51.100.201"})["id"]
    file = b"prefix,name,rate\n33,France,0.004\n"
    imports = {
        mode: upload(world, client, "coverage-imports", file, gateway=gateway, mode=mode)
        for mode in ("full", "partial")
    }
    put = client.put(
        f"/gateways/{gateway}/coverage/331", json={"name": "Paris", "rate": "0.009"}, headers={"If-None-Match": "*"}
    )
    assert put.is_success, put.text
    set_up = {
        "changes": [{"kind": "customers", "id": tenant.customer, "set": {"caller_ids": {"allowed": ["*"]}}}],
        "prices": [{"pricelist": tenant.ids["pricelist"], "prefix": "33", "rate": "0.02"}],
    }
    question = {"customer": tenant.customer, "dialled": "0033123456789", "caller": "442079460001"}
    rates = {}
    for mode, import_id in imports.items():
        said = post(client, "explain", question | {"draft": set_up | {"imports": [import_id]}}, 200)
        (rates[mode],) = [one["buy"]["rate"] for one in said["attempts"] if one["gateway"] == gateway]
    assert rates == {"full": "0.004000", "partial": "0.009000"}
