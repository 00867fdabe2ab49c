"""A draft: changes that are to be taken as made. They pass the rules of real ones, and are never stored (EX-1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from portal_api import blocks, customers, gateways, pricelists, trunks
from portal_api.problems import Problem, faults_of
from portal_api.schemas import Value, examples
from portal_api.spec import Spec, change, unknown
from portal_api.writes import Write
from sipsvc.store.drafts import put_rows
from sipsvc.store.models import Gateway, PriceList
from sipsvc.store.pricefile import Row
from sipsvc.store.rates import Owner
from sipsvc.store.scope import find
from sipsvc.store.sections import Amount, Interval, Name, Prefix, Section

SPECS: Mapping[str, Spec[Any]] = {
    feature.SPEC.path: feature.SPEC for feature in (blocks, customers, gateways, pricelists, trunks)
}
MOST = 50
UNNAMED = "draft"


class DraftChange(Section):
    """What a PATCH of a resource would set."""

    kind: Literal["blocks", "customers", "gateways", "term-pricelists", "trunks"]
    id: Value
    values: Annotated[dict[str, Any], Field(alias="set", description="As the body of a PATCH.")]


class DraftPrice(Section):
    """A price of a list, or a gateway's, from now on. What is left out is as in a price file."""

    pricelist: Value | None = None
    gateway: Value | None = None
    prefix: Prefix
    origin: Prefix | None = None
    name: Name = UNNAMED
    rate: Amount
    fee: Amount = Decimal(0)
    initial: Interval | None = None
    increment: Interval | None = None

    @model_validator(mode="after")
    def _one_owner(self) -> Self:
        if (self.pricelist is None) == (self.gateway is None):
            raise ValueError("needs either pricelist or gateway")
        return self


class Draft(Section):
    """Changes in this order, then prices."""

    model_config = Section.model_config | examples(
        {
            "changes": [{"kind": "gateways", "id": "carrier-a", "set": {"enabled": False}}],
            "prices": [{"gateway": "carrier-b", "prefix": "4420", "rate": "0.004"}],
        }
    )

    changes: Annotated[list[DraftChange], Field(max_length=MOST)] = []
    prices: Annotated[list[DraftPrice], Field(max_length=MOST)] = []


def apply(write: Write, draft: Draft) -> None:
    """Do it all in a transaction that the caller takes back. Raises Problem that names the field of the draft."""
    # The catalogue's lock first: from here on it is nobody else's.
    _ = write.changes
    for number, one in enumerate(draft.changes):
        with _naming(f"draft.changes.{number}"):
            _change(write, one)
    seen: set[tuple[str | None, ...]] = set()
    for number, price in enumerate(draft.prices):
        with _naming(f"draft.prices.{number}"):
            key = (price.pricelist, price.gateway, price.prefix, price.origin)
            if key in seen:
                raise Problem(422, "The draft cannot be used.", [("prefix", "stands twice")])
            seen.add(key)
            owner = _owner(write, price)
            put_rows(write.changes, owner, [_row(owner, price)])


def _change(write: Write, one: DraftChange) -> None:
    spec = SPECS[one.kind]
    write.who.require(spec.kind, "update")
    row = find(write.session, spec.model, one.id, write.who.who)
    if row is None:
        raise unknown("id", spec.word)
    try:
        given = spec.patch.model_validate(one.values).model_dump(exclude_unset=True)
    except ValidationError as error:
        faults = [(f"set.{field}", reason) for field, reason in faults_of(error)]
        raise Problem(422, "The draft cannot be used.", faults) from None
    with _naming("set"):
        change(spec, write, row, given)


def _owner(write: Write, price: DraftPrice) -> Owner:
    model: type[Gateway] | type[PriceList] = PriceList if price.pricelist is not None else Gateway
    kind, word = ("pricelist", "price list") if model is PriceList else ("gateway", "gateway")
    write.who.require(kind, "update")
    found = find(write.session, model, price.pricelist or price.gateway or "", write.who.who)
    if found is None:
        raise unknown(kind, word)
    return found


def _row(owner: Owner, price: DraftPrice) -> Row:
    initial, increment = (owner.initial, owner.increment) if isinstance(owner, PriceList) else (1, 1)
    return Row(
        price.prefix,
        price.origin or "",
        price.name,
        price.rate,
        price.fee,
        price.initial or initial,
        price.increment or increment,
    )


@contextmanager
def _naming(where: str) -> Iterator[None]:
    """Fields at fault are told with their place in the question."""
    try:
        yield
    except Problem as problem:
        errors = [(f"{where}.{field}", reason) for field, reason in problem.errors]
        raise Problem(problem.status, problem.detail, errors, problem.headers) from None
