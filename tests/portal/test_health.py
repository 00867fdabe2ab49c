"""GET /gateways/{id}/health: what the SIP worker has found, and nobody sees another's gateway (SIP-34)."""

from __future__ import annotations

import pytest

from sipsvc.directory import Gateway
from tests.portal.test_ladder import worker
from tests.portal.world import World
from tests.unit.wire import GATES, Wire, answer, directory, gateway, request


def carrier(name: str) -> Gateway:
    """Down after one failure, and found under this id."""
    return gateway(1, id=name, down_after=1)


@pytest.mark.rule("SIP-34")
def test_a_gateway_that_failed_a_call_is_down_and_says_since_when_and_why(world: World) -> None:
    tenant = world.tenant()
    owned = tenant.ids["gateway"]
    wire = Wire(directory(carrier(owned)))
    path = f"/gateways/{owned}/health"
    with worker(world, wire):
        before = world.partner_admin().get(path)
        sent = wire.give(request("INVITE"))[-1]
        wire.give(answer(sent.message, 503), GATES[0])
        after = world.partner_admin().get(path)
    assert (before.status_code, before.json()["state"], before.json()["since"]) == (200, "unknown", None)
    told = after.json()
    assert (told["state"], told["failures"], told["registration"]) == ("down", 1, "")
    assert "503" in told["reason"] and told["since"].startswith("20")


@pytest.mark.rule("SIP-34")
def test_without_a_worker_it_is_503_and_of_another_partners_gateway_404(world: World) -> None:
    tenant = world.tenant()
    client = world.partner_admin()
    gone = client.get(f"/gateways/{tenant.ids['gateway']}/health")
    assert (gone.status_code, gone.headers["retry-after"]) == (503, "5")
    assert client.get("/gateways/no-such-gateway/health").status_code == 404
