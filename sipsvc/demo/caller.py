"""A customer's phone: one call with digest credentials, as RFC 3261 §17.1 and §13.2 want it."""

from __future__ import annotations

import asyncio
import re
import secrets
import time

from sipsvc.demo.agent import (
    SDP,
    T1,
    T2,
    USER_AGENT,
    Address,
    Endpoint,
    Message,
    digest,
    new_branch,
    respond,
)

TIMER_B = 64 * T1
PATIENCE = 240.0
"""Seconds a call may ring, above the server's own ring timeout."""


class NoAnswer(Exception):
    """The server said nothing in time."""


class Caller:
    """Calls through `server` from one socket, one call at a time."""

    def __init__(self, endpoint: Endpoint, server: Address, username: str, password: str, caller: str) -> None:
        self.endpoint, self.server = endpoint, server
        self.username, self.password = username, password
        self.local = f"{endpoint.host}:{endpoint.port}"
        self.address = f"<sip:{caller or username}@{self.local}>"
        self.responses: asyncio.Queue[Message] = asyncio.Queue()
        self.hung_up = asyncio.Event()
        self.from_tag = secrets.token_hex(4)
        self.ack: Message | None = None
        self.ack_of: tuple[str, int] = ("", 0)
        self.task = asyncio.create_task(self._listen())

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.endpoint.close()

    async def options(self, tries: int = 5, pause: float = 0.3) -> bool:
        """True when the server answers OPTIONS, with any status."""
        ping = self._request("OPTIONS", f"sip:{self.server[0]}:{self.server[1]}", secrets.token_hex(8), 1)
        for _ in range(tries):
            await self.endpoint.send(ping, self.server)
            if await self._response(ping, pause) is not None:
                return True
        return False

    async def call(self, to: str, talk: float) -> tuple[Message, str]:
        """Call `to`, talk for `talk` seconds, hang up. Gives the final response and the Call-ID.

        Raises NoAnswer when the server stays silent and ValueError when it challenges in a way unknown here.
        """
        call_id, uri = secrets.token_hex(12), f"sip:{to}@{self.server[0]}:{self.server[1]}"
        self.from_tag, cseq, credentials = secrets.token_hex(4), 1, ""
        final, invite = await self._invite(uri, call_id, cseq, credentials)
        if final.status in (401, 407):
            challenge = final.get("proxy-authenticate" if final.status == 407 else "www-authenticate")
            credentials = digest(challenge, method="INVITE", uri=uri, username=self.username, password=self.password)
            final, invite = await self._invite(uri, call_id, cseq + 1, credentials)
        if final.status >= 300:
            return final, call_id
        target = re.sub(r"^<|>.*$", "", final.addresses("contact")[0])
        routes = [("Route", one) for one in reversed(final.addresses("record-route"))]
        self.ack_of = (call_id, invite.cseq)
        self.ack = self._request("ACK", target, call_id, invite.cseq, to=final.get("to"), fields=routes)
        await self.endpoint.send(self.ack, self.server)
        try:
            await asyncio.wait_for(self.hung_up.wait(), talk)
        except TimeoutError:
            bye = self._request("BYE", target, call_id, invite.cseq + 1, to=final.get("to"), fields=routes)
            await self._transaction(bye)
        return final, call_id

    async def _invite(self, uri: str, call_id: str, cseq: int, credentials: str) -> tuple[Message, Message]:
        fields = [("Contact", self.address), ("Content-Type", "application/sdp")]
        if credentials:
            fields.append(("Proxy-Authorization", credentials))
        invite = self._request("INVITE", uri, call_id, cseq, fields=fields, body=SDP.format(host=self.endpoint.host))
        final = await self._transaction(invite)
        if final.status >= 300:
            ack = self._request("ACK", uri, call_id, cseq, to=final.get("to"), branch=invite.branch)
            await self.endpoint.send(ack, self.server)
        return final, invite

    async def _transaction(self, request: Message) -> Message:
        """Send and repeat until a final response (RFC 3261 §17.1.1.2, §17.1.2.2)."""
        pause, began, ringing = T1, time.monotonic(), False
        await self.endpoint.send(request, self.server)
        while time.monotonic() - began < (PATIENCE if ringing else TIMER_B):
            response = await self._response(request, 1.0 if ringing else pause)
            if response is not None and response.status >= 200:
                return response
            ringing = ringing or response is not None
            if response is None and not (ringing and request.method == "INVITE"):
                pause = min(2 * pause, T2)
                await self.endpoint.send(request, self.server)
        raise NoAnswer(f"no final response to {request.method} from {self.server[0]}:{self.server[1]}")

    async def _response(self, request: Message, seconds: float) -> Message | None:
        try:
            async with asyncio.timeout(seconds):
                while True:
                    response = await self.responses.get()
                    if response.branch == request.branch and response.method == request.method:
                        return response
        except TimeoutError:
            return None

    async def _listen(self) -> None:
        while True:
            message, peer = await self.endpoint.receive()
            if not message.status:
                if message.method != "ACK":
                    await self.endpoint.send(respond(message, 200, "OK"), peer)
                if message.method == "BYE":
                    self.hung_up.set()
            elif (
                self.ack is not None
                and message.method == "INVITE"
                and (message.get("call-id"), message.cseq) == self.ack_of
            ):
                await self.endpoint.send(self.ack, self.server)
            else:
                await self.responses.put(message)

    def _request(
        self,
        method: str,
        uri: str,
        call_id: str,
        cseq: int,
        *,
        to: str = "",
        branch: str = "",
        fields: list[tuple[str, str]] | None = None,
        body: str = "",
    ) -> Message:
        return Message(
            f"{method} {uri} SIP/2.0",
            (
                ("Via", f"SIP/2.0/UDP {self.local};branch={branch or new_branch()};rport"),
                ("Max-Forwards", "70"),
                ("From", f"{self.address};tag={self.from_tag}"),
                ("To", to or f"<{uri}>"),
                ("Call-ID", call_id),
                ("CSeq", f"{cseq} {method}"),
                *(fields or ()),
                ("User-Agent", USER_AGENT),
            ),
            body,
        )
