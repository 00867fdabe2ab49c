"""POST /explain decides as calls are decided, on the catalogue as it is (law 4)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.portal.conftest import Portal, store_bundle, write_bundle
from tests.portal.process import prepared, serving


def ask(portal: Portal, dialled: str, customer: str = "acme", caller: str = "442079460001") -> dict[str, Any]:
    question = {"customer": customer, "dialled": dialled, "caller": caller}
    answer = portal.client.post("/api/v1/explain", json=question)
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert isinstance(said, dict)
    return said


@pytest.mark.rule("law 4")
def test_a_call_that_would_go_through(portal: Portal) -> None:
    said = ask(portal, "02079460123")
    assert (said["outcome"], said["code"], said["e164"], said["caller"]) == (
        "route",
        "",
        "442079460123",
        "442079460001",
    )
    assert (said["sell"]["rate"], said["sell"]["currency"]) == ("0.012500", "USD")
    (attempt,) = said["attempts"]
    assert attempt["gateway"] == "carrier-a"
    assert "9%2300442079460123@192.0.2.80" in attempt["request_uri"]
    assert attempt["buy"]["rate"] == "0.009000"
    assert len(said["trace"]) == len(said["trace_text"]) > 3


@pytest.mark.rule("law 4")
@pytest.mark.parametrize(
    ("dialled", "customer", "code"),
    [("00882123456", "acme", "dest_expensive"), ("00979123456", "acme", "dest_blocked"), ("0044201", "bolt", None)],
)
def test_a_call_that_would_be_refused_says_why(portal: Portal, dialled: str, customer: str, code: str | None) -> None:
    said = ask(portal, dialled, customer)
    assert said["outcome"] == "refused"
    assert said["attempts"] == []
    assert 400 <= said["status"] < 500
    assert said["code"] == code or code is None
    assert said["trace_text"][-1].startswith("refused")


@pytest.mark.rule("law 4")
def test_a_new_catalogue_is_taken_up_at_once_and_none_is_a_problem(tmp_path: Path) -> None:
    settings, token = prepared(tmp_path)
    question = {"customer": "acme", "dialled": "02079460123"}
    with (
        serving(settings) as (_, port),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {token}"}) as client,
    ):
        answer = client.post("/api/v1/explain", json=question)
        assert answer.status_code == 409
        assert answer.json()["errors"][0]["field"] == "catalogue"
        for rate, shown in (("0.02", "0.020000"), ("0.03", "0.030000")):
            store_bundle(settings, write_bundle(tmp_path, rate))
            assert client.post("/api/v1/explain", json=question).json()["sell"]["rate"] == shown
