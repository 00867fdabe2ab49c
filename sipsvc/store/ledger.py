"""The one way money is posted: a posting, the balances it changes and a customer's funds go in one transaction.

Double entry: every posting takes an amount from one account (debit) and gives it to another (credit), so the balances
of all accounts in a currency add up to 0. A customer's balance is what it has: payments less what its calls cost.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import Select, String, func, literal, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from sipsvc.store.changes import Changes, new_id
from sipsvc.store.models import Cdr, Customer, LedgerAccount, LedgerPosting, PriceList
from sipsvc.store.types import SCALE, WIDE
from sipsvc.store.usage import MILLION, exact

CDR, PAYMENT = "cdr", "payment"
CHARGE, COST = "charge", "cost"
# A re-rating takes back what there was and charges anew; the rating's version makes each of them one of a kind.
REVERSAL, RECHARGE = "reversal", "recharge"
ENDED = "ended"
BATCH = 500
ZERO = Decimal(0)
SUMS = ("balance_units", "balance_millionths", "charged_units", "charged_millionths")
_SUMS = tuple(getattr(LedgerAccount, name) for name in SUMS)

COLUMNS = (
    "id", "at", "partner", "customer", "debit", "credit", "amount", "currency", "source_type", "source_id", "kind",
    "memo",
)  # fmt: skip


class Overdrawn(Exception):
    """A debit that the account's balance and credit limit do not cover; `left` is what they would."""

    def __init__(self, left: Decimal) -> None:
        super().__init__(f"only {left} is left")
        self.left = left


class Differs(Exception):
    """What was posted of the same source under the same kind is something else."""


class Account(NamedTuple):
    """A customer's account in one currency. `funds` is all that was posted but charges of calls."""

    currency: str
    balance: Decimal
    charged: Decimal

    @property
    def funds(self) -> Decimal:
        return WIDE.add(self.balance, self.charged)


def customer_account(customer: str) -> str:
    """The key of a customer's account."""
    return f"customer:{customer}"


# -- calls, as they are delivered --


def charge_calls(session: Session, calls: Sequence[str]) -> None:
    """Post what calls (`cdr_id`) that have ended cost their customers, and what they cost us; each once, ever.

    They are in the database, and it is their rows there that are posted: as a row that ended is final, a record that is
    delivered again posts nothing.
    """
    if not calls:
        return
    moved: list[Moved] = []
    for kind, statement in ((CHARGE, _charges(calls)), (COST, _costs(calls))):
        posted = _insert(session)(LedgerPosting).from_select(COLUMNS, statement).on_conflict_do_nothing()
        sides = posted.returning(
            LedgerPosting.debit, LedgerPosting.credit, LedgerPosting.currency, LedgerPosting.amount
        )
        for debit, credit, currency, amount in session.connection().execute(sides):
            moved.append(Moved(debit, currency, -amount, amount if kind == CHARGE else ZERO))
            moved.append(Moved(credit, currency, amount, ZERO))
    _move(session, moved)


def _charges(calls: Sequence[str]) -> Select[Any]:
    customer = literal("customer:", String()).concat(Cdr.customer)
    revenue = literal("revenue:", String()).concat(Cdr.partner)
    return _calls(calls, CHARGE, Cdr.customer, customer, revenue, Cdr.sell_amount, Cdr.sell_currency)


def _costs(calls: Sequence[str]) -> Select[Any]:
    cost = literal("cost:", String()).concat(Cdr.partner)
    carrier = literal("carrier:", String()).concat(Cdr.gateway)
    return _calls(calls, COST, literal(None, String()), cost, carrier, Cdr.buy_amount, Cdr.buy_currency)


