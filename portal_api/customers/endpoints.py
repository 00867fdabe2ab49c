"""GET /customers and /customers/{id}."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from portal_api.context import Database
from portal_api.customers.schemas import CustomerView, view
from portal_api.paging import by_id
from portal_api.problems import Problem, documented
from portal_api.schemas import ListQuery, Page
from sipsvc.store import catalogue

router = APIRouter(prefix="/customers", tags=["customers"])


@router.get("", summary="All customers, by id")
def list_customers(session: Database, query: Annotated[ListQuery, Query()]) -> Page[CustomerView]:
    rows, following = by_id(catalogue.list_customers(session), "customers", query.after, query.size)
    return Page(data=[view(row, catalogue.list_trunks(session, row.id)) for row in rows], next=following)


@router.get("/{id}", summary="One customer", responses=documented(404))
def get_customer(session: Database, id: str) -> CustomerView:
    for row in catalogue.list_customers(session):
        if row.id == id:
            return view(row, catalogue.list_trunks(session, row.id))
    raise Problem(404, f"There is no customer {id!r}.")
