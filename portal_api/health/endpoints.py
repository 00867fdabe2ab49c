"""GET /healthz and /readyz, which need no token (SIP-38)."""

from __future__ import annotations

from fastapi import APIRouter

from portal_api.context import Database
from portal_api.problems import Problem, documented
from sipsvc.store import catalogue
from sipsvc.store.database import outdated

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Whether the API and its database work", responses=documented(503))
def alive(session: Database) -> dict[str, str]:
    catalogue.version(session)
    return {"status": "ok"}


@router.get("/readyz", summary="Whether requests can be served", responses=documented(503))
def ready(session: Database) -> dict[str, str]:
    """The database can be reached, and its schema is the one this version works with."""
    reason = outdated(session.connection())
    if reason:
        raise Problem(503, f"Not ready: {reason}.", headers={"Retry-After": "5"})
    return {"status": "ready"}
