"""A request that changes something: one transaction, which an Idempotency-Key makes once and `dry_run` takes back."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Annotated, Any, Literal

import orjson
from fastapi import Depends, Header, Query, Request
from fastapi.responses import Response
from sqlalchemy import Engine, delete, select
from sqlalchemy.orm import Session

from portal_api.conditional import etag
from portal_api.context import Caller
from portal_api.negotiation import JSON
from portal_api.principal import Principal
from portal_api.problems import Problem
from sipsvc.store.changes import Changes, utc_now
from sipsvc.store.database import writing
from sipsvc.store.models import Catalogue, Idempotency

KEPT = timedelta(hours=24)
REPLAYED = "Idempotent-Replayed"

DryRun = Annotated[
    Literal["true", "false"],
    Query(description="`true`: everything is checked and the answer is what it would be (200), but nothing is stored."),
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern="^[!-~]+$",
        description="The same key and request within 24 hours get the first answer again, and nothing is done twice.",
        json_schema_extra={"examples": ["0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e01"]},
    ),
]


@dataclass(frozen=True, slots=True)
class Answer:
    """What to reply. `kept` is the body to keep for a replay where it differs: a secret is told only once."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    kept: Any = None

    def response(self) -> Response:
        return _response(self.status, b"" if self.body is None else orjson.dumps(self.body), self.headers)


def shown(status: int, body: dict[str, Any], location: str | None = None) -> Answer:
    """A resource with its ETag."""
    headers = {"ETag": etag(body["version"])}
    return Answer(status, body, headers if location is None else headers | {"Location": location})


class Write:
    """The transaction of one request. Reading in it is safe: no other writer comes between (`store.changes`)."""

    def __init__(self, session: Session, who: Principal) -> None:
        self.session = session
        self.who = who

    @cached_property
    def changes(self) -> Changes:
        return Changes(self.session, self.who.actor)


class _TakenBackError(Exception):
    """Ends a dry run's transaction."""


@dataclass(frozen=True, slots=True)
class Writer:
    """What an endpoint runs its change with. `asked` is the digest of the request that a key stands for."""

    engine: Engine
    who: Principal
    dry_run: bool
    key: str | None = None
    asked: str = ""

    def run(self, action: Callable[[Write], Answer]) -> Response:
        """All of `action` or nothing, and its answer; in a dry run nothing, and its answer with status 200."""
        answer: Response | None = None
        try:
            with writing(self.engine) as session:
                # One writer at a time, so that of two requests with one key the second meets the first's answer.
                session.execute(select(Catalogue.version).with_for_update())
                write = Write(session, self.who)
                if self.dry_run:
                    made = action(write)
                    headers = {name: value for name, value in made.headers.items() if name != "Location"}
                    answer = Answer(200, made.body if made.kept is None else made.kept, headers).response()
                    raise _TakenBackError
                answer = self._met(session)
                if answer is None:
                    made = action(write)
                    self._keep(session, made)
                    answer = made.response()
        except _TakenBackError:
            assert answer is not None
        return answer

    def _met(self, session: Session) -> Response | None:
        """The answer that this key got before. Raises Problem 422 where it was another request's."""
        if self.key is None:
            return None
        session.execute(delete(Idempotency).where(Idempotency.at < utc_now() - KEPT))
        met = session.get(Idempotency, (self.who.token, self.key))
        if met is None:
            return None
        if met.request != self.asked:
            reason = "was used for another request in the last 24 hours"
            raise Problem(422, "The key belongs to another request.", [("Idempotency-Key", reason)])
        return _response(met.status, met.body.encode(), met.headers | {REPLAYED: "true"})

    def _keep(self, session: Session, answer: Answer) -> None:
        if self.key is None:
            return
        body = answer.body if answer.kept is None else answer.kept
        session.add(
            Idempotency(
                token=self.who.token,
                key=self.key,
                request=self.asked,
                status=answer.status,
                headers=answer.headers,
                body="" if body is None else orjson.dumps(body).decode(),
                at=utc_now(),
            )
        )


def _response(status: int, body: bytes, headers: dict[str, str]) -> Response:
    return Response(body, status, headers, JSON if body else None)


def _writer(request: Request, who: Caller, dry_run: DryRun = "false") -> Writer:
    return Writer(request.app.state.engine, who, dry_run == "true")


async def _keyed(request: Request, who: Caller, dry_run: DryRun = "false", key: IdempotencyKey = None) -> Writer:
    digest = hashlib.sha256()
    for part in (request.method, request.url.path, request.url.query):
        digest.update(part.encode() + b"\n")
    digest.update(await request.body())
    return Writer(request.app.state.engine, who, dry_run == "true", key, digest.hexdigest())


Changing = Annotated[Writer, Depends(_writer)]
"""For PATCH and DELETE."""
Posting = Annotated[Writer, Depends(_keyed)]
"""For POST, which takes an Idempotency-Key."""
