"""Making, changing and taking away: ETags, idempotency, dry runs, history and the way back, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from portal_api import roles
from sipsvc.store.changes import utc_now
from sipsvc.store.database import open_database, writing
from sipsvc.store.models import Idempotency
from sipsvc.store.types import instant
from tests.portal.walk import RESOURCES, Sample
from tests.portal.world import ANY, World, post

EDITED = [sample for sample in RESOURCES if sample.patch is not None]
MADE = [sample for sample in RESOURCES if sample.create is not None]


def path_of(kind: str) -> str:
    return f"/{roles.PATHS[kind]}"


def by_kind(samples: list[Sample]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("sample", samples, ids=lambda sample: sample.kind)


def make(world: World, sample: Sample, **headers: str) -> tuple[str, dict[str, Any]]:
    """A new row of the partner north, made by whoever may, and its path."""
    assert sample.create is not None
    client = world.admin if sample.kind == "partner" else world.partner_admin()
    made = post(client, path_of(sample.kind).strip("/"), sample.create(world.tenant()), **headers)
    return f"{path_of(sample.kind)}/{made['id']}", made


def remove(world: World, path: str) -> None:
    world.admin.delete(path, headers=ANY)


@pytest.fixture
def gateway(world: World) -> Iterator[str]:
    """The path of a gateway of the partner north."""
    made = post(world.partner_admin(), "gateways", {"name": "Alpha", "host": "198.51.100.50"})
    yield f"/gateways/{made['id']}"
    remove(world, f"/gateways/{made['id']}")


@by_kind(MADE)
def test_what_is_made_is_there(world: World, sample: Sample) -> None:
    path, made = make(world, sample)
    answer = world.admin.get(path)
    shown = answer.json()
    assert answer.headers["etag"] == '"1"'
    assert {key: value for key, value in made.items() if key in shown} == shown
    assert shown["id"] in [
        row["id"] for row in world.admin.get(path_of(sample.kind), params={"page[size]": 500}).json()["data"]
    ]
    remove(world, path)


@by_kind(EDITED)
def test_a_change_needs_the_version_it_was_made_for(world: World, sample: Sample) -> None:
    path, _ = make(world, sample)
    owner = world.partner_admin() if sample.kind != "partner" else world.admin
    assert owner.patch(path, json=sample.patch).status_code == 428
    for stale in ('"2"', '"0", "7"', 'W/"1"', '"one"'):
        refused = owner.patch(path, json=sample.patch, headers={"If-Match": stale})
        assert refused.status_code == 412
        assert refused.json()["errors"][0]["field"] == "If-Match"
    for broken in ("1", "", '"1', "*, *"):
        assert owner.patch(path, json=sample.patch, headers={"If-Match": broken}).status_code == 400
    assert owner.get(path).headers["etag"] == '"1"'
    done = owner.patch(path, json=sample.patch, headers={"If-Match": '"9", "1"'})
    assert (done.status_code, done.headers["etag"], done.json()["version"]) == (200, '"2"', 2)
    assert sample.patch is not None
    assert done.json().items() >= sample.patch.items()
    again = owner.patch(path, json=sample.patch, headers=ANY)
    assert again.headers["etag"] == '"2"', "what changes nothing is no change"
    remove(world, path)


def test_a_known_version_is_not_sent_again(world: World, gateway: str) -> None:
    owner = world.partner_admin()
    for known in ('"1"', 'W/"1"', '"7", "1"', "*"):
        answer = owner.get(gateway, headers={"If-None-Match": known})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", '"1"')
    assert owner.get(gateway, headers={"If-None-Match": '"2"'}).status_code == 200
    assert owner.get(gateway, headers={"If-None-Match": "1"}).status_code == 400


def test_of_two_changes_for_one_version_one_is_made(world: World, gateway: str) -> None:
    owner = world.partner_admin()
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(
                lambda n: owner.patch(gateway, json={"priority": n}, headers={"If-Match": '"1"'}).status_code, range(8)
            )
        )
    assert sorted(answers) == [200] + [412] * 7
    assert len(owner.get(f"{gateway}/history").json()["data"]) == 2


@by_kind(MADE)
def test_a_key_makes_one_row_however_often_it_is_sent(world: World, sample: Sample) -> None:
    assert sample.create is not None
    client = world.admin if sample.kind == "partner" else world.partner_admin()
    body = sample.create(world.tenant())
    headers = {"Idempotency-Key": f"make-{sample.kind}"}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: client.post(path_of(sample.kind), json=body, headers=headers), range(4)))
    assert [answer.status_code for answer in answers] == [201] * 4
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sorted("Idempotent-Replayed" in answer.headers for answer in answers) == [False, True, True, True]
    assert len({answer.headers["location"] for answer in answers}) == 1
    other = client.post(path_of(sample.kind), json=body | {"name": "Other", "reason": "Other"}, headers=headers)
    assert other.status_code == 422
    assert client.post(f"{path_of(sample.kind)}?dry_run=false", json=body, headers=headers).status_code == 422
    remove(world, f"{path_of(sample.kind)}/{answers[0].json()['id']}")


@pytest.mark.rule("SIP-8", "SIP-29", "UI-2")
def test_a_gateway_moves_from_its_name_to_an_address_and_back(world: World) -> None:
    owner = world.partner_admin()
    made = post(owner, "gateways", {"name": "Delta", "host": "SIP.Delta.example", "transport": "tls"})
    path = f"/gateways/{made['id']}"
    where = ("host", "port", "transport", "tcp_if_large")
    assert [made[key] for key in where] == ["sip.delta.example", 0, "tls", False]
    moved = owner.patch(path, json={"host": "198.51.100.63", "tcp_if_large": True}, headers=ANY).json()
    # An address has a port, and without SRV only the transport's own can be meant.
    assert [moved[key] for key in where] == ["198.51.100.63", 5061, "tls", True]
    refused = owner.patch(path, json={"transport": "sctp"}, headers=ANY)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "transport")
    back = owner.post(f"{path}/revert", json={"version": 1}, headers=ANY).json()
    assert [back[key] for key in where] == [made[key] for key in where]
    remove(world, path)


@pytest.mark.rule("TG-1", "SIP-33", "UI-2")
def test_a_gateways_password_is_written_and_never_shown(world: World) -> None:
    owner, secret = world.partner_admin(), "correct-horse-battery"
    login = {"auth_username": "acme", "auth_password": secret, "auth_realm": "carrier"}
    asked = {"name": "Delta", "host": "198.51.100.64", **login}
    said = [owner.post("/gateways", json=asked, headers={"Idempotency-Key": "delta"}) for _ in range(2)]
    path = f"/gateways/{said[0].json()['id']}"
    assert [said[0].json()[key] for key in ("auth_username", "auth_realm")] == ["acme", "carrier"]
    said.append(owner.patch(path, json={"priority": 7}, headers=ANY))  # it is kept where nobody speaks of it
    said.append(owner.patch(path, json={"auth_password": f"another-{secret}"}, headers=ANY))
    said.append(owner.patch(path, json={"auth_password": f"{secret}\n"}, headers=ANY))
    said.append(owner.post(f"{path}/revert", json={"version": 1}, headers=ANY))
    assert said[-1].json()["priority"] == 100
    said.append(owner.patch(path, json={"auth_username": ""}, headers=ANY))
    assert (said[-1].status_code, said[-1].json()["errors"][0]["field"]) == (422, "auth_password")
    gone = owner.patch(path, json=dict.fromkeys(login, ""), headers=ANY)
    assert (gone.status_code, gone.json()["auth_username"]) == (200, "")
    said.append(owner.post(f"{path}/revert", json={"version": 1}, headers=ANY))
    assert (said[-1].status_code, said[-1].json()["errors"][0]["reason"]) == (422, "is needed with auth_username")
    back = owner.patch(path, json=login, headers=ANY).json()
    assert back["auth_username"] == "acme"
    said += [owner.get(path), owner.get(f"{path}/history"), owner.get("/gateways", headers={"Accept": "text/csv"})]
    said.append(owner.get(path, params={"as_of": said[0].json()["created_at"]}))
    for answer in said:
        assert secret not in answer.text
        assert "v1:" not in answer.text
    changes = [one["changes"].get("auth_password") for one in owner.get(f"{path}/history").json()["data"]]
    hidden = "(hidden)"
    assert changes == [["", hidden], [hidden, ""], None, [hidden, hidden], None, [None, hidden]]
    remove(world, path)


@pytest.mark.rule("IP-11")
def test_keys_are_a_tokens_own_and_end_after_a_day(world: World) -> None:
    body = {"name": "Beta", "host": "198.51.100.60"}
    headers = {"Idempotency-Key": "a-day"}
    north, south = world.partner_admin("north"), world.partner_admin("south")
    made = [client.post("/gateways", json=body, headers=headers).json()["id"] for client in (north, south, north)]
    assert made[0] == made[2] != made[1]
    engine = open_database(world.settings.data.url)
    with writing(engine) as session:
        session.execute(update(Idempotency).values(at=utc_now() - timedelta(hours=24, seconds=1)))
    engine.dispose()
    late = north.post("/gateways", json=body, headers=headers)
    assert late.json()["id"] not in made
    assert "Idempotent-Replayed" not in late.headers
    for key in {*made, late.json()["id"]}:
        remove(world, f"/gateways/{key}")


@pytest.mark.parametrize("key", ["", "two words", "k" * 256])
def test_a_key_that_is_none_is_named(world: World, key: str) -> None:
    body = {"name": "Beta", "host": "198.51.100.60"}
    refused = world.partner_admin().post("/gateways", json=body, headers={"Idempotency-Key": key})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "Idempotency-Key")


def test_a_refusal_does_not_use_up_its_key(world: World) -> None:
    headers = {"Idempotency-Key": "again"}
    owner = world.partner_admin()
    assert owner.post("/gateways", json={"name": "Gamma", "host": "nowhere"}, headers=headers).status_code == 422
    made = owner.post("/gateways", json={"name": "Gamma", "host": "198.51.100.61"}, headers=headers)
    assert made.status_code == 201
    remove(world, f"/gateways/{made.json()['id']}")


@by_kind(MADE)
def test_a_dry_run_says_all_and_stores_nothing(world: World, sample: Sample) -> None:
    assert sample.create is not None
    client = world.admin if sample.kind == "partner" else world.partner_admin()
    before = client.get(path_of(sample.kind)).json()
    body = sample.create(world.tenant())
    tried = client.post(
        f"{path_of(sample.kind)}?dry_run=true", json=body, headers={"Idempotency-Key": f"dry-{sample.kind}"}
    )
    assert tried.status_code == 200
    assert "location" not in tried.headers
    assert client.get(path_of(sample.kind)).json() == before
    assert client.get(f"{path_of(sample.kind)}/{tried.json()['id']}").status_code == 404
    done = client.post(path_of(sample.kind), json=body, headers={"Idempotency-Key": f"dry-{sample.kind}"})
    assert done.status_code == 201, "the key is still free"
    untold = {"id", "created_at", "updated_at", "expires_at", "secret", "admin_user"}
    assert {k: v for k, v in done.json().items() if k not in untold} == {
        k: v for k, v in tried.json().items() if k not in untold
    }
    remove(world, f"{path_of(sample.kind)}/{done.json()['id']}")


def test_a_dry_run_of_a_change_and_of_a_deletion(world: World, gateway: str) -> None:
    owner = world.partner_admin()
    tried = owner.patch(f"{gateway}?dry_run=true", json={"priority": 3}, headers=ANY)
    assert (tried.status_code, tried.json()["priority"], tried.json()["version"]) == (200, 3, 2)
    tried = owner.delete(f"{gateway}?dry_run=true", headers=ANY)
    assert (tried.status_code, tried.json()["name"]) == (200, "Alpha")
    tried = owner.post(f"{gateway}/notes?dry_run=true", json={"text": "hm"})
    assert (tried.status_code, tried.json()["text"]) == (200, "hm")
    assert owner.get(gateway).headers["etag"] == '"1"'
    assert len(owner.get(f"{gateway}/history").json()["data"]) == 1
    assert owner.get(f"{gateway}/notes").json()["data"] == []
    assert owner.patch(f"{gateway}?dry_run=true", json={"priority": -1}, headers=ANY).status_code == 422


@pytest.mark.rule("UI-2")
@by_kind(EDITED)
def test_history_tells_who_changed_what_from_where(world: World, sample: Sample) -> None:
    path, _ = make(world, sample)
    owner = world.partner_admin() if sample.kind != "partner" else world.admin
    owner.patch(path, json=sample.patch, headers=ANY)
    newest, first = owner.get(f"{path}/history").json()["data"]
    assert (first["action"], first["version"]) == ("create", 1)
    assert (newest["action"], newest["version"], newest["address"]) == ("update", 2, "127.0.0.1")
    assert newest["role"] == ("platform_admin" if sample.kind == "partner" else "partner_admin")
    assert sample.patch is not None
    assert set(newest["changes"]) == set(sample.patch)
    for name, (old, new) in newest["changes"].items():
        assert (first["changes"][name][1], sample.patch[name]) == (old, new)
    assert owner.get(path).json()["updated_at"] == newest["at"]
    remove(world, path)


@pytest.mark.rule("UI-2")
@by_kind(EDITED)
def test_the_way_back_is_a_change_of_its_own(world: World, sample: Sample) -> None:
    path, made = make(world, sample)
    owner = world.partner_admin() if sample.kind != "partner" else world.admin
    owner.patch(path, json=sample.patch, headers=ANY)
    assert owner.post(f"{path}/revert", json={"version": 1}).status_code == 428
    assert owner.post(f"{path}/revert", json={"version": 1}, headers={"If-Match": '"1"'}).status_code == 412
    for unknown in (0, 3):
        refused = owner.post(f"{path}/revert", json={"version": unknown}, headers=ANY)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "version")
    back = owner.post(f"{path}/revert", json={"version": 1}, headers={"If-Match": '"2"'})
    assert (back.status_code, back.headers["etag"]) == (200, '"3"')
    changing = {"version", "updated_at", "admin_user"}
    assert {k: v for k, v in back.json().items() if k not in changing} == {
        k: v for k, v in made.items() if k not in changing
    }
    assert owner.get(f"{path}/history").json()["data"][0]["action"] == "revert"
    remove(world, path)


@pytest.mark.rule("UI-2")
def test_a_gateway_as_it_was_and_after_it_is_gone(world: World) -> None:
    owner = world.partner_admin()
    made = post(owner, "gateways", {"name": "Delta", "host": "198.51.100.62"})
    path = f"/gateways/{made['id']}"
    changed = owner.patch(path, json={"name": "Delta Two"}, headers=ANY).json()
    post(owner, f"{path.strip('/')}/notes", {"text": "soon gone"})
    assert owner.delete(path, headers={"If-Match": '"1"'}).status_code == 412
    assert owner.delete(path, headers={"If-Match": '"2"'}).status_code == 204
    assert owner.get(path).status_code == owner.patch(path, json={}, headers=ANY).status_code == 404
    assert owner.post(f"{path}/revert", json={"version": 1}, headers=ANY).status_code == 404

    def then(at: str) -> httpx.Response:
        return owner.get(path, params={"as_of": at})

    assert then("2001-01-01T00:00:00Z").status_code == 404
    assert then(made["created_at"]).json() == made
    assert then(changed["updated_at"]).json() == changed
    assert then(instant(utc_now())).status_code == 404
    assert [entry["action"] for entry in owner.get(f"{path}/history").json()["data"]] == ["delete", "update", "create"]
    assert [note["text"] for note in owner.get(f"{path}/notes").json()["data"]] == ["soon gone"]
    for stranger in (world.partner_admin("south"), world.clients["partner_readonly south"]):
        for more in ("", "/history", "/notes", f"?as_of={made['created_at']}"):
            assert stranger.get(path + more).status_code == 404


@pytest.mark.rule("UI-2")
def test_history_comes_in_pages(world: World, gateway: str) -> None:
    owner = world.partner_admin()
    for priority in range(5):
        owner.patch(gateway, json={"priority": priority}, headers=ANY)
    versions: list[int] = []
    query: dict[str, str] = {"page[size]": "2"}
    while True:
        page = owner.get(f"{gateway}/history", params=query).json()
        versions += [entry["version"] for entry in page["data"]]
        if page["next"] is None:
            break
        query["page[after]"] = page["next"]
    assert versions == [6, 5, 4, 3, 2, 1]
    lines = owner.get(f"{gateway}/history?fields=version,action", headers={"Accept": "text/csv"}).text.splitlines()
    assert lines == ["version,action", *(f"{n},update" for n in range(6, 1, -1)), "1,create"]


@pytest.mark.rule("UI-2")
def test_notes_by_whoever_may_read(world: World) -> None:
    path = f"customers/{world.tenant().customer}/notes"
    writers = [world.of(role) for role in ("platform_admin", "partner_readonly", "customer_user")]
    for number, writer in enumerate(writers):
        assert (
            post(writer, path, {"text": f"note {number}"}, Idempotency_Key=f"note-{number}")["text"] == f"note {number}"
        )
    notes = world.customer_admin().get(f"/{path}").json()["data"]
    assert [note["text"] for note in notes] == ["note 2", "note 1", "note 0"]
    assert [note["role"] for note in notes] == ["customer_user", "partner_readonly", "platform_admin"]
    assert world.of("service").post(f"/{path}", json={"text": "x"}).status_code == 403
    for text in ("", "  ", "a\x00b", "x" * 5000):
        assert world.admin.post(f"/{path}", json={"text": text}).status_code == 422


def test_money_is_taken_and_shown_as_text_only(world: World) -> None:
    owner = world.partner_admin()
    made = post(owner, "term-pricelists", {"name": "Exact", "minimum": "0.010001", "max_profit": None})
    assert (made["minimum"], made["max_profit"], made["expensive_at"]) == ("0.010001", None, "0.500000")
    path = f"/term-pricelists/{made['id']}"
    for broken in (0.01, 1, "1e3", "NaN", "Infinity", "-1", "0.0000001", "100000000", "", " 1", "1,000.00", "١"):
        refused = owner.patch(path, json={"minimum": broken}, headers=ANY)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "minimum"), broken
    assert owner.patch(path, json={"minimum": None}, headers=ANY).status_code == 422
    assert (
        owner.patch(path, content=b'{"minimum": NaN}', headers=ANY | {"Content-Type": "application/json"}).status_code
        == 422
    )
    none = owner.patch(path, json={"expensive_at": None}, headers=ANY).json()
    assert none["expensive_at"] is None
    remove(world, path)


def test_a_price_list_that_is_used_stays(world: World) -> None:
    refused = world.partner_admin().delete(f"/term-pricelists/{world.tenant().ids['pricelist']}", headers=ANY)
    assert refused.status_code == 409
