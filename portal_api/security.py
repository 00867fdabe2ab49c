"""Who may ask, and how much they may send: checked before anything is read or routed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import Security
from fastapi.security import HTTPBearer
from sqlalchemy import Engine
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from portal_api.principal import Principal
from portal_api.problems import DATABASE_ERRORS, Problem, database_away
from sipsvc.store import tokens
from sipsvc.store.changes import utc_now

MAX_BODY = 64 * 1024
CLOSED = "/api"
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="sipsvc"'}

# Only so that the OpenAPI page knows; Guard is what checks.
bearer = Security(HTTPBearer(auto_error=False, description="A token, as `sipsvc serve` prints it at its first start."))


@dataclass(frozen=True, slots=True)
class Limit:
    """An operation that takes a larger body (`negotiation.takes`)."""

    methods: frozenset[str]
    path: re.Pattern[str]
    most: int


class Guard:
    """A bearer token for everything under /api (RFC 6750), and no body above MAX_BODY bytes but where `limits` say.

    Leaves the Principal in `request.state.who`.
    """

    def __init__(self, app: ASGIApp, engine: Engine, limits: list[Limit]) -> None:
        self._app = app
        self._engine = engine
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        try:
            path = scope["path"]
            if path == CLOSED or path.startswith(CLOSED + "/"):
                who = await self._authorize(headers.get(b"authorization", b""), scope["client"])
                scope.setdefault("state", {})["who"] = who
            receive = await self._bounded(headers, receive, self._most(scope["method"], path))
        except Problem as problem:
            await problem.response()(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _most(self, method: str, path: str) -> int:
        fitting = (limit.most for limit in self._limits if method in limit.methods and limit.path.match(path))
        return next(fitting, MAX_BODY)

    async def _authorize(self, header: bytes, peer: tuple[str, int] | None) -> Principal:
        scheme, _, token = header.decode("latin-1").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise Problem(401, "A bearer token is needed.", headers=CHALLENGE)
        try:
            who = await run_in_threadpool(self._verify, token, peer[0] if peer else "")
        except DATABASE_ERRORS:
            raise database_away() from None
        if who is None:
            challenge = {"WWW-Authenticate": CHALLENGE["WWW-Authenticate"] + ', error="invalid_token"'}
            raise Problem(401, "The token is not one of ours, or not good any more.", headers=challenge)
        return who

    def _verify(self, token: str, address: str) -> Principal | None:
        with Session(self._engine) as session:
            found = tokens.find(session, token, utc_now())
            return None if found is None else Principal.of(found, address)

    async def _bounded(self, headers: Mapping[bytes, bytes], receive: Receive, most: int) -> Receive:
        """Read the body up to the limit, and a `receive` that hands it out. Raises Problem 413."""
        length = headers.get(b"content-length", b"0")
        # The server has checked that it is a number.
        if int(length) > most:
            raise _too_large(most)
        if length == b"0" and b"transfer-encoding" not in headers:
            return receive
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return _after(message, receive)
            body += message.get("body", b"")
            if len(body) > most:
                raise _too_large(most)
            more = message.get("more_body", False)
        return _after({"type": "http.request", "body": bytes(body), "more_body": False}, receive)


def _after(first: Message, receive: Receive) -> Receive:
    """`first`, then what `receive` brings."""
    waiting = [first]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


def _too_large(most: int) -> Problem:
    return Problem(413, f"A request body here is at most {most} bytes.", headers={"Connection": "close"})
