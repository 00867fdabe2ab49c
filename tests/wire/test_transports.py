"""A customer that calls by TCP beside one that calls by UDP: one server, the same gateways, the same records."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sipsvc.demo.server import Server, free_port
from tests.wire.conftest import BY_DIGEST, PASSWORD, Stage, serving, write_bundle

TCP = ("-t", "t1")
DIGEST = ("-au", "phone", "-ap", PASSWORD)


def streams(folder: Path, alphas_transport: str) -> Iterator[Stage]:
    """A server that listens by UDP and TCP, with its first gateway reached by either."""
    alpha, beta = free_port(), free_port()
    bundle = write_bundle(folder / "bundle", alpha, beta)
    bundle.write_text(
        bundle.read_text().replace(f"port = {alpha}", f'port = {alpha}\ntransport = "{alphas_transport}"')
    )
    server = Server(folder, bundle, streams=True)
    with serving(server):
        yield Stage(server, alpha, beta, TCP if alphas_transport == "tcp" else ())


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    yield from streams(tmp_path_factory.mktemp("streams"), "udp")


@pytest.fixture(scope="module")
def by_tcp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    yield from streams(tmp_path_factory.mktemp("gateways"), "tcp")


@pytest.mark.rule("SIP-6", "SIP-7")
@pytest.mark.parametrize("by", ["TCP", "UDP"])
def test_a_call_by_either_transport_to_a_gateway_by_udp(stage: Stage, tmp_path: Path, by: str) -> None:
    seen = stage.call(tmp_path, "ip_call", *(TCP if by == "TCP" else ()), calls=5)
    seen.all_ok(5)
    for invite in seen.alpha.received("INVITE"):
        vias = [value for name, value in invite.fields if name.lower() == "via"]
        assert vias[0].startswith(f"SIP/2.0/UDP {stage.server.target};")
        assert vias[1].startswith(f"SIP/2.0/{by} ")
        routes = [value for name, value in invite.fields if name.lower() == "record-route"]
        assert [";transport=tcp;" in route for route in routes] == ([False, True] if by == "TCP" else [False])
    # Requests inside the call found their way too, and none of our Routes went along.
    for method in ("ACK", "BYE"):
        got = seen.alpha.received(method)
        assert len(got) == 5 and not any(request.get("route") for request in got)
    for call_id in seen.call_ids:
        cdr = stage.cdr(call_id)
        assert (cdr["customer"], cdr["code"], cdr["hangup_by"]) == ("office", "answered", "caller")


@pytest.mark.rule("SIP-6", "SIP-12", "SIP-21")
def test_digest_and_cancel_by_tcp(stage: Stage, tmp_path: Path) -> None:
    seen = stage.call(tmp_path / "digest", "digest_call", *TCP, *DIGEST, source=BY_DIGEST, calls=3)
    seen.all_ok(3)
    assert {stage.cdr(call_id)["auth"] for call_id in seen.call_ids} == {"digest"}
    seen = stage.call(tmp_path / "cancel", "cancel", *TCP, alpha="ring")
    seen.all_ok()
    assert stage.cdr(seen.call_ids[0])["code"] == "cancelled"


@pytest.mark.rule("SIP-3", "SIP-4")
def test_what_cannot_be_framed_is_answered_and_closed(stage: Stage) -> None:
    options = (
        f"OPTIONS sip:{stage.server.target} SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bKw\r\n"
        "From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: {}\r\nCSeq: 1 OPTIONS\r\nContent-Length: {}\r\n\r\n"
    )
    with socket.create_connection(stage.server.sip, 10) as one:
        one.sendall((options.format("good", 0) + "\r\n\r\n" + options.format("large", 70_000)).encode())
        got = b""
        while data := one.recv(65536):
            got += data
    good, rest = got.split(b"\r\n\r\n", 1)
    assert good.startswith(b"SIP/2.0 200 ") and b"Call-ID: good" in good
    assert rest.startswith(b"\r\nSIP/2.0 513 Message Too Large\r\n") and b"Call-ID: large" in rest


@pytest.mark.rule("SIP-6", "SIP-7")
@pytest.mark.parametrize("by", ["UDP", "TCP"])
def test_a_gateway_by_tcp_that_comes_and_goes(by_tcp: Stage, tmp_path: Path, by: str) -> None:
    for turn in ("first", "second"):
        # Each time the gateway is another process, and the connection to the one before is gone.
        seen = by_tcp.call(tmp_path / turn, "ip_call", *(TCP if by == "TCP" else ()), calls=4)
        seen.all_ok(4)
        assert [len(seen.alpha.received(method)) for method in ("INVITE", "ACK", "BYE")] == [4, 4, 4]
        for invite in seen.alpha.received("INVITE"):
            assert invite.get("via").startswith(f"SIP/2.0/TCP {by_tcp.server.target};")
        assert {by_tcp.cdr(call_id)["gateway"] for call_id in seen.call_ids} == {"alpha"}


@pytest.mark.rule("SIP-6", "SIP-13")
def test_a_gateway_that_refuses_the_connection_is_left_at_once(by_tcp: Stage, tmp_path: Path) -> None:
    deaf = replace(by_tcp, alpha_options=())  # it listens, but by UDP
    seen = deaf.call(tmp_path, "ip_call")
    seen.all_ok()
    assert seen.alpha.received() == []
    attempts = deaf.cdr(seen.call_ids[0])["attempts"]
    assert [(one["gateway"], one["left"]) for one in attempts] == [("alpha", "transport"), ("beta", "")]
