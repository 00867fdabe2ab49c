"""The application: features under /api/v1, the health check, and the page that shows what there is."""

from __future__ import annotations

from fastapi import APIRouter, Depends, FastAPI
from sqlalchemy import Engine

from portal_api import docs, problems
from portal_api.cdrs import endpoints as cdrs
from portal_api.context import Database, DirectoryCache, single_values
from portal_api.customers import endpoints as customers
from portal_api.explain import endpoints as explain
from portal_api.gateways import endpoints as gateways
from portal_api.pricelists import endpoints as pricelists
from portal_api.security import Guard, bearer
from sipsvc import __version__
from sipsvc.store import catalogue

PREFIX = "/api/v1"


def create_app(engine: Engine) -> FastAPI:
    """The API on one database; it holds no other state than a cache."""
    app = FastAPI(
        title="sipsvc",
        version=__version__,
        description="Customers, gateways, prices and calls, to be read; and why a call would go where it goes.",
        docs_url=None,
        redoc_url=None,
    )
    app.state.engine = engine
    app.state.directories = DirectoryCache(engine)
    problems.install(app)
    app.add_middleware(Guard, engine=engine)
    api = APIRouter(
        prefix=PREFIX,
        dependencies=[bearer, Depends(single_values)],
        responses=problems.documented(400, 401, 413, 422, 503),
    )
    for feature in (customers, gateways, pricelists, cdrs, explain):
        api.include_router(feature.router)
    app.include_router(api)
    app.include_router(docs.router)
    app.add_api_route("/healthz", _health, summary="Whether the API and its database work", tags=["health"])
    problems.describe(app)
    return app


def _health(session: Database) -> dict[str, str]:
    catalogue.version(session)
    return {"status": "ok"}
