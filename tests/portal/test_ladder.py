"""GET /cdrs/{id}/ladder: asked of the worker by its control socket, and nobody sees more than the call (SIP-38)."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from sipsvc.control import ControlServer
from sipsvc.control.place import NAME, address
from sipsvc.store import cdrs
from sipsvc.watch import handlers
from tests.portal.conftest import Portal
from tests.portal.world import World, stored
from tests.unit.wire import CUSTOMER, GATES, Wire, answer, directory, gateway, request, talking
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


def row_of(world: World, wire: Wire) -> cdrs.Row:
    """The engine's only call, as one of the first tenant's."""
    tenant = world.tenant()
    who = {"partner": tenant.partner, "customer": tenant.customer}
    (start,) = [record for record in wire.records if record["kind"] == "start"]
    return cdrs.merge(start | who, None, wire.end | {"customer": tenant.customer})


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
    with stored(world, row_of(world, wire)) as cdr_id, worker(world, wire):
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
    with stored(world, row_of(world, wire)) as cdr_id, worker(world, wire):
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
    with stored(world, row_of(world, wire)) as cdr_id:
        with worker(world, Wire()):
            gone = get(world.partner_admin(), cdr_id)
        assert (gone.status_code, gone.headers["content-type"]) == (410, "application/problem+json")
        assert "not kept any more" in gone.json()["detail"]
        away = get(world.partner_admin(), cdr_id)
        assert (away.status_code, away.headers["retry-after"]) == (503, "5")
        assert away.json()["detail"] == "The SIP worker does not answer at the moment."


@pytest.mark.rule("SIP-38", "IP-6")
def test_a_call_id_like_the_id_of_another_call_shows_nobody_a_wrong_ladder(world: World) -> None:
    wire = finished(904)
    with stored(world, row_of(world, wire)) as cdr_id:
        via = f"SIP/2.0/UDP {CUSTOMER.host}:{CUSTOMER.port};branch=z9hG4bK-2;rport"
        for engine, status in ((wire, 200), (Wire(directory(gateway())), 410)):
            engine.give(request(Call_ID=cdr_id, Via=via))
            with worker(world, engine):
                told = get(world.partner_admin(), cdr_id)
                assert told.status_code == status, told.text
                assert told.json().get("call_id", "call-1") == "call-1"


@pytest.mark.rule("SIP-38")
def test_a_worker_that_hangs_up_does_not_answer(world: World) -> None:
    folder = world.settings.data.dir
    with stored(world, row_of(world, finished(905))) as cdr_id, socket.socket(socket.AF_UNIX) as mute:
        with address(folder) as name:
            mute.bind(name)
        try:
            mute.listen()
            hanging_up = threading.Thread(target=lambda: mute.accept()[0].close())
            hanging_up.start()
            assert get(world.partner_admin(), cdr_id).status_code == 503
            hanging_up.join()
        finally:
            (folder / NAME).unlink()


@pytest.mark.rule("SIP-38")
def test_the_api_is_ready(portal: Portal) -> None:
    for path, status in (("healthz", "ok"), ("readyz", "ready")):
        answer = portal.anyone.get(f"/{path}")
        assert (answer.status_code, answer.json()) == (200, {"status": status})