def _calls(
    calls: Sequence[str], kind: str, customer: Any, debit: Any, credit: Any, amount: Any, currency: Any
) -> Select[Any]:
    """A posting of each call that ended and has an amount, in the order of COLUMNS."""
    id_ = Cdr.cdr_id.concat(f".{kind}")
    at = func.coalesce(Cdr.end_at, Cdr.counted_at, type_=Cdr.end_at.type)
    said = (literal(CDR, String()), Cdr.cdr_id, literal(kind, String()), literal("", String()))
    return select(id_, at, Cdr.partner, customer, debit, credit, amount, currency, *said).where(
        Cdr.cdr_id.in_(calls), Cdr.state == ENDED, amount > ZERO
    )


# -- all else --


def post(
    changes: Changes,
    customer: Customer,
    *,
    kind: str,
    source: tuple[str, str],
    amount: Decimal,
    against: str,
    gives: bool,
    currency: str | None = None,
    memo: str = "",
    covered: bool = False,
) -> tuple[LedgerPosting, bool]:
    """Give a customer's account `amount` (above 0) out of the account `against`, or take it (`gives` False).

    The posting, and whether it is new: one of the same kind of the same `source` (type, id) is there once, and then
    nothing changes. `currency` is the account's own, of its price list, where none is said. With `covered` nothing is
    taken that balance and credit limit do not cover, where the account is prepaid or has a limit. Raises Overdrawn, and
    Differs where what is there is about another amount or account.
    """
    session = changes.session
    own = currency_of(session, customer.pricelist)
    currency = own if currency is None else currency
    account = customer_account(customer.id)
    debit, credit = (against, account) if gives else (account, against)
    values = {
        "id": new_id(), "at": changes.at, "partner": customer.partner, "customer": customer.id, "debit": debit,
        "credit": credit, "amount": amount, "currency": currency, "source_type": source[0], "source_id": source[1],
        "kind": kind, "memo": memo,
    }  # fmt: skip
    posted = _insert(session)(LedgerPosting).values(values).on_conflict_do_nothing().returning(LedgerPosting.id)
    new = session.execute(posted).first() is not None
    this = (LedgerPosting.source_type == source[0], LedgerPosting.source_id == source[1], LedgerPosting.kind == kind)
    there = session.scalars(select(LedgerPosting).where(*this)).one()
    if not new:
        if (there.debit, there.credit, there.amount, there.currency) != (debit, credit, amount, currency):
            raise Differs
        return there, False
    _move(session, [Moved(debit, currency, -amount, ZERO), Moved(credit, currency, amount, ZERO)])
    # Their rows are locked from here on, so nothing comes between what is read and the commit.
    if covered and not gives and (customer.prepaid or customer.credit_limit is not None):
        left = account_of(session, customer.id, currency).balance + (customer.credit_limit or 0)
        if left < 0:
            raise Overdrawn(left + amount)
    changes.update(customer, {"funds": account_of(session, customer.id, own).funds}, kind)
    return there, True


def accounts_of(session: Session, customers: Collection[str]) -> dict[tuple[str, str], Account]:
    """What customers have, by customer and currency."""
    there: dict[tuple[str, str], Account] = {}
    table = LedgerAccount
    left = iter({customer_account(customer): customer for customer in customers}.items())
    while batch := dict(islice(left, BATCH)):
        sums = select(table.account, table.currency, *_SUMS).where(table.account.in_(batch))
        for key, currency, *parts in session.execute(sums):
            there[batch[key], currency] = Account(currency, exact(*parts[:2]), exact(*parts[2:]))
    return there


def account_of(session: Session, customer: str, currency: str) -> Account:
    """One customer's account, with nothing in it where nothing was posted."""
    found = accounts_of(session, [customer])
    return found.get((customer, currency), nothing(currency))


def has_account(session: Session, customer: str) -> bool:
    """Whether anything was ever posted to it."""
    this = LedgerAccount.account == customer_account(customer)
    return session.execute(select(LedgerAccount.account).where(this).limit(1)).first() is not None


def currency_of(session: Session, pricelist: str) -> str:
    """A price list's, which its customers' accounts are in."""
    return session.execute(select(PriceList.currency).where(PriceList.id == pricelist)).scalar_one()


