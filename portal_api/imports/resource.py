"""The two resources of imports, for gateways and for price lists: upload, look, apply at a time, undo."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import Response

from portal_api.columns import ID, INSTANT, INTEGER, TEXT, choice
from portal_api.context import Caller, Content, Database, may
from portal_api.imports.schemas import ApplyIn, ImportStarted, ImportView, PopulateIn
from portal_api.jobs.resource import SPEC as JOB
from portal_api.jobs.resource import accepted
from portal_api.jobs.schemas import JobView
from portal_api.listing import Listing
from portal_api.negotiation import CSV, offers, takes
from portal_api.problems import UNUSABLE_FIELDS, Problem, documented
from portal_api.resource import PREFIX, router_of
from portal_api.schemas import MAX_VALUE, Value
from portal_api.spec import Spec
from portal_api.writes import Answer, Posting, Write
from sipsvc.errors import ConfigError
from sipsvc.imports import files, jobs, populate, steps
from sipsvc.imports.steps import MODES
from sipsvc.store.models import Gateway, Import, PriceList
from sipsvc.store.rates import Owner
from sipsvc.store.scope import find
from sipsvc.store.types import instant

MOST_BYTES = 64 * 1024 * 1024
EXAMPLE_CSV = 'prefix,name,rate,fee\r\n44,United Kingdom,0.006,0\r\n4420,"United Kingdom, London",0.004,0\r\n'
STATUSES = ("uploaded", "validated", "invalid", "applied", "superseded", "undone", "failed")
Mode = Annotated[
    Literal[MODES],  # type: ignore[valid-type]
    Query(description="`full` ends rows that are not in the file, `partial` leaves them."),
]
FileName = Annotated[Value, Query(description="What the file is called, to be found again.", max_length=MAX_VALUE)]
Owned = Annotated[Value, Query(description="The id of whose prices they are.")]
STARTED: dict[int | str, dict[str, Any]] = {
    200: {"model": ImportStarted, "description": "What a dry run says."}, **documented(409),
}  # fmt: skip
ASKED: dict[int | str, dict[str, Any]] = {
    200: {"model": JobView, "description": "What a dry run says."}, **documented(404, 409),
}  # fmt: skip
CSV_CONTENT = {CSV: {"schema": {"type": "string"}, "example": EXAMPLE_CSV}}
UPLOAD: dict[str, Any] = {
    "requestBody": {
        "required": True, "content": {CSV: {"schema": {"type": "string", "format": "binary"}, "example": EXAMPLE_CSV}},
    }
}  # fmt: skip


def _spec(kind: str, word: str, target: str, name: str) -> Spec[Import]:
    return Spec(
        kind=kind,
        word=word,
        model=Import,
        view=ImportView,
        within=Import.target == target,
        listing=Listing(
            name=name,
            model=Import,
            view=ImportView,
            columns={
                "partner": ID,
                "target_id": ID,
                "source": choice("upload", "populate"),
                "mode": choice(*MODES),
                "status": choice(*STATUSES),
                "filename": TEXT,
                "rejected": INTEGER,
                "created_at": INSTANT,
                "updated_at": INSTANT,
                "applied_at": INSTANT,
            },
            key=("id", ID),
            order="-id",
        ),
    )


COVERAGE = _spec("import", "coverage import", "gateway", "coverage-imports")
PRICES = _spec("pricelist_import", "price list import", "pricelist", "pricelist-imports")


def _owner(write: Write, model: type[Gateway] | type[PriceList], field: str, key: str) -> Owner:
    """Raises Problem 422 for one that the caller may not see."""
    row = find(write.session, model, key, write.who.who)
    if not isinstance(row, Gateway | PriceList):
        word = "gateway" if model is Gateway else "price list"
        raise Problem(422, UNUSABLE_FIELDS, [(field, f"there is no such {word}")])
    return row


def _started(spec: Spec[Import], write: Write, item: Import, task: str) -> Answer:
    job = jobs.enqueue(write.changes, item, task)
    body = spec.show(item) | {"job": JOB.show(job)}
    return Answer(202, body, {"Location": f"{PREFIX}/{spec.path}/{item.id}"})


def _upload(
    spec: Spec[Import], writer: Posting, owned: tuple[type[Gateway] | type[PriceList], str, str],
    content: bytes, filename: str, mode: str,
) -> Response:  # fmt: skip
    model, field, key = owned

    def action(write: Write) -> Answer:
        owner = _owner(write, model, field, key)
        if not content:
            raise Problem(422, UNUSABLE_FIELDS, [("body", "is empty")])
        item = steps.create(
            write.changes, owner, source="upload", mode=mode, filename=filename, content=content, options={}
        )
        return _started(spec, write, item, "validate")

    return writer.run(action)


@takes(CSV, most=MOST_BYTES)
def upload_coverage(
    writer: Posting, content: Content, gateway: Owned, filename: FileName = "", mode: Mode = "full"
) -> Response:
    """The rows are checked and compared by a job; nothing is in force before it is applied."""
    return _upload(COVERAGE, writer, (Gateway, "gateway", gateway), content, filename, mode)


@takes(CSV, most=MOST_BYTES)
def upload_prices(
    writer: Posting, content: Content, pricelist: Owned, filename: FileName = "", mode: Mode = "full"
) -> Response:
    """The rows are checked and compared by a job; nothing is in force before it is applied."""
    return _upload(PRICES, writer, (PriceList, "pricelist", pricelist), content, filename, mode)


def start_populating(write: Write, pricelist: PriceList, body: PopulateIn) -> Answer:
    """An import of the list whose rows are made by a job. Raises Problem 422 that names the field."""
    options = body.options()
    try:
        populate.check(write.session, pricelist, populate.options(options, pricelist))
    except ConfigError as error:
        raise Problem(422, UNUSABLE_FIELDS, [(where, reason) for where, _, reason in error.faults]) from None
    item = steps.create(
        write.changes, pricelist, source="populate", mode=body.mode, filename="", content=b"", options=options
    )
    return _started(PRICES, write, item, "populate")


def _operations(spec: Spec[Import], upload: Any) -> APIRouter:
    """The operations of one of the two."""
    own = router_of(spec)

    def apply(writer: Posting, id: str, body: ApplyIn) -> Response:
        def action(write: Write) -> Answer:
            item = spec.needed(write.session, id, write.who)
            begin = body.effective_from
            try:
                steps.check_apply(
                    write.session,
                    item,
                    effective_from=begin,
                    accept_rejected=body.accept_rejected,
                    now=write.changes.at,
                )
            except steps.Refused as error:
                raise Problem(409, f"It cannot be applied: {error}.") from None
            options = {
                "effective_from": None if begin is None else instant(begin),
                "accept_rejected": body.accept_rejected,
            }
            return accepted(jobs.enqueue(write.changes, item, "apply", options))

        return writer.run(action)

    def undo(writer: Posting, id: str) -> Response:
        def action(write: Write) -> Answer:
            item = spec.needed(write.session, id, write.who)
            try:
                steps.check_undo(write.session, item)
            except steps.Refused as error:
                raise Problem(409, f"It cannot be undone: {error}.") from None
            return accepted(jobs.enqueue(write.changes, item, "undo"))

        return writer.run(action)

    own.add_api_route(
        "",
        upload,
        methods=["POST"],
        status_code=202,
        summary=f"Upload a {spec.word}: a CSV file",
        response_model=ImportStarted,
        responses=STARTED,
        openapi_extra=UPLOAD,
        dependencies=[may(spec.kind, "create")],
    )
    for path, endpoint, said in (
        ("apply", apply, "Put its rows into force, now or at a time"),
        ("undo", undo, "Take back what it did"),
    ):
        own.add_api_route(
            f"/{{id}}/{path}",
            endpoint,
            methods=["POST"],
            status_code=202,
            summary=said,
            response_model=JobView,
            responses=ASKED,
            dependencies=[may(spec.kind, "update")],
        )
    for role, said in (
        (files.REJECTED, "The rows that were rejected, to be corrected"),
        (files.CHANGES, "All that it changes"),
    ):
        own.add_api_route(
            f"/{{id}}/{role}",
            _file(spec, role),
            summary=f"{said}, as CSV",
            response_class=Response,
            responses={200: {"description": "CSV", "content": CSV_CONTENT}, **documented(404)},
            dependencies=[may(spec.kind, "read")],
        )
    return own


def _file(spec: Spec[Import], role: str) -> Any:
    @offers(CSV)
    def download(session: Database, who: Caller, id: str) -> Response:
        item = spec.needed(session, id, who)
        packed = files.load(session, item.id, role)
        if packed is None:
            raise Problem(404, f"There are no {role} rows of {spec.word} {id!r}.")
        disposition = {"Content-Disposition": f'attachment; filename="{role}.csv"'}
        return Response(files.unpack(packed), media_type=f"{CSV}; charset=utf-8", headers=disposition)

    return download


routers = (_operations(COVERAGE, upload_coverage), _operations(PRICES, upload_prices))
