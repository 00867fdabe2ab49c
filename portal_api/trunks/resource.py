"""The trunk resource: no packet fits two of them, or a gateway (SIP-20); a password becomes HA1 at once (SIP-21)."""

from __future__ import annotations

from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import Query
from fastapi.responses import Response

from portal_api.columns import FLAG, ID, INSTANT, INTEGER, TEXT
from portal_api.context import Caller, Database, may
from portal_api.listing import Listing
from portal_api.problems import UNUSABLE_FIELDS, Problem, documented
from portal_api.resource import router_of
from portal_api.roles import PLATFORM_ROLES
from portal_api.spec import Spec, Values, another, delete_row
from portal_api.trunks.schemas import AllowanceQuery, AllowanceView, TrunkCreate, TrunkPatch, TrunkSettable, TrunkView
from portal_api.writes import Answer, Write
from sipsvc.store import allowances, packages
from sipsvc.store.bundle import ha1s
from sipsvc.store.changes import utc_now
from sipsvc.store.models import Customer, PlatformSettings, Trunk
from sipsvc.store.offers import PAYG
from sipsvc.store.sections import Platform, usable
from sipsvc.store.sources import certificate_taken, others_caught, source_taken


def _check(write: Write, row: Trunk | None, values: Values) -> Values:
    username = values["username"] or None
    own, partner = (None, values.get("partner")) if row is None else (row.id, row.partner)
    if values["source"]:
        taken = source_taken(write.session, values["source"], values["port"], values["tech_prefix"], own, partner)
        if not taken and write.who.role not in PLATFORM_ROLES and (row is None or row.source != values["source"]):
            taken = others_caught(write.session, values["source"], partner)
        if taken:
            raise Problem(409, "A packet from there could not be told apart.", [("source", taken)])
    elif values["certificate"]:
        taken = certificate_taken(write.session, values["certificate"], own, partner)
        if taken:
            raise Problem(409, "Who shows it could not be told apart.", [("certificate", taken)])
    elif username is not None and another(write, Trunk, row, username=username):
        raise Problem(409, "Somebody has that already.", [("username", "is taken")])
    stored = {name: value for name, value in values.items() if name != "password"}
    hashes = _ha1s(write, row, username, values["password"], values["algorithms"])
    return stored | {"username": username, "ha1_md5": hashes["MD5"], "ha1_sha256": hashes["SHA-256"]}


def _ha1s(
    write: Write, row: Trunk | None, username: str | None, password: str, algorithms: list[str]
) -> dict[str, str]:
    """Hashes by algorithm. They hold the username, so another one needs the password again. Raises Problem 422.

    So does another choice of algorithms, where that leaves none to answer by (SIP-21).
    """
    if username is None:
        return {"MD5": "", "SHA-256": ""}
    platform: PlatformSettings | Platform = write.session.get(PlatformSettings, 1) or Platform()
    if password:
        hashes = ha1s(username, platform.realm, password)
    elif row is None or row.username != username:
        raise Problem(422, UNUSABLE_FIELDS, [("password", "is needed with a new username")])
    else:
        hashes = {"MD5": row.ha1_md5, "SHA-256": row.ha1_sha256}
        if list(row.algorithms) == algorithms:
            return hashes
    if not usable(platform.digest, algorithms, hashes):
        allowed = [name for name in platform.digest if not algorithms or name in algorithms]
        if allowed:
            raise Problem(422, UNUSABLE_FIELDS, [("password", f"is needed, for no hash is kept for {allowed[0]}")])
        reason = f"are none of those that the platform offers ({', '.join(platform.digest)})"
        raise Problem(422, UNUSABLE_FIELDS, [("algorithms", reason)])
    return hashes


def _state(row: Trunk) -> Values:
    same = ("source", "port", "username", "enabled", "tech_prefix", "certificate")
    # Rules are written for lists; what is stored may be shared.
    return {name: getattr(row, name) for name in same} | {"password": "", "algorithms": list(row.algorithms)}


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
            "tech_prefix": TEXT,
            "certificate": TEXT,
            "enabled": FLAG,
            "created_at": INSTANT,
            "updated_at": INSTANT,
        },
        key=("id", ID),
        order="id",
    ),
)
router = router_of(SPEC)


@router.get(
    "/{id}/allowance",
    summary="What a trunk used of its allowance in a month",
    response_model=AllowanceView,
    responses=documented(404),
    dependencies=[may("trunk", "read")],
)
def get_allowance(session: Database, who: Caller, id: str, query: Annotated[AllowanceQuery, Query()]) -> Response:
    """Seconds of calls that have ended; what goes on is not in it."""
    trunk = SPEC.needed(session, id, who)
    customer = session.get_one(Customer, trunk.customer)
    month = query.month or allowances.month_of(utc_now().astimezone(ZoneInfo(customer.time_zone)))
    package = packages.of_customer(session, customer)
    used = allowances.used(session, trunk.id, month)
    minutes = None if package is None or package.kind == PAYG else package.minutes
    view = AllowanceView(
        trunk=trunk.id,
        month=month,
        time_zone=customer.time_zone,
        package=None if package is None else package.name,
        kind=None if package is None else package.kind,
        minutes=minutes,
        used_s=used,
        left_s=max(0, 60 * minutes - used) if minutes else None,
    )
    return Answer(200, view.model_dump(mode="json")).response()
