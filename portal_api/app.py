"""The application: features under /api/v1, the health check, and the page that shows what there is."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute
from sqlalchemy import Engine
from starlette.routing import compile_path

from portal_api import (
    blocks,
    cdrs,
    customers,
    docs,
    explain,
    gateways,
    health,
    imports,
    jobs,
    ledger,
    openapi,
    packages,
    partners,
    pricelists,
    prices,
    problems,
    products,
    shortcodes,
    statistics,
    tokens,
    trunks,
    usage,
    users,
)
from portal_api.context import single_values
from portal_api.negotiation import negotiate
from portal_api.resource import PREFIX
from portal_api.security import Guard, Limit, bearer
from sipsvc import __version__

ROUTERS = (
    partners.router, customers.router, users.router, trunks.router, *gateways.routers, pricelists.router,
    *prices.routers, *imports.routers, jobs.router, blocks.router, shortcodes.router, products.router,
    packages.router, tokens.router, cdrs.router, usage.router, statistics.router, *ledger.routers, explain.router,
)  # fmt: skip
"""Every feature's operations. They are not nested, so that their routes can be read."""


def create_app(engine: Engine, host: str, folder: Path) -> FastAPI:
    """The API on one database; it holds no other state. `host` is what identities of our calls are at.

    `folder` is the data folder, where the SIP worker can be asked.
    """
    app = FastAPI(
        title="sipsvc",
        version=__version__,
        description="Partners, customers, gateways, prices and calls; and why a call would go where it goes.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.engine = engine
    app.state.host = host
    app.state.folder = folder
    app.state.methods = _methods
    problems.install(app)
    api = APIRouter(
        prefix=PREFIX,
        dependencies=[bearer, Depends(negotiate), Depends(single_values)],
        responses=problems.documented(400, 401, 403, 406, 413, 415, 422, 503),
    )
    for router in ROUTERS:
        api.include_router(router)
    app.include_router(api)
    app.include_router(docs.router)
    app.include_router(health.router)
    openapi.describe(app)
    app.add_middleware(Guard, engine=engine, limits=_limits())
    return app


def _methods(path: str) -> list[str]:
    """What can be done at a path; one that is named in full is no `{id}`."""
    routes = (route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute))
    fitting = [route for route in routes if compile_path(PREFIX + route.path)[0].match(path)]
    named = [route for route in fitting if PREFIX + route.path == path]
    return sorted({method for route in named or fitting for method in route.methods or ()})


def _limits() -> list[Limit]:
    """Operations that take more than the usual body."""
    return [
        Limit(frozenset(route.methods or ()), compile_path(PREFIX + route.path)[0], most)
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute) and (most := getattr(route.endpoint, "most", None)) is not None
    ]
