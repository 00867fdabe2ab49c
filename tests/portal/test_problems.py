"""Every error has one shape, names what is wrong, and none is a fault of ours (RFC 9457)."""

from __future__ import annotations

import json
import socket
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipsvc.settings import DataSettings, Settings
from tests.portal.conftest import Portal
from tests.portal.process import serving


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert set(body) == {"type", "title", "status", "detail", "errors"}
    assert body["status"] == status
    assert body["detail"]
    assert all(set(fault) == {"field", "reason"} and fault["reason"] for fault in body["errors"])
    assert isinstance(body, dict)
    return body


NUL = "\0"


def cursor(*place: object) -> str:
    return urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Basic YWRtaW46YWRtaW4=", "Bearer wrong", "Bearer \xff\xfe", "bearer x y"]
)
@pytest.mark.parametrize("path", ["customers", "cdrs/1", "explain", "nothing"])
def test_without_a_right_token_nothing_is_told(portal: Portal, header: str | None, path: str) -> None:
    headers = {} if header is None else {b"Authorization": header.encode("latin-1")}
    answer = portal.anyone.get(f"/api/v1/{path}", headers=headers)
    problem(answer, 401)
    assert answer.headers["www-authenticate"].startswith("Bearer realm=")


def test_the_token_is_checked_before_the_body_is_read(portal: Portal) -> None:
    problem(portal.anyone.post("/api/v1/explain", content=b"{" * 100_000), 401)


def test_health_needs_no_token(portal: Portal) -> None:
    assert portal.anyone.get("/healthz").json() == {"status": "ok"}


def test_the_scheme_is_read_in_any_case(portal: Portal) -> None:
    assert portal.anyone.get("/api/v1/customers", headers={"Authorization": f"bearer {portal.token}"}).is_success


@pytest.mark.parametrize(
    "path", ["/nothing", "/api/v1/nothing", "/api/v2/customers", "/api/v1/customers/acme/more", "/api/v1/customers/"]
)
def test_nowhere_is_a_problem(portal: Portal, path: str) -> None:
    assert path in problem(portal.client.get(path), 404)["detail"]


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "customers"), ("DELETE", "cdrs/1"), ("GET", "explain"), ("POST", "gateways/carrier-a")]
)
def test_a_method_that_does_not_exist_names_those_that_do(portal: Portal, method: str, path: str) -> None:
    answer = portal.client.request(method, f"/api/v1/{path}")
    problem(answer, 405)
    there = {"customers": "GET, POST", "cdrs/1": "GET", "explain": "POST", "gateways/carrier-a": "DELETE, GET, PATCH"}
    assert answer.headers["allow"] == there[path]


@pytest.mark.parametrize(
    ("accept", "status", "kind"),
    [
        ("", 200, "application/json"),
        ("*/*", 200, "application/json"),
        ("application/json", 200, "application/json"),
        ("text/*", 200, "text/csv; charset=utf-8"),
        ("text/csv", 200, "text/csv; charset=utf-8"),
        ("application/json;q=0.5, text/csv", 200, "text/csv; charset=utf-8"),
        ("text/html, */*;q=0.1", 200, "application/json"),
        ("application/json;q=0, */*", 200, "text/csv; charset=utf-8"),
        ("text/html", 406, ""),
        ("application/json;q=0, text/csv;q=0", 406, ""),
        ("application/json;q=2", 400, ""),
    ],
)
def test_an_answer_is_written_as_asked_for(portal: Portal, accept: str, status: int, kind: str) -> None:
    answer = portal.client.get("/api/v1/customers", headers={"Accept": accept})
    if status == 200:
        assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    else:
        assert problem(answer, status)["errors"][0]["field"] == "Accept"
    if accept == "text/csv":
        problem(portal.client.get("/api/v1/customers/acme", headers={"Accept": accept}), 406)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "nothing"])
def test_a_body_that_is_not_json_is_415(portal: Portal, kind: str) -> None:
    answer = portal.client.post("/api/v1/explain", content=b"{}", headers={"Content-Type": kind})
    assert problem(answer, 415)["errors"][0]["field"] == "Content-Type"


