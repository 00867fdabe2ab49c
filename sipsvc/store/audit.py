"""Whether the ledger adds up: postings, balances and calls, each added up from its own rows."""

from __future__ import annotations

from decimal import Decimal

from sqlalchemy import String, func, literal, select
from sqlalchemy.orm import Session

from sipsvc.rating import text
from sipsvc.store import ledger
from sipsvc.store.models import Cdr, Customer, LedgerAccount, LedgerPosting, PriceList
from sipsvc.store.types import WIDE
from sipsvc.store.usage import exact, exact_sums

ZERO = Decimal(0)
NOTHING = (ZERO, ZERO)
Key = tuple[str, str]
"""An account or a customer, and a currency."""


def faults(session: Session) -> list[str]:
    """Where the ledger does not add up, a line each; there are never to be any.

    Balances against their postings, the accounts of a currency against 0, what customers' calls that are kept cost
    against what was posted for them, and funds against balances. It reads all there is, in one state of the database
    (`database.one_state`).
    """
    kept = {
        (account, currency): (exact(*parts[:2]), exact(*parts[2:]))
        for account, currency, *parts in session.execute(
            select(LedgerAccount.account, LedgerAccount.currency, *(getattr(LedgerAccount, one) for one in ledger.SUMS))
        )
    }
    posted = _posted(session)
    said = [
        f"{account} has {_pair(kept.get((account, currency), NOTHING))} {currency}, its postings make "
        f"{_pair(posted.get((account, currency), NOTHING))} (balance, charged)"
        for account, currency in sorted(kept.keys() | posted.keys())
        if kept.get((account, currency), NOTHING) != posted.get((account, currency), NOTHING)
    ]
    totals: dict[str, Decimal] = {}
    for (_account, currency), (balance, _) in kept.items():
        totals[currency] = WIDE.add(totals.get(currency, ZERO), balance)
    said += [f"all accounts in {one} together have {text(total)}" for one, total in sorted(totals.items()) if total]
    sold, charged = _sold(session), _charged(session)
    said += [
        f"calls of customer {customer} cost {text(sold.get((customer, currency), ZERO))} {currency}, posted for them "
        f"is {text(charged.get((customer, currency), ZERO))}"
        for customer, currency in sorted(sold.keys() | charged.keys())
        if sold.get((customer, currency), ZERO) != charged.get((customer, currency), ZERO)
    ]
    funds = select(Customer.id, PriceList.currency, Customer.funds).join(PriceList, PriceList.id == Customer.pricelist)
    for customer, currency, there in session.execute(funds.order_by(Customer.id)):
        wanted = WIDE.add(*posted.get((ledger.customer_account(customer), currency), NOTHING))
        if there != wanted:
            said.append(f"customer {customer} has funds of {text(there)} {currency}, its postings make {text(wanted)}")
    return said


def count(session: Session) -> int:
    """How many postings there are."""
    return int(session.execute(select(func.count()).select_from(LedgerPosting)).scalar_one())


def gone(session: Session) -> int:
    """How many charges are of calls that are kept no more."""
    charges = (LedgerPosting.source_type == ledger.CDR, LedgerPosting.kind == ledger.CHARGE)
    return int(
        session.execute(
            select(func.count()).where(*charges, LedgerPosting.source_id.not_in(select(Cdr.cdr_id)))
        ).scalar_one()
    )


def _posted(session: Session) -> dict[Key, tuple[Decimal, Decimal]]:
    """Balance and charges of every account, out of its postings."""
    found: dict[Key, tuple[Decimal, Decimal]] = {}
    is_charge = (LedgerPosting.source_type == ledger.CDR) & (LedgerPosting.kind == ledger.CHARGE)
    sums = exact_sums(LedgerPosting.amount)
    for side, gets in ((LedgerPosting.credit, True), (LedgerPosting.debit, False)):
        keys = (side, LedgerPosting.currency, is_charge)
        for account, currency, of_calls, *parts in session.execute(select(*keys, *sums).group_by(*keys)):
            amount = exact(*parts)
            balance, charged = found.get((account, currency), NOTHING)
            found[account, currency] = (
                WIDE.add(balance, amount if gets else -amount),
                WIDE.add(charged, amount) if of_calls and not gets else charged,
            )
    return found


def _sold(session: Session) -> dict[Key, Decimal]:
    """What the calls of each customer cost that have ended."""
    keys = (Cdr.customer, Cdr.sell_currency)
    wanted = (Cdr.state == ledger.ENDED, Cdr.sell_amount > ZERO)
    found = session.execute(select(*keys, *exact_sums(Cdr.sell_amount)).where(*wanted).group_by(*keys))
    return {(customer, currency): exact(*parts) for customer, currency, *parts in found}


def _charged(session: Session) -> dict[Key, Decimal]:
    """What is posted to customers for calls that are kept, less what was taken back again."""
    gives = LedgerPosting.debit == literal("customer:", String()).concat(LedgerPosting.customer)
    keys = (LedgerPosting.customer, LedgerPosting.currency, gives)
    # Calls that retention removed stay in the ledger for good.
    there = LedgerPosting.source_id.in_(select(Cdr.cdr_id))
    ours = (LedgerPosting.source_type == ledger.CDR, LedgerPosting.customer.is_not(None), there)
    sums: dict[Key, Decimal] = {}
    wanted = select(*keys, *exact_sums(LedgerPosting.amount)).where(*ours).group_by(*keys)
    for customer, currency, given, *parts in session.execute(wanted):
        amount = exact(*parts) if given else -exact(*parts)
        sums[str(customer), currency] = WIDE.add(sums.get((str(customer), currency), ZERO), amount)
    return sums


def _pair(sums: tuple[Decimal, Decimal]) -> str:
    return " and ".join(map(text, sums))