def charged(session: Session) -> Iterable[tuple[str, str, Decimal]]:
    """What was charged to each customer for its calls in each currency, as far as they are delivered."""
    table, prefix = LedgerAccount, customer_account("")
    ever = or_(table.charged_units > 0, table.charged_millionths > 0)
    sums = select(table.account, table.currency, table.charged_units, table.charged_millionths).where(ever)
    found = session.execute(sums.order_by(table.account, table.currency))
    return ((account.removeprefix(prefix), currency, exact(*parts)) for account, currency, *parts in found)


def recount(changes: Changes, customers: Iterable[Customer], currencies: Mapping[str, str]) -> None:
    """Set what customers have as funds by their account in the currency of their price list, by its id."""
    by_id = {customer.id: customer for customer in customers}
    accounts = accounts_of(changes.session, by_id)
    for id_, customer in by_id.items():
        currency = currencies[customer.pricelist]
        changes.update(customer, {"funds": accounts.get((id_, currency), nothing(currency)).funds})


def nothing(currency: str) -> Account:
    """An account that nothing was posted to."""
    return Account(currency, ZERO, ZERO)


def unsettled(session: Session, customers: Collection[str], currency: str) -> str:
    """The first of these customers that cannot go over from `currency` to another one yet, "" for none.

    It has a balance, or a call that is up: that is charged in the currency it began in, which nobody would settle.
    """
    found = accounts_of(session, customers)
    balances = {customer for (customer, one), account in found.items() if one == currency and account.balance}
    return min(balances | talking(session, customers), default="")


def talking(session: Session, customers: Collection[str]) -> set[str]:
    """Those of these customers that have a call up, as far as calls are delivered."""
    found: set[str] = set()
    left = iter(dict.fromkeys(customers))
    while batch := list(islice(left, BATCH)):
        # Only a call that goes on has no instant it counts at: so the index by customer finds it among all others.
        up = (Cdr.customer.in_(batch), Cdr.counted_at.is_(None), Cdr.state != ENDED)
        found.update(session.scalars(select(Cdr.customer).where(*up).distinct()))
    return found


def holding(session: Session, customer: str, currency: str) -> str:
    """What keeps an account that is `unsettled` in its currency, in words."""
    return "a call that is up" if talking(session, [customer]) else f"a balance in {currency}"


# -- balances --


def lock(session: Session, accounts: Iterable[tuple[str, str]]) -> None:
    """Take the balances of all these accounts (key, currency) until the commit, for several postings to come.

    Each of those locks in order by itself, but one behind the other they would not, and calls are delivered meanwhile.
    """
    _move(session, [Moved(account, currency, ZERO, ZERO) for account, currency in accounts])


class Moved(NamedTuple):
    """By how much an account changes; `charged` is of it a charge of a call."""

    account: str
    currency: str
    amount: Decimal
    charged: Decimal


def _move(session: Session, moved: Iterable[Moved]) -> None:
    """Change balances. Always in the order of accounts, so that two who do it never wait for each other in a circle."""
    sums: dict[tuple[str, str], tuple[Decimal, Decimal]] = {}
    for one in moved:
        balance, charges = sums.get((one.account, one.currency), (ZERO, ZERO))
        sums[one.account, one.currency] = WIDE.add(balance, one.amount), WIDE.add(charges, one.charged)
    if not sums:
        return
    rows = []
    for (account, currency), pair in sorted(sums.items()):
        parts = [part for amount in pair for part in divmod(int(amount.scaleb(SCALE, WIDE)), MILLION)]
        rows.append({"account": account, "currency": currency} | dict(zip(SUMS, parts, strict=True)))
    made = _insert(session)(LedgerAccount)
    table = LedgerAccount.__table__.c
    statement = made.on_conflict_do_update(
        index_elements=["account", "currency"], set_={name: table[name] + made.excluded[name] for name in SUMS}
    )
    session.connection().execute(statement, rows)


def _insert(session: Session) -> Any:
    return postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
