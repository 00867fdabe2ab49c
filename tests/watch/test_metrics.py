"""Metrics as Prometheus' own parser reads them, health, and the listener that serves both (SIP-37, SIP-38)."""

from __future__ import annotations

import asyncio
import re
import socket
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from sipsvc import console
from sipsvc.cdr.bound import Room
from sipsvc.cdr.keeper import Keeper
from sipsvc.cdr.segments import delivered, segment_path
from sipsvc.demo.server import free_port
from sipsvc.errors import ConfigError
from sipsvc.watch import Facts, Figures, HttpListener
from sipsvc.watch.figures import MOST_NAMES, OTHERS, Spread
from sipsvc.watch.http import MOST_CLIENTS
from sipsvc.watch.metrics import render, snapshot
from tests.house.source import ROOT
from tests.unit.wire import STRANGER, Wire, request
from tests.watch.conftest import Loop, facts_of, up

RULES = ROOT / "config" / "prometheus-rules.yml"
RUNBOOK = ROOT / "docs" / "runbook.md"
HEALTH = {
    "alpha": {
        "state": "down", "since": 1, "reason": "no answer", "failures": 3, "registration": "refused",
        "registered_until": None,
    },
    "beta": {
        "state": "up", "since": 1, "reason": "", "failures": 0, "registration": "", "registered_until": None,
    },
}  # fmt: skip

ROOM = Room(
    700,
    9_000,
    500,
    2,
    {"files": {"waiting": 3, "failing": ""}, "redis": {"waiting": 4, "failing": "Connection refused"}},
)


