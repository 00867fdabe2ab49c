"""The carriers' gateways and what each asks for."""

from portal_api.gateways.resource import router

__all__ = ["router"]
