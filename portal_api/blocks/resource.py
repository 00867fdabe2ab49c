"""The block resource: the platform's own, and each partner's (SIP-26)."""

from __future__ import annotations

from sqlalchemy import select

from portal_api.blocks.schemas import BlockCreate, BlockPatch, BlockView
from portal_api.columns import ID, INSTANT, TEXT
from portal_api.listing import Listing
from portal_api.problems import Problem
from portal_api.resource import router_of
from portal_api.spec import Spec, Values, delete_row
from portal_api.writes import Write
from sipsvc.store import sections
from sipsvc.store.models import Block


def _check(write: Write, row: Block | None, values: Values) -> Values:
    partner = values.get("partner") if row is None else row.partner
    same = select(Block.id).where(Block.partner.is_not_distinct_from(partner), Block.prefix == values["prefix"])
    if row is not None:
        same = same.where(Block.id != row.id)
    if write.session.execute(same.limit(1)).first() is not None:
        raise Problem(409, "That prefix is blocked already.", [("prefix", "is blocked already")])
    return values


SPEC = Spec(
    kind="block",
    word="block",
    model=Block,
    view=BlockView,
    settable=sections.Block,
    create=BlockCreate,
    patch=BlockPatch,
    check=_check,
    remove=delete_row,
    listing=Listing(
        name="blocks",
        model=Block,
        view=BlockView,
        columns={"prefix": TEXT, "partner": ID, "reason": TEXT, "created_at": INSTANT, "updated_at": INSTANT},
        key=("id", ID),
        order="id",
    ),
)
router = router_of(SPEC)
