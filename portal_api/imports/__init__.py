"""Price files and populated lists on their way into force (TG-7, TP-7)."""

from portal_api.imports.resource import routers

__all__ = ["routers"]
