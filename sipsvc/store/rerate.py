"""A call that ended is rated again: what it was charged is taken back, it is charged anew, and what it cost is kept.

Nothing that was posted changes: a reversal and a new posting of the same call stand beside it (DOMAIN, ledger).
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from sipsvc.directory import PriceList, PriceRow
from sipsvc.rating import charge, text
from sipsvc.store import ledger
from sipsvc.store.changes import Changes
from sipsvc.store.models import Cdr, Customer
from sipsvc.store.snapshot import for_call
from sipsvc.store.types import instant, to_ms

RERATE = "rerate"
CUT = "credit_exhausted"


class NotRated(Exception):
    """Why a call cannot be rated again."""


def rerate(changes: Changes, call: Cdr, at: datetime | None = None) -> bool:
    """Price the call by its customer's price list of now, by the rows in force at `at`, else when it was answered.

    False, and nothing is written, where that makes no difference: so the same again is done once. Raises NotRated.
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
    sell = _priced(pricelist, row, _talked_ms(call, before))
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


def _talked_ms(call: Cdr, before: dict[str, Any]) -> int:
    """What is charged for: of a call that was cut for credit no more than it was billed, which its credit was for."""
    assert call.duration_ms is not None
    return min(call.duration_ms, before["billed"] * 1000) if call.code == CUT else call.duration_ms


def _priced(pricelist: PriceList, row: PriceRow, duration_ms: int) -> dict[str, Any]:
    """As it stands in a CDR (`cdr.record.Priced`)."""
    billed, amount = charge(duration_ms, row, pricelist.minimum)
    return {
        "row": row.id, "prefix": row.prefix, "name": row.name, "rate": text(row.rate), "fee": text(row.fee),
        "initial": row.initial, "increment": row.increment, "minimum": text(pricelist.minimum),
        "currency": pricelist.currency, "billed": billed, "amount": text(amount),
    }  # fmt: skip


def _post(changes: Changes, customer: Customer, call: Cdr, before: dict[str, Any], sell: dict[str, Any]) -> None:
    version = call.rating_version + 1
    for kind, priced, gives in ((ledger.REVERSAL, before, True), (ledger.RECHARGE, sell, False)):
        amount = Decimal(priced["amount"])
        if amount:
            ledger.post(
                changes,
                customer,
                kind=f"{kind}.{version}",
                source=(ledger.CDR, call.cdr_id),
                amount=amount,
                against=f"revenue:{call.partner}",
                gives=gives,
                currency=priced["currency"],
            )


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
