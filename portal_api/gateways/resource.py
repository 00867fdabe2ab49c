"""The gateway resource."""

from __future__ import annotations

from portal_api.columns import FLAG, ID, INSTANT, INTEGER, TEXT
from portal_api.gateways.schemas import GatewayCreate, GatewayPatch, GatewaySettable, GatewayView
from portal_api.listing import Listing
from portal_api.problems import Problem
from portal_api.resource import router_of
from portal_api.roles import PLATFORM_ROLES
from portal_api.spec import Spec, Values
from portal_api.writes import Write
from sipsvc.store.catalogue import named_by, remove_gateway
from sipsvc.store.models import Gateway
from sipsvc.store.sources import address_taken, others_trunk_at


def _check(write: Write, row: Gateway | None, values: Values) -> Values:
    if row is None or (row.host, row.port) != (values["host"], values["port"]):
        taken = address_taken(write.session, values["host"], values["port"])
        if not taken and write.who.role not in PLATFORM_ROLES:
            partner = values.get("partner") if row is None else row.partner
            taken = others_trunk_at(write.session, values["host"], partner)
        if taken:
            raise Problem(409, "A packet from there could not be told apart.", [("host", taken)])
    return values


def _remove(write: Write, row: Gateway) -> None:
    told = named_by(write.session, row)
    if told:
        raise Problem(409, "A short code leads to this gateway.", [("id", f"short code {told} names it")])
    remove_gateway(write.changes, row)


SPEC = Spec(
    kind="gateway",
    word="gateway",
    model=Gateway,
    view=GatewayView,
    settable=GatewaySettable,
    create=GatewayCreate,
    patch=GatewayPatch,
    initial={"rows_version": 0},
    check=_check,
    remove=_remove,
    listing=Listing(
        name="gateways",
        model=Gateway,
        view=GatewayView,
        columns={
            "name": TEXT,
            "partner": ID,
            "host": TEXT,
            "port": INTEGER,
            "transport": TEXT,
            "currency": TEXT,
            "priority": INTEGER,
            "enabled": FLAG,
            "created_at": INSTANT,
            "updated_at": INSTANT,
        },
        key=("id", ID),
        order="id",
    ),
)
router = router_of(SPEC)
