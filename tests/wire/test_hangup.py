"""An administrator ends a call over the API: both parties get a BYE, the record says so (SIP-19)."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from sipsvc.demo.api import ApiAway
from tests.wire.conftest import Stage


def hang_up(stage: Stage, cdr_id: str) -> httpx.Response:
    api = stage.server.api
    headers = {"Authorization": f"Bearer {api.token}"}
    return httpx.post(f"{api.url}/api/v1/cdrs/{cdr_id}/hangup", headers=headers, timeout=60)


def shown(stage: Stage, call_id: str) -> dict[str, Any]:
    """The record of a call that is up, once the API is there and has it."""
    end = time.monotonic() + 90
    while time.monotonic() < end:
        with suppress(ApiAway):
            for one in stage.server.api.cdrs(call_id):
                return one
        time.sleep(0.2)
    raise AssertionError(stage.server.tail())


@pytest.mark.rule("SIP-19")
def test_a_call_is_ended_over_the_api(stage: Stage, tmp_path: Path) -> None:
    alpha, beta = stage.gateways(tmp_path)
    client = stage.caller(tmp_path, "ip_call", talk_ms=240_000)
    try:
        while not client.call_ids():
            time.sleep(0.1)
        cdr = shown(stage, client.call_ids()[0])
        assert cdr["state"] == "answered"
        asked = hang_up(stage, cdr["cdr_id"])
        assert asked.status_code == 202, asked.text
        ended = stage.cdr(cdr["call_id"])
        assert len(alpha.received("BYE")) >= 1
    finally:
        for one in (client, alpha, beta):
            one.stop()
    assert (ended["code"], ended["hangup_by"], ended["status"]) == ("admin", "proxy", 200)
    assert 0 < ended["duration_ms"] < 240_000
    assert hang_up(stage, cdr["cdr_id"]).status_code == 409
