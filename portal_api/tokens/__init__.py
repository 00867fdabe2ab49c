"""API tokens: issued, shown once, revoked."""

from portal_api.tokens.resource import router

__all__ = ["router"]
