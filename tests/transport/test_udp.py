"""Datagrams on real sockets: a listener is of one address family, so that what it reaches is known."""

from __future__ import annotations

import asyncio
import socket

import pytest

from sipsvc.transport import UdpListener
from tests.transport.conftest import Run
from tests.transport.peer import until


@pytest.mark.rule("SIP-6")
def test_any_address_of_either_family_on_one_port(run: Run) -> None:
    async def go() -> None:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as free:
            free.bind(("::", 0))
            port = free.getsockname()[1]
        got: list[tuple[str, bytes, str]] = []
        listeners = [UdpListener(host, port) for host in ("0.0.0.0", "::")]
        for name, listener in zip(("v4", "v6"), listeners, strict=True):
            listener.start(
                asyncio.get_running_loop(),
                lambda data, host, port, name=name: got.append((name, data, host)),
                lambda: None,
            )
        listeners[0].send(b"four", "127.0.0.1", port)
        listeners[1].send(b"six", "::1", port)
        await until(lambda: len(got) == 2)
        assert sorted(got) == [("v4", b"four", "127.0.0.1"), ("v6", b"six", "::1")]
        # To the other family nothing can be sent.
        assert not listeners[0].send(b"x", "::1", port)
        for listener in listeners:
            listener.close()

    run(go())
