"""Price packages: what customers' calls are sold by (PP-1..6)."""

from portal_api.packages.resource import SPEC, router

__all__ = ["SPEC", "router"]
