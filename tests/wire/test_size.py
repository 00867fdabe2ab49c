"""An INVITE too large for UDP goes by TCP where the gateway allows it, and by UDP where TCP is refused (SIP-6)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sipsvc.demo.server import Server, free_port
from tests.wire.conftest import Stage, serving, write_bundle
from tests.wire.test_transports import TCP


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("size")
    alpha, beta = free_port(), free_port()
    bundle = write_bundle(folder / "bundle", alpha, beta)
    bundle.write_text(bundle.read_text().replace(f"port = {alpha}", f"port = {alpha}\ntcp_if_large = true"))
    server = Server(folder, bundle, streams=True)
    with serving(server):
        yield Stage(server, alpha, beta)


@pytest.mark.rule("SIP-6")
@pytest.mark.parametrize("by", ["TCP", "UDP"])
def test_a_large_call_goes_by_tcp_to_whom_takes_it_and_by_udp_to_others(stage: Stage, tmp_path: Path, by: str) -> None:
    seen = replace(stage, alpha_options=TCP if by == "TCP" else ()).call(tmp_path, "large_call", calls=3)
    seen.all_ok(3)
    for method in ("INVITE", "ACK", "BYE"):
        got = seen.alpha.received(method)
        assert len(got) == 3
        assert {request.get("via").partition(";")[0] for request in got} == {f"SIP/2.0/{by} {stage.server.target}"}
    assert seen.beta.received() == []
    there = f"127.0.0.1:{stage.alpha}"
    expected = [(f"tcp:{there}", "")] if by == "TCP" else [(f"tcp:{there}", "transport"), (f"udp:{there}", "")]
    for call_id in seen.call_ids:
        cdr = stage.cdr(call_id)
        assert (cdr["code"], cdr["gateway"]) == ("answered", "alpha")
        assert [(one["address"], one["left"]) for one in cdr["attempts"]] == expected


@pytest.mark.rule("SIP-6")
def test_a_small_call_stays_with_udp(stage: Stage, tmp_path: Path) -> None:
    seen = stage.call(tmp_path, "ip_call")
    seen.all_ok()
    assert [one["address"] for one in stage.cdr(seen.call_ids[0])["attempts"]] == [f"udp:127.0.0.1:{stage.alpha}"]
