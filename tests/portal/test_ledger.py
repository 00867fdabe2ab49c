"""Money over the API: payments once, nothing overdrawn, and from a total to the decision by following links."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import count
from typing import Any

import httpx
import pytest
from sqlalchemy.orm import Session

from sipsvc.store import audit, cdrs
from sipsvc.store.database import one_state, open_database, writing
from sipsvc.store.models import Cdr
from tests.cdr.records import answer, end, priced, start
from tests.portal.world import ANY, World, post, sign_up

# Of the day on which `tests.cdr.records` calls, in UTC.
DAY, MONTH = "2026-09-21", "2026-09"
_numbers = count(710_000)


class Payer:
    """A customer of its own, of the partner north, whose list sells 44 at 0.60 a minute from now on."""

    def __init__(self, world: World, name: str, **more: Any) -> None:
        self.world = world
        self.desk = world.partner_admin()
        self.pricelist = post(self.desk, "term-pricelists", {"name": name, "initial": 1, "increment": 1})["id"]
        price = {"name": "UK", "rate": "0.60"}
        assert self.desk.put(f"/term-pricelists/{self.pricelist}/prices/44", json=price).status_code == 200
        self.id = post(self.desk, "customers", sign_up(name, self.pricelist, **more))["id"]
        self.partner = world.tenant().partner

    def pay(self, amount: str, status: int = 201, *, kind: str = "payment", **more: Any) -> httpx.Response:
        headers = more.pop("headers", {})
        body = {"customer": self.id, "kind": kind, "amount": amount, **more}
        answer = self.desk.post("/ledger", json=body, headers=headers)
        assert answer.status_code == status, answer.text
        return answer

    def call(self, number: int, amount: str = "0.020000", at: int = 61_000, *, up: bool = False, **more: Any) -> str:
        """A call that was up for a minute and ended at `at`, or is `up`; its id."""
        who = {"partner": self.partner, "customer": self.id}
        sell = {"sell": priced("0.020000", 60, amount)} | more
        over = None if up else end(number, at, **sell)
        records = start(number, at - 61_000, **who), answer(number, **sell), over
        engine = open_database(self.world.settings.data.url)
        with writing(engine) as session:
            cdrs.upsert(session, [cdrs.merge(*records)])
        engine.dispose()
        return f"cdr-{number:06d}"

    def get(self, what: str, client: httpx.Client | None = None, **query: str) -> Any:
        answer = (client or self.desk).get(f"/customers/{self.id}{what}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def again(self, cdr_id: str) -> httpx.Response:
        """Rate it again, by what the list says now."""
        now = self.desk.get(f"/term-pricelists/{self.pricelist}/prices/44").json()["valid_from"]
        return self.desk.post(f"/cdrs/{cdr_id}/rerate", json={"at": now})

    def own(self) -> httpx.Client:
        return self.world.token("customer_user", partner=self.partner, customer=self.id)


@pytest.fixture
def payer(world: World, request: pytest.FixtureRequest) -> Iterator[Payer]:
    number = abs(hash(request.node.nodeid)) % 10**8
    made = Payer(world, f"payer{number}", prepaid=True)
    yield made
    engine = open_database(world.settings.data.url)
    with one_state(engine) as connection, Session(connection) as session:
        assert audit.faults(session) == []
    engine.dispose()


def test_a_payment_is_posted_with_its_balance_and_history(payer: Payer) -> None:
    answer = payer.pay("50.00", memo="thank you")
    made = answer.json()
    assert (made["amount"], made["currency"], made["kind"], made["memo"]) == (
        "50.000000",
        "USD",
        "payment",
        "thank you",
    )
    assert (made["debit"], made["credit"]) == (f"payments:{payer.partner}", f"customer:{payer.id}")
    assert payer.desk.get(answer.headers["Location"].removeprefix("/api/v1")).json() == made
    assert payer.get("")["funds"] == "50.000000"
    (told,) = [one for one in payer.get("/history")["data"] if one["action"] == "payment"]
    assert told["changes"] == {"funds": ["0.000000", "50.000000"]}
    assert payer.pay("2", kind="credit").json()["debit"] == f"adjustments:{payer.partner}"
    assert payer.pay("1.5", kind="debit").json()["credit"] == f"adjustments:{payer.partner}"
    assert payer.get("")["funds"] == "50.500000"


def test_a_payment_is_made_once_by_key_and_by_reference(payer: Payer) -> None:
    for _ in range(3):
        keyed = payer.pay("5", headers={"Idempotency-Key": f"{payer.id}-once"})
    assert keyed.headers["Idempotent-Replayed"] == "true"
    first = payer.pay("7", reference="bank 17").json()
    assert payer.pay("7", 200, reference="bank 17").json() == first
    differs = payer.pay("8", 409, reference="bank 17").json()
    assert [fault["field"] for fault in differs["errors"]] == ["reference"]
    assert payer.get("/balance")["balance"] == "12.000000"
    dry = payer.desk.post("/ledger?dry_run=true", json={"customer": payer.id, "kind": "payment", "amount": "9"})
    assert (dry.status_code, payer.get("/balance")["balance"]) == (200, "12.000000")


def test_a_reference_is_one_customers_only(world: World, payer: Payer) -> None:
    other = Payer(world, f"{payer.get('')['name'].split()[-1]}b")
    payer.pay("7", reference="same")
    other.pay("8", reference="same")
    assert other.get("/balance")["balance"] == "8.000000"


@pytest.mark.parametrize(
    ("body", "field", "why"),
    [
        ({"amount": "0"}, "amount", "above 0"),
        ({"amount": 5}, "amount", "money is text"),
        ({"amount": "-5"}, "amount", "must not be negative"),
        ({"amount": "0.0000001"}, "amount", "more than 6 decimal places"),
        ({"kind": "gift"}, "kind", "'payment', 'credit' or 'debit'"),
        ({"currency": "EUR"}, "currency", "no such field"),
        ({"reference": "a\nb"}, "reference", "control character"),
    ],
)
def test_a_payment_that_is_none_is_refused_by_its_field(
    payer: Payer, body: dict[str, Any], field: str, why: str
) -> None:
    answer = payer.desk.post("/ledger", json={"customer": payer.id, "kind": "payment", "amount": "5"} | body)
    assert answer.status_code == 422
    (fault,) = answer.json()["errors"]
    assert fault["field"] == field and why in fault["reason"]


def test_nothing_is_taken_that_is_not_there(payer: Payer) -> None:
    payer.pay("10")
    payer.call(700_001, "4.000000")
    refused = payer.pay("6.000001", 409, kind="debit").json()
    assert refused["errors"] == [
        {"field": "amount", "reason": "is more than the 6.000000 that balance and credit limit cover"}
    ]
    shown = payer.get("/balance")
    assert (shown["balance"], shown["funds"], shown["charged"]) == ("6.000000", "10.000000", "4.000000")
    assert (shown["available"], shown["prepaid"], shown["currency"]) == ("6.000000", True, "USD")
    patched = payer.desk.patch(f"/customers/{payer.id}", json={"credit_limit": "1.25"}, headers=ANY)
    assert patched.json()["credit_limit"] == "1.250000"
    assert payer.get("/balance")["available"] == "7.250000"
    payer.pay("7.25", kind="debit")
    assert (payer.get("/balance")["balance"], payer.get("/balance")["available"]) == ("-1.250000", "0.000000")
    free = payer.desk.patch(f"/customers/{payer.id}", json={"credit_limit": None, "prepaid": False}, headers=ANY)
    assert free.status_code == 200
    assert payer.get("/balance")["available"] is None
    payer.pay("1000", kind="debit")


def test_funds_are_set_by_postings_only(payer: Payer) -> None:
    refused = payer.desk.patch(f"/customers/{payer.id}", json={"funds": "5"}, headers=ANY)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "funds")
    payer.pay("5")
    reverted = payer.desk.post(f"/customers/{payer.id}/revert", json={"version": 1}, headers=ANY)
    assert (reverted.status_code, payer.get("")["funds"]) == (200, "5.000000")


def test_who_may_post_and_who_may_see(world: World, payer: Payer) -> None:
    payer.pay("5")
    cdr_id = payer.call(700_002)
    body = {"customer": payer.id, "kind": "payment", "amount": "1"}
    for role, status in (
        ("platform_admin", 201), ("partner_admin", 201), ("partner_billing", 201), ("partner_support", 403),
        ("partner_readonly", 403), ("customer_admin", 403), ("service", 403),
    ):  # fmt: skip
        assert world.of(role).post("/ledger", json=body).status_code == status, role
    assert world.partner_admin("south").post("/ledger", json=body).status_code == 422
    own = payer.own()
    kinds = sorted(one["kind"] for one in own.get("/ledger").json()["data"])
    assert kinds == ["charge", "payment", "payment", "payment", "payment"], "what a call costs the partner is not there"
    assert own.get(f"/ledger/{cdr_id}.cost").status_code == 404
    assert payer.desk.get(f"/ledger/{cdr_id}.cost").json()["credit"] == "carrier:carrier-a"
    assert payer.get("/balance", own)["balance"] == "7.980000"
    for what in ("balance", "statement?month=2026-09"):
        assert world.customer_admin().get(f"/customers/{payer.id}/{what}").status_code == 404


def test_the_list_is_filtered_paged_and_written_as_csv(payer: Payer) -> None:
    for number in range(5):
        payer.call(700_010 + number, f"0.0{number + 1}0000", at=61_000 + number)
    payer.pay("3", memo="=1+1")
    asked: dict[str, str] = {"filter[customer][eq]": payer.id, "page[size]": "2"}
    found, after = [], None
    while True:
        page = payer.desk.get("/ledger", params=asked | ({"page[after]": after} if after else {})).json()
        found += page["data"]
        after = page["next"]
        if after is None:
            break
    amounts = ["3.000000", "0.050000", "0.040000", "0.030000", "0.020000", "0.010000"]
    assert [one["amount"] for one in found] == amounts
    more = {"filter[kind][eq]": "charge", "filter[amount][gte]": "0.03", "sort": "at"}
    answer = payer.desk.get("/ledger", params={"filter[customer][eq]": payer.id} | more).json()
    assert [one["amount"] for one in answer["data"]] == ["0.030000", "0.040000", "0.050000"]
    csv = payer.desk.get(
        "/ledger",
        params={"filter[customer][eq]": payer.id, "fields": "kind,amount,memo"},
        headers={"Accept": "text/csv"},
    ).text.splitlines()
    assert csv[:2] == ["kind,amount,memo", "payment,3.000000,'=1+1"]
    assert len(csv) == 7


def follow(client: httpx.Client, link: str) -> Any:
    answer = client.get(str(client.base_url.copy_with(path=None, raw_path=link.encode())))
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.rule("law 4")
def test_from_a_total_to_the_decision_by_following_links(payer: Payer) -> None:
    for number in range(3):
        payer.call(700_020 + number, at=61_000 + 86_400_000 * number)
    payer.pay("20")
    found = payer.get("/statement", month=MONTH)
    assert (found["opening"], found["closing"], found["time_zone"]) == ("0.000000", "-0.060000", "UTC")
    (total,) = found["totals"]
    assert (total["kind"], total["postings"], total["amount"]) == ("charge", 3, "-0.060000")
    assert [(line["day"], line["amount"]) for line in found["days"]] == [
        (f"2026-09-{21 + number}", "-0.020000") for number in range(3)
    ]
    for line, postings in ((total, 3), *((line, 1) for line in found["days"])):
        listed = follow(payer.desk, line["link"])["data"]
        assert len(listed) == line["postings"] == postings
        assert -sum(Decimal(one["amount"]) for one in listed) == Decimal(line["amount"])
        for one in listed:
            call = follow(payer.desk, one["link"])
            assert (call["customer"], call["sell_amount"]) == (payer.id, one["amount"])
            assert ["price", "44"] in call["trace"]
    before = payer.get("/statement", **{"from": "2026-09-22", "to": "2026-09-22"})
    assert (before["opening"], before["closing"]) == ("-0.020000", "-0.040000")


def test_days_are_the_customers(payer: Payer) -> None:
    payer.call(700_030)
    patched = payer.desk.patch(f"/customers/{payer.id}", json={"time_zone": "Pacific/Auckland"}, headers=ANY)
    assert patched.status_code == 200
    (line,) = payer.get("/statement", month=MONTH)["days"]
    assert line["day"] == "2026-09-22"
    (posting,) = follow(payer.desk, line["link"])["data"]
    assert posting["at"].startswith(f"{DAY}T14:")


@pytest.mark.parametrize(
    "query",
    [{}, {"from": DAY}, {"month": MONTH, "from": DAY, "to": DAY}, {"from": DAY, "to": "2026-09-20"},
     {"from": "2026-01-01", "to": DAY}, {"month": "2026-13"}, {"month": MONTH, "currency": "usd"}],
)  # fmt: skip
def test_a_statement_of_no_days_is_refused(payer: Payer, query: dict[str, str]) -> None:
    assert payer.desk.get(f"/customers/{payer.id}/statement", params=query).status_code == 422


def test_a_call_is_rated_again(world: World, payer: Payer) -> None:
    payer.pay("0.60")
    cdr_id = payer.call(700_040)
    now = payer.desk.get(f"/term-pricelists/{payer.pricelist}/prices/44").json()["valid_from"]
    path = f"/cdrs/{cdr_id}/rerate"
    refused = payer.desk.post(path, json={})
    assert (refused.status_code, "had no price" in refused.json()["detail"]) == (409, True)
    for role, status in (("partner_support", 403), ("customer_admin", 403), ("partner_billing", 200)):
        answer = world.of(role).post(path, json={"at": now})
        assert answer.status_code == status, answer.text
    shown = answer.json()
    assert (shown["rating_version"], shown["sell_amount"], shown["billed_s"]) == (2, "0.600000", 60)
    assert [one["sell"]["amount"] for one in shown["rated_before"]] == ["0.020000"]
    assert payer.desk.post(path, json={"at": now}).json() == shown, "the same again is one"
    listed = payer.desk.get("/ledger", params={"filter[source_id][eq]": cdr_id}).json()["data"]
    assert sorted((one["kind"], one["amount"]) for one in listed) == [
        ("charge", "0.020000"), ("cost", "0.010000"), ("recharge.2", "0.600000"), ("reversal.2", "0.020000"),
    ]  # fmt: skip
    balance = payer.get("/balance")
    assert (balance["balance"], balance["charged"], balance["funds"]) == ("0.000000", "0.020000", "0.020000")
    today = listed[0]["at"][:10]
    totals = payer.get("/statement", **{"from": today, "to": today})["totals"]
    lines = [line for line in totals if line["kind"] != "payment"]
    assert [(line["kind"], line["amount"]) for line in lines] == [("recharge", "-0.600000"), ("reversal", "0.020000")]
    for line in lines:
        (one,) = follow(payer.desk, line["link"])["data"]
        assert one["link"] == f"/api/v1/cdrs/{cdr_id}"


@pytest.mark.rule("law 6")
@pytest.mark.parametrize(
    ("values", "paid", "charged", "left"),
    [
        ({}, "0.599999", "0.020000", "0.599999"),
        ({}, "0.600000", "0.020000", None),
        ({"credit_limit": "0.10", "prepaid": False}, "0.499999", "0.020000", "0.599999"),
        ({"credit_limit": "0.10", "prepaid": False}, "0.500000", "0.020000", None),
        # Who owes already may be given something back, and who is neither may owe.
        ({}, "0.100000", "5.000000", None),
        ({"prepaid": False}, "0.100000", "0.020000", None),
    ],
)
def test_a_call_is_rated_again_for_no_more_than_there_is(
    payer: Payer, values: dict[str, Any], paid: str, charged: str, left: str | None
) -> None:
    if values:
        assert payer.desk.patch(f"/customers/{payer.id}", json=values, headers=ANY).status_code == 200
    payer.pay(paid)
    cdr_id = payer.call(next(_numbers), charged)
    before = payer.get("/balance")
    answer = payer.again(cdr_id)
    if left is None:
        assert (answer.status_code, answer.json()["sell_amount"]) == (200, "0.600000")
        assert Decimal(payer.get("/balance")["balance"]) == Decimal(paid) - Decimal("0.60")
        return
    assert answer.status_code == 409
    assert f"0.600000 is more than the {left} that balance and credit limit cover" in answer.json()["detail"]
    assert payer.get("/balance") == before
    assert payer.desk.get(f"/cdrs/{cdr_id}").json()["rating_version"] == 1


@pytest.mark.rule("law 6", "law 8")
@pytest.mark.parametrize("code", ["answered", "credit_exhausted"])
@pytest.mark.parametrize(("granted", "billed"), [(45, 45), (120, 60)])
def test_a_call_is_rated_again_within_what_it_was_granted(payer: Payer, code: str, granted: int, billed: int) -> None:
    payer.pay("5")
    given = {"granted_s": granted, "month": MONTH, "code": code}
    first, second = (next(_numbers) for _ in range(2))
    shown = payer.again(payer.call(first, **given)).json()
    assert (shown["billed_s"], shown["sell_amount"], shown["granted_s"]) == (billed, f"0.{billed}0000", granted)
    # Sold like that from the first, there is nothing to do.
    engine = open_database(payer.world.settings.data.url)
    with one_state(engine) as connection, Session(connection) as session:
        sell = session.get_one(Cdr, shown["cdr_id"]).sell or {}
    engine.dispose()
    assert sell["month"] == MONTH
    cdr_id = payer.call(second, sell={name: value for name, value in sell.items() if name not in given}, **given)
    before = payer.get("/balance")
    assert payer.again(cdr_id).json()["rating_version"] == 1
    assert payer.get("/balance") == before


def test_a_currency_stays_while_a_call_is_up(payer: Payer) -> None:
    """The account has nothing in it yet, and will have when the call ends."""
    euro = post(payer.desk, "term-pricelists", {"name": "Euro", "currency": "EUR"})["id"]
    ways = (f"/customers/{payer.id}", {"pricelist": euro}), (f"/term-pricelists/{payer.pricelist}", {"currency": "EUR"})
    number = next(_numbers)
    for status in (409, 200):
        payer.call(number, "0.000000", up=status == 409)
        for path, body in ways:
            assert payer.desk.patch(path, json=body, headers=ANY).status_code == status
    # The partner's other customers are sold in USD, and so may its packages be.
    assert payer.desk.patch(f"/term-pricelists/{euro}", json={"currency": "USD"}, headers=ANY).status_code == 200


def test_a_currency_changes_only_when_nothing_is_left_in_it(payer: Payer) -> None:
    euro = post(payer.desk, "term-pricelists", {"name": "Euro", "currency": "EUR"})["id"]
    payer.pay("5")
    moved = payer.desk.patch(f"/customers/{payer.id}", json={"pricelist": euro}, headers=ANY)
    assert (moved.status_code, moved.json()["errors"][0]["field"]) == (409, "pricelist")
    changed = payer.desk.patch(f"/term-pricelists/{payer.pricelist}", json={"currency": "EUR"}, headers=ANY)
    assert (changed.status_code, changed.json()["errors"][0]["field"]) == (409, "currency")
    payer.call(700_050, "5.000000")
    assert payer.desk.patch(f"/customers/{payer.id}", json={"pricelist": euro}, headers=ANY).status_code == 200
    assert (payer.get("")["funds"], payer.get("/balance")["currency"]) == ("0.000000", "EUR")
    payer.pay("3")
    assert payer.get("/balance")["balance"] == "3.000000"
    assert payer.get("/statement", month=MONTH, currency="USD")["totals"][0]["amount"] == "-5.000000"
    back = payer.desk.patch(f"/customers/{payer.id}", json={"pricelist": payer.pricelist}, headers=ANY)
    assert back.status_code == 409
    payer.pay("3", kind="debit")
    changed = payer.desk.patch(f"/term-pricelists/{euro}", json={"currency": "USD"}, headers=ANY)
    assert changed.status_code == 200, changed.text
    assert payer.get("")["funds"] == "5.000000"
    assert payer.get("/balance")["balance"] == "0.000000"
