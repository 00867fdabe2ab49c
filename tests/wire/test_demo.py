"""`sipsvc demo-call` and `demo-load` as a newcomer runs them, with the demo bundle."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sipsvc.demo.call import GATEWAYS
from sipsvc.demo.server import Server

DEMO = Path(__file__).resolve().parents[2] / "config" / "demo" / "demo.toml"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    for name, port in GATEWAYS:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                pytest.fail(f"port {port} of gateway {name} is taken: stop `sipsvc demo-gateway` or whoever holds it")
    server = Server(tmp_path_factory.mktemp("demo"), DEMO)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def demo_call(server: Server, *words: str) -> tuple[int, str]:
    done = subprocess.run(
        server.command("demo-call", "--config", str(server.config), *words),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_call_is_answered_and_priced(demo: Server) -> None:
    code, said = demo_call(demo)
    assert code == 0, said
    for part in ("407 Proxy", "INVITE", "180 Ringing", "200 OK", "BYE", "sell price", "as asked: answered by"):
        assert part in said, said


def test_an_expensive_number_is_refused_and_says_why(demo: Server) -> None:
    code, said = demo_call(demo, "--to", "+979123456789")
    assert code == 0, said
    for part in ("403 Forbidden", "Warning: 399"):
        assert part in said, said
    assert re.search(r"code dest_(blocked|expensive)", said), said


def test_the_second_gateway_takes_over(demo: Server) -> None:
    code, said = demo_call(demo, "--fail", "first")
    assert code == 0, said
    for part in ("503 Service Unavailable", "as asked: answered by", "2 attempt(s)"):
        assert part in said, said


def test_the_credentials_are_for_their_owner_only(demo: Server) -> None:
    assert (demo.data / "demo-credentials.json").stat().st_mode & 0o777 == 0o600


def test_without_a_server_it_says_how_to_start_one(tmp_path: Path) -> None:
    (tmp_path / "sipsvc.toml").write_text(f'[data]\ndir = "{tmp_path}/none"\n')
    done = subprocess.run(
        [sys.executable, "-m", "sipsvc", "demo-call", "--config", str(tmp_path / "sipsvc.toml")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "make run" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("kill", [(), ("--kill",)], ids=["undisturbed", "killed"])
def test_a_load_run_keeps_every_record(tmp_path: Path, kill: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sipsvc", "demo-load", "--rate", "40", "--calls", "240", *kill],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "answered without a record 0, admitted without a record 0, with more than one 0" in done.stdout
