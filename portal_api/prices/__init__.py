"""The prices of a list and the coverage of a gateway, one by one."""

from portal_api.prices.resource import routers

__all__ = ["routers"]
