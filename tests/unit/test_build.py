"""From items to directories: a change makes what it touches, shares the rest, and is refused as a whole (law 3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sipsvc.directory import (
    Block,
    Builder,
    CallerIds,
    Customer,
    DialPlan,
    Directory,
    DirectoryError,
    Gateway,
    Image,
    Item,
    Package,
    Platform,
    PrefixTable,
    PriceList,
    Timing,
    Trunk,
    assemble,
)
from sipsvc.directory.draft import MADE, TABLES
from sipsvc.directory.image import compile_image
from sipsvc.directory.prefix import cells
from tests.unit.wire import row

PLATFORM = {
    "realm": "here",
    "nonce_lifetime_ms": 1_000,
    "digest": ["SHA-256"],
    "timing": {"t1_ms": 500, "t2_ms": 4_000, "t4_ms": 5_000, "max_call_ms": 60_000, "durable_wait_ms": 20},
}
CUSTOMER = {
    "id": "acme",
    "name": "Acme",
    "partner": "p",
    "status": "active",
    "pricelist": "retail",
    "allow_expensive": True,
    "max_channels": 5,
    "dial_plan": {"international": ["00", "011"], "national": "0", "country": "44", "bare": "national"},
    "caller_ids": {"allowed": ["44*"], "default": "441", "otherwise": "default"},
}
PRICELIST = {
    "id": "retail",
    "name": "Retail",
    "partner": "p",
    "currency": "USD",
    "minimum": "0.01",
    "expensive_at": "0.50",
    "strategy": "priority",
}
TRUNK = {
    "id": "t",
    "customer": "acme",
    "source": "192.0.2.0/24",
    "port": 0,
    "username": "",
    "ha1_md5": "",
    "enabled": True,
    "algorithms": [],
}
GATEWAY = {
    "id": "gw",
    "name": "Gw",
    "partner": "p",
    "host": "203.0.113.1",
    "port": 5060,
    "currency": "USD",
    "priority": 1,
    "enabled": True,
    "trusted": False,
    "remote_party_id": True,
    "p_asserted_identity": True,
    "caller_prefix": "1",
    "caller_prefix_in": ["from"],
    "uri_prefix": "9#",
    "uri_prefix_escaped": False,
    "rewrites": [["^44", "0"]],
    "hunt_codes": [503],
    "provisional_timeout_ms": 1,
    "ring_timeout_ms": 2,
    "transport": "tcp",
    "tcp_if_large": True,
    "auth_username": "acme",
    "auth_password": "secret",
    "auth_realm": "carrier",
    "plus_in_caller": True,
    "diversion": True,
    "ping_interval_s": 30,
    "down_after": 2,
    "up_after": 1,
    "registration": True,
    "registration_expires_s": 600,
}
BLOCK = {"id": "b", "partner": "", "prefix": "979", "reason": "premium"}
ALL: list[tuple[str, dict[str, Any]]] = [
    ("platform", PLATFORM),
    ("pricelist", PRICELIST),
    ("customer", CUSTOMER),
    ("trunk", TRUNK),
    ("gateway", GATEWAY),
    ("block", BLOCK),
]


def image(*prefixes: str) -> Image:
    return Image(compile_image(cells(row(prefix, "0.01")) for prefix in prefixes))


def built(items: list[tuple[str, dict[str, Any]]] = ALL) -> Builder:
    builder = Builder()
    for kind, fields in items:
        builder.put(kind, fields)
    builder.commit(1)
    return builder


def found(rows: PrefixTable, number: str) -> str:
    row = rows.find(number, "", 0)
    return row.prefix if row else ""


@pytest.mark.parametrize("items", [ALL, ALL[::-1]])
def test_items_come_as_plain_values_in_any_order(items: list[tuple[str, dict[str, Any]]]) -> None:
    book = built(items).directory
    assert book.platform == Platform("here", 1_000, Timing(max_call_ms=60_000), digest=("SHA-256",))
    plan = DialPlan(("00", "011"), "0", "44", "national")
    ids = CallerIds(("44*",), "441", "default")
    assert book.customers == {"acme": Customer("acme", "Acme", "p", "active", "retail", True, 5, plan, ids)}
    assert book.trunks == {"t": Trunk("t", "acme", "192.0.2.0/24")}
    assert book.networks == {(4, 24): {0xC0000200: (Trunk("t", "acme", "192.0.2.0/24"),)}}
    assert (book.pricelists["retail"].minimum, book.pricelists["retail"].expensive_at) == (
        Decimal("0.01"),
        Decimal("0.50"),
    )
    (gateway,) = book.gateways_of["p"]
    assert gateway is book.gateways["gw"]
    assert (gateway.transport, gateway.tcp_if_large, gateway.named) == ("tcp", True, False)
    assert (gateway.plus_in_caller, gateway.diversion) == (True, True)
    assert (gateway.hunt_codes, gateway.caller_prefix_in) == (frozenset({503}), frozenset({"from"}))
    assert gateway.rewrites[0].regex.sub("0", "4412") == "012"
    assert book.addresses == {("203.0.113.1", 5060): ("gw",)}
    assert book.blocked == {"": {"979": Block("b", "", "979", "premium")}}


@pytest.mark.rule("SIP-8", "SIP-20")
def test_a_name_is_no_packets_source() -> None:
    builder = built()
    builder.put("gateway", {**GATEWAY, "host": "gw.example", "port": 0})
    book = builder.commit(2)
    assert book.gateways["gw"].named
    assert book.addresses == {}
    builder.put("gateway", GATEWAY)
    assert builder.commit(3).addresses == {("203.0.113.1", 5060): ("gw",)}


@pytest.mark.rule("SIP-8")
@pytest.mark.parametrize(
    ("host", "named"),
    [("203.0.113.1", False), ("2001:db8::1", False), ("::ffff:1.2.3.4", False), ("gw1.example", True), ("a.b1", True)],
)
def test_names_and_addresses(host: str, named: bool) -> None:
    assert Gateway("gw", "Gw", "p", host, 0, "USD", PrefixTable()).named == named


@pytest.mark.rule("law 3")
def test_a_change_shares_what_it_does_not_touch() -> None:
    builder = built()
    before = builder.directory
    builder.put("customer", {**CUSTOMER, "status": "suspended"})
    after = builder.commit(2)
    assert (before.customers["acme"].status, after.customers["acme"].status) == ("active", "suspended")
    for name in {*TABLES.values(), *MADE, "platform"} - {"customers"}:
        assert getattr(after, name) is getattr(before, name), name


@pytest.mark.rule("law 3")
def test_rows_come_before_or_behind_their_owner_and_change_in_part() -> None:
    builder = built()
    builder.table("gateway", "gw", image("44", "447"), {})
    first = builder.commit(2)
    builder.put("gateway", {**GATEWAY, "priority": 9})
    second = builder.commit(3)
    builder.table("gateway", "gw", None, {"447": (), "33": (row("33", "0.02"),)})
    third = builder.commit(4)
    assert [found(book.gateways["gw"].coverage, "4471") for book in (first, second, third)] == ["447", "447", "44"]
    assert found(third.gateways_of["p"][0].coverage, "331") == "33"
    assert second.gateways["gw"].priority == 9
    builder.begin(True)
    builder.table("pricelist", "retail", image("1"), {})
    for kind, fields in ALL:
        builder.put(kind, fields)
    again = builder.commit(5)
    assert found(again.pricelists["retail"].rows, "12") == "1"
    assert found(again.gateways["gw"].coverage, "4471") == ""


def test_a_full_set_keeps_items_that_are_as_they_were() -> None:
    builder = built()
    before = builder.directory
    builder.begin(True)
    for kind, fields in ALL:
        if kind != "block":
            builder.put(kind, fields)
    after = builder.commit(2)
    assert after.customers["acme"] is before.customers["acme"]
    assert after.blocks == {}
    assert after.blocked == {}


FAULTS: list[tuple[str, Callable[[Builder], object], str]] = [
    ("unknown kind", lambda b: b.put("thing", {"id": "x"}), "thing x"),
    ("unknown field", lambda b: b.put("trunk", {**TRUNK, "colour": "red"}), "trunk t: TypeError"),
    ("missing field", lambda b: b.put("block", {"id": "x"}), "block x: TypeError"),
    ("no money", lambda b: b.put("pricelist", {**PRICELIST, "minimum": "much"}), "pricelist retail"),
    ("no network", lambda b: b.put("trunk", {**TRUNK, "source": "somewhere"}), "trunk t: ValueError"),
    ("no pattern", lambda b: b.put("gateway", {**GATEWAY, "rewrites": [["(", ""]]}), "gateway gw: ValueError"),
    ("no price list", lambda b: b.put("customer", {**CUSTOMER, "pricelist": "x"}), "price list x is not there"),
    ("no customer", lambda b: b.put("trunk", {**TRUNK, "customer": "x"}), "its customer x is not there"),
    ("price list gone", lambda b: b.drop("pricelist", "retail"), "pricelist retail is gone"),
    ("customer gone", lambda b: b.drop("customer", "acme"), "customer acme is gone"),
    ("drop of no kind", lambda b: b.drop("thing", "x"), "thing x"),
    ("rows of a trunk", lambda b: b.table("trunk", "t", image("1"), {}), "trunk t: has no rows"),
    ("rows of nobody", lambda b: b.table("gateway", "x", image("1"), {}), "rows for gateway x"),
    ("change of no rows", lambda b: b.table("gateway", "x", None, {}), "gateway x: has no table"),
    (
        "a name twice",
        lambda b: [b.put("trunk", {**TRUNK, "id": name, "source": "", "username": "u"}) for name in ("t1", "t2")],
        "username u is also that of trunk",
    ),
]


@pytest.mark.rule("law 3")
@pytest.mark.parametrize(("change", "why"), [case[1:] for case in FAULTS], ids=[case[0] for case in FAULTS])
def test_a_change_that_does_not_fit_is_refused_whole(change: Callable[[Builder], object], why: str) -> None:
    builder = built()
    before = builder.directory
    builder.put("block", {**BLOCK, "id": "other", "prefix": "1"})
    change(builder)
    with pytest.raises(DirectoryError, match=why):
        builder.commit(2)
    assert builder.directory is before
    assert builder.commit(3).blocks == before.blocks


def test_a_full_set_without_the_platform_is_refused() -> None:
    with pytest.raises(DirectoryError, match="the platform's settings"):
        built(ALL[1:])


def test_what_came_and_went_between_two_commits_was_never_there() -> None:
    builder = built()
    builder.drop("block", "unheard of")
    assert builder.commit(2).blocks == built().directory.blocks


def test_a_username_or_a_blocked_prefix_may_change_hands() -> None:
    """In whatever order the two items come."""
    for turn in (1, -1):
        builder = built([*ALL, ("trunk", {**TRUNK, "id": "a", "source": "", "username": "u"})])
        puts = [
            {**TRUNK, "id": "a", "source": "", "username": "v"},
            {**TRUNK, "id": "b", "source": "", "username": "u"},
        ]
        for fields in puts[::turn]:
            builder.put("trunk", fields)
        for step in [lambda b=builder: b.put("block", {**BLOCK, "id": "new"}), lambda b=builder: b.drop("block", "b")][
            ::turn
        ]:
            step()
        book = builder.commit(2)
        assert {name: trunk.id for name, trunk in book.users.items()} == {"u": "b", "v": "a"}
        assert book.blocked[""]["979"].id == "new"


# A few names, so that changes meet.
ids = st.sampled_from(["a", "b", "c"])
partners = st.sampled_from(["p", "q"])
hosts = st.sampled_from(["203.0.113.1", "203.0.113.2", "gw.example"])
sources = st.sampled_from(["", "192.0.2.0/24", "192.0.2.1/32", "2001:db8::/32"])


class Changes(RuleBasedStateMachine):
    """However a directory came about, it is the one that its items make."""

    def __init__(self) -> None:
        super().__init__()
        self.builder = Builder()
        self.items: dict[tuple[str, str], Item] = {}
        self.version = 0

    @initialize()
    def begin(self) -> None:
        self.builder.place(Platform())
        self.put(PriceList("retail", "Retail", "p", "USD", PrefixTable()))
        self.put(Customer("acme", "Acme", "p", "active", "retail"))
        self.commit()

    def put(self, item: Item) -> None:
        self.items[TABLES[type(item)], item.id] = item
        self.builder.place(item)

    @rule(id=ids, partner=partners, host=hosts)
    def gateway(self, id: str, partner: str, host: str) -> None:
        self.put(Gateway(id, id, partner, host, 5060, "USD", PrefixTable()))

    @rule(id=ids, source=sources, port=st.sampled_from([0, 5060]), enabled=st.booleans(), named=st.booleans())
    def trunk(self, id: str, source: str, port: int, enabled: bool, named: bool) -> None:
        self.put(Trunk(id, "acme", source, port, f"user-{id}" if named else "", "", enabled))

    @rule(id=ids, partner=st.sampled_from(["", "p"]))
    def block(self, id: str, partner: str) -> None:
        self.put(Block(id, partner, f"97{ord(id)}", "premium"))

    @rule(id=ids, kind=st.sampled_from(["gateway", "trunk", "block"]))
    def drop(self, id: str, kind: str) -> None:
        self.items.pop((f"{kind}s", id), None)
        self.builder.drop(kind, id)

    @rule()
    def begin_anew(self) -> None:
        self.builder.begin(True)
        self.builder.place(Platform())
        for item in self.items.values():
            self.builder.place(item)

    @rule()
    def commit(self) -> None:
        self.version += 1
        self.builder.commit(self.version)
        self.same(self.builder.directory)

    def same(self, book: Directory) -> None:
        made = assemble(self.version, Platform(), self.items.values())
        for name in (*TABLES.values(), *MADE):
            assert getattr(book, name) == getattr(made, name), name

    @invariant()
    def committed_directories_do_not_change(self) -> None:
        now = self.builder.directory
        seen = {name: repr(getattr(now, name)) for name in MADE}
        kept = getattr(self, "kept", None)
        if kept is not None and kept[0] is now:
            assert kept[1] == seen
        self.kept = (now, seen)


Changes.TestCase.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
test_changes = Changes.TestCase


@given(st.permutations(ALL))
def test_order_does_not_matter(items: list[tuple[str, dict[str, Any]]]) -> None:
    book, usual = built(items).directory, built().directory
    for name in (*TABLES.values(), *MADE):
        if name not in ("gateways", "gateways_of", "pricelists"):
            assert getattr(book, name) == getattr(usual, name)
    assert replace(book.gateways["gw"], coverage=usual.gateways["gw"].coverage) == usual.gateways["gw"]


def package(id: str, kind: str = "payg", **more: Any) -> Package:
    return Package(id, id, "p", kind, "retail", **more)


@pytest.mark.rule("PP-6")
def test_a_customers_package_is_its_own_before_its_products_before_the_default() -> None:
    builder = built()
    builder.place(replace(builder.directory.customers["acme"], product="voip"))
    packages = package("usual", default=True), package("brand", products=("voip",)), package("special", customer="acme")
    for one in packages:
        builder.place(one)
    book = builder.commit(2)
    acme = book.customers["acme"]
    assert book.package_of(acme) is packages[2]
    assert book.package_of(replace(acme, id="other")) is packages[1]
    assert book.package_of(replace(acme, id="other", product="chat")) is packages[0]
    assert book.package_of(replace(acme, id="other", product="", partner="q")) is None
    builder.drop("package", "special")
    assert builder.commit(3).package_of(acme) is packages[1]


@pytest.mark.rule("PP-4", "PP-5")
def test_a_package_sells_by_its_own_list_which_has_to_be_there() -> None:
    builder = built()
    builder.put("pricelist", {**PRICELIST, "id": "unlimited"})
    builder.place(replace(package("usual", default=True), pricelist="unlimited"))
    book = builder.commit(2)
    assert book.pricelist_of(book.customers["acme"]).id == "unlimited"
    assert book.pricelist_of(replace(book.customers["acme"], partner="q")).id == "retail"
    builder.drop("pricelist", "unlimited")
    with pytest.raises(DirectoryError, match="unlimited"):
        builder.commit(3)
    builder.place(replace(package("usual"), pricelist="nowhere"))
    with pytest.raises(DirectoryError, match="package usual: its price list nowhere"):
        builder.commit(3)


@pytest.mark.rule("PP-4")
def test_what_a_package_covers() -> None:
    assert not package("a").covers("44")
    assert package("b", "unlimited_international").covers("44")
    domestic = package("c", "unlimited_domestic", free=frozenset({"44"}))
    assert domestic.covers("44") and not domestic.covers("447")
    most = package("d", "unlimited_domestic", free=frozenset({"44", "447*"}))
    assert [most.covers(prefix) for prefix in ("4", "44", "441", "447", "4470")] == [False, True, False, True, True]
