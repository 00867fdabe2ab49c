"""A carrier's gateway to try calls on: it answers, refuses, is busy or says nothing."""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import Callable
from dataclasses import dataclass, field

from sipsvc.demo.agent import SDP, T1, T2, USER_AGENT, Address, Endpoint, Log, Message, new_log, respond

BEHAVIOURS = ("answer", "fail", "busy", "silent")
LINGER = 64 * T1
"""Seconds a final response is repeated when nothing confirms it (RFC 3261 §17.2.1, §13.3.1.4)."""
REMEMBERED = 1_000
"""Calls a gateway keeps in mind."""


@dataclass(slots=True)
class Leg:
    """One INVITE at the gateway: the response to repeat and the task that carries it on."""

    invite: Message
    peer: Address
    to_tag: str
    last: Message | None = None
    task: asyncio.Task[None] | None = None
    confirmed: asyncio.Event = field(default_factory=asyncio.Event)
    final: bool = False


class DemoGateway:
    """One gateway on `host:port`.

    `behaviour`: `answer` rings for `ring` seconds and answers, `fail` says 503, `busy` 486, `silent` nothing;
    a function is asked anew at each INVITE, with the gateway's name.
    """

    def __init__(
        self,
        host: str,
        port: int,
        behaviour: str | Callable[[str], str] = "answer",
        *,
        name: str = "gateway",
        ring: float = 0.4,
        log: Log | None = None,
    ) -> None:
        if isinstance(behaviour, str) and behaviour not in BEHAVIOURS:
            raise ValueError(f"behaviour {behaviour!r}: must be one of {', '.join(BEHAVIOURS)}")
        self.host, self.port, self.behaviour, self.name, self.ring = host, port, behaviour, name, ring
        self.log = new_log() if log is None else log
        self.legs: dict[tuple[str, int, str], Leg] = {}

    async def start(self) -> None:
        """Bind and serve. Raises OSError when the port is taken."""
        self.endpoint = await Endpoint.bind(self.host, self.port, self.name, self.log)
        self.port = self.endpoint.port
        self.task = asyncio.create_task(self._serve())

    async def stop(self) -> None:
        running = [leg.task for leg in self.legs.values() if leg.task is not None]
        for task in (self.task, *running):
            task.cancel()
        await asyncio.gather(self.task, *running, return_exceptions=True)
        self.endpoint.close()

    async def _serve(self) -> None:
        while True:
            message, peer = await self.endpoint.receive()
            if not message.status:
                await self._request(message, peer)

    async def _request(self, request: Message, peer: Address) -> None:
        key = (request.get("call-id"), request.cseq, request.branch)
        match request.method:
            case "INVITE":
                if (leg := self.legs.get(key)) is not None:
                    if leg.last is not None:
                        await self.endpoint.send(leg.last, peer)
                    return
                leg = self.legs[key] = Leg(request, peer, secrets.token_hex(4))
                while len(self.legs) > REMEMBERED:
                    del self.legs[next(iter(self.legs))]
                behaviour = self.behaviour if isinstance(self.behaviour, str) else self.behaviour(self.name)
                if behaviour != "silent":
                    leg.task = asyncio.create_task(self._call(leg, behaviour))
            case "ACK":
                for leg in self.legs.values():
                    if leg.invite.get("call-id") == request.get("call-id") and leg.invite.cseq == request.cseq:
                        leg.confirmed.set()
            case "CANCEL":
                await self._cancel(request, peer, self.legs.get(key))
            case _:
                await self.endpoint.send(respond(request, 200, "OK", to_tag=secrets.token_hex(4)), peer)

    async def _cancel(self, request: Message, peer: Address, leg: Leg | None) -> None:
        if leg is None:
            await self.endpoint.send(respond(request, 481, "Call/Transaction Does Not Exist"), peer)
            return
        await self.endpoint.send(respond(request, 200, "OK", to_tag=leg.to_tag), peer)
        if not leg.final:
            if leg.task is not None:
                leg.task.cancel()
            leg.task = asyncio.create_task(self._final(leg, 487, "Request Terminated"))

    async def _call(self, leg: Leg, behaviour: str) -> None:
        if behaviour == "fail":
            return await self._final(leg, 503, "Service Unavailable")
        if behaviour == "busy":
            return await self._final(leg, 486, "Busy Here")
        leg.last = respond(leg.invite, 180, "Ringing", to_tag=leg.to_tag, fields=self._contact())
        await self.endpoint.send(leg.last, leg.peer)
        await asyncio.sleep(self.ring)
        return await self._final(leg, 200, "OK", SDP.format(host=self.host))

    async def _final(self, leg: Leg, status: int, reason: str, body: str = "") -> None:
        """Send a final response and repeat it until its ACK comes or 64·T1 have passed."""
        leg.final = True
        fields = [*self._contact(), *([("Content-Type", "application/sdp")] if body else [])]
        leg.last = respond(leg.invite, status, reason, to_tag=leg.to_tag, fields=fields, body=body)
        waited, pause = 0.0, T1
        while waited < LINGER and not leg.confirmed.is_set():
            await self.endpoint.send(leg.last, leg.peer)
            try:
                await asyncio.wait_for(leg.confirmed.wait(), pause)
            except TimeoutError:
                waited, pause = waited + pause, min(2 * pause, T2)

    def _contact(self) -> list[tuple[str, str]]:
        return [("Contact", f"<sip:{self.name}@{self.host}:{self.port}>"), ("Server", USER_AGENT)]


async def serve_gateways(gateways: list[DemoGateway]) -> None:
    """Run until SIGINT or SIGTERM."""
    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    started: list[DemoGateway] = []
    try:
        for gateway in gateways:
            await gateway.start()
            started.append(gateway)
            print(
                f"demo gateway {gateway.name} (test aid): {gateway.behaviour} on udp:{gateway.host}:{gateway.port}",
                flush=True,
            )
        await stopped.wait()
    finally:
        for gateway in started:
            await gateway.stop()


def run(listen: str, behaviour: str, name: str = "gateway") -> int:
    """`sipsvc demo-gateway --listen 127.0.0.1:5081 --behaviour answer`: serve until Ctrl-C; the exit code."""
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdigit() or not 0 <= int(port) <= 65535:
        print(f"--listen {listen!r}: write it as host:port, for example 127.0.0.1:5081")
        return 2
    try:
        asyncio.run(serve_gateways([DemoGateway(host, int(port), behaviour, name=name)]))
    except (OSError, ValueError) as error:
        print(f"demo gateway {listen}: {error}")
        return 1
    return 0
