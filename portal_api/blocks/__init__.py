"""Prefixes that may not be called (SIP-26)."""

from portal_api.blocks.resource import router

__all__ = ["router"]
