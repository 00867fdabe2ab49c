"""The calls: one record each, up while it is answered and when it has ended."""

from portal_api.cdrs.endpoints import router

__all__ = ["router"]
