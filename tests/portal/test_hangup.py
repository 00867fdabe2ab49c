"""POST /cdrs/{id}/hangup: whoever may, what is told, and what the SIP side is asked for (SIP-19)."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy.orm import Session

from portal_api import roles
from sipsvc.store import cdrs, snapshot
from sipsvc.store.database import one_state, open_database
from sipsvc.store.types import from_ms
from tests.cdr.records import answer, start
from tests.portal.world import World, stored


def call_up(world: World, number: int) -> cdrs.Row:
    """A call of the first tenant that is up."""
    tenant = world.tenant()
    began = start(number, 1000 * number, partner=tenant.partner, customer=tenant.customer)
    return cdrs.merge(began, answer(number), None)


def asked(world: World) -> list[str]:
    """What the feed would find."""
    engine = open_database(world.settings.data.url)
    try:
        with one_state(engine) as connection:
            return snapshot.hung_up(Session(connection), -1, from_ms(0))
    finally:
        engine.dispose()


def post(client: httpx.Client, cdr_id: str, **more: Any) -> httpx.Response:
    return client.post(f"/cdrs/{cdr_id}/hangup", **more)


@pytest.mark.rule("SIP-19")
def test_a_partner_ends_a_call_and_a_retry_asks_once(world: World) -> None:
    with stored(world, call_up(world, 501)) as cdr_id:
        said = [post(world.partner_admin(), cdr_id, headers={"Idempotency-Key": "end-501"}) for _ in range(2)]
    assert [one.status_code for one in said] == [202, 202]
    assert said[0].json()["cdr_id"] == cdr_id
    assert said[0].json() == said[1].json()
    assert asked(world).count(cdr_id) == 1


@pytest.mark.rule("SIP-19", "IP-6")
def test_who_may_not_end_a_call(world: World) -> None:
    with stored(world, call_up(world, 502)) as cdr_id:
        for role in roles.ROLES:
            if role not in ("platform_admin", "partner_admin"):
                assert post(world.of(role), cdr_id).status_code == 403, role
        assert post(world.partner_admin("south"), cdr_id).status_code == 404
        assert post(world.partner_admin(), cdr_id, params={"dry_run": "true"}).status_code == 200
        assert cdr_id not in asked(world)
        assert post(world.admin, cdr_id).status_code == 202


@pytest.mark.rule("SIP-19")
def test_a_call_that_is_over_or_unknown(world: World) -> None:
    over = post(world.partner_admin(), world.tenant().ids["cdr"])
    assert (over.status_code, over.json()["detail"]) == (409, "The call is over.")
    assert post(world.partner_admin(), "nothing").status_code == 404
