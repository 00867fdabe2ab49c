"""GET /gateways and /gateways/{id}."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from portal_api.context import Database
from portal_api.gateways.schemas import GatewayView
from portal_api.paging import by_id
from portal_api.problems import Problem, documented
from portal_api.schemas import ListQuery, Page
from sipsvc.store import catalogue

router = APIRouter(prefix="/gateways", tags=["gateways"])


@router.get("", summary="All gateways, by id")
def list_gateways(session: Database, query: Annotated[ListQuery, Query()]) -> Page[GatewayView]:
    rows, following = by_id(catalogue.list_gateways(session), "gateways", query.after, query.size)
    return Page(data=[GatewayView.model_validate(row) for row in rows], next=following)


@router.get("/{id}", summary="One gateway", responses=documented(404))
def get_gateway(session: Database, id: str) -> GatewayView:
    for row in catalogue.list_gateways(session):
        if row.id == id:
            return GatewayView.model_validate(row)
    raise Problem(404, f"There is no gateway {id!r}.")
