"""POST /explain: nothing is dialled, nothing is written."""

from __future__ import annotations

import time
from typing import Any

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from portal_api.context import Caller, may
from portal_api.explain import draft
from portal_api.explain.schemas import ROUTED, SOLD, Explanation, Question, SoldExplanation
from portal_api.negotiation import JSON
from portal_api.principal import Principal
from portal_api.problems import UNUSABLE_FIELDS, Problem, documented
from portal_api.writes import Answer, Write, Writer
from sipsvc.effects import Now
from sipsvc.routing import question as asking
from sipsvc.routing.explain import explain
from sipsvc.store.database import one_state
from sipsvc.store.models import Customer
from sipsvc.store.scope import find
from sipsvc.store.snapshot import for_call
from sipsvc.store.types import to_ms

router = APIRouter(prefix="/explain", tags=["explain"], dependencies=[may("explain", "read")])
SHOWN = tuple(SoldExplanation.model_fields)
EXAMPLES = {"whoever may see all of it": {"value": ROUTED}, "the customer": {"value": SOLD}}
# What the API calls a part of the question.
FIELDS = {"preferred": "p_preferred_identity"}


@router.post(
    "",
    summary="Why a call would go where it goes, and how it would look",
    response_model=Explanation | SoldExplanation,
    responses={200: {"content": {JSON: {"examples": EXAMPLES}}}, **documented(409)},
)
def explain_call(request: Request, who: Caller, question: Question) -> Response:
    engine, host = request.app.state.engine, request.app.state.host
    if question.draft is None:
        at = time.time_ns() // 1_000_000 if question.at is None else to_ms(question.at)
        with one_state(engine) as connection, Session(connection) as session:
            said = _answer(session, who, question, host, at)
        return Response(orjson.dumps(said), media_type=JSON)
    if who.sells_only:
        raise Problem(403, f"The role {who.role} may not draft changes.", [("draft", "is the partner's to use")])

    return _drafted(engine, who, question, question.draft, host)


def _drafted(engine: Engine, who: Principal, question: Question, drafted: draft.Draft, host: str) -> Response:
    """As a dry run: checked by the rules of a change, and taken back whatever comes of it."""
    prefixes: list[str] = []
    imports: list[draft.Loaded] = []

    def decide(write: Write) -> Answer:
        draft.apply(write, drafted, imports, prefixes)
        begun = write.changes.at
        if question.at is not None and question.at < begun:
            raise Problem(422, UNUSABLE_FIELDS, [("at", "is in the past, when no draft was in force")])
        said = _answer(write.session, who, question, host, to_ms(question.at or begun))
        prefixes[:] = [said["e164"][:length] for length in range(1, len(said["e164"]) + 1)]
        return Answer(200, said)

    writer = Writer(engine, who, dry_run=True)
    response = writer.run(decide)
    if not drafted.imports:
        return response
    # The number is known now, which the rest of the draft may have changed: so only its rows of the files are kept.
    imports += draft.load(engine, who, drafted, prefixes)
    return writer.run(decide)


def _answer(session: Session, who: Principal, question: Question, host: str, at: int) -> dict[str, Any]:
    asked = asking.Question(
        question.customer,
        question.dialled,
        question.caller,
        question.p_preferred_identity,
        question.privacy,
        question.channels,
        question.call_id,
    )
    try:
        directory = for_call(session, question.customer, asking.number_of(asked))
        if find(session, Customer, question.customer, who.who) is None:
            raise asking.ExplainError("customer", f"there is no customer {question.customer!r}")
        said = explain(directory, asked, host=host, now=Now(0, at))
    except asking.ExplainError as error:
        raise Problem(422, UNUSABLE_FIELDS, [(FIELDS.get(error.field, error.field), error.reason)]) from None
    # What the partner pays, and where it sends its calls, is not its customer's to see (EX-2).
    return {name: said[name] for name in SHOWN} if who.sells_only else said
