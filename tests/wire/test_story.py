"""The whole story over HTTP and SIP: from an empty server to a call, its price, a dearer call, and back."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from sipsvc.demo.server import Server, free_port
from sipsvc.demo.sipp import Sipp
from tests.postgres import Postgres

LIVE_S = 1.0
"""A change is in force that long after its commit (law 3)."""
NUMBER = "442079460018"
CALLER = "442079460100"
SOURCE = "127.0.0.9"
COVERAGE = (
    "\ufeffname,country,type,prefixes,origin_prefixes,rate_per_min,connection_fee\r\n"
    "United Kingdom,GB,L,44 441,,0.006,0\r\n"
    '"United Kingdom, London",GB,L,4420,,0.004,0\r\n'
    "United Kingdom Mobile,GB,M,447,,0.02,0\r\n"
)
CUSTOMER = {
    "name": "Acme Ltd",
    "admin_username": "AcmeAdmin",
    "contact_first_name": "Ada",
    "contact_last_name": "King",
    "email": "Ada@Acme.example",
    "billing_address": "12 Harbour Street, London",
    "billing_type": "usage",
    "plan": "standard",
    "tier": "plus",
    "time_zone": "Europe/London",
    "dial_plan": {"international": ["00"], "national": "0", "country": "44", "bare": "international"},
    "caller_ids": {"allowed": ["4420*"]},
}


class Client:
    """One token's view of the API."""

    def __init__(self, url: str, token: str) -> None:
        self.http = httpx.Client(base_url=f"{url}/api/v1", headers={"Authorization": f"Bearer {token}"}, timeout=60)

    def ask(self, method: str, path: str, status: int, **more: Any) -> Any:
        answer = self.http.request(method, path, **more)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def wait(self) -> None:
        """The API begins to listen a little after SIP does."""
        end = time.monotonic() + 60
        while True:
            try:
                self.get("/partners")
                return
            except httpx.TransportError:
                assert time.monotonic() < end, "the API does not answer"
                time.sleep(0.1)

    def post(self, path: str, body: Any, status: int = 201, **headers: str) -> Any:
        return self.ask("POST", path, status, json=body, headers=headers)

    def get(self, path: str, status: int = 200, **query: Any) -> Any:
        return self.ask("GET", path, status, params=query)

    def etag(self, path: str) -> str:
        return self.http.get(path).headers["ETag"]

    def done(self, job: dict[str, Any]) -> dict[str, Any]:
        """A job when it is over."""
        end = time.monotonic() + 60
        while True:
            found: dict[str, Any] = self.get(f"/jobs/{job['id']}")
            if found["status"] not in ("queued", "running"):
                assert (found["status"], found["error"], found["percent"]) == ("done", "", 100)
                return found
            assert time.monotonic() < end, found
            time.sleep(0.1)


@pytest.fixture
def client_of() -> Iterator[Callable[[str, str], Client]]:
    """Makes clients, and closes them."""
    with ExitStack() as stack:

        def make(url: str, token: str) -> Client:
            client = Client(url, token)
            stack.callback(client.http.close)
            return client

        yield make


