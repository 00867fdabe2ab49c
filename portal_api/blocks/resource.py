"""The block resource: what the platform blocks, what a partner does, for all or one customer, and allows (SIP-26)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Query
from fastapi.responses import Response

from portal_api.blocks.schemas import BlockCreate, BlockPatch, BlocksImported, BlockView
from portal_api.columns import FLAG, ID, INSTANT, TEXT, choice
from portal_api.context import Content, may
from portal_api.listing import Listing
from portal_api.negotiation import CSV, takes
from portal_api.problems import UNUSABLE_FIELDS, Problem, documented
from portal_api.resource import router_of
from portal_api.schemas import Value
from portal_api.spec import Spec, Values, another, delete_row, owned
from portal_api.writes import Answer, Posting, Write
from sipsvc.store.blockfile import put, read_blocks
from sipsvc.store.models import Block
from sipsvc.store.numbers import Block as BlockFields
from sipsvc.store.numbers import block_at_level
from sipsvc.store.pricefile import said
from sipsvc.store.values import Section

MOST_BYTES = 4 * 1024 * 1024
MOST_FAULTS = 100
EXAMPLE_CSV = "prefix,reason\r\n979,international premium rate\r\n8816,Iridium satellite telephones\r\n"
UPLOAD: dict[str, Any] = {
    "requestBody": {
        "required": True, "content": {CSV: {"schema": {"type": "string", "format": "binary"}, "example": EXAMPLE_CSV}},
    }
}  # fmt: skip


def _check(write: Write, row: Block | None, values: Values) -> Values:
    partner = values.get("partner") if row is None else row.partner
    customer = values.get("customer") if row is None else row.customer
    fault = block_at_level(values["liftable"], values["lift_expensive"], partner is None)
    if fault is not None:
        raise Problem(422, UNUSABLE_FIELDS, [fault])
    if another(write, Block, row, partner=partner, customer=customer, prefix=values["prefix"]):
        raise Problem(409, "That prefix has an entry already.", [("prefix", "is blocked or allowed already")])
    return values


SPEC = Spec(
    kind="block",
    word="block",
    model=Block,
    view=BlockView,
    settable=BlockFields,
    create=BlockCreate,
    patch=BlockPatch,
    check=_check,
    remove=delete_row,
    listing=Listing(
        name="blocks",
        model=Block,
        view=BlockView,
        columns={
            "prefix": TEXT,
            "partner": ID,
            "customer": ID,
            "action": choice("block", "allow"),
            "liftable": FLAG,
            "reason": TEXT,
            "created_at": INSTANT,
            "updated_at": INSTANT,
        },
        key=("id", ID),
        order="id",
    ),
)
router = router_of(SPEC)


class _Level(Section):
    """Whose the rows of a file are to be."""

    partner: str | None
    customer: str | None


@takes(CSV, most=MOST_BYTES)
def import_blocks(
    writer: Posting,
    content: Content,
    partner: Annotated[Value | None, Query(description="Whose they are; the platform's where nobody's.")] = None,
    customer: Annotated[Value | None, Query(description="The one customer they are for.")] = None,
    liftable: Annotated[
        Literal["true", "false"], Query(description="Of blocks whose row does not say: a partner may allow them.")
    ] = "false",
) -> Response:
    """All rows are taken, or none and the first hundred faults are told, each with its row and column."""

    def action(write: Write) -> Answer:
        changes = write.changes
        level = owned(write, _Level(partner=partner, customer=customer), platforms=True)
        read = read_blocks(content, liftable == "true", level["partner"] is None)
        if read.faults:
            faults = [(where or "body", said(("", value, reason))) for where, value, reason in read.faults]
            raise Problem(422, "The file has rows that cannot be used.", faults[:MOST_FAULTS])
        written = put(changes, read.blocks, level["partner"], level["customer"])
        return Answer(200, {"rows": len(read.blocks), **written._asdict()})

    return writer.run(action)


router.add_api_route(
    "/import",
    import_blocks,
    methods=["POST"],
    status_code=200,
    summary="Block or allow the prefixes of a CSV file",
    response_model=BlocksImported,
    responses=documented(409),
    openapi_extra=UPLOAD,
    dependencies=[may("block", "create"), may("block", "update")],
)
