"""GET /gateways/{id}/health: what the SIP worker has found of a gateway (SIP-34)."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from portal_api.context import Caller, Database, may
from portal_api.gateways.schemas import HealthView
from portal_api.problems import Problem, documented
from portal_api.worker import told
from portal_api.writes import Answer
from sipsvc.store.models import Gateway
from sipsvc.store.scope import find
from sipsvc.store.types import from_ms, instant

router = APIRouter(prefix="/gateways", tags=["gateways"], dependencies=[may("gateway", "read")])


@router.get("/{id}/health", summary="How a gateway does", response_model=HealthView, responses=documented(404, 503))
def get_health(request: Request, session: Database, who: Caller, id: str) -> Response:
    """Whether calls go to it, since when and why not, and whether we are registered there. 503 without a SIP worker."""
    if find(session, Gateway, id, who.who) is None:
        raise Problem(404, f"There is no gateway {id!r}.")
    session.rollback()  # the worker may take its time, and the database waits for nobody
    known = told(request.app.state.folder, "gateway", gateway=id)
    return Answer(200, _view(known)).response()


def _view(known: dict[str, Any] | None) -> dict[str, Any]:
    """A gateway the worker has not heard of yet is one that nothing is known of."""
    if known is None:
        return {"state": "unknown", "since": None, "reason": "", "failures": 0, "registration": "",
                "registered_until": None}  # fmt: skip
    return known | {"since": _at(known["since"]), "registered_until": _at(known["registered_until"])}


def _at(ms: int | None) -> str | None:
    return instant(from_ms(ms)) if ms else None
