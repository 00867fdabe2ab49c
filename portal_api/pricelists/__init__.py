"""Termination price lists and their rows (TP-1..6)."""

from portal_api.pricelists.resource import SPEC, router

__all__ = ["SPEC", "router"]
