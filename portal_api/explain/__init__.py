"""How a call would be decided now, and why."""

from portal_api.explain.endpoints import router

__all__ = ["router"]
