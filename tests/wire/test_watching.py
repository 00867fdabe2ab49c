"""A real server watched: the commands as processes, its pages, the ladder over the API (SIP-37, SIP-38)."""

from __future__ import annotations

import json
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.waiting import until
from tests.wire.conftest import NUMBER, Stage


def sipsvc(stage: Stage, *words: str, status: int = 0) -> str:
    """What a command says, on standard output, or on standard error where it fails."""
    done = subprocess.run(
        stage.server.command(*words, "--config", str(stage.server.config)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr if status else done.stdout


def told(stage: Stage, *words: str) -> Any:
    return json.loads(sipsvc(stage, *words, "--json"))


def page(stage: Stage, path: str) -> httpx.Response:
    return httpx.get(f"http://{stage.server.metrics}/{path}", timeout=60)


def figures(stage: Stage) -> dict[tuple[str, str], float]:
    """By name and the value of the first label."""
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(page(stage, "metrics").text)
        for sample in family.samples
    }


@pytest.mark.rule("SIP-37", "SIP-38")
def test_a_call_is_watched_ended_and_looked_at(stage: Stage, tmp_path: Path) -> None:
    alpha, beta = stage.gateways(tmp_path)
    client = stage.caller(tmp_path, "ip_call", talk_ms=240_000)
    try:
        until(lambda: any(call["phase"] == "up" for call in told(stage, "calls")))
        (call,) = told(stage, "calls", "--customer", "office")
        assert (call["customer"], call["number"], call["gateway"]) == ("office", NUMBER, "alpha")
        assert call["call_id"] == client.call_ids()[0]
        assert told(stage, "calls", "--customer", "phone") == []
        assert call["cdr_id"] in sipsvc(stage, "calls")
        assert figures(stage)["sipsvc_live_calls", ""] == 1
        assert told(stage, "status")["live_calls"] == 1
        live = sipsvc(stage, "trace", call["call_id"])
        for part in (
            call["cdr_id"],
            "<- udp:127.0.0.1:",
            "INVITE sip:",
            "180 Ringing (INVITE)",
            "gateway  alpha  serves",
        ):
            assert part in live, live
        assert told(stage, "hangup", call["cdr_id"]) == {"cdr_id": call["cdr_id"]}
        ended = stage.cdr(call["call_id"])
    finally:
        for one in (client, alpha, beta):
            one.stop()
    assert (ended["code"], ended["hangup_by"]) == ("admin", "proxy")
    (traced,) = told(stage, "trace", call["cdr_id"])
    assert (traced["state"], traced["code"]) == ("ended", "admin")
    byes = [rung for rung in traced["ladder"] if rung["method"] == "BYE" and rung["what"].startswith("BYE")]
    assert len(byes) >= 2
    assert all(rung["sent"] for rung in byes)

    api = stage.server.api
    answer = httpx.get(
        f"{api.url}/api/v1/cdrs/{call['cdr_id']}/ladder", headers={"Authorization": f"Bearer {api.token}"}, timeout=60
    )
    assert answer.status_code == 200, answer.text
    assert [one["what"] for one in answer.json()["messages"]] == [rung["what"] for rung in traced["ladder"]]
    assert answer.json()["trace"] == ended["trace"]

    now = figures(stage)
    assert now["sipsvc_calls_total", "admin"] >= 1
    assert now["sipsvc_gateway_attempts_total", "alpha"] >= 1
    assert now["sipsvc_stage_seconds_count", "decision"] >= 1
    lines = [json.loads(line) for line in stage.server.log.read_text().splitlines() if '"event":"call"' in line]
    (line,) = [line for line in lines if line["cdr_id"] == call["cdr_id"]]
    assert (line["call_id"], line["code"]) == (call["call_id"], "admin")


@pytest.mark.rule("SIP-38")
def test_the_door_is_closed_and_opened(stage: Stage, tmp_path: Path) -> None:
    assert (page(stage, "healthz").text, page(stage, "readyz").text) == ("alive\n", "ready\n")
    assert "no new calls are taken" in sipsvc(stage, "drain")
    assert page(stage, "readyz").status_code == 503
    assert "takes NO calls: draining" in sipsvc(stage, "status")
    late = stage.caller(tmp_path, "refused_503")
    try:
        assert late.wait(30) == 0, late.errors()
    finally:
        late.stop()
    assert "new calls are taken" in sipsvc(stage, "drain", "--undo")
    assert page(stage, "readyz").status_code == 200
    stage.call(tmp_path, "ip_call").all_ok()


@pytest.mark.rule("SIP-38", "SIP-26")
def test_a_prefix_is_blocked_with_history(stage: Stage) -> None:
    version = told(stage, "status")["directory"]["version"]
    made = told(stage, "block", "4479", "--reason", "fraud")
    until(lambda: told(stage, "status")["directory"]["version"] > version)
    api = stage.server.api
    history = httpx.get(
        f"{api.url}/api/v1/blocks/{made['id']}/history", headers={"Authorization": f"Bearer {api.token}"}, timeout=60
    ).json()["data"]
    assert [(one["action"], one["actor"]) for one in history] == [("create", "command line")]
    explained = told(stage, "explain", "office", "447912345678", "--caller", "442079460100")
    assert (explained["outcome"], explained["code"]) == ("refused", "dest_blocked"), explained
    assert "prefix = '4479': is blocked already" in sipsvc(stage, "block", "4479", "--reason", "again", status=2)
    assert "prefix = '44x'" in sipsvc(stage, "block", "44x", "--reason", "no", status=2)


def test_what_cannot_be_done_is_said_in_a_line(stage: Stage) -> None:
    said = sipsvc(stage, "hangup", "nothing", status=1)
    assert said == "sipsvc: there is no live call with the cdr_id 'nothing'\n"
    said = sipsvc(stage, "trace", "nothing", status=1)
    assert said.startswith("sipsvc: there is no live call 'nothing'")


@pytest.mark.rule("SIP-38")
def test_the_socket_is_its_owners_and_goes_with_the_server(stage: Stage) -> None:
    path = stage.server.data / "control.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    stage.server.kill()
    try:
        for words in (("status",), ("calls",), ("trace", "x"), ("hangup", "x"), ("drain",)):
            said = sipsvc(stage, *words, status=1)
            assert said == f"sipsvc: no sipsvc serve runs on the data folder {stage.server.data}\n"
    finally:
        time.sleep(0.5)  # its children are to see that it is gone
        stage.server.start()
    assert "takes calls" in sipsvc(stage, "status")
    stage.server.stop()
    assert not path.exists()
    stage.server.start()
