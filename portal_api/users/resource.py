"""The user resource. Nobody makes, changes or removes a user who may do more than they do themselves (IP-6)."""

from __future__ import annotations

from portal_api import roles
from portal_api.columns import ID, INSTANT, TEXT, choice
from portal_api.listing import Listing
from portal_api.problems import UNUSABLE_FIELDS, Problem
from portal_api.resource import router_of
from portal_api.spec import Spec, Values
from portal_api.users.schemas import UserCreate, UserPatch, UserSettable, UserView
from portal_api.writes import Write
from sipsvc.store import signup
from sipsvc.store.models import User


def _check(write: Write, row: User | None, values: Values) -> Values:
    customer: str | None = values.get("customer") if row is None else row.customer
    role = values["role"]
    if roles.level(role).customer != (customer is not None):
        reason = "is a role of a customer's people" if customer is None else "is no role of a customer's people"
        raise Problem(422, UNUSABLE_FIELDS, [("role", reason)])
    _below(write, role)
    if row is not None:
        _below(write, row.role)
    user = None if row is None else row.id
    taken: list[tuple[str, str]] = []
    if signup.username_taken(write.session, values["username"], user):
        taken.append(("username", "is taken"))
    if (row is None or values["email"] != row.email) and _email_taken(write, values["email"], customer, user):
        taken.append(("email", "is taken"))
    if taken:
        raise Problem(409, "Somebody has that already.", taken)
    return values


def _email_taken(write: Write, email: str, customer: str | None, user: str | None) -> bool:
    # A user may have the address of their customer, but not that of another user.
    return signup.email_taken(write.session, email, customer, user or "")


def _below(write: Write, role: str) -> None:
    if not write.who.covers(role):
        raise Problem(403, "That user may do more than you.", [("role", f"{role} is above your own rights")])


def _remove(write: Write, row: User) -> None:
    _below(write, row.role)
    write.changes.delete(row)


SPEC = Spec(
    kind="user",
    word="user",
    model=User,
    view=UserView,
    settable=UserSettable,
    create=UserCreate,
    patch=UserPatch,
    check=_check,
    remove=_remove,
    listing=Listing(
        name="users",
        model=User,
        view=UserView,
        columns={
            "username": TEXT,
            "email": TEXT,
            "partner": ID,
            "customer": ID,
            "role": choice(*roles.PARTNER_ROLES, *roles.CUSTOMER_ROLES),
            "last_name": TEXT,
            "extension": ID,
            "created_at": INSTANT,
            "updated_at": INSTANT,
        },
        key=("id", ID),
        order="id",
    ),
)
router = router_of(SPEC)
