"""The tables. Money is an integer of millionths, an instant one of UTC milliseconds, JSON is text (DOMAIN, types)."""

from sipsvc.store.models.base import Base, OfAnyone, OfPartner, Resource
from sipsvc.store.models.catalogue import (
    Block,
    Catalogue,
    CoverageRow,
    Customer,
    Gateway,
    Partner,
    PlatformSettings,
    PriceList,
    PricePackage,
    PriceRow,
    RateRow,
    ShortCode,
    Trunk,
    User,
    WebProduct,
)
from sipsvc.store.models.ledger import LedgerAccount, LedgerPosting
from sipsvc.store.models.records import AllowanceUsed, Cdr, CdrOutput, DeliveryPosition
from sipsvc.store.models.work import History, Idempotency, Import, ImportFile, Job, Note, Token

__all__ = [
    "AllowanceUsed",
    "Base",
    "Block",
    "Catalogue",
    "Cdr",
    "CdrOutput",
    "CoverageRow",
    "Customer",
    "DeliveryPosition",
    "Gateway",
    "History",
    "Idempotency",
    "Import",
    "ImportFile",
    "Job",
    "LedgerAccount",
    "LedgerPosting",
    "Note",
    "OfAnyone",
    "OfPartner",
    "Partner",
    "PlatformSettings",
    "PriceList",
    "PricePackage",
    "PriceRow",
    "RateRow",
    "Resource",
    "ShortCode",
    "Token",
    "Trunk",
    "User",
    "WebProduct",
]
