"""Short codes and emergency numbers of partners and their customers (SIP-25)."""

from portal_api.shortcodes.resource import SPEC, router

__all__ = ["SPEC", "router"]
