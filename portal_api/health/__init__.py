"""Whether the API works, for load balancers and people."""

from portal_api.health.endpoints import router

__all__ = ["router"]
