"""Who pays (IP-2, IP-8 to IP-16)."""

from portal_api.customers.resource import SPEC, router

__all__ = ["SPEC", "router"]
