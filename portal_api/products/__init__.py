"""Web products: the brands that customers sign up on (WP-1, WP-3)."""

from portal_api.products.resource import SPEC, router

__all__ = ["SPEC", "router"]
