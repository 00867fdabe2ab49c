"""Who may ask, and how much they may send: checked before anything is read or routed."""

from __future__ import annotations

from fastapi import Security
from fastapi.security import HTTPBearer
from sqlalchemy import Engine
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from portal_api.problems import DATABASE_ERRORS, Problem, database_away
from sipsvc.store import tokens
from sipsvc.store.changes import utc_now

MAX_BODY = 64 * 1024
CLOSED = "/api"
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="sipsvc"'}

# Only so that the OpenAPI page knows; Guard is what checks.
bearer = Security(HTTPBearer(auto_error=False, description="A token, as `sipsvc serve` prints it at its first start."))


class Guard:
    """A bearer token for everything under /api (RFC 6750), and no body above MAX_BODY bytes anywhere."""

    def __init__(self, app: ASGIApp, engine: Engine) -> None:
        self._app = app
        self._engine = engine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        try:
            path = scope["path"]
            if path == CLOSED or path.startswith(CLOSED + "/"):
                await self._authorize(headers.get(b"authorization", b""))
            receive = await self._bounded(headers, receive)
        except Problem as problem:
            await problem.response()(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _authorize(self, header: bytes) -> None:
        scheme, _, token = header.decode("latin-1").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise Problem(401, "A bearer token is needed.", headers=CHALLENGE)
        try:
            known = await run_in_threadpool(self._verify, token)
        except DATABASE_ERRORS:
            raise database_away() from None
        if not known:
            challenge = {"WWW-Authenticate": CHALLENGE["WWW-Authenticate"] + ', error="invalid_token"'}
            raise Problem(401, "The token is not one of ours.", headers=challenge)

    def _verify(self, token: str) -> bool:
        with Session(self._engine) as session:
            return tokens.find(session, token, utc_now()) is not None

    async def _bounded(self, headers: dict[bytes, bytes], receive: Receive) -> Receive:
        """Read the body up to the limit, and a `receive` that hands it out. Raises Problem 413."""
        length = headers.get(b"content-length", b"0")
        # The server has checked that it is a number.
        if int(length) > MAX_BODY:
            raise _too_large()
        if length == b"0" and b"transfer-encoding" not in headers:
            return receive
        body = b""
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return _after(message, receive)
            body += message.get("body", b"")
            if len(body) > MAX_BODY:
                raise _too_large()
            more = message.get("more_body", False)
        return _after({"type": "http.request", "body": body, "more_body": False}, receive)


def _after(first: Message, receive: Receive) -> Receive:
    """`first`, then what `receive` brings."""
    waiting = [first]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


def _too_large() -> Problem:
    return Problem(413, f"A request body is at most {MAX_BODY} bytes.", headers={"Connection": "close"})