@pytest.fixture(params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    url = ""
    if request.param == "postgresql":
        postgres: Postgres = request.getfixturevalue("postgres")
        url = postgres.url(postgres.database())
    server = Server(tmp_path / "serve", None, database=url)
    server.start()
    yield server
    server.stop()
    log = server.log.read_text(errors="replace")
    assert "Traceback" not in log, server.tail()
    assert "internal_error" not in log, server.tail()


def call(server: Server, folder: Path, gateway_port: int) -> str:
    """One call of a second and a bit, answered by the gateway; its Call-ID."""
    gateway = Sipp("uas/answer.xml", folder, gateway_port, "-trace_msg", label="gateway")
    caller = None
    try:
        caller = Sipp(
            "uac/ip_call.xml", folder, free_port(), "-s", NUMBER, "-key", "caller", CALLER, "-m", "1", "-d", "1200",
            "-recv_timeout", "15000", "-trace_shortmsg", target=server.target, address=SOURCE,
        )  # fmt: skip
        caller.wait(40)
    finally:
        for one in (caller, gateway):
            if one is not None:
                one.stop()
    counted = caller.counters()
    assert (counted.ok, counted.failed) == (1, 0), caller.errors()
    (call_id,) = caller.call_ids()
    return call_id


def cdr_of(client: Client, call_id: str) -> dict[str, Any]:
    end = time.monotonic() + 20
    while True:
        found = client.get("/cdrs", **{"filter[call_id][eq]": call_id, "filter[state][eq]": "ended"})["data"]
        if found:
            assert len(found) == 1
            return dict(found[0])
        assert time.monotonic() < end, f"no record of {call_id}"
        time.sleep(0.2)


def imported(client: Client, started: dict[str, Any], path: str) -> dict[str, Any]:
    """An upload or a populated list: checked, then put into force; the preview."""
    client.done(started["job"])
    preview: dict[str, Any] = client.get(f"{path}/{started['id']}")
    assert (preview["status"], preview["rejected"]) == ("validated", 0), preview
    client.done(client.post(f"{path}/{started['id']}/apply", {}, 202))
    assert client.get(f"{path}/{started['id']}")["status"] == "applied"
    return preview


@pytest.mark.rule("IP-1", "IP-2", "IP-5", "IP-9", "IP-10", "IP-11", "TG-7", "TP-7", "UI-2", "law 3")
def test_from_an_empty_server_to_a_dearer_call_and_back(
    server: Server, tmp_path: Path, client_of: Callable[[str, str], Client]
) -> None:
    said = server.log.read_text()
    token = re.search(r"API token: (sipsvc_\S+)", said)
    listen = re.search(r"management API on (http://\S+)/docs", said)
    assert token and listen
    operator = client_of(listen[1], token[1])
    operator.wait()

    # The operator makes a partner and its administrator's token; a partner makes no partners.
    partner = operator.post("/partners", {"name": "Northern Voice", "time_zone": "Europe/London"})
    secret = operator.post("/tokens", {"name": "north", "role": "partner_admin", "partner": partner["id"]})["secret"]
    north = client_of(listen[1], secret)
    north.post("/partners", {"name": "Another"}, 403)
    other = operator.post("/partners", {"name": "Southern Voice"})
    south = client_of(
        listen[1],
        operator.post("/tokens", {"name": "south", "role": "partner_admin", "partner": other["id"]})["secret"],
    )

    # The partner: a gateway with its coverage, a price list made of it, a customer with a trunk.
    port = free_port()
    gateway = north.post(
        "/gateways", {"name": "Alpha", "host": "127.0.0.1", "port": port, "uri_prefix": "1001", "caller_prefix": "77"}
    )
    started = north.ask(
        "POST", "/coverage-imports", 202, params={"gateway": gateway["id"], "filename": "alpha.csv"},
        content=COVERAGE.encode(), headers={"Content-Type": "text/csv"},
    )  # fmt: skip
    assert imported(north, started, "/coverage-imports")["preview"]["counts"]["new"] == 4
    pricelist = north.post(
        "/term-pricelists", {"name": "Retail", "initial": 1, "increment": 1, "minimum": "0.001", "expensive_at": "0.50"}
    )
    lists = f"/term-pricelists/{pricelist['id']}"
    started = north.post(f"{lists}/populate", {"gateways": [gateway["id"]], "markup": "5"}, 202)
    assert imported(north, started, "/pricelist-imports")["preview"]["counts"]["new"] == 4
    asked = CUSTOMER | {"pricelist": pricelist["id"]}
    review = north.ask("POST", "/customers", 200, json=asked, params={"dry_run": "true"})
    assert north.get("/customers")["data"] == []
    customer = north.post("/customers", asked, **{"Idempotency-Key": "sign-up-1"})
    assert north.post("/customers", asked, **{"Idempotency-Key": "sign-up-1"})["id"] == customer["id"]
    assert len(north.get("/customers")["data"]) == 1
    assert {k: review[k] for k in ("name", "email", "plan")} == {k: customer[k] for k in ("name", "email", "plan")}
    assert customer["admin_user"]["username"] == "acmeadmin"
    north.post("/customers", asked | {"email": "x@acme.example", "admin_username": "ACMEADMIN"}, 409)
    north.post("/trunks", {"customer": customer["id"], "source": f"{SOURCE}/32"})
    south.get(f"/customers/{customer['id']}", 404)
    south.get(f"/gateways/{gateway['id']}", 404)

    # Explain says what the call will be; the call is that, and so is its record.
    question = {"customer": customer["id"], "dialled": "02079460018", "caller": CALLER}
    explained = north.post("/explain", question, 200)
    assert (explained["outcome"], explained["sell"]["rate"]) == ("route", "0.020000")
    time.sleep(LIVE_S)
    first = cdr_of(north, call(server, tmp_path / "first", port))
    assert (first["code"], first["customer"], first["partner"]) == ("answered", customer["id"], partner["id"])
    assert (first["sell"]["prefix"], first["sell"]["rate"], first["buy"]["rate"]) == ("4420", "0.020000", "0.004000")
    assert first["sent_to"] == f"1001{NUMBER}"
    assert [attempt["gateway"] for attempt in first["attempts"]] == [gateway["id"]]

    # The price goes up; the next call is decided by it.
    price = f"{lists}/prices/4420"
    north.ask("PATCH", price, 200, json={"rate": "0.05"}, headers={"If-Match": north.etag(price)})
    time.sleep(LIVE_S)
    second = cdr_of(north, call(server, tmp_path / "second", port))
    assert (second["sell"]["rate"], second["sell"]["amount"]) == ("0.050000", "0.001667")
    assert second["directory"] > first["directory"]

    # History tells it field by field, and goes back.
    told = north.get(f"{price}/history")["data"]
    assert told[0]["changes"]["rate"] == ["0.020000", "0.050000"]
    assert told[0]["role"] == "partner_admin"
    north.ask("POST", f"{price}/revert", 200, json={"version": 1}, headers={"If-Match": north.etag(price)})
    here = f"/gateways/{gateway['id']}"
    north.ask("PATCH", here, 200, json={"uri_prefix": "1009"}, headers={"If-Match": north.etag(here)})
    north.ask("PATCH", here, 412, json={"uri_prefix": "1010"}, headers={"If-Match": '"1"'})
    time.sleep(LIVE_S)
    third = cdr_of(north, call(server, tmp_path / "third", port))
    assert (third["sell"]["rate"], third["sent_to"]) == ("0.020000", f"1009{NUMBER}")
    changed = [entry for entry in north.get(f"{here}/history")["data"] if "uri_prefix" in entry["changes"]]
    assert changed[0]["changes"] == {"uri_prefix": ["1001", "1009"]}
    before = changed[1]["version"]
    north.ask("POST", f"{here}/revert", 200, json={"version": before}, headers={"If-Match": north.etag(here)})
    time.sleep(LIVE_S)
    fourth = cdr_of(north, call(server, tmp_path / "fourth", port))
    assert fourth["sent_to"] == f"1001{NUMBER}"

    # What the month cost is what the calls cost, exactly; the customer sees it without what they were bought for.
    calls = [first, second, third, fourth]
    month = calls[0]["answer_at"][:7]
    (usage,) = north.get("/usage", month=month, **{"filter[customer][eq]": customer["id"]})["data"]
    (amount,) = usage["amounts"]
    assert Decimal(amount["amount"]) == sum(Decimal(cdr["sell"]["amount"]) for cdr in calls)
    assert (usage["answered"], amount["currency"]) == (4, "USD")
    own = client_of(
        listen[1],
        north.post("/tokens", {"name": "acme", "role": "customer_admin", "customer": customer["id"]})["secret"],
    )
    seen = own.get("/cdrs")["data"]
    assert len(seen) == 4
    assert not any("buy" in key or key in ("margin", "attempts", "trace") for cdr in seen for key in cdr)
    own.get(here, 403)
