"""A call that ended is rated again: what it was charged is taken back, it is charged anew, and what it cost is kept.

Nothing that was posted changes: a reversal and a new posting of the same call stand beside it (DOMAIN, ledger).
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from sipsvc.directory import PriceList, PriceRow
from sipsvc.rating import settle, text
from sipsvc.store import ledger
from sipsvc.store.changes import Changes
from sipsvc.store.models import Cdr, Customer
from sipsvc.store.snapshot import for_call
from sipsvc.store.types import instant, to_ms

RERATE = "rerate"
# What a call was given when it went on; a price has no say in it.
OF_ACCOUNT = ("granted_s", "month")


class NotRated(Exception):
    """Why a call cannot be rated again."""


def rerate(changes: Changes, call: Cdr, at: datetime | None = None) -> bool:
    """Price the call by its customer's price list of now, by the rows in force at `at`, else when it was answered.

    False, and nothing is written, where that makes no difference: so the same again is done once. Raises NotRated, also
    where it would cost more than there is on an account that is prepaid or has a limit: nothing is to be kept then.
    """
    customer, before = _ratable(changes, call)
    assert call.answer_at is not None
    number, caller = call.e164, call.caller_shown
    directory = for_call(changes.session, customer.id, lambda _customer, _directory: number)
    pricelist = directory.pricelist_of(directory.customers[customer.id])
    moment = call.answer_at if at is None else at
    row = pricelist.rows.find(number, caller, to_ms(moment))
    if row is None:
        raise NotRated(f"the price list {pricelist.id} had no price for {number} at {instant(moment)}")
    sell = _priced(pricelist, row, call, before)
    if sell == before:
        return False
    _post(changes, customer, call, before, sell)
    _store(changes, call, before, sell)
    return True


def _ratable(changes: Changes, call: Cdr) -> tuple[Customer, dict[str, Any]]:
    """The call's customer, and what it is sold at now."""
    if call.state != ledger.ENDED:
        raise NotRated("it is up still")
    if call.answer_at is None or call.duration_ms is None or call.sell is None:
        raise NotRated("it was not answered, or had no price")
    if not call.sell["row"]:
        raise NotRated("it went by a short code, and costs nothing")
    if call.sell.get("allowance"):
        raise NotRated("an allowance paid for some of it")
    customer = changes.session.get(Customer, call.customer)
    if customer is None:
        raise NotRated(f"its customer {call.customer} is there no more")
    return customer, call.sell


def _priced(pricelist: PriceList, row: PriceRow, call: Cdr, before: dict[str, Any]) -> dict[str, Any]:
    """As it stands in a CDR (`cdr.record.Priced`): no more is billed than the call's credit was good for."""
    billed, amount, _ = settle(call.duration_ms, row, pricelist.minimum, granted_s=before.get("granted_s"))
    return {name: before[name] for name in OF_ACCOUNT if name in before} | {
        "row": row.id, "prefix": row.prefix, "name": row.name, "rate": text(row.rate), "fee": text(row.fee),
        "initial": row.initial, "increment": row.increment, "minimum": text(pricelist.minimum),
        "currency": pricelist.currency, "billed": billed, "amount": text(amount),
    }  # fmt: skip


def _post(changes: Changes, customer: Customer, call: Cdr, before: dict[str, Any], sell: dict[str, Any]) -> None:
    version, revenue = call.rating_version + 1, f"revenue:{call.partner}"
    was, now = Decimal(before["amount"]), Decimal(sell["amount"])
    posted = [(ledger.REVERSAL, was, before["currency"], True), (ledger.RECHARGE, now, sell["currency"], False)]
    posted = [one for one in posted if one[1]]
    pairs = [(key, one[2]) for one in posted for key in (ledger.customer_account(customer.id), revenue)]
    ledger.lock(changes.session, pairs)
    # A price that is no dearer helps even who owes already.
    dearer = now > was or before["currency"] != sell["currency"]
    try:
        for kind, amount, currency, gives in posted:
            ledger.post(
                changes,
                customer,
                kind=f"{kind}.{version}",
                source=(ledger.CDR, call.cdr_id),
                amount=amount,
                against=revenue,
                gives=gives,
                currency=currency,
                covered=dearer,
            )
    except ledger.Overdrawn as error:
        left = text(max(error.left, ledger.ZERO))
        raise NotRated(f"{sell['amount']} is more than the {left} that balance and credit limit cover") from None


def _store(changes: Changes, call: Cdr, before: dict[str, Any], sell: dict[str, Any]) -> None:
    amount = Decimal(sell["amount"])
    same = call.buy_amount is not None and call.buy_currency == sell["currency"]
    told = {"sell_amount": [before["amount"], sell["amount"]], "sell_row": [before["row"], sell["row"]]}
    call.rated_before = [
        *call.rated_before,
        {"rating_version": call.rating_version, "until": instant(changes.at), "sell": before},
    ]
    call.rating_version += 1
    call.sell, call.billed_s = sell, sell["billed"]
    call.sell_amount, call.sell_currency = amount, sell["currency"]
    call.sell_prefix, call.sell_name = sell["prefix"], sell["name"]
    call.margin = amount - call.buy_amount if same and call.buy_amount is not None else None
    changes.session.flush()
    changes.tell("cdr", call.cdr_id, call.rating_version, RERATE, told, partner=call.partner, customer=call.customer)
