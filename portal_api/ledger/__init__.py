"""Money: postings, payments, balances and statements (DOMAIN, ledger)."""

from portal_api.ledger.accounts import router as accounts
from portal_api.ledger.endpoints import router

routers = (router, accounts)

__all__ = ["routers"]
