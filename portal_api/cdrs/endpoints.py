"""GET /cdrs and /cdrs/{id}."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from portal_api.cdrs.schemas import CdrQuery, CdrView
from portal_api.context import Database
from portal_api.paging import decode, encode, refused
from portal_api.problems import Problem, documented
from portal_api.schemas import Page
from sipsvc.store import cdrs

MAX_MS = 253_402_300_799_999  # the end of the year 9999, where datetime ends

router = APIRouter(prefix="/cdrs", tags=["cdrs"])


@router.get("", summary="Calls, newest first")
def list_cdrs(session: Database, query: Annotated[CdrQuery, Query()]) -> Page[CdrView]:
    after = None
    if query.after is not None:
        at, cdr_id = decode(query.after, "cdrs", int, str)
        after = int(at), str(cdr_id)
        if not 0 <= after[0] <= MAX_MS:
            raise refused("is not a cursor of this list")
    rows = cdrs.page(session, filters=query.filters(), after=after, limit=query.size + 1)
    found = rows[: query.size]
    following = encode("cdrs", *cdrs.cursor(found[-1])) if len(rows) > query.size else None
    return Page(data=[CdrView.model_validate(row) for row in found], next=following)


@router.get("/{id}", summary="One call", responses=documented(404))
def get_cdr(session: Database, id: str) -> CdrView:
    row = cdrs.get(session, id)
    if row is None:
        raise Problem(404, f"There is no call {id!r}.")
    return CdrView.model_validate(row)
