"""How a customer's calls are known (SIP-20, SIP-21)."""

from portal_api.trunks.resource import SPEC, router

__all__ = ["SPEC", "router"]
