"""Prefixes that may not be called (SIP-26)."""

from portal_api.blocks.resource import SPEC, router

__all__ = ["SPEC", "router"]
