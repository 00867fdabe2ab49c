"""People of a partner or of a customer (IP-9, IP-10)."""

from portal_api.users.resource import router

__all__ = ["router"]
