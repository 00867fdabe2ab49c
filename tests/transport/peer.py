"""A Streams on real sockets that notes what it is told, and what tests wait with."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from sipsvc.effects import Flow
from sipsvc.errors import SipError
from sipsvc.transport import Limits, Streams, StreamUser, Tls

HOST = "127.0.0.1"


def message(number: int = 1, body: bytes = b"") -> bytes:
    """A request as a stream carries it; nothing here reads more of it than its length."""
    return f"OPTIONS sip:{number}@h SIP/2.0\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


class Rim:
    """Streams listening on one free port, `port`; each message is answered by `answer(data)`, b"" with nothing."""

    def __init__(
        self,
        answer: Callable[[bytes], bytes] = lambda data: b"",
        *,
        transport: str = "TCP",
        host: str = HOST,
        tls: Tls | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.answer = answer
        self.messages: list[tuple[bytes, Flow]] = []
        self.faults: list[tuple[bytes, SipError, Flow]] = []
        self.failed: list[str] = []
        self.lost: list[Flow] = []
        self.counted: list[str] = []
        self._answers: list[tuple[bytes, Flow]] = []
        self._callers: list[asyncio.StreamWriter] = []
        user = StreamUser(
            self._received,
            self._misframed,
            self._done,
            self.failed.append,
            self.lost.append,
            self.counted.append,
        )
        self.streams = Streams(user, tls, limits)
        self.host, self.transport = host, transport
        self.port = self.streams.listen(0, transport, host, 0)
        self.streams.start(asyncio.get_running_loop())

    def to(self, port: int, host: str = HOST, name: str = "") -> Flow:
        """Some peer, by whatever connection there is."""
        return Flow(self.transport, host, port, 0, 0, name)

    async def caller(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Somebody who connects to it, in clear."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        self._callers.append(writer)
        return reader, writer

    async def close(self) -> None:
        """End it, and see that nothing is left."""
        for writer in self._callers:
            writer.close()
        self.streams.stop()
        await until(lambda: len(self.streams) == 0)

    def _received(self, data: bytes, flow: Flow) -> None:
        self.messages.append((data, flow))
        reply = self.answer(data)
        if reply:
            self._answers.append((reply, flow))

    def _misframed(self, head: bytes, fault: SipError, flow: Flow) -> None:
        self.faults.append((head, fault, flow))
        self.streams.send(b"fault", flow, "")
        self.streams.close(flow)

    def _done(self) -> None:
        answers, self._answers = self._answers, []
        for data, flow in answers:
            self.streams.send(data, flow, "")


class Gateway:
    """A TCP server that keeps what it gets. Its connections can be closed by `hang_up`."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.peers: list[tuple[str, int]] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.port = 0
        self._server: asyncio.Server | None = None

    async def open(self, host: str = HOST, **tls: object) -> Gateway:
        self._server = await asyncio.start_server(self._serve, host, 0, **tls)  # type: ignore[arg-type]
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def hang_up(self) -> None:
        for writer in self.writers:
            writer.close()
        self.writers.clear()

    async def close(self) -> None:
        await self.hang_up()
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.peers.append(writer.get_extra_info("peername")[:2])
        self.writers.append(writer)
        while data := await reader.read(65536):
            self.got.append(data)
        writer.close()


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for it; what never comes is a failure."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not condition():
        assert loop.time() < deadline, "waited in vain"
        await asyncio.sleep(0.005)


def closed_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as one:
        one.bind((HOST, 0))
        return int(one.getsockname()[1])
