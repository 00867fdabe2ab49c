"""A draft: changes that are to be taken as made. They pass the rules of real ones, and are never stored (EX-1)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, ValidationError, model_validator
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from portal_api import blocks, customers, gateways, pricelists, shortcodes, trunks
from portal_api.principal import Principal
from portal_api.problems import Problem, faults_of
from portal_api.schemas import Value, examples
from portal_api.spec import Spec, change, unknown
from portal_api.writes import Write
from sipsvc.imports import steps
from sipsvc.store.drafts import put_rows
from sipsvc.store.models import Gateway, Import, PriceList
from sipsvc.store.pricefile import Row, Unreadable
from sipsvc.store.rates import Owner
from sipsvc.store.scope import find
from sipsvc.store.values import Amount, Interval, Name, Prefix, Section

SPECS: Mapping[str, Spec[Any]] = {
    feature.SPEC.path: feature.SPEC for feature in (blocks, customers, gateways, pricelists, shortcodes, trunks)
}
MOST = 50
MOST_IMPORTS = 3
UNNAMED = "draft"
UNUSABLE = "The draft cannot be used."


class DraftChange(Section):
    """What a PATCH of a resource would set."""

    kind: Literal["blocks", "customers", "gateways", "shortcodes", "term-pricelists", "trunks"]
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
    """Changes in this order; then the good rows of validated imports, as if applied now; then single prices."""

    model_config = Section.model_config | examples(
        {
            "changes": [{"kind": "gateways", "id": "carrier-a", "set": {"enabled": False}}],
            "prices": [{"gateway": "carrier-b", "prefix": "4420", "rate": "0.004"}],
        }
    )

    changes: Annotated[list[DraftChange], Field(max_length=MOST)] = []
    imports: Annotated[
        list[Value], Field(max_length=MOST_IMPORTS, description="Ids of coverage or price list imports.")
    ] = []
    prices: Annotated[list[DraftPrice], Field(max_length=MOST)] = []


class Loaded(NamedTuple):
    """What an import says of the prefixes of one number."""

    model: type[Gateway] | type[PriceList]
    owner: str
    rows: list[Row]
    full: bool


def load(engine: Engine, who: Principal, draft: Draft, prefixes: Collection[str]) -> list[Loaded]:
    """The draft's imports, read outside any transaction that keeps others from writing. Raises Problem."""
    found: list[Loaded] = []
    for number, import_id in enumerate(draft.imports):
        with _naming(f"draft.imports.{number}"), Session(engine) as session:
            item = find(session, Import, import_id, who.who)
            if item is None:
                raise Problem(422, UNUSABLE, [("id", "there is no such import")])
            who.require("import" if item.target == "gateway" else "pricelist_import", "update")
            if item.status != "validated" or import_id in draft.imports[:number]:
                reason = f"is {item.status}, not validated" if item.status != "validated" else "stands twice"
                raise Problem(422, UNUSABLE, [("id", reason)])
            try:
                rows = steps.rows_of(session, item, prefixes)
            except (steps.Gone, Unreadable) as error:
                raise Problem(409, UNUSABLE, [("id", str(error))]) from None
            found.append(Loaded(steps.TARGETS[item.target], item.target_id, rows, item.mode == "full"))
    return found


def apply(write: Write, draft: Draft, imports: Sequence[Loaded] = (), prefixes: Collection[str] = ()) -> None:
    """Do it all in a transaction that the caller takes back. Raises Problem that names the field of the draft."""
    # The catalogue's lock first: from here on it is nobody else's.
    _ = write.changes
    for number, one in enumerate(draft.changes):
        with _naming(f"draft.changes.{number}"):
            _change(write, one)
    for one_import in imports:
        owner = write.session.get(one_import.model, one_import.owner)
        assert isinstance(owner, Gateway | PriceList), "an import goes with what it is for"
        put_rows(write.changes, owner, one_import.rows, ending=prefixes if one_import.full else ())
    seen: set[tuple[str | None, ...]] = set()
    for number, price in enumerate(draft.prices):
        with _naming(f"draft.prices.{number}"):
            key = (price.pricelist, price.gateway, price.prefix, price.origin)
            if key in seen:
                raise Problem(422, UNUSABLE, [("prefix", "stands twice")])
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
        raise Problem(422, UNUSABLE, faults) from None
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
