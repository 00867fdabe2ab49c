"""A resource described: whose it is, what may be set, what is checked, and the one way it is made and changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from sqlalchemy import ColumnElement, select, true

from portal_api import roles
from portal_api.listing import Listing
from portal_api.problems import UNUSABLE_FIELDS, Problem, faults_of
from portal_api.schemas import ResourceView
from portal_api.writes import Answer, Write
from sipsvc.store.changes import KINDS
from sipsvc.store.models import Customer, OfPartner, Partner, Resource
from sipsvc.store.scope import find
from sipsvc.store.values import Section

R = TypeVar("R", bound=Resource)
Values = dict[str, Any]


def no_check(_write: Write, _row: Any, values: Values) -> Values:
    return values


def add_row(spec: Spec[R], write: Write, values: Values) -> R:
    row = spec.model(**values)
    write.changes.create(row)
    return row


def delete_row(write: Write, row: Resource) -> None:
    write.changes.delete(row)


@dataclass(frozen=True)
class Reference:
    """A field that names a row of `model`; `word` is what it is called to people."""

    model: type[Resource]
    word: str


@dataclass(frozen=True)
class Spec(Generic[R]):
    """A resource. Its kind says the path and who may do what (`roles`).

    `settable` holds what PATCH and revert may set, and is what a merged resource is checked by. `create` is the body of
    a POST: `partner` and `customer` in it say whose. `check` sees all values before they are stored, with the row that
    is there (None when it is made), and returns them as they are stored. `fixed` are fields that are set once, and why.
    An operation whose schema is None does not exist. `within` narrows the model where it serves two resources.
    """

    kind: str
    word: str
    model: type[R]
    view: type[ResourceView]
    listing: Listing[R]
    settable: type[Section] | None = None
    create: type[Section] | None = None
    patch: Any = None
    created: type[BaseModel] | None = None
    initial: Values = field(default_factory=dict)
    references: Mapping[str, Reference] = field(default_factory=dict)
    fixed: Mapping[str, str] = field(default_factory=dict)
    check: Callable[[Write, R | None, Values], Values] = no_check
    state: Callable[[R], Values] | None = None
    make: Callable[[Spec[R], Write, Section], Answer] | None = None
    remove: Callable[[Write, R], None] | None = None
    within: ColumnElement[bool] = field(default_factory=true)

    @property
    def told(self) -> str:
        """What history calls it."""
        return KINDS[self.model]

    @property
    def path(self) -> str:
        return roles.PATHS[self.kind]

    def show(self, row: R) -> Values:
        return self.view.model_validate(row).model_dump(mode="json")

    def missing(self, key: str) -> Problem:
        """What is said of another tenant's row and of one that is not there."""
        return Problem(404, f"There is no {self.word} {key!r}.")

    def needed(self, session: Any, key: str, who: Any) -> R:
        """The row, if the caller may see it. Raises Problem 404."""
        row = self.seen(session, key, who)
        if row is None:
            raise self.missing(key)
        return row

    def seen(self, session: Any, key: str, who: Any) -> R | None:
        """The row, None where the caller may not see it."""
        return find(session, self.model, key, who.who, self.within)

    def values_of(self, row: R) -> Values:
        """What is settable as it stands."""
        if self.state is not None:
            return self.state(row)
        assert self.settable is not None
        return {name: getattr(row, name) for name in self.settable.model_fields}


def checked(model: type[Section], values: Values) -> Section:
    """Raises Problem 422 that names the fields."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise Problem(422, UNUSABLE_FIELDS, faults_of(error)) from None


def insert(spec: Spec[R], write: Write, body: Section, more: Values | None = None) -> R:
    """A new row out of the body of a POST and `more`: its owner found, its references and rules checked."""
    # The catalogue's lock first: what is checked from here on stays true until the commit.
    changes = write.changes
    values = owned(write, body, not is_owned(spec.model))
    partner = values.get("partner")
    check_references(spec, write, values, partner)
    row = add_row(spec, write, spec.check(write, None, values | spec.initial | (more or {})))
    assert row.created_at == changes.at
    return row


def change(spec: Spec[R], write: Write, row: R, given: Values, action: str = "update") -> R:
    """Merge `given` into the row and store what differs, by the same rules whatever asks for it."""
    assert spec.settable is not None
    changes = write.changes
    for name, reason in spec.fixed.items():
        if name in given and given[name] != getattr(row, name):
            raise Problem(403, f"{name} cannot be changed.", [(name, reason)])
    current = spec.values_of(row)
    merged = {**current, **{name: value for name, value in given.items() if name in spec.settable.model_fields}}
    values = checked(spec.settable, merged).model_dump()
    check_references(spec, write, values, getattr(row, "partner", None))
    values = spec.check(write, row, values)
    limit = roles.fields(write.who.role, spec.kind)
    if limit is not None:
        closed = [name for name, value in values.items() if value != getattr(row, name) and name not in limit]
        if closed:
            reason = f"the role {write.who.role} may change only {', '.join(sorted(limit))}"
            raise Problem(403, "Not all of this may be changed.", [(name, reason) for name in closed])
    changes.update(row, values, action)
    return row


def another(write: Write, model: type[R], row: R | None, **same: str | None) -> bool:
    """Whether there is one besides `row`, whoever's, that has all these values."""
    found = select(model.id).where(*(getattr(model, name).is_not_distinct_from(value) for name, value in same.items()))
    if row is not None:
        found = found.where(model.id != row.id)
    return write.session.execute(found.limit(1)).first() is not None


def is_owned(model: type[Resource]) -> bool:
    """Whether every row is some partner's."""
    return issubclass(model, OfPartner)


def owned(write: Write, body: Section, platforms: bool) -> Values:
    """The body's values with the owner filled in. Raises Problem 422 that names `partner` or `customer`.

    What belongs to a customer has its customer's partner; else the caller's, or for the platform the one it names.
    `platforms`: it may be nobody's but the platform's.
    """
    values = body.model_dump()
    who = write.who.who
    if "customer" in values:
        wanted = values["customer"] if values["customer"] is not None else who.customer
        if wanted is not None:
            customer = find(write.session, Customer, wanted, who)
            if customer is None:
                raise unknown("customer", "customer")
            if values.get("partner") not in (None, customer.partner):
                raise Problem(422, UNUSABLE_FIELDS, [("partner", "is not the customer's partner")])
            return values | {"customer": customer.id, "partner": customer.partner}
    if "partner" in values:
        partner = values["partner"] if values["partner"] is not None else who.partner
        if partner is not None and find(write.session, Partner, partner, who) is None:
            raise unknown("partner", "partner")
        if partner is None and not platforms:
            raise Problem(422, UNUSABLE_FIELDS, [("partner", "is missing: whose shall it be?")])
        values["partner"] = partner
    return values


def check_references(spec: Spec[Any], write: Write, values: Values, partner: str | None) -> None:
    """Rows that fields name must be the owner's. Another's is to us as one that is not there."""
    for name, reference in spec.references.items():
        wanted = values.get(name)
        if wanted is None:
            continue
        found = find(write.session, reference.model, wanted, write.who.who)
        if found is None or getattr(found, "partner", None) != partner:
            raise unknown(name, reference.word)


def unknown(name: str, word: str) -> Problem:
    """What is said of a field that names a row which is not there, or another's."""
    return Problem(422, UNUSABLE_FIELDS, [(name, f"there is no such {word}")])
