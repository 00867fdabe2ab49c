"""Calls a day: how many got through, how long, at what margin (ST-1)."""

from portal_api.statistics.endpoints import router

__all__ = ["router"]
