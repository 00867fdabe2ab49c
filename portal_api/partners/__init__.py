"""Who resells (IP-1)."""

from portal_api.partners.resource import router

__all__ = ["router"]
