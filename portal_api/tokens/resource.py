"""The token resource: issued by whoever may do all that it may, shown once, and revoked by DELETE."""

from __future__ import annotations

from datetime import timedelta

from portal_api import roles
from portal_api.columns import ID, INSTANT, TEXT, choice
from portal_api.listing import Listing
from portal_api.problems import UNUSABLE_FIELDS, Problem
from portal_api.resource import PREFIX, router_of
from portal_api.spec import Spec, Values, insert
from portal_api.tokens.schemas import TokenCreate, TokenCreated, TokenView
from portal_api.writes import Answer, Write, shown
from sipsvc.store import tokens
from sipsvc.store.models import Token
from sipsvc.store.values import Section

LIFETIME = timedelta(days=90)
LONGEST = timedelta(days=365)


def _check(write: Write, _row: Token | None, values: Values) -> Values:
    """Role, scopes and tenancy fit each other and whoever issues it."""
    role, scopes = values["role"], tuple(values["scopes"])
    if not write.who.covers(role, scopes):
        reason = f"{role} with {', '.join(scopes)} may do more than you"
        raise Problem(403, "A token may do no more than whoever issues it.", [("role", reason)])
    level = roles.level(role)
    for name, wanted in (("partner", level.partner), ("customer", level.customer)):
        if wanted is not None and wanted != (values[name] is not None):
            reason = f"is needed for {role}" if wanted else f"does not go with {role}"
            raise Problem(422, UNUSABLE_FIELDS, [(name, reason)])
    now = write.changes.at
    expires = values["expires_at"] or now + LIFETIME
    if not now < expires <= now + LONGEST:
        raise Problem(422, UNUSABLE_FIELDS, [("expires_at", f"must be within {LONGEST.days} days from now")])
    return values | {"expires_at": expires, "revoked_at": None}


def _make(spec: Spec[Token], write: Write, body: Section) -> Answer:
    secret, digest = tokens.make()
    row = insert(spec, write, body, {"sha256": digest})
    view = spec.show(row)
    made = shown(201, view | {"secret": secret}, f"{PREFIX}/{spec.path}/{row.id}")
    return Answer(made.status, made.body, made.headers, kept=view | {"secret": None})


def _revoke(write: Write, row: Token) -> None:
    if row.revoked_at is None:
        write.changes.update(row, {"revoked_at": write.changes.at}, "revoke")


SPEC = Spec(
    kind="token",
    word="token",
    model=Token,
    view=TokenView,
    create=TokenCreate,
    created=TokenCreated,
    check=_check,
    make=_make,
    remove=_revoke,
    listing=Listing(
        name="tokens",
        model=Token,
        view=TokenView,
        columns={
            "name": TEXT,
            "partner": ID,
            "customer": ID,
            "role": choice(*roles.ROLES),
            "expires_at": INSTANT,
            "created_at": INSTANT,
            "updated_at": INSTANT,
        },
        key=("id", ID),
        order="id",
    ),
)
router = router_of(SPEC)
