"""kill -9: calls in progress end properly after the restart, and each has one record (law 8)."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest

from sipsvc.demo.agent import parse, respond
from tests.waiting import until
from tests.wire.conftest import Stage


class Forgetful:
    """A gateway that has been started anew: whatever it is asked, it knows of no call."""

    def __init__(self, port: int) -> None:
        self._link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._link.bind(("127.0.0.1", port))
        self._link.settimeout(0.1)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._answer)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._link.close()

    def _answer(self) -> None:
        while not self._over.is_set():
            try:
                data, peer = self._link.recvfrom(65_536)
            except TimeoutError:
                continue
            request = parse(data)
            if request.method != "ACK":
                self._link.sendto(respond(request, 481, "Call/Transaction Does Not Exist").encode(), peer)


@pytest.mark.rule("law 8")
def test_calls_survive_a_kill(stage: Stage, tmp_path: Path) -> None:
    alpha, beta = stage.gateways(tmp_path)
    began = time.monotonic()
    client = stage.caller(tmp_path, "ip_call", calls=10, talk_ms=4000)
    try:
        until(lambda: len(alpha.received("ACK")) == 10)
        stage.server.kill()
        stage.server.start()
        client.wait(40)
        most_ms = (time.monotonic() - began) * 1000
    finally:
        for one in (client, alpha, beta):
            one.stop()
    counted = client.counters()
    assert (counted.ok, counted.failed) == (10, 0), client.errors()
    assert len(alpha.received("BYE")) >= 10
    for call_id in client.call_ids():
        cdr = stage.cdr(call_id)
        assert (cdr["code"], cdr["hangup_by"], cdr["recovered"]) == ("answered", "caller", False)
        assert 3500 <= cdr["duration_ms"] <= most_ms


@pytest.mark.rule("law 8")
def test_calls_in_set_up_at_a_kill_have_one_record_each(stage: Stage, tmp_path: Path) -> None:
    alpha, beta = stage.gateways(tmp_path, "slow_answer", "slow_answer")
    client = stage.caller(tmp_path, "ip_call", calls=10, talk_ms=1000)
    try:
        until(lambda: len(alpha.received("INVITE")) == 10)
        stage.server.kill()
        stage.server.start()
        client.wait(60)
    finally:
        for one in (client, alpha, beta):
            one.stop()
    for call_id in client.call_ids():
        # Nobody repeated its INVITE for 64 T1: closed, and nothing is charged.
        cdr = stage.cdr(call_id, 45)
        assert (cdr["code"], cdr["recovered"], cdr["sell"]) == ("server_restart", True, None)
    # And the server takes new calls.
    after = tmp_path / "after"
    stage.call(after, "ip_call").all_ok()


@pytest.mark.rule("law 8", "SIP-19")
def test_a_call_whose_end_was_not_seen_is_found_out_and_charged_as_far_as_was_seen(
    stage: Stage, tmp_path: Path
) -> None:
    """While the server is down the gateway forgets the call; what it would have said of that nobody heard."""
    alpha, beta = stage.gateways(tmp_path)
    client = stage.caller(tmp_path, "ip_call", "-aa", talk_ms=90_000)
    try:
        until(lambda: len(alpha.received("ACK")) == 1)
        time.sleep(2.5)
        stage.server.kill()
        alpha.stop()
        time.sleep(3)
        with Forgetful(stage.alpha):
            stage.server.start()
            cdr = stage.cdr(client.call_ids()[0], 60)
    finally:
        for one in (client, alpha, beta):
            one.stop()
    assert (cdr["code"], cdr["hangup_by"], cdr["recovered"]) == ("probe_failed", "timeout", True)
    # It was up for two and a half seconds; the server notes once a second that it runs.
    assert 1_400 <= cdr["duration_ms"] <= 5_000
