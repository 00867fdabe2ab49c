"""GET /cdrs/{id}/ladder: asked of the worker by its control socket, and nobody sees more than the call (SIP-38)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from sqlalchemy import delete
from sqlalchemy.orm import Session

from sipsvc.control import ControlServer
from sipsvc.store import cdrs
from sipsvc.store.database import open_database, writing
from sipsvc.store.models import Cdr
from sipsvc.watch import handlers
from tests.portal.conftest import Portal
from tests.portal.world import World
from tests.unit.wire import CUSTOMER, GATES, Wire, answer, directory, gateway, talking
from tests.watch.conftest import Loop, facts_of


@contextmanager
def worker(world: World, wire: Wire) -> Iterator[None]:
    """This engine is what the API finds at the control socket, on a loop in a thread."""
    loop = Loop()
    server = ControlServer(handlers(facts_of(wire, world.settings.data.dir)))

    async def stop() -> None:
        server.stop()
        await asyncio.sleep(0.05)

    try:
        loop.run(server.start(world.settings.data.dir))
        yield
        loop.run(stop())
    finally:
        loop.close()


@contextmanager
def stored(world: World, wire: Wire) -> Iterator[str]:
    """The engine's only call in the database, as a call of the first tenant's; its id."""
    tenant = world.tenant()
    who = {"partner": tenant.partner, "customer": tenant.customer}
    (start,) = [record for record in wire.records if record["kind"] == "start"]
    row = cdrs.merge(start | who, None, wire.end | {"customer": tenant.customer})
    engine = open_database(world.settings.data.url)
    with writing(engine) as session:
        cdrs.upsert(session, [row])
    try:
        yield row["cdr_id"]
    finally:
        with Session(engine) as session, session.begin():
            session.execute(delete(Cdr).where(Cdr.cdr_id == row["cdr_id"]))
        engine.dispose()


def finished(seed: int) -> Wire:
    """An engine with one call, answered and over."""
    wire = Wire(directory(gateway()), seed=seed)
    talk = talking(wire)
    wire.give(talk.by_caller("ACK", 1))
    bye = wire.give(talk.by_caller("BYE", 2))[-1]
    wire.give(answer(bye.message, 200), GATES[0])
    wire.wait(100_000)
    return wire


def get(client: httpx.Client, cdr_id: str) -> httpx.Response:
    return client.get(f"/cdrs/{cdr_id}/ladder")


@pytest.mark.rule("SIP-38")
def test_the_ladder_and_the_trace_of_a_finished_call(world: World) -> None:
    wire = finished(901)
    with stored(world, wire) as cdr_id, worker(world, wire):
        told = get(world.partner_admin(), cdr_id)
        assert told.status_code == 200, told.text
        assert told.json()["trace"] == [list(row) for row in wire.records[0]["trace"]]
        assert (told.json()["state"], told.json()["call_id"], told.json()["missing"]) == ("ended", "call-1", 0)
        messages = told.json()["messages"]
        assert [one["what"].partition(" ")[0] for one in messages] == [
            "INVITE", "100", "INVITE", "200", "200", "ACK", "ACK", "BYE", "BYE", "200", "200",
        ]  # fmt: skip
        assert messages[0]["at"] == "2023-11-14T22:13:20.000Z"
        assert (messages[0]["peer"], messages[0]["sent"]) == (f"udp:{CUSTOMER.host}:{CUSTOMER.port}", False)


@pytest.mark.rule("SIP-38", "IP-6")
def test_a_customer_sees_its_own_side_and_a_stranger_none(world: World) -> None:
    wire = finished(902)
    with stored(world, wire) as cdr_id, worker(world, wire):
        own = get(world.customer_admin(), cdr_id)
        assert own.status_code == 200, own.text
        assert own.json()["trace"] is None
        assert [one["what"].partition(" ")[0] for one in own.json()["messages"]] == [
            "INVITE", "100", "200", "ACK", "BYE", "200",
        ]  # fmt: skip
        assert GATES[0].host not in own.text
        for other in (world.customer_admin("north", "second"), world.partner_admin("south")):
            assert get(other, cdr_id).status_code == 404
        assert get(world.partner_admin(), "nothing").status_code == 404


@pytest.mark.rule("SIP-38")
def test_a_ladder_that_is_gone_or_cannot_be_asked_for(world: World) -> None:
    wire = finished(903)
    with stored(world, wire) as cdr_id:
        with worker(world, Wire()):
            gone = get(world.partner_admin(), cdr_id)
        assert (gone.status_code, gone.headers["content-type"]) == (410, "application/problem+json")
        assert "not kept any more" in gone.json()["detail"]
        away = get(world.partner_admin(), cdr_id)
        assert (away.status_code, away.headers["retry-after"]) == (503, "5")
        assert away.json()["detail"] == "The SIP worker does not answer at the moment."


@pytest.mark.rule("SIP-38")
def test_the_api_is_ready(portal: Portal) -> None:
    for path, status in (("healthz", "ok"), ("readyz", "ready")):
        answer = portal.anyone.get(f"/{path}")
        assert (answer.status_code, answer.json()) == (200, {"status": status})
