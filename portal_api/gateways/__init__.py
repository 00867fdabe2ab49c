"""The carriers' gateways and what each asks for."""

from portal_api.gateways import health
from portal_api.gateways.resource import SPEC, router

routers = (router, health.router)

__all__ = ["SPEC", "router", "routers"]
