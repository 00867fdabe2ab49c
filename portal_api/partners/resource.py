"""The partner resource: made by the platform, kept up to date by the partner's administrators (IP-1)."""

from __future__ import annotations

from portal_api.columns import ID, INSTANT, TEXT
from portal_api.listing import Listing
from portal_api.partners.schemas import PartnerPatch, PartnerSettable, PartnerView
from portal_api.resource import router_of
from portal_api.spec import Spec
from sipsvc.store.models import Partner

SPEC = Spec(
    kind="partner",
    word="partner",
    model=Partner,
    view=PartnerView,
    settable=PartnerSettable,
    create=PartnerSettable,
    patch=PartnerPatch,
    listing=Listing(
        name="partners",
        model=Partner,
        view=PartnerView,
        columns={"name": TEXT, "email": TEXT, "time_zone": ID, "created_at": INSTANT, "updated_at": INSTANT},
        key=("id", ID),
        order="id",
    ),
)
router = router_of(SPEC)
