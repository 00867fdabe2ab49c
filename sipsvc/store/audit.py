"""Whether the ledger adds up: postings, balances and calls, each added up from its own rows."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Select, case, func, select, type_coerce
from sqlalchemy.orm import Session

from sipsvc.rating import text
from sipsvc.store import ledger
from sipsvc.store.models import Cdr, Customer, LedgerAccount, LedgerPosting, PriceList
from sipsvc.store.types import from_scaled

Key = tuple[str, str]
"""An account or a customer, and a currency."""


def faults(session: Session) -> list[str]:
    """Where the ledger does not add up, a line each; there are never to be any.

    Balances against their postings, the accounts of a currency against 0, what customers' calls cost against what was
    posted for them, and funds against balances. It reads all there is, in one state of the database
    (`database.one_state`).
    """
    kept: dict[Key, list[int]] = {}
    for account, currency, balance, charges in session.execute(_kept()):
        kept[account, currency] = [int(balance), int(charges)]
    posted = _posted(session)
    said = [
        f"{account} has {_pair(kept.get((account, currency)))} {currency}, its postings make "
        f"{_pair(posted.get((account, currency)))} (balance, charged)"
        for account, currency in sorted(kept.keys() | posted.keys())
        if kept.get((account, currency), [0, 0]) != posted.get((account, currency), [0, 0])
    ]
    totals: dict[str, int] = {}
    for (_, currency), (total, _charges) in posted.items():
        totals[currency] = totals.get(currency, 0) + total
    said += [f"all accounts in {c} together have {_said(total)}" for c, total in sorted(totals.items()) if total]
    sold, charged = _sold(session), _charged(session)
    said += [
        f"calls of customer {customer} cost {_said(sold.get((customer, currency), 0))} {currency}, posted for them is "
        f"{_said(charged.get((customer, currency), 0))}"
        for customer, currency in sorted(sold.keys() | charged.keys())
        if sold.get((customer, currency), 0) != charged.get((customer, currency), 0)
    ]
    funds = select(Customer.id, PriceList.currency, _scaled(Customer.funds)).join(
        PriceList, PriceList.id == Customer.pricelist
    )
    for customer, currency, there in session.execute(funds.order_by(Customer.id)):
        wanted = sum(posted.get((ledger.customer_account(customer), currency), [0, 0]))
        if there != wanted:
            said.append(
                f"customer {customer} has funds of {_said(there)} {currency}, its postings make {_said(wanted)}"
            )
    return said


def count(session: Session) -> int:
    """How many postings there are."""
    return int(session.execute(select(func.count()).select_from(LedgerPosting)).scalar_one())


def _kept() -> Select[Any]:
    sums = (_scaled(LedgerAccount.balance), _scaled(LedgerAccount.charged))
    return select(LedgerAccount.account, LedgerAccount.currency, *sums)


def _posted(session: Session) -> dict[Key, list[int]]:
    """Balance and charges of every account, out of its postings."""
    found: dict[Key, list[int]] = {}
    is_charge = (LedgerPosting.source_type == ledger.CDR) & (LedgerPosting.kind == ledger.CHARGE)
    amount = _scaled(LedgerPosting.amount)
    for side, sign in ((LedgerPosting.credit, 1), (LedgerPosting.debit, -1)):
        charges = func.sum(case((is_charge, amount), else_=0))
        keys = (side, LedgerPosting.currency)
        for account, currency, total, charged in session.execute(
            select(*keys, func.sum(amount), charges).group_by(*keys)
        ):
            sums = found.setdefault((account, currency), [0, 0])
            sums[0] += sign * int(total)
            sums[1] += int(charged) if sign < 0 else 0
    return found


def _sold(session: Session) -> dict[Key, int]:
    keys = (Cdr.customer, Cdr.sell_currency)
    wanted = (Cdr.state == ledger.ENDED, _scaled(Cdr.sell_amount) > 0)
    found = session.execute(select(*keys, func.sum(_scaled(Cdr.sell_amount))).where(*wanted).group_by(*keys))
    return {(customer, currency): int(total) for customer, currency, total in found}


def _charged(session: Session) -> dict[Key, int]:
    """What is posted to customers for calls, what was taken back again left out."""
    amount = _scaled(LedgerPosting.amount)
    taken = LedgerPosting.debit == ledger.customer_account("") + LedgerPosting.customer
    keys = (LedgerPosting.customer, LedgerPosting.currency)
    net = func.sum(case((taken, amount), else_=-amount))
    ours = (LedgerPosting.source_type == ledger.CDR, LedgerPosting.customer.is_not(None))
    found = session.execute(select(*keys, net).where(*ours).group_by(*keys))
    return {(str(customer), currency): int(total) for customer, currency, total in found if total}


def _scaled(column: Any) -> Any:
    return type_coerce(column, BigInteger)


def _pair(sums: list[int] | None) -> str:
    return " and ".join(_said(one) for one in sums or [0, 0])


def _said(millionths: int) -> str:
    return text(from_scaled(int(millionths)))
