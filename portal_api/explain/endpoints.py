"""POST /explain: nothing is dialled, nothing is written."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter

from portal_api.context import Caller, Database, Directories, may
from portal_api.explain.schemas import Explanation, Question
from portal_api.problems import UNUSABLE_FIELDS, Problem, documented
from sipsvc.effects import Now
from sipsvc.errors import ConfigError
from sipsvc.routing.explain import ExplainError, explain
from sipsvc.store.models import Customer
from sipsvc.store.scope import find

router = APIRouter(prefix="/explain", tags=["explain"], dependencies=[may("explain", "read")])


@router.post("", summary="Why a call would go where it goes", response_model=Explanation, responses=documented(409))
def explain_call(directories: Directories, session: Database, who: Caller, question: Question) -> dict[str, Any]:
    # The platform may ask of a customer that is in no loaded catalogue; `explain` says so.
    if who.who.partner is not None and find(session, Customer, question.customer, who.who) is None:
        raise Problem(422, UNUSABLE_FIELDS, [("customer", f"there is no customer {question.customer!r}")])
    try:
        directory = directories.get()
    except ConfigError as error:
        raise Problem(409, "The catalogue cannot be used.", [(fault[0], fault[2]) for fault in error.faults]) from None
    now = Now(time.monotonic_ns(), time.time_ns() // 1_000_000)
    try:
        return explain(directory, customer=question.customer, dialled=question.dialled, caller=question.caller, now=now)
    except ExplainError as error:
        raise Problem(422, UNUSABLE_FIELDS, [(error.field, error.reason)]) from None
