"""The trunk resource: no packet fits two of them, or a gateway (SIP-20); a password becomes HA1 at once (SIP-21)."""

from __future__ import annotations

from sqlalchemy import select

from portal_api.columns import FLAG, ID, INSTANT, INTEGER, TEXT
from portal_api.listing import Listing
from portal_api.problems import UNUSABLE_FIELDS, Problem
from portal_api.resource import router_of
from portal_api.spec import Spec, Values, delete_row
from portal_api.trunks.schemas import TrunkCreate, TrunkPatch, TrunkSettable, TrunkView
from portal_api.writes import Write
from sipsvc.store.bundle import ha1_md5
from sipsvc.store.models import PlatformSettings, Trunk
from sipsvc.store.sections import Platform
from sipsvc.store.sources import source_taken


def _check(write: Write, row: Trunk | None, values: Values) -> Values:
    username = values["username"] or None
    if username is None:
        taken = source_taken(write.session, values["source"], values["port"], None if row is None else row.id)
        if taken:
            raise Problem(409, "A packet from there could not be told apart.", [("source", taken)])
    elif _username_taken(write, username, row):
        raise Problem(409, "Somebody has that already.", [("username", "is taken")])
    stored = {name: value for name, value in values.items() if name != "password"}
    return stored | {"username": username, "ha1_md5": _ha1(write, row, username, values["password"])}


def _username_taken(write: Write, username: str, row: Trunk | None) -> bool:
    found = select(Trunk.id).where(Trunk.username == username)
    if row is not None:
        found = found.where(Trunk.id != row.id)
    return write.session.execute(found.limit(1)).first() is not None


def _ha1(write: Write, row: Trunk | None, username: str | None, password: str) -> str:
    """HA1 holds the username, so another username needs the password again. Raises Problem 422."""
    if username is None:
        return ""
    if password:
        platform = write.session.get(PlatformSettings, 1)
        return ha1_md5(username, platform.realm if platform else Platform().realm, password)
    if row is None or row.username != username:
        raise Problem(422, UNUSABLE_FIELDS, [("password", "is needed with a new username")])
    return row.ha1_md5


def _state(row: Trunk) -> Values:
    return {name: getattr(row, name) for name in ("source", "port", "username", "enabled")} | {"password": ""}


SPEC = Spec(
    kind="trunk",
    word="trunk",
    model=Trunk,
    view=TrunkView,
    settable=TrunkSettable,
    create=TrunkCreate,
    patch=TrunkPatch,
    check=_check,
    state=_state,
    remove=delete_row,
    listing=Listing(
        name="trunks",
        model=Trunk,
        view=TrunkView,
        columns={
            "partner": ID,
            "customer": ID,
            "source": TEXT,
            "port": INTEGER,
            "username": TEXT,
            "enabled": FLAG,
            "created_at": INSTANT,
            "updated_at": INSTANT,
        },
        key=("id", ID),
        order="id",
    ),
)
router = router_of(SPEC)