def figures(page: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """By name and labels."""
    families = text_string_to_metric_families(page.decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


@pytest.mark.rule("SIP-37")
def test_what_is_told_of_calls_and_messages(wire: Wire, tmp_path: Path) -> None:
    facts = facts_of(wire, tmp_path)
    for number in range(3):
        up(wire, number)
    wire.give(
        request(uri="sip:979123456@192.0.2.1:5060", Call_ID="dear", Via="SIP/2.0/UDP 198.51.100.10;branch=z9hG4bKd")
    )
    wire.give(request(Call_ID="who", Via="SIP/2.0/UDP 198.51.100.200;branch=z9hG4bKw"), STRANGER)
    wire.give(b"not SIP\r\n\r\n", STRANGER)
    wire.wait(700)
    for record in wire.records:
        if record["kind"] == "start":
            facts.figures.decided(record, record["invite_at"] + 3)
        elif record["kind"] == "end":
            facts.figures.ended(record)
    told = figures(render(snapshot(facts)))
    assert told["sipsvc_live_calls", ()] == 3
    assert told["sipsvc_calls_in_setup", ()] == 0
    assert told["sipsvc_calls_total", (("code", wire.end["code"]),)] == 1
    assert told["sipsvc_turned_away_total", (("reason", "not_sip"),)] == 1
    assert sum(value for (name, _), value in told.items() if name == "sipsvc_turned_away_total") == 2
    assert told["sipsvc_transactions", ()] == wire.engine.leftovers()["transactions"] > 0
    assert told["sipsvc_retransmissions_total", ()] == wire.engine.retransmitted > 0
    assert told["sipsvc_stage_seconds_count", (("stage", "decision"),)] == 4
    assert told["sipsvc_stage_seconds_bucket", (("le", "0.002"), ("stage", "decision"))] == 0
    assert told["sipsvc_stage_seconds_bucket", (("le", "0.005"), ("stage", "decision"))] == 4
    assert told["sipsvc_stage_seconds_sum", (("stage", "decision"),)] == 0.012
    assert told["sipsvc_directory_version", ()] == 7
    assert told["sipsvc_directory_age_seconds", ()] == 0.7
    assert told["sipsvc_connections", ()] == 2
    assert told["sipsvc_loop_late_seconds", ()] == 0.003
    assert told["process_resident_memory_bytes", ()] > 0


@pytest.mark.rule("SIP-37")
def test_the_health_of_gateways(wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = facts_of(wire, tmp_path)
    monkeypatch.setattr(wire.engine, "gateway_health", lambda: HEALTH)
    told = figures(render(snapshot(facts)))
    assert told["sipsvc_gateway_state", (("gateway", "alpha"), ("state", "down"))] == 1
    assert told["sipsvc_gateway_state", (("gateway", "beta"), ("state", "up"))] == 1
    assert told["sipsvc_gateway_failures", (("gateway", "alpha"),)] == 3
    registered = [labels for name, labels in told if name == "sipsvc_gateway_registration"]
    assert registered == [(("gateway", "alpha"), ("state", "refused"))]


@pytest.mark.rule("SIP-37")
def test_how_much_of_the_log_is_not_in_the_database(wire: Wire, tmp_path: Path) -> None:
    facts = facts_of(wire, tmp_path)

    def waiting() -> tuple[float, float]:
        told = figures(render(snapshot(facts)))
        return told["sipsvc_log_undelivered_bytes", ()], told["sipsvc_log_segments", ()]

    assert waiting() == (0, 0)
    for number, size in ((3, 100), (4, 50)):
        segment_path(tmp_path, number).write_bytes(bytes(size))
    assert waiting() == (150, 2)
    delivered(tmp_path, 3, 60)
    assert waiting() == (90, 2)
    delivered(tmp_path, 4, 50)
    assert waiting() == (0, 2)
    (tmp_path / "delivered").write_text("torn")
    assert waiting() == (150, 2)


@pytest.mark.rule("law 8", "SIP-37")
def test_how_full_the_log_is_what_was_refused_and_what_outputs_wait(
    wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Keeper, "room", ROOM)
    facts = facts_of(wire, tmp_path)
    told = figures(render(snapshot(facts)))
    assert (told["sipsvc_log_bytes", ()], told["sipsvc_log_most_bytes", ()]) == (700, 1 << 30)
    assert (told["sipsvc_log_disk_free_bytes", ()], told["sipsvc_cdr_rejected", ()]) == (9_000, 2)
    assert told["sipsvc_output_waiting", (("output", "redis"),)] == 4
    assert told["sipsvc_output_failing", (("output", "redis"),)] == 1
    assert told["sipsvc_output_failing", (("output", "files"),)] == 0
    shown = "\n".join(console._status(facts.status()))
    assert "700 of 1,073,741,824 bytes at most; 9,000 free on the disk" in shown
    assert "set aside  2 calls that the database refuses: sipsvc cdr rejected" in shown
    assert "output     files: 3 calls wait; works" in shown
    assert "output     redis: 4 calls wait; Connection refused" in shown


def end(gateway: str = "alpha", code: str = "answered", status: int = 200, **more: Any) -> dict[str, Any]:
    attempt = {"gateway": gateway, "status": status, "started_at": 1_000}
    plain = {"code": code, "attempts": [attempt], "recovered": False, "progress_at": 1_060, "answer_at": 9_000}
    return plain | more


def test_attempts_and_stages_of_ended_calls() -> None:
    one = Figures()
    one.ended(end())
    one.ended(end(status=503, code="gateways_failed", progress_at=None, answer_at=None))
    one.ended(end(status=0, code="cancelled", answer_at=None))
    one.ended(end(recovered=True))
    assert one.attempts == {("alpha", "2xx"): 2, ("alpha", "5xx"): 1, ("alpha", "none"): 1}
    assert one.calls == {"answered": 2, "gateways_failed": 1, "cancelled": 1}
    assert (sum(one.stages["progress"].counts), one.stages["progress"].total) == (2, 120)
    assert (sum(one.stages["answer"].counts), one.stages["answer"].total) == (1, 8_000)


def test_names_cannot_grow_without_end() -> None:
    one = Figures()
    for number in range(MOST_NAMES + 50):
        one.ended(end(f"g{number}", f"c{number}"))
    assert len(one.calls) == len(one.attempts) == MOST_NAMES + 1
    assert (one.calls[OTHERS], one.attempts[OTHERS, "2xx"]) == (50, 50)


@pytest.mark.parametrize(("ms", "place"), [(0, 0), (1, 0), (2, 1), (10, 1), (11, 2)])
def test_a_bound_counts_what_is_not_above_it(ms: int, place: int) -> None:
    spread = Spread((1, 10))
    spread.add(ms)
    assert spread.counts.index(1) == place


@pytest.mark.rule("SIP-38")
def test_why_no_call_can_be_taken(wire: Wire, tmp_path: Path) -> None:
    facts = facts_of(wire, tmp_path)
    assert facts.unready() == []
    assert facts_of(wire, tmp_path, bound=False).unready() == ["the SIP sockets are not listened on"]
    keeper = Keeper(tmp_path, 1 << 30, lambda record: None, lambda closed: None)
    keeper.write([({"kind": "start"}, 1, False)])  # which it cannot yet
    assert facts_of(wire, tmp_path, keeper=keeper).unready() == ["the log of calls takes no records"]
    wire.engine.log_full = True
    assert facts.unready() == ["the log of calls takes no records"]
    wire.engine.log_full = False
    facts.drain(True)
    assert facts.unready() == ["draining: no new calls are taken"]
    facts.drain(False)
    assert facts.unready() == []
    up(wire, 1)
    assert wire.engine.live_calls == 1


# The listener


@contextmanager
def listening(loop: Loop, facts: Facts) -> Iterator[str]:
    port = free_port(socket.SOCK_STREAM)
    listener = HttpListener(("127.0.0.1", port))

    async def stop() -> None:
        listener.stop()
        await asyncio.sleep(0.05)

    loop.run(listener.start(facts))
    try:
        yield f"127.0.0.1:{port}"
    finally:
        loop.run(stop())


@pytest.mark.rule("SIP-37", "SIP-38")
def test_the_three_pages(loop: Loop, wire: Wire, tmp_path: Path) -> None:
    facts = facts_of(wire, tmp_path)
    with listening(loop, facts) as where:
        page = httpx.get(f"http://{where}/metrics?x=1")
        assert page.headers["content-type"].startswith("text/plain; version=")
        assert figures(page.content)["sipsvc_ready", ()] == 1
        assert (httpx.get(f"http://{where}/healthz").text, httpx.get(f"http://{where}/readyz").text) == (
            "alive\n",
            "ready\n",
        )
        facts.drain(True)
        unready = httpx.get(f"http://{where}/readyz")
        assert (unready.status_code, unready.text) == (503, "draining: no new calls are taken\n")
        assert httpx.get(f"http://{where}/healthz").status_code == 200


def spoken(where: str, data: bytes) -> bytes:
    host, _, port = where.partition(":")
    with socket.create_connection((host, int(port)), 20) as link:
        link.sendall(data)
        return b"".join(iter(lambda: link.recv(65_536), b""))


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\n\r\n", 405),
        (b"GET /metrics\r\n\r\n", 400),
        (b"OPTIONS sip:a SIP/2.0\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n", 400),
    ],
)
def test_what_is_no_request_for_a_page(loop: Loop, wire: Wire, tmp_path: Path, data: bytes, status: int) -> None:
    with listening(loop, facts_of(wire, tmp_path)) as where:
        assert spoken(where, data).startswith(b"HTTP/1.1 %d " % status)


def test_many_scrapes_at_once_are_worked_out_once(loop: Loop, wire: Wire, tmp_path: Path) -> None:
    asked = 0

    def late() -> int:
        nonlocal asked
        asked += 1
        return 0

    with listening(loop, facts_of(wire, tmp_path, late=late)) as where:
        with ThreadPoolExecutor(8) as pool:
            pages = list(pool.map(lambda _: spoken(where, b"GET /metrics HTTP/1.1\r\n\r\n"), range(8)))
        assert all(page.startswith(b"HTTP/1.1 200 ") for page in pages)
        assert asked < 8


def test_silent_clients_keep_nobody_out_for_ever(loop: Loop, wire: Wire, tmp_path: Path) -> None:
    with listening(loop, facts_of(wire, tmp_path)) as where:
        host, _, port = where.partition(":")
        links = [socket.create_connection((host, int(port)), 20) for _ in range(MOST_CLIENTS)]
        try:
            with pytest.raises(ConnectionError):
                spoken(where, b"GET /healthz HTTP/1.1\r\n\r\n")
            assert [link.recv(1) for link in links[:1]] == [b""]
        finally:
            for link in links:
                link.close()
        assert spoken(where, b"GET /healthz HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"metrics.listen = '127.0.0.1:{port}': Address already in use"):
            HttpListener(("127.0.0.1", port))


# The rules of Prometheus and the runbook


def alerts() -> dict[str, str]:
    """The expression of each alert, from the rule file, whose form is kept simple enough for this."""
    text = RULES.read_text()
    found = re.findall(r"- alert: (\w+)\n\s+expr: (.*?)\n\s+for: ", text, re.DOTALL)
    assert len(found) == text.count("- alert:")
    return dict(found)


@pytest.mark.rule("SIP-37")
def test_every_metric_in_the_alert_rules_is_one_we_have(
    wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire.engine, "gateway_health", lambda: HEALTH)
    monkeypatch.setattr(Keeper, "room", ROOM)
    facts = facts_of(wire, tmp_path)
    facts.figures.ended(end())
    wire.engine.count("not_sip")
    names = {name for name, _ in figures(render(snapshot(facts)))}
    for alert, expression in alerts().items():
        wanted = set(re.findall(r"\b(?:sipsvc|process)_\w+", expression))
        assert wanted or "up{" in expression, alert
        assert wanted <= names, (alert, wanted - names)


def test_every_alert_stands_in_the_runbook_with_what_to_do() -> None:
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", RUNBOOK.read_text(), re.DOTALL | re.MULTILINE))
    assert sections.keys() == alerts().keys()
    for name, section in sections.items():
        for part in ("**Means.**", "**See.**", "**Do.**"):
            assert part in section, (name, part)


def test_every_metric_is_explained_in_the_runbook(wire: Wire, tmp_path: Path) -> None:
    page = render(snapshot(facts_of(wire, tmp_path))).decode()
    ours = set(re.findall(r"^# TYPE (sipsvc_\w+) ", page, re.MULTILINE))
    assert len(ours) > 20
    told = set(re.findall(r"`(sipsvc_\w+)", RUNBOOK.read_text()))
    assert ours - told == set()


def test_the_shipped_settings_say_where() -> None:
    settings = tomllib.loads((ROOT / "config" / "sipsvc.toml").read_text())
    assert settings["metrics"]["listen"] == "127.0.0.1:9108"
