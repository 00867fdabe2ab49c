"""Money as it is asked for and shown."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from portal_api.schemas import Instant, Money, Value, View, examples
from portal_api.statistics.schemas import Date
from portal_api.usage.schemas import MONTH, month_of
from sipsvc.store.statement import MOST_DAYS
from sipsvc.store.values import Amount, Currency, Section, Text

POSTING: dict[str, Any] = {
    "id": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e01.charge",
    "at": "2026-11-22T23:24:36.730Z",
    "partner": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e02",
    "customer": "acme",
    "debit": "customer:acme",
    "credit": "revenue:0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e02",
    "amount": "0.025000",
    "currency": "USD",
    "source_type": "cdr",
    "source_id": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e01",
    "kind": "charge",
    "memo": "",
    "link": "/api/v1/cdrs/0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e01",
}


LINE: dict[str, Any] = {
    "kind": "charge",
    "postings": 1,
    "amount": "-0.025000",
    "link": "/api/v1/ledger?filter%5Bcustomer%5D%5Beq%5D=acme&filter%5Bkind%5D%5Beq%5D=charge",
}


class PostingView(View):
    """An amount from one account (`debit`) to another (`credit`). It is never changed.

    `source_type` and `source_id` say what it comes of: `cdr` has `charge`, `cost`, and of each re-rating `reversal.2`,
    `recharge.2` and so on; `payment` has `payment`, `credit` and `debit`. `link` leads to the call.
    """

    model_config = View.model_config | examples(POSTING)

    id: str
    at: Instant
    partner: str
    customer: str | None
    debit: str
    credit: str
    amount: Money
    currency: str
    source_type: str
    source_id: str
    kind: str
    memo: str
    link: str | None


def _some(value: Decimal) -> Decimal:
    if not value:
        raise ValueError("must be above 0")
    return value


class PaymentIn(Section):
    """Money for a customer's account (`payment`, `credit`), or from it (`debit`), in the currency of its price list.

    A `reference` is there once for a customer and kind: the same again is the payment there is.
    """

    model_config = Section.model_config | examples(
        {"customer": "acme", "kind": "payment", "amount": "50.00", "reference": "bank 2026-11-22/17", "memo": ""}
    )

    customer: Value
    kind: Literal["payment", "credit", "debit"]
    amount: Annotated[Amount, AfterValidator(_some)]
    reference: Annotated[Value | None, Field(examples=["bank 2026-11-22/17"])] = None
    memo: Text = ""


class BalanceView(View):
    """What an account has: `balance` is `funds` (payments, credits, debits, re-ratings) less `charged` (calls).

    `available` adds the credit limit; null where the account is neither prepaid nor limited. Calls in progress, and
    those that are not delivered to the database yet, have nothing in it: what is reserved for them only the SIP server
    knows.
    """

    model_config = View.model_config | examples(
        {
            "customer": "acme",
            "currency": "USD",
            "balance": "12.475000",
            "funds": "50.000000",
            "charged": "37.525000",
            "prepaid": True,
            "credit_limit": None,
            "low_balance": "5.000000",
            "available": "12.475000",
            "link": "/api/v1/ledger?filter%5Bcustomer%5D%5Beq%5D=acme&filter%5Bcurrency%5D%5Beq%5D=USD",
        }
    )

    customer: str
    currency: str
    balance: Money
    funds: Money
    charged: Money
    prepaid: bool
    credit_limit: Money | None
    low_balance: Money | None
    available: Money | None
    link: str


class StatementQuery(BaseModel):
    """Which days: a month, or from a day to another."""

    model_config = ConfigDict(extra="forbid")

    month: Annotated[str, AfterValidator(month_of), Field(json_schema_extra=MONTH)] | None = Field(
        None, description="The month, by the customer's clock."
    )
    first: Date | None = Field(None, alias="from", description="The first day.")
    last: Date | None = Field(None, alias="to", description=f"The last day, at most {MOST_DAYS} days in all.")
    currency: Currency | None = Field(None, description="Of an account the customer had before; else its own.")

    @model_validator(mode="after")
    def _one_range(self) -> StatementQuery:
        if (self.first is None) != (self.last is None) or (self.month is None) == (self.first is None):
            raise ValueError("needs either month, or from and to")
        if self.first is not None and self.last is not None:
            days = (self.last - self.first).days + 1
            if not 1 <= days <= MOST_DAYS:
                raise ValueError(f"from and to must be 1 to {MOST_DAYS} days, both counted, not {days}")
        return self

    def days(self) -> tuple[date, date]:
        """The first and the last."""
        if self.month is not None:
            first = date(int(self.month[:4]), int(self.month[5:]), 1)
            return first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
        assert self.first is not None and self.last is not None
        return self.first, self.last


class LineView(View):
    """Postings of one kind, of a day or in all; what the customer pays is negative. `link` lists them."""

    kind: str
    postings: int
    amount: Money
    link: str


class DayLineView(LineView):
    day: date


class StatementView(View):
    """`opening` and all lines make `closing`. A call counts when it ended, so days of which calls are not delivered
    yet may grow; a re-rating counts when it is done. Days are the customer's, from `begin` until before `end`."""

    model_config = View.model_config | examples(
        {
            "customer": "acme",
            "currency": "USD",
            "time_zone": "Europe/London",
            "begin": "2026-11-01T00:00:00.000Z",
            "end": "2026-12-01T00:00:00.000Z",
            "opening": "0.000000",
            "closing": "49.975000",
            "totals": [LINE],
            "days": [LINE | {"day": "2026-11-22"}],
        }
    )

    customer: str
    currency: str
    time_zone: str
    begin: Instant
    end: Instant
    opening: Money
    closing: Money
    totals: list[LineView]
    days: list[DayLineView]
