"""A customer sees what it is charged and never what its partner pays, earns or routes by (EX-2, IP-17)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from portal_api.cdrs.endpoints import BUYING, LISTING
from portal_api.cdrs.schemas import CdrView
from sipsvc.store import cdrs
from sipsvc.store.changes import LOCAL, Changes
from sipsvc.store.database import open_database, writing
from sipsvc.store.models import Token
from sipsvc.store.tokens import EVERYTHING, digest
from tests.cdr.records import answer, attempt, end, priced, start
from tests.portal.conftest import store_bundle, write_bundle
from tests.portal.process import prepared, serving

# Figures and names that stand nowhere but on the partner's side.
SECRETS = ("0.077", "0.066001", "0.033999", "carrier-", "Carrier ", "9#", "9%23", "CHF", "198.51.100.")
BUY = priced("0.077000", 60, "0.066001") | {"prefix": "4477", "currency": "CHF"}
SECRET_ATTEMPT = attempt() | {"buy_rate": "0.077000", "request_uri": "sip:9%2344@198.51.100.1"}


def secret_call(number: int) -> cdrs.Row:
    bought = {
        "buy": BUY, "margin": "0.033999", "attempts": [SECRET_ATTEMPT], "gateway": "carrier-z",
        "gateway_name": "Carrier Z", "sent_to": "9#44",
    }  # fmt: skip
    trace = [["price", "retail", "44", "0.02"], ["gateway", "carrier-z", "serves", "4477", "0.077", "CHF"]]
    return cdrs.merge(
        start(number, number, trace=trace), answer(number, number, **bought), end(number, number, **bought)
    )


@pytest.fixture(scope="module")
def customer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """The customer acme's own administrator."""
    folder = tmp_path_factory.mktemp("selling")
    settings, _ = prepared(folder)
    store_bundle(settings, write_bundle(folder))
    engine = open_database(settings.data.url)
    with writing(engine) as session:
        cdrs.upsert(session, [secret_call(number) for number in range(3)])
        changes = Changes(session, LOCAL)
        changes.create(Token(
            partner="demo", customer="acme", name="own", role="customer_admin", scopes=[EVERYTHING],
            sha256=digest("own"), expires_at=changes.at.replace(year=2099), revoked_at=None,
        ))  # fmt: skip
    engine.dispose()
    with serving(settings) as (_, port):
        base, headers = f"http://127.0.0.1:{port}/api/v1", {"Authorization": "Bearer own"}
        with httpx.Client(base_url=base, headers=headers) as client:
            yield client


def said(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    assert not [secret for secret in SECRETS if secret in answer.text], answer.text
    return answer.text


@pytest.mark.rule("EX-2", "IP-17")
def test_no_figure_of_the_buying_side_is_in_any_answer(customer: httpx.Client) -> None:
    assert '"sell_amount":"0.020000"' in said(customer.get("/cdrs"))
    said(customer.get("/cdrs/cdr-000001"))
    said(customer.get("/cdrs", headers={"Accept": "text/csv"}))
    assert '"amount":"0.060000"' in said(customer.get("/usage?month=2026-09"))
    said(customer.get("/usage?month=2026-09", headers={"Accept": "text/csv"}))
    question = {"customer": "acme", "dialled": "02079460123", "caller": "442079460001"}
    explained = said(customer.post("/explain", json=question))
    assert '"first_minute":"0.012500"' in explained
    assert "attempts" not in explained
    assert "trace" not in explained
    assert customer.get("/statistics/daily?from=2026-09-21&to=2026-09-21").status_code == 403


@pytest.mark.rule("EX-2", "IP-17")
@pytest.mark.parametrize("name", sorted(CdrView.model_fields))
def test_every_field_filter_and_sort_of_a_call_is_shut_or_of_the_selling_side(
    customer: httpx.Client, name: str
) -> None:
    """A hidden field can be had by no parameter, and an open one holds no secret."""
    chosen = customer.get("/cdrs", params={"fields": name})
    assert (chosen.status_code == 400) == (name in BUYING)
    if chosen.status_code == 200:
        said(chosen)
    values = {"eq": "1", "ne": "1", "in": "1", "gte": "1", "lt": "1", "starts": "1", "contains": "1"}
    for operator, value in values.items():
        answer = customer.get("/cdrs", params={f"filter[{name}][{operator}]": value})
        if name in BUYING or name not in {**LISTING.columns, LISTING.key[0]: None}:
            assert answer.status_code == 400, answer.text
        elif answer.status_code == 200:
            said(answer)
    sort: Any = customer.get("/cdrs", params={"sort": name})
    assert (sort.status_code == 200) == (name in ("invite_at", "cdr_id"))


@pytest.mark.rule("EX-2")
def test_what_is_shut_is_all_that_tells_of_the_buying_side() -> None:
    """A new field has to be put on one side or the other."""
    selling = {
        "cdr_id", "state", "call_id", "partner", "customer", "customer_name", "trunk", "auth", "source", "dialled",
        "e164", "caller", "caller_shown", "invite_at", "progress_at", "answer_at", "end_at", "duration_ms", "status",
        "reason", "code", "hangup_by", "q850", "recovered", "directory", "answered", "counted_at", "sell_prefix",
        "sell_name", "rating_version", "rated_before", "billed_s", "allowance_s", "granted_s", "sell_amount",
        "sell_currency", "sell",
    }  # fmt: skip
    assert set(CdrView.model_fields) == selling | BUYING