@pytest.mark.parametrize(
    ("path", "query", "status", "field"),
    [
        ("cdrs", "filter[colour][eq]=red", 400, "filter[colour][eq]"),
        ("cdrs", "filter[customer][lt]=acme", 400, "filter[customer][lt]"),
        ("cdrs", "filter[customer]=acme", 400, "filter[customer]"),
        ("cdrs", "sort=-colour", 400, "sort"),
        ("cdrs", "sort=invite_at,", 400, "sort"),
        ("cdrs", "fields=cdr_id,colour", 400, "fields"),
        ("cdrs", "sort=", 422, "sort"),
        ("cdrs", "fields=", 422, "fields"),
        ("cdrs", "filter[colour][eq]=red&filter[status][eq]=x", 400, "filter[colour][eq]"),
        ("cdrs", "customer=acme", 400, "customer"),
        ("customers", "filter[id][gte]=acme", 400, "filter[id][gte]"),
        ("term-pricelists/retail/prices", "filter[prefix][gte]=44", 400, "filter[prefix][gte]"),
        ("cdrs", "filter[customer][eq]=", 422, "filter[customer][eq]"),
        ("cdrs", "filter[customer][eq]=" + "a" * 257, 422, "filter[customer][eq]"),
        ("cdrs", "filter[status][eq]=many", 422, "filter[status][eq]"),
        ("cdrs", "filter[status][eq]=99999999999", 422, "filter[status][eq]"),
        ("cdrs", "filter[status][in]=200,x", 422, "filter[status][in]"),
        ("cdrs", "filter[status][in]=" + ",".join(["1"] * 51), 422, "filter[status][in]"),
        ("cdrs", "filter[sell_amount][gte]=1e3", 422, "filter[sell_amount][gte]"),
        ("cdrs", "filter[sell_amount][gte]=NaN", 422, "filter[sell_amount][gte]"),
        ("cdrs", "filter[sell_amount][gte]=0.0000001", 422, "filter[sell_amount][gte]"),
        ("cdrs", "filter[state][eq]=open", 422, "filter[state][eq]"),
        ("cdrs", "filter[recovered][eq]=yes", 422, "filter[recovered][eq]"),
        ("cdrs", "filter[e164][starts]=44%00", 422, "filter[e164][starts]"),
        ("cdrs", "filter[e164][starts]=44%0a", 422, "filter[e164][starts]"),
        ("cdrs", "filter[invite_at][gte]=yesterday", 422, "filter[invite_at][gte]"),
        ("cdrs", "filter[invite_at][gte]=1790000000", 422, "filter[invite_at][gte]"),
        ("cdrs", "filter[invite_at][lt]=2026-09-21T14:13:30", 422, "filter[invite_at][lt]"),
        ("cdrs", "filter[invite_at][lt]=2026-09-31T14:13:30Z", 422, "filter[invite_at][lt]"),
        ("cdrs", "filter[invite_at][lt]=2026-09-21T14:13:30+02:00", 422, "filter[invite_at][lt]"),
        ("cdrs", "page[size]=0", 422, "page[size]"),
        ("cdrs", "page[size]=501", 422, "page[size]"),
        ("customers", "page[size]=1.5", 422, "page[size]"),
        ("cdrs", "page[after]=%C3%A9", 400, "page[after]"),
        ("cdrs", "page[after]=abc", 400, "page[after]"),
        ("cdrs", f"page[after]={cursor('customers', 'id', 'acme')}", 400, "page[after]"),
        ("cdrs", f"page[after]={cursor('cdrs', '-invite_at,-cdr_id', -1, 'a')}", 400, "page[after]"),
        ("cdrs", f"page[after]={cursor('cdrs', '-invite_at,-cdr_id', 1 << 62, 'a')}", 400, "page[after]"),
        ("cdrs", f"page[after]={cursor('cdrs', '-invite_at,-cdr_id', 'a', 'a')}", 400, "page[after]"),
        ("cdrs", f"page[after]={cursor('cdrs', '-invite_at,-cdr_id', 1, NUL)}", 400, "page[after]"),
        ("cdrs", f"page[after]={cursor('cdrs', '-invite_at,-cdr_id', 1)}", 400, "page[after]"),
        ("cdrs", f"sort=invite_at&page[after]={cursor('cdrs', '-invite_at,-cdr_id', 1, 'a')}", 400, "page[after]"),
        ("customers", f"page[after]={cursor('gateways', 'id', 'acme')}", 400, "page[after]"),
        ("customers", "as_of=2026-01-01T00:00:00Z", 400, "as_of"),
        ("customers/acme", "as_of=2026-01-01", 422, "as_of"),
        ("cdrs", "filter[customer][eq]=acme&filter[customer][eq]=bolt", 400, "filter[customer][eq]"),
    ],
)
def test_a_bad_query_names_its_parameter(portal: Portal, path: str, query: str, status: int, field: str) -> None:
    body = problem(portal.client.get(f"/api/v1/{path}?{query}"), status)
    assert field in [fault["field"] for fault in body["errors"]]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"[]", "body"),
        (b"\xff", "body"),
        (b'{"customer":"acme"}', "dialled"),
        (b'{"customer":"acme","dialled":44}', "dialled"),
        (b'{"customer":"acme","dialled":""}', "dialled"),
        (b'{"customer":"acme","dialled":"1","caller":null}', "caller"),
        (b'{"customer":"acme","dialled":"1","colour":"red"}', "colour"),
        (b'{"customer":"acme","dialled":"1","\\ud800":"red"}', "body"),
        (b'{"customer":"ac\\u0000me","dialled":"1"}', "customer"),
        (b"[" * 30_000, "body"),
        (b'{"dialled":' + b"1" * 5_000 + b"}", "body"),
        (b'{"customer":"nobody","dialled":"0044"}', "customer"),
        (b'{"customer":"acme","dialled":"' + b"1" * 257 + b'"}', "dialled"),
    ],
)
def test_a_bad_body_names_its_field(portal: Portal, body: bytes, field: str) -> None:
    headers = {"content-type": "application/json"}
    said = problem(portal.client.post("/api/v1/explain", content=body, headers=headers), 422)
    assert field in [fault["field"] for fault in said["errors"]]


