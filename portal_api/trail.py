"""What happened to a resource and what was said about it: history, notes, `as_of`, revert (UI-2)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal_api import columns, conditional
from portal_api.conditional import IfMatch
from portal_api.context import Caller, Database, may, typed
from portal_api.listing import Listing
from portal_api.negotiation import CSV, CSV_TOO, JSON, offers
from portal_api.principal import Principal
from portal_api.problems import UNUSABLE_FIELDS, Problem, documented
from portal_api.schemas import Instant, View, examples
from portal_api.spec import Spec, change
from portal_api.writes import Answer, Posting, Write, shown
from sipsvc.store import changes
from sipsvc.store.models import History, Note
from sipsvc.store.scope import visible
from sipsvc.store.values import Name, Section

NOTE_LENGTH = 4096


class HistoryView(View):
    """One change. `changes` maps a field to its old and new value, secrets hidden; `address` is where it came from."""

    model_config = View.model_config | examples(
        {
            "seq": 71,
            "version": 2,
            "at": "2026-11-22T23:23:05.120Z",
            "action": "update",
            "actor": "administrator (0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e01)",
            "role": "platform_admin",
            "address": "192.0.2.7",
            "changes": {"priority": [100, 50]},
        }
    )

    seq: int
    version: int
    at: Instant
    action: str
    actor: str
    role: str
    address: str
    changes: dict[str, list[Any]]


class NoteView(View):
    """What somebody wrote; it is not changed afterwards."""

    model_config = View.model_config | examples(
        {
            "id": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e01",
            "at": "2026-11-22T23:23:05.120Z",
            "actor": "administrator (0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e01)",
            "role": "platform_admin",
            "address": "192.0.2.7",
            "text": "Asked the carrier about the 503s of this morning.",
        }
    )

    id: str
    at: Instant
    actor: str
    role: str
    address: str
    text: str


class NoteIn(Section):
    """A note on the resource."""

    model_config = Section.model_config | examples({"text": "Asked the carrier about the 503s of this morning."})

    text: Annotated[Name, Field(max_length=NOTE_LENGTH)]


class RevertIn(Section):
    """The version whose fields shall be set again."""

    model_config = Section.model_config | examples({"version": 1})

    version: Annotated[int, Field(ge=1, le=columns.MAX_INT)]


HISTORY = Listing(
    name="history",
    model=History,
    view=HistoryView,
    columns={
        "version": columns.INTEGER,
        "at": columns.INSTANT,
        "action": columns.TEXT,
        "actor": columns.TEXT,
        "role": columns.TEXT,
    },
    key=("seq", columns.ROW),
    order="-seq",
)
NOTES = Listing(
    name="notes",
    model=Note,
    view=NoteView,
    columns={"at": columns.INSTANT, "actor": columns.TEXT, "text": columns.TEXT},
    key=("id", columns.ID),
    order="-id",
)


def add(spec: Spec[Any], router: APIRouter) -> None:
    """The operations below `/{id}` that every resource has."""
    read = may(spec.kind, "read")

    @offers(JSON, CSV)
    def list_history(request: Request, session: Database, who: Caller, id: str, query: Any) -> Response:
        _known(spec, session, who, id)
        return HISTORY.answer(request, session, who, query, History.kind == spec.told, History.resource_id == id)

    @offers(JSON, CSV)
    def list_notes(request: Request, session: Database, who: Caller, id: str, query: Any) -> Response:
        _known(spec, session, who, id)
        return NOTES.answer(request, session, who, query, Note.kind == spec.told, Note.resource_id == id)

    def add_note(writer: Posting, id: str, body: NoteIn) -> Response:
        def action(write: Write) -> Answer:
            return Answer(201, _noted(spec, write, id, body.text))

        return writer.run(action)

    def may_note(who: Caller) -> None:
        who.require_notes(spec.kind)

    for path, endpoint, listing, said in (
        ("history", list_history, HISTORY, "Every change of"),
        ("notes", list_notes, NOTES, "What was said about"),
    ):
        router.add_api_route(
            f"/{{id}}/{path}",
            typed(endpoint, query=listing.query),
            summary=f"{said} a {spec.word}",
            response_model=listing.page,
            responses={200: CSV_TOO, **documented(404)},
            dependencies=[read],
        )
    router.add_api_route(
        "/{id}/notes",
        add_note,
        methods=["POST"],
        status_code=201,
        summary=f"Say something about a {spec.word}",
        response_model=NoteView,
        responses={200: {"model": NoteView, "description": "What a dry run says."}, **documented(404)},
        dependencies=[Depends(may_note)],
    )
    if spec.patch is not None:
        _reverting(spec, router)


def _reverting(spec: Spec[Any], router: APIRouter) -> None:
    def revert(writer: Posting, id: str, body: RevertIn, if_match: IfMatch = None) -> Response:
        def action(write: Write) -> Answer:
            row = spec.needed(write.session, id, write.who)
            conditional.check(if_match, row.version)
            return shown(200, spec.show(_revert(spec, write, row, body.version)))

        return writer.run(action)

    router.add_api_route(
        "/{id}/revert",
        revert,
        methods=["POST"],
        summary=f"Set the fields of a {spec.word} as a version had them, as a new change",
        response_model=spec.view,
        responses=documented(404, 409, 412, 428),
        dependencies=[may(spec.kind, "update")],
    )


def _revert(spec: Spec[Any], write: Write, row: Any, version: int) -> Any:
    """Fields that are set once stay as they are, and so do secrets, which cannot be set as history has them."""
    if version > row.version:
        raise Problem(422, UNUSABLE_FIELDS, [("version", f"there is none above {row.version}")])
    told = changes.entries(write.session, spec.told, row.id)
    then = changes.state_at(told, changes.fields(row), version=version)
    if then is None:
        raise Problem(422, UNUSABLE_FIELDS, [("version", "there is no such version")])
    hidden = {name for name in changes.SECRET if then.get(name) == changes.HIDDEN}
    given = {name: value for name, value in then.items() if name not in spec.fixed and name not in hidden}
    return change(spec, write, row, given, "revert")


def as_of(spec: Spec[Any], session: Session, who: Principal, key: str, at: datetime) -> dict[str, Any]:
    """The resource as it was, also when it is gone. Raises Problem 404 where it did not exist then."""
    row = _known(spec, session, who, key)
    told = changes.entries(session, spec.told, key)
    state = changes.state_at(told, None if row is None else changes.fields(row), at=at)
    if state is None or (row is not None and row.created_at > at):
        raise Problem(404, f"There was no {spec.word} {key!r} then.")
    before = [entry for entry in told if entry.at <= at]
    first = told[0].at if told and told[0].action == "create" else (row.created_at if row is not None else at)
    common = {
        "id": key,
        "version": before[-1].version if before else 1,
        "created_at": first,
        "updated_at": before[-1].at if before else first,
    }
    return spec.view.model_validate(state | common).model_dump(mode="json")


def _known(spec: Spec[Any], session: Session, who: Principal, key: str) -> Any:
    """The row, or None where it is gone but its history may be seen. Raises Problem 404."""
    row = spec.seen(session, key, who)
    if row is None:
        told = (History.kind == spec.told, History.resource_id == key, visible(History, who.who))
        if "\0" in key or session.execute(select(History.seq).where(*told).limit(1)).first() is None:
            raise spec.missing(key)
    return row


def _noted(spec: Spec[Any], write: Write, key: str, text: str) -> dict[str, Any]:
    row = spec.needed(write.session, key, write.who)
    partner, customer = changes.owners(row)
    actor = write.who.actor
    note = Note(
        id=changes.new_id(),
        kind=spec.told,
        resource_id=row.id,
        partner=partner,
        customer=customer,
        at=changes.utc_now(),
        actor=actor.name,
        role=actor.role,
        address=actor.address,
        text=text,
    )
    write.session.add(note)
    write.session.flush()
    return NoteView.model_validate(note).model_dump(mode="json")
