"""Work that takes longer than a request."""

from portal_api.jobs.resource import router

__all__ = ["router"]
