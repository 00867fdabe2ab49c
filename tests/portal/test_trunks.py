"""Trunks over HTTP: tech prefixes, certificates and algorithms, and what is refused of them (SIP-20, SIP-21)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy.orm import Session

from sipsvc.store import catalogue
from sipsvc.store.database import open_database, writing
from sipsvc.store.models import PlatformSettings, Trunk
from tests.portal.world import ANY, World, post

SHOWN = "0f" * 32


def refused(answer: httpx.Response, status: int, field: str) -> str:
    """The reason, of an answer that names one field."""
    assert answer.status_code == status, answer.text
    (error,) = answer.json()["errors"]
    assert error["field"] == field, error
    return str(error["reason"])


@contextmanager
def stored(world: World) -> Iterator[Session]:
    """The database behind the API, to be written to; nothing of it stays open."""
    engine = open_database(world.settings.data.url)
    try:
        with writing(engine) as session:
            yield session
    finally:
        engine.dispose()


@pytest.mark.rule("SIP-20")
def test_customers_behind_one_address_are_told_apart_by_tech_prefix(world: World) -> None:
    owner, stranger = world.partner_admin(), world.partner_admin("south")
    mine, theirs = world.tenant().customer, world.tenant("south").customer
    asked: dict[str, Any] = {"customer": mine, "source": "198.51.100.31", "tech_prefix": "55"}
    first = post(owner, "trunks", asked)
    assert (first["source"], first["tech_prefix"]) == ("198.51.100.31/32", "55")
    assert owner.get(f"/trunks/{first['id']}").json() == first
    second = post(owner, "trunks", asked | {"tech_prefix": "5"})
    said = refused(owner.post("/trunks", json=asked), 409, "source")
    assert said == f"with port any and tech prefix 55 is already the source of trunk {first['id']}"
    changed = owner.patch(f"/trunks/{second['id']}", json={"tech_prefix": "55"}, headers=ANY)
    assert first["id"] in refused(changed, 409, "source")
    # Another partner's trunk is not named.
    said = refused(stranger.post("/trunks", json=asked | {"customer": theirs}), 409, "source")
    assert said.endswith("of a trunk of another partner")
    # Who shares an address with another partner's customer is for the platform to say.
    apart = asked | {"customer": theirs, "tech_prefix": "66"}
    assert refused(stranger.post("/trunks", json=apart), 409, "source").startswith("overlaps")
    post(world.of("platform_admin"), "trunks", apart)
    found = owner.get("/trunks", params={"filter[tech_prefix][eq]": "55"}).json()["data"]
    assert [one["id"] for one in found] == [first["id"]]
    for wrong in ("5a", "+", "1" * 17, "5\n"):
        refused(owner.post("/trunks", json=asked | {"tech_prefix": wrong}), 422, "tech_prefix")
    for body in ({"username": "pre", "password": "secret"}, {"certificate": SHOWN}):
        answer = owner.post("/trunks", json={"customer": mine, "tech_prefix": "5", **body})
        assert answer.status_code == 422 and "tech_prefix goes with source" in answer.text


@pytest.mark.rule("SIP-20")
def test_a_certificate_is_one_trunks(world: World) -> None:
    owner = world.partner_admin()
    asked = {"customer": world.tenant().customer, "certificate": SHOWN}
    made = post(owner, "trunks", asked)
    assert (made["certificate"], made["source"], made["username"]) == (SHOWN, "", None)
    assert refused(owner.post("/trunks", json=asked), 409, "certificate") == f"is already that of trunk {made['id']}"
    theirs = asked | {"customer": world.tenant("south").customer}
    said = refused(world.partner_admin("south").post("/trunks", json=theirs), 409, "certificate")
    assert said == "is already that of a trunk of another partner"
    for wrong in (SHOWN.upper(), SHOWN[:-1], "g" * 64, SHOWN + "\n"):
        refused(owner.post("/trunks", json=asked | {"certificate": wrong}), 422, "certificate")
    for more in ({"source": "198.51.100.32"}, {"username": "both", "password": "x"}, {"port": 5061}):
        assert owner.post("/trunks", json=asked | more).status_code == 422
    path = f"/trunks/{made['id']}"
    moved = owner.patch(path, json={"certificate": "", "source": "198.51.100.33"}, headers=ANY).json()
    assert (moved["certificate"], moved["source"]) == ("", "198.51.100.33/32")
    post(owner, "trunks", asked)


@pytest.mark.rule("SIP-21")
def test_an_account_narrows_what_is_accepted_to_what_it_has_a_hash_for(world: World) -> None:
    owner = world.partner_admin()
    asked = {"customer": world.tenant().customer, "username": "narrow", "password": "secret"}
    made = post(owner, "trunks", asked | {"algorithms": ["SHA-256"]})
    path = f"/trunks/{made['id']}"
    assert made["algorithms"] == ["SHA-256"] and made["username"] == "narrow"
    with stored(world) as session:
        row = session.get_one(Trunk, made["id"])
        assert (len(row.ha1_md5), len(row.ha1_sha256)) == (32, 64)
    assert owner.patch(path, json={"algorithms": []}, headers=ANY).json()["algorithms"] == []
    for wrong, field in ((["SHA-1"], "algorithms"), (["MD5", "MD5"], "algorithms"), (None, "algorithms")):
        refused(owner.patch(path, json={"algorithms": wrong}, headers=ANY), 422, field)
    by_address = {"customer": world.tenant().customer, "source": "198.51.100.34", "algorithms": ["MD5"]}
    assert "algorithms go with a username" in owner.post("/trunks", json=by_address).text
    # A row of before there was SHA-256 has MD5 only.
    with stored(world) as session:
        session.get_one(Trunk, made["id"]).ha1_sha256 = ""
    said = refused(owner.patch(path, json={"algorithms": ["SHA-256"]}, headers=ANY), 422, "password")
    assert said == "is needed, for no hash is kept for SHA-256"
    assert owner.patch(path, json={"algorithms": ["MD5"]}, headers=ANY).status_code == 200
    answer = owner.patch(path, json={"algorithms": ["SHA-256"], "password": "another"}, headers=ANY)
    assert answer.json()["algorithms"] == ["SHA-256"]
    with stored(world) as session:
        assert len(session.get_one(Trunk, made["id"]).ha1_sha256) == 64
    # Where the platform does not offer it, nobody could ever answer by it.
    with stored(world) as session:
        catalogue.prepare(session)
        offered = session.get_one(PlatformSettings, 1)
        before, offered.digest = offered.digest, ["MD5"]
    try:
        said = refused(
            owner.post("/trunks", json=asked | {"username": "late", "algorithms": ["SHA-256"]}), 422, "algorithms"
        )
        assert said == "are none of those that the platform offers (MD5)"
        assert owner.patch(path, json={"enabled": False}, headers=ANY).status_code == 200
    finally:
        with stored(world) as session:
            session.get_one(PlatformSettings, 1).digest = before


@pytest.mark.rule("SIP-20", "IP-2")
def test_no_partner_takes_what_another_partners_customers_and_gateways_send(world: World) -> None:
    north, south = world.partner_admin(), world.partner_admin("south")
    owner, other = world.tenant(), world.tenant("south")
    trunk = {"customer": owner.customer, "source": "198.18.7.0/28"}
    assert north.post("/trunks", json=trunk).status_code == 201
    host = {"name": "Far", "host": "198.18.9.9"}
    assert north.post("/gateways", json=host).status_code == 201
    for source, why in (
        ("198.18.7.4/32", "overlaps the source of a trunk of another partner"),
        ("198.18.0.0/20", "overlaps the source of a trunk of another partner"),
        ("198.18.9.9/32", "holds the address of another partner's gateway"),
        ("0.0.0.0/1", "is wider than /16"),
        ("2001::/20", "is wider than /32"),
    ):
        for more in ({}, {"port": 5099}, {"tech_prefix": "77"}):
            refused = south.post("/trunks", json={"customer": other.customer, "source": source} | more)
            assert refused.status_code == 409, refused.text
            assert why in refused.json()["errors"][0]["reason"], refused.text
    refused = south.post("/gateways", json={"name": "Tap", "host": "198.18.7.5", "port": 5099})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (409, "host")
    platform = world.of("platform_admin")
    allowed = platform.post("/trunks", json={"customer": other.customer, "source": "198.18.7.4/32"})
    assert allowed.status_code == 201, allowed.text
