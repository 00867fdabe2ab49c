"""Lists: filters, sorts, pages, chosen fields and CSV, on both databases (IP-7, UI-3)."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal_api.csvout import cell, lines
from tests.portal.world import ANY, World, post

PRIORITIES = (5, 1, 3, 3, 2)
NAMES = ("Echo", "alpha", "=cmd|' /C calc'!A0", "100%_Charlie", "Delta")

Row = dict[str, Any]


@pytest.fixture(scope="module")
def carriers(world: World) -> Iterator[httpx.Client]:
    """An administrator of a partner that has five gateways and nothing else."""
    partner = post(world.admin, "partners", {"name": "lists"})["id"]
    client = world.token("partner_admin", partner=partner)
    for number, (name, priority) in enumerate(zip(NAMES, PRIORITIES, strict=True)):
        body = {"name": name, "priority": priority, "enabled": number % 2 == 0, "host": f"203.0.113.{10 + number}"}
        post(client, "gateways", body | {"port": 5060 + number})
    yield client
    for gateway in client.get("/gateways").json()["data"]:
        client.delete(f"/gateways/{gateway['id']}", headers=ANY)


def walk(client: httpx.Client, path: str, size: int, **query: str) -> list[Row]:
    found: list[Row] = []
    following = None
    while True:
        more = {} if following is None else {"page[after]": following}
        answer = client.get(path, params=query | more | {"page[size]": str(size)})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page["data"]
        following = page["next"]
        if following is None:
            return found
        assert len(page["data"]) == size


FILTERS: list[tuple[str, str, Callable[[Row], bool]]] = [
    ("name[eq]", "Echo", lambda row: row["name"] == "Echo"),
    ("name[ne]", "Echo", lambda row: row["name"] != "Echo"),
    ("name[in]", "Echo,Delta,nobody", lambda row: row["name"] in ("Echo", "Delta")),
    ("name[starts]", "al", lambda row: row["name"].startswith("al")),
    ("name[starts]", "AL", lambda row: row["name"].startswith("AL")),
    ("name[contains]", "A", lambda row: "a" in row["name"].lower()),
    ("name[contains]", "%_", lambda row: "%_" in row["name"]),
    ("name[contains]", "_", lambda row: "_" in row["name"]),
    ("priority[eq]", "3", lambda row: row["priority"] == 3),
    ("priority[in]", "1,5", lambda row: row["priority"] in (1, 5)),
    ("priority[gte]", "3", lambda row: row["priority"] >= 3),
    ("priority[lt]", "3", lambda row: row["priority"] < 3),
    ("enabled[eq]", "false", lambda row: row["enabled"] is False),
    ("created_at[lt]", "2001-01-01T00:00:00Z", lambda row: False),
    ("created_at[gte]", "2001-01-01T00:00:00+02:00", lambda row: True),
]


@pytest.mark.rule("UI-3")
@pytest.mark.parametrize(("name", "value", "check"), FILTERS)
def test_a_filter_gives_what_it_says(
    carriers: httpx.Client, name: str, value: str, check: Callable[[Row], bool]
) -> None:
    column, operator = name.rstrip("]").split("[")
    everything = walk(carriers, "/gateways", 500)
    found = walk(carriers, "/gateways", 2, **{f"filter[{column}][{operator}]": value})
    assert found == [row for row in everything if check(row)]


@pytest.mark.rule("UI-3")
@pytest.mark.parametrize(
    "sort", ["priority", "-priority", "priority,-port", "-priority,port", "enabled,-priority,host", "-enabled", "-id"]
)
@pytest.mark.parametrize("size", [1, 2, 500])
def test_a_sort_orders_every_page_alike(carriers: httpx.Client, sort: str, size: int) -> None:
    expected = walk(carriers, "/gateways", 500)
    words = sort.split(",")
    # The id closes each order, in the direction of the last word.
    for word in reversed([*words, ("-" if words[-1].startswith("-") else "") + "id"]):
        expected.sort(key=lambda row, word=word: row[word.removeprefix("-")], reverse=word.startswith("-"))  # type: ignore[misc]
    assert walk(carriers, "/gateways", size, sort=sort) == expected


def test_what_comes_in_between_pages_moves_nothing(carriers: httpx.Client) -> None:
    first = carriers.get("/gateways", params={"sort": "priority", "page[size]": 2}).json()
    made = post(carriers, "gateways", {"name": "Late", "host": "203.0.113.15", "priority": 0})
    rest = carriers.get(
        "/gateways", params={"sort": "priority", "page[size]": 500, "page[after]": first["next"]}
    ).json()["data"]
    carriers.delete(f"/gateways/{made['id']}", headers=ANY)
    assert [row["priority"] for row in first["data"] + rest] == sorted(PRIORITIES)


@pytest.mark.rule("IP-7")
def test_chosen_fields_in_json_and_csv(carriers: httpx.Client) -> None:
    query = {"fields": "name,priority", "sort": "port", "filter[priority][gte]": "3"}
    chosen = carriers.get("/gateways", params=query).json()["data"]
    assert chosen == [{"name": n, "priority": p} for n, p in zip(NAMES, PRIORITIES, strict=True) if p >= 3]
    answer = carriers.get("/gateways", params=query | {"page[size]": "1"}, headers={"Accept": "text/csv"})
    assert answer.headers["content-disposition"] == 'attachment; filename="gateways.csv"'
    rows = list(csv.reader(io.StringIO(answer.text)))
    assert rows == [["name", "priority"], ["Echo", "5"], ["'=cmd|' /C calc'!A0", "3"], ["100%_Charlie", "3"]]


@pytest.mark.rule("IP-7")
def test_csv_is_all_that_is_filtered(world: World) -> None:
    many = [row["id"] for row in walk(world.admin, "/customers", 2)]
    answer = world.admin.get("/customers", headers={"Accept": "text/csv"}, params={"page[size]": "1"})
    assert [row["id"] for row in csv.DictReader(io.StringIO(answer.text))] == many


@pytest.mark.rule("IP-7")
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("+44", "'+44"),
        ("-1", "'-1"),
        ("@SUM", "'@SUM"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ("a=b", "a=b"),
        ("", ""),
        (None, ""),
        (-1, "-1"),
        (Decimal("-0.5"), "-0.500000"),
        (True, "true"),
        (["=x"], '["=x"]'),
    ],
)
def test_a_cell_is_harmless_and_a_number_stays_one(value: object, shown: str) -> None:
    assert cell(value) == shown


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), min_size=1, max_size=450))
def test_csv_reads_back_as_it_was_written(texts: list[str]) -> None:
    said = b"".join(lines(["a", "b"], ({"a": text, "b": "."} for text in texts))).decode()
    rows = list(csv.reader(io.StringIO(said, newline="")))
    assert rows[0] == ["a", "b"]
    assert [row[0].removeprefix("'") for row in rows[1:]] == [text.removeprefix("'") for text in texts]
    assert not any(row[0].startswith(("=", "+", "-", "@", "\t", "\r")) for row in rows[1:])


def test_a_page_is_bounded(carriers: httpx.Client) -> None:
    for size, status in (("0", 422), ("501", 422), ("500", 200), ("-1", 422)):
        assert carriers.get("/gateways", params={"page[size]": size}).status_code == status
    for value, status in (("a" * 256, 200), ("a" * 257, 422)):
        assert carriers.get("/gateways", params={"filter[name][eq]": value}).status_code == status
