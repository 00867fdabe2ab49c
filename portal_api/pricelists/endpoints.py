"""GET /pricelists and /pricelists/{id}/prices."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from portal_api.context import Database
from portal_api.paging import by_id, decode, encode
from portal_api.pricelists.schemas import PriceListView, PriceQuery, PriceView
from portal_api.problems import Problem, documented
from portal_api.schemas import ListQuery, Page
from sipsvc.store import catalogue

router = APIRouter(prefix="/pricelists", tags=["pricelists"])


@router.get("", summary="All price lists, by id")
def list_pricelists(session: Database, query: Annotated[ListQuery, Query()]) -> Page[PriceListView]:
    rows, following = by_id(catalogue.list_pricelists(session), "pricelists", query.after, query.size)
    return Page(data=[PriceListView.model_validate(row) for row in rows], next=following)


@router.get("/{id}/prices", summary="The rows of one price list, by prefix and origin", responses=documented(404))
def list_prices(session: Database, id: str, query: Annotated[PriceQuery, Query()]) -> Page[PriceView]:
    if all(row.id != id for row in catalogue.list_pricelists(session)):
        raise Problem(404, f"There is no price list {id!r}.")
    after = ("", "")
    if query.after is not None:
        prefix, origin = decode(query.after, f"prices {id}", str, str)
        after = (str(prefix), str(origin))
    rows = catalogue.list_prices(session, id, query.prefix or "", after, query.size + 1)
    found = rows[: query.size]
    following = encode(f"prices {id}", found[-1].prefix, found[-1].origin) if len(rows) > query.size else None
    return Page(data=[PriceView.model_validate(row) for row in found], next=following)
