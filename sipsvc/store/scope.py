"""Tenancy, in the one place that knows it: which rows somebody may see (IP-2).

Every read, change and reference check of the API goes through `visible`, so another tenant's row is to whoever asks
as if it were not there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, false, select, true
from sqlalchemy.orm import Session

from sipsvc.store.models import (
    AllowanceUsed,
    Base,
    Block,
    Cdr,
    CoverageRow,
    Customer,
    Gateway,
    History,
    Import,
    ImportFile,
    Job,
    LedgerPosting,
    Note,
    Partner,
    PriceList,
    PricePackage,
    PriceRow,
    ShortCode,
    Token,
    Trunk,
    User,
    WebProduct,
)

M = TypeVar("M", bound=Base)
Condition = ColumnElement[bool]


class Who(NamedTuple):
    """Whose rows: the platform's (both None, which is everybody's), a partner's, or one customer's of a partner."""

    partner: str | None
    customer: str | None


PLATFORM = Who(None, None)


def visible(model: type[Base], who: Who) -> Condition:
    """The condition that a row of `model` may be seen by `who`. Raises KeyError for a model without an owner."""
    rule = _RULES[model]
    return true() if who.partner is None else rule(model, who)


def find(session: Session, model: type[M], key: str, who: Who, *conditions: Condition) -> M | None:
    """The row with that id (a CDR's `cdr_id`), if there is one that `who` may see and that meets `conditions`."""
    if "\0" in key:  # PostgreSQL has no such text
        return None
    column = Cdr.cdr_id if model is Cdr else getattr(model, "id")  # noqa: B009
    return session.scalars(select(model).where(column == key, visible(model, who), *conditions)).one_or_none()


def _partners(_model: Any, who: Who) -> Condition:
    return Partner.id == who.partner if who.customer is None else false()


def _customers(model: Any, who: Who) -> Condition:
    own: Condition = model.partner == who.partner
    return own if who.customer is None else own & (Customer.id == who.customer)


def _of_partner(model: Any, who: Who) -> Condition:
    """Of the partner alone: its customers see none."""
    own: Condition = model.partner == who.partner
    return own if who.customer is None else false()


def _of_customer(model: Any, who: Who) -> Condition:
    own: Condition = model.partner == who.partner
    return own if who.customer is None else own & (model.customer == who.customer)


def _within(column: Any, parent: type[Base]) -> Callable[[Any, Who], Condition]:
    """Rows without an owner of their own belong to their parent's."""

    def rule(_model: Any, who: Who) -> Condition:
        found: Condition = column.in_(select(getattr(parent, "id")).where(visible(parent, who)))  # noqa: B009
        return found

    return rule


_RULES: Mapping[type[Base], Callable[[Any, Who], Condition]] = {
    Partner: _partners,
    Customer: _customers,
    User: _of_customer,
    Trunk: _of_customer,
    Token: _of_customer,
    Cdr: _of_customer,
    LedgerPosting: _of_customer,
    History: _of_customer,
    Note: _of_customer,
    Gateway: _of_partner,
    PriceList: _of_partner,
    PricePackage: _of_partner,
    WebProduct: _of_partner,
    Block: _of_partner,
    ShortCode: _of_partner,
    Import: _of_partner,
    Job: _of_partner,
    CoverageRow: _within(CoverageRow.gateway, Gateway),
    PriceRow: _within(PriceRow.pricelist, PriceList),
    AllowanceUsed: _within(AllowanceUsed.trunk, Trunk),
    ImportFile: _within(ImportFile.import_id, Import),
}
