"""The carriers' gateways and what each asks for."""

from portal_api.gateways.resource import SPEC, router

__all__ = ["SPEC", "router"]