def test_a_body_has_a_limit_whether_its_length_is_told_or_not(portal: Portal) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(70):
            yield b" " * 1024

    headers = {"content-type": "application/json"}
    problem(portal.client.post("/api/v1/explain", content=b" " * 65_537, headers=headers), 413)
    problem(portal.client.post("/api/v1/explain", content=pieces(), headers=headers), 413)
    problem(portal.client.post("/api/v1/explain", content=b" " * 65_536, headers=headers), 422)
    problem(portal.anyone.post("/healthz", content=b" " * 65_537), 413)


def test_a_length_is_believed_before_a_byte_of_the_body_is_there(portal: Portal) -> None:
    with socket.create_connection(("127.0.0.1", portal.port), timeout=30) as connection:
        connection.sendall(b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 413 ")


@settings(max_examples=60)
@given(
    name=st.sampled_from(["filter[customer][eq]", "filter[e164][starts]", "filter[invite_at][lt]", "page[after]"]),
    value=st.text(max_size=300),
)
def test_no_value_is_a_fault_of_ours(portal: Portal, name: str, value: str) -> None:
    try:
        answer = portal.client.get("/api/v1/cdrs", params={name: value})
    except UnicodeEncodeError:
        return
    assert answer.status_code in (200, 400, 422), (name, value)


@settings(max_examples=60)
@given(dialled=st.text(max_size=40), caller=st.text(max_size=40))
def test_no_number_is_a_fault_of_ours(portal: Portal, dialled: str, caller: str) -> None:
    answer = portal.client.post("/api/v1/explain", json={"customer": "acme", "dialled": dialled, "caller": caller})
    assert answer.status_code in (200, 422), (dialled, caller)


def test_a_database_without_tables_is_503_and_says_when_to_come_again(tmp_path: Path) -> None:
    bare = Settings(data=DataSettings(dir=tmp_path))
    with serving(bare) as (_, port):
        for path in ("/healthz", "/api/v1/customers"):
            answer = httpx.get(f"http://127.0.0.1:{port}{path}", headers={"Authorization": "Bearer any"})
            problem(answer, 503)
            assert answer.headers["retry-after"] == "1"
