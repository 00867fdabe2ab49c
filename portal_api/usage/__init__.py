"""What each customer used in a month (IP-5)."""

from portal_api.usage.endpoints import router

__all__ = ["router"]
