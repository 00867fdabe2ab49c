"""Price packages and web products over HTTP, what is free by them, and allowances, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from sipsvc.store import allowances, cdrs
from sipsvc.store.changes import utc_now
from sipsvc.store.database import open_database, writing
from tests.cdr import records
from tests.portal.world import ANY, World, post, sign_up

PATHS = ("price-packages", "web-products")


@pytest.fixture(autouse=True)
def nothing_left(world: World) -> Iterator[None]:
    """What a test makes goes again, and customers have no web product."""

    def there(path: str) -> set[str]:
        return {one["id"] for one in world.admin.get(f"/{path}", params={"page[size]": 500}).json()["data"]}

    before = {path: there(path) for path in PATHS}
    yield
    for tenant in world.tenants.values():
        patched(world.admin, f"/customers/{tenant.customer}", {"product": None})
    for path in PATHS:
        for one in there(path) - before[path]:
            assert world.admin.delete(f"/{path}/{one}", headers=ANY).status_code == 204


@pytest.fixture
def pricelist(world: World) -> Iterator[str]:
    """A list of British and French prices."""
    own = world.partner_admin()
    made: str = post(own, "term-pricelists", {"name": "Countries", "expensive_at": None})["id"]
    for prefix, name, country in (("44", "UK", "GB"), ("447", "UK mobile", "GB"), ("33", "France", "FR")):
        body = {"name": name, "country": country, "rate": "0.10"}
        assert own.put(f"/term-pricelists/{made}/prices/{prefix}", json=body).status_code == 200
    yield made
    for one in own.get("/price-packages", params={"filter[pricelist][eq]": made}).json()["data"]:
        assert own.delete(f"/price-packages/{one['id']}", headers=ANY).status_code == 204
    assert own.delete(f"/term-pricelists/{made}", headers=ANY).status_code == 204


def patched(client: httpx.Client, path: str, body: dict[str, Any], status: int = 200) -> Any:
    answer = client.patch(path, json=body, headers=ANY)
    assert answer.status_code == status, (path, body, answer.text)
    return answer.json()


def product(world: World, *currencies: str) -> str:
    body = {"name": "Brand", "type": "residential_voip", "currencies": list(currencies)}
    made: str = post(world.partner_admin(), "web-products", body)["id"]
    return made


def refused(world: World, body: dict[str, Any], status: int, field: str) -> str:
    """Why a package cannot be made."""
    said = post(world.partner_admin(), "price-packages", {"name": "Refused", "currencies": ["USD"], **body}, status)
    assert [fault["field"] for fault in said["errors"]] == [field], said
    reason: str = said["errors"][0]["reason"]
    return reason


@pytest.mark.rule("WP-1", "WP-3")
def test_a_web_product_is_one_of_three_types_in_some_currencies(world: World) -> None:
    own = world.partner_admin()
    plain = {"name": "Brand", "type": "live_support_chat", "currencies": ["GBP", "EUR"]}
    made = post(own, "web-products", plain)
    assert {name: made[name] for name in plain} == plain
    for change, field in (
        ({"type": "pbx"}, "type"), ({"name": " "}, "name"), ({"currencies": []}, "currencies"),
        ({"currencies": ["gbp"]}, "currencies"), ({"currencies": ["GBP", "GBP"]}, "currencies"),
    ):  # fmt: skip
        assert patched(own, f"/web-products/{made['id']}", change, 422)["errors"][0]["field"] == field
    customer = world.tenant().customer
    assert patched(own, f"/customers/{customer}", {"product": made["id"]})["product"] == made["id"]
    found = own.get("/customers", params={"filter[product][eq]": made["id"]}).json()["data"]
    assert [one["id"] for one in found] == [customer]
    gone = own.delete(f"/web-products/{made['id']}", headers=ANY)
    assert (gone.status_code, gone.json()["errors"][0]["field"]) == (409, "id")
    south = world.tenant("south").customer
    for foreign in (made["id"], "nothing"):
        told = patched(world.partner_admin("south"), f"/customers/{south}", {"product": foreign}, 422)
        assert told["errors"] == [{"field": "product", "reason": "there is no such web product"}]


@pytest.mark.rule("PP-1")
def test_currencies_cover_those_of_all_web_products_whichever_changes(world: World, pricelist: str) -> None:
    own = world.partner_admin()
    first, second = product(world, "USD"), product(world, "USD", "EUR")
    linked = {"pricelist": pricelist, "products": [first, second]}
    assert refused(world, linked, 409, "currencies") == f"must hold EUR, which web product {second} has"
    assert "must hold USD, the currency" in refused(world, linked | {"currencies": ["EUR"]}, 422, "currencies")
    made = post(own, "price-packages", {"name": "Both", "currencies": ["EUR", "USD"], **linked})
    path = f"/price-packages/{made['id']}"
    assert patched(own, path, {"currencies": ["USD"]}, 409)["errors"][0]["field"] == "currencies"
    assert patched(own, path, {"name": ""}, 422)["errors"][0]["field"] == "name"
    (told,) = patched(own, f"/web-products/{first}", {"currencies": ["USD", "JPY"]}, 409)["errors"]
    reason = f"may not hold JPY, which its package {made['id']} (Both) has not"
    assert told == {"field": "currencies", "reason": reason}
    patched(own, path, {"currencies": ["USD", "EUR", "JPY"]})
    patched(own, f"/web-products/{first}", {"currencies": ["USD", "JPY"]})
    (told,) = patched(own, f"/term-pricelists/{pricelist}", {"currency": "GBP"}, 409)["errors"]
    assert (told["field"], made["id"] in told["reason"]) == ("currency", True)
    patched(own, f"/term-pricelists/{pricelist}", {"currency": "JPY"})
    linked_still = own.delete(f"/web-products/{first}", headers=ANY)
    assert (linked_still.status_code, made["id"] in linked_still.text) == (409, True)


@pytest.mark.rule("PP-1", "PP-6")
def test_a_customer_is_sold_in_the_currency_of_its_account(world: World, pricelist: str) -> None:
    own, tenant = world.partner_admin(), world.tenant()
    euros = post(own, "term-pricelists", {"name": "Euros", "currency": "EUR"})["id"]
    body = {"name": "Euros", "pricelist": euros, "currencies": ["EUR", "USD"]}
    told = refused(world, body | {"customer": tenant.customer}, 409, "pricelist")
    assert told.startswith(f"the account of customer {tenant.customer} is in USD, and its package")
    assert "is in USD" in refused(world, body | {"default": True}, 409, "pricelist")
    brand = product(world, "USD", "EUR")
    branded = post(own, "price-packages", body | {"products": [brand]})["id"]
    path = f"/customers/{tenant.customer}"
    (told,) = patched(own, path, {"product": brand}, 409)["errors"]
    assert told == {
        "field": "pricelist",
        "reason": f"the account of customer {tenant.customer} is in USD, and its package {branded} sells in EUR",
    }
    signed_up = post(own, "customers", sign_up("abroad", tenant.ids["pricelist"], product=brand), 409)
    assert signed_up["errors"][0]["reason"] == f"the account is in USD, and its package {branded} sells in EUR"
    # One of its own goes before, and then cannot go; nor may its list become another currency's.
    theirs = post(own, "price-packages", body | {"pricelist": pricelist, "customer": tenant.customer})["id"]
    patched(own, path, {"product": brand})
    kept = own.delete(f"/price-packages/{theirs}", headers=ANY)
    assert (kept.status_code, kept.json()["errors"][0]["field"]) == (409, "id")
    assert patched(own, f"/term-pricelists/{pricelist}", {"currency": "EUR"}, 409)["errors"][0]["field"] == "currency"
    patched(own, path, {"product": None})
    for package in (theirs, branded):
        assert own.delete(f"/price-packages/{package}", headers=ANY).status_code == 204
    assert own.delete(f"/term-pricelists/{euros}", headers=ANY).status_code == 204


@pytest.mark.rule("PP-2", "PP-4")
def test_kinds_and_what_goes_with_them(world: World, pricelist: str) -> None:
    own = world.partner_admin()
    plain = {"pricelist": pricelist}
    domestic = plain | {"kind": "unlimited_domestic"}
    assert "not with payg" in refused(world, plain | {"minutes": 100}, 422, "minutes")
    assert "not with payg" in refused(world, plain | {"country": "GB"}, 422, "country")
    assert "which country" in refused(world, domestic, 422, "country")
    assert "capital" in refused(world, domestic | {"country": "gb"}, 422, "country")
    assert refused(world, domestic | {"country": "DE"}, 422, "country") == (
        "no row of the price list is of DE, only of FR, GB"
    )
    assert refused(world, plain | {"kind": "unlimited"}, 422, "kind")
    assert refused(world, plain | {"pricelist": "none"}, 422, "pricelist") == "there is no such price list"
    assert refused(world, plain | {"products": ["none"]}, 422, "products") == "there is no web product 'none'"
    made = post(own, "price-packages", domestic | {"name": "UK", "currencies": ["USD"], "country": "GB", "minutes": 90})
    assert (made["minutes"], made["country"], made["default"], made["customer"]) == (90, "GB", False, None)
    path = f"/price-packages/{made['id']}"
    assert patched(own, path, {"kind": "payg"}, 422)["errors"][0]["field"] == "minutes"
    for prefix in ("44", "447"):
        assert own.delete(f"/term-pricelists/{pricelist}/prices/{prefix}", headers=ANY).status_code == 204
    assert patched(own, path, {"name": "Britain"})["country"] == "GB", "which has no row any more"
    put = own.put(f"/term-pricelists/{pricelist}/prices/44", json={"name": "UK", "country": "GB", "rate": "0.10"})
    assert put.status_code == 200
    assert patched(own, path, {"kind": "payg", "minutes": 0, "country": ""})["kind"] == "payg"
    reverted = own.post(f"{path}/revert", json={"version": 1}, headers=ANY)
    assert (reverted.json()["kind"], reverted.json()["country"]) == ("unlimited_domestic", "GB")
    stale = own.patch(path, json={"minutes": 1}, headers={"If-Match": '"1"'})
    assert stale.status_code == 412
    told = [entry["action"] for entry in own.get(f"{path}/history").json()["data"]]
    assert told == ["revert", "update", "update", "create"]


@pytest.mark.rule("PP-5", "PP-6")
def test_whose_a_package_is(world: World, pricelist: str) -> None:
    own, tenant = world.partner_admin(), world.tenant()
    plain = {"pricelist": pricelist, "name": "One", "currencies": ["USD"]}
    brand = product(world, "USD")
    both = {"customer": tenant.customer, "products": [brand]}
    assert "either for web products or for one customer" in refused(world, plain | both, 422, "products")
    assert refused(world, plain | {"customer": tenant.customer, "default": True}, 422, "default")
    assert refused(world, plain | {"customer": world.tenant("south").customer}, 422, "customer")
    theirs = post(own, "price-packages", plain | {"customer": tenant.customer})["id"]
    usual = post(own, "price-packages", plain | {"default": True})["id"]
    branded = post(own, "price-packages", plain | {"products": [brand]})["id"]
    for field, value, other in (
        ("customer", tenant.customer, theirs), ("default", True, usual), ("products", [brand], branded),
    ):  # fmt: skip
        assert f"the package {other} (One) already" in refused(world, plain | {field: value}, 409, field)
    assert patched(own, f"/price-packages/{branded}", {"default": True}, 409)["errors"][0]["field"] == "default"
    assert patched(own, f"/price-packages/{theirs}", {"products": [brand]}, 422)["errors"][0]["field"] == "products"
    patched(own, f"/price-packages/{usual}", {"default": False})
    assert patched(own, f"/price-packages/{branded}", {"default": True})["default"]
    # Another partner has a default of its own.
    south = world.partner_admin("south")
    body = {"name": "South", "pricelist": world.tenant("south").ids["pricelist"], "currencies": ["USD"]}
    assert post(south, "price-packages", body | {"default": True})["default"]
    listed = own.get("/price-packages", params={"filter[default][eq]": "true"}).json()["data"]
    assert [one["id"] for one in listed] == [branded]


def explained(world: World) -> tuple[str, str]:
    """The list and the rate by which a call of the first customer is sold."""
    asked = {"customer": world.tenant().customer, "dialled": "00447400123456", "caller": "442079460018"}
    said = world.admin.post("/explain", json=asked).json()
    (price,) = [entry for entry in said["trace"] if entry[0] == "price"]
    return price[1], price[3]


@pytest.mark.rule("PP-5", "PP-6", "PP-4")
def test_a_call_is_priced_by_the_list_of_the_package_that_counts(world: World, pricelist: str) -> None:
    own, tenant = world.partner_admin(), world.tenant()
    path = f"/customers/{tenant.customer}"
    ids = {"caller_ids": {"allowed": ["*"], "default": "", "otherwise": "refuse"}}
    before = own.get(path).json()["caller_ids"]
    patched(own, path, ids)
    assert explained(world) == (tenant.ids["pricelist"], "0.010000")
    plain = {"name": "x", "pricelist": pricelist, "currencies": ["USD"]}
    usual = post(own, "price-packages", plain | {"default": True})["id"]
    assert explained(world) == (pricelist, "0.100000")
    brand = product(world, "USD")
    post(own, "price-packages", plain | {"pricelist": tenant.ids["pricelist"], "products": [brand]})
    patched(own, path, {"product": brand})
    assert explained(world) == (tenant.ids["pricelist"], "0.010000")
    theirs = post(own, "price-packages", plain | {"customer": tenant.customer})["id"]
    assert explained(world) == (pricelist, "0.100000")
    for package in (usual, theirs):
        assert own.delete(f"/price-packages/{package}", headers=ANY).status_code == 204
    assert explained(world) == (tenant.ids["pricelist"], "0.010000")
    patched(own, path, {"caller_ids": before})


@pytest.mark.rule("PP-4", "PP-5")
def test_what_is_free_is_shown_with_its_names(world: World, pricelist: str) -> None:
    own = world.partner_admin()
    plain = {"name": "x", "pricelist": pricelist, "currencies": ["USD"]}
    domestic = post(own, "price-packages", plain | {"kind": "unlimited_domestic", "country": "GB"})["id"]
    world_wide = post(own, "price-packages", plain | {"kind": "unlimited_international"})["id"]
    by_use = post(own, "price-packages", plain)["id"]

    def free(package: str, **page: str) -> dict[str, Any]:
        query = {name.replace("_", "[") + "]": value for name, value in page.items()}
        answer = own.get(f"/price-packages/{package}/free-destinations", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()  # type: ignore[no-any-return]

    uk = [{"name": "UK", "prefixes": 1}, {"name": "UK mobile", "prefixes": 1}]
    assert free(domestic) == {"prefixes": 2, "destinations": 2, "data": uk, "next": None}
    first = free(world_wide, page_size="2")
    assert (first["prefixes"], first["data"]) == (3, [{"name": "France", "prefixes": 1}, uk[0]])
    assert free(world_wide, page_size="2", page_after=first["next"])["data"] == uk[1:]
    assert free(by_use) == {"prefixes": 0, "destinations": 0, "data": [], "next": None}
    bad = own.get(f"/price-packages/{domestic}/free-destinations", params={"page[after]": "x"})
    assert bad.status_code == 400


@pytest.mark.rule("TP-1", "PP-6")
def test_where_a_price_list_is_used(world: World, pricelist: str) -> None:
    own, tenant = world.partner_admin(), world.tenant()

    def used(of: str) -> Any:
        return own.get(f"/term-pricelists/{of}/used-by").json()

    assert used(pricelist) == {"customers": 0, "packages": []}
    body = {"name": "One", "pricelist": pricelist, "currencies": ["USD"], "customer": tenant.customer}
    made = post(own, "price-packages", body)["id"]
    shown = {"id": made, "name": "One", "customer": tenant.customer, "products": [], "default": False}
    assert used(pricelist) == {"customers": 0, "packages": [shown]}
    theirs = used(tenant.ids["pricelist"])
    customers = own.get("/customers", params={"page[size]": 500}).json()["data"]
    sold = sum(one["pricelist"] == tenant.ids["pricelist"] for one in customers)
    assert (theirs["customers"], [one["id"] for one in theirs["packages"]]) == (sold, [tenant.ids["package"]])
    assert sold > 1
    kept = own.delete(f"/term-pricelists/{pricelist}", headers=ANY)
    assert (kept.status_code, made in kept.text) == (409, True)


@pytest.mark.rule("PP-2")
def test_a_customer_sees_what_its_accounts_used_of_their_allowances(world: World, pricelist: str) -> None:
    own, tenant = world.partner_admin(), world.tenant()
    path = f"/trunks/{tenant.ids['trunk']}/allowance"
    month = allowances.month_of(utc_now())
    none = {"package": None, "kind": None, "minutes": None, "used_s": 0, "left_s": None}
    same = {"trunk": tenant.ids["trunk"], "month": "2031-05", "time_zone": "UTC"}
    assert own.get(path, params={"month": "2031-05"}).json() == same | none
    body = {"name": "World", "kind": "unlimited_international", "pricelist": pricelist, "currencies": ["USD"]}
    made = post(own, "price-packages", body | {"customer": tenant.customer, "minutes": 2})["id"]
    who = {"partner": tenant.partner, "customer": tenant.customer, "trunk": tenant.ids["trunk"]}
    engine = open_database(world.settings.data.url)
    with writing(engine) as session:
        for number, seconds in ((900_000 + 10 * tenant.number, 50), (900_001 + 10 * tenant.number, 30)):
            sell = records.priced("0.02", 60, "0.000000") | {"allowance": seconds}
            end = records.end(number, 0, sell=sell, month="2031-05", granted_s=120)
            row = cdrs.merge(records.start(number, **who), None, end)
            cdrs.upsert(session, [row])
    engine.dispose()
    told = {"package": "World", "kind": "unlimited_international", "minutes": 2, "used_s": 80, "left_s": 40}
    for client in (own, world.customer_admin()):
        assert client.get(path, params={"month": "2031-05"}).json() == same | told
        call = client.get(f"/cdrs/cdr-{number:06d}").json()
        assert (call["allowance_s"], call["granted_s"]) == (30, 120)
    assert world.customer_admin("north", "second").get(path).status_code == 404
    patched(own, f"/price-packages/{made}", {"minutes": 1})
    assert own.get(path, params={"month": "2031-05"}).json()["left_s"] == 0
    patched(own, f"/price-packages/{made}", {"minutes": 0})
    assert own.get(path, params={"month": "2031-05"}).json() == same | told | {"minutes": 0, "left_s": None}
    assert own.get(path).json()["month"] == month
    for bad in ("2031-13", "2031", "May"):
        answer = own.get(path, params={"month": bad})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "month")
