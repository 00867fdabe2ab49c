"""Resources of the API, each described by a `Spec`, all with the same operations.

Add a resource, step by step (`portal_api/gateways/` is the pattern to follow):

1. **Kind.** Its model stands in `store.changes.KINDS` (history's name for it), in `store.scope` (whose rows are whose)
   and in the table of `portal_api/roles.py` (which role may do what, and the path, which names its scopes too).
2. **Schemas.** A folder `portal_api/<feature>/schemas.py`: a `ResourceView` that is shown, a `Section` with what can be
   set and the rules between the fields (shared with the bundle where it has them: `store.sections`), the body of a POST
   (that Section and the owner), and `patch_of(…)` of it. Each has an example.
3. **Rules.** What one body cannot tell (uniqueness, references, what must not change) goes into the Spec:
   `references`, `fixed`, `check`, `make`, `remove`. Functions take the `Write` and raise `Problem`.
4. **Spec.** `SPEC = Spec(kind=…, …)` with a `Listing`; `router = router_of(SPEC)`, and operations of its own below it.
   Read with `Database` and `Caller`, change with `Changing` (PATCH, DELETE) or `Posting` (POST), whose `run` is the
   transaction; put `dependencies=[may(kind, action)]` on the route, and look rows up with `store.scope.find`.
5. **App.** Add the feature's router to `ROUTERS` in `portal_api/app.py`, and its operations to the table of
   `tests/portal/walk.py`: the tenancy test fails on an operation that it does not know.

A list that is no resource (prices, calls) has a `Listing` of its own and calls `answer`; an upload is marked
`@takes("text/csv", most=…)`.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from portal_api import conditional, trail
from portal_api.conditional import IfMatch, IfNoneMatch
from portal_api.context import Caller, Database, may, typed
from portal_api.negotiation import CSV, CSV_TOO, JSON, offers
from portal_api.problems import documented
from portal_api.schemas import InstantIn
from portal_api.spec import Spec, change, insert
from portal_api.writes import Answer, Changing, Posting, Write, shown

PREFIX = "/api/v1"
AsOf = Annotated[InstantIn | None, Query(description="As it was at this instant, also where it is gone since.")]


def router_of(spec: Spec[Any]) -> APIRouter:
    """Every operation the spec has, under its path."""
    router = APIRouter(prefix=f"/{spec.path}", tags=[spec.path])
    _reading(spec, router)
    if spec.create is not None:
        _creating(spec, router)
    if spec.patch is not None:
        _patching(spec, router)
    if spec.remove is not None:
        _deleting(spec, router)
    trail.add(spec, router)
    return router


def _reading(spec: Spec[Any], router: APIRouter) -> None:
    @offers(JSON, CSV)
    def list_all(request: Request, session: Database, who: Caller, query: Any) -> Response:
        return spec.listing.answer(request, session, who, query, spec.within)

    def get_one(
        session: Database, who: Caller, id: str, if_none_match: IfNoneMatch = None, as_of: AsOf = None
    ) -> Response:
        if as_of is not None:
            # What was then has no tag, but what is no tag at all is told all the same.
            conditional.unchanged(if_none_match, 0)
            return Answer(200, trail.as_of(spec, session, who, id, as_of)).response()
        row = spec.needed(session, id, who)
        if conditional.unchanged(if_none_match, row.version):
            return Response(status_code=304, headers={"ETag": conditional.etag(row.version)})
        return shown(200, spec.show(row)).response()

    allowed = [may(spec.kind, "read")]
    router.add_api_route(
        "",
        typed(list_all, query=spec.listing.query),
        summary=f"List of every {spec.word}",
        response_model=spec.listing.page,
        responses={200: CSV_TOO},
        dependencies=allowed,
    )
    router.add_api_route(
        "/{id}",
        get_one,
        summary=f"One {spec.word}",
        response_model=spec.view,
        responses={304: {"description": "Not Modified"}, **documented(404)},
        dependencies=allowed,
    )


def _creating(spec: Spec[Any], router: APIRouter) -> None:
    def create(writer: Posting, body: Any) -> Response:
        def action(write: Write) -> Answer:
            if spec.make is not None:
                return spec.make(spec, write, body)
            row = insert(spec, write, body)
            return shown(201, spec.show(row), f"{PREFIX}/{spec.path}/{row.id}")

        return writer.run(action)

    model = spec.created or spec.view
    router.add_api_route(
        "",
        typed(create, body=spec.create),
        methods=["POST"],
        status_code=201,
        summary=f"Make a {spec.word}",
        response_model=model,
        responses={200: {"model": model, "description": "What a dry run says."}, **documented(409)},
        dependencies=[may(spec.kind, "create")],
    )


def _patching(spec: Spec[Any], router: APIRouter) -> None:
    def patch(writer: Changing, id: str, body: Any, if_match: IfMatch = None) -> Response:
        def action(write: Write) -> Answer:
            row = spec.needed(write.session, id, write.who)
            conditional.check(if_match, row.version)
            given = body.model_dump(exclude_unset=True)
            return shown(200, spec.show(change(spec, write, row, given)))

        return writer.run(action)

    router.add_api_route(
        "/{id}",
        typed(patch, body=spec.patch),
        methods=["PATCH"],
        summary=f"Change fields of a {spec.word}",
        response_model=spec.view,
        responses=documented(404, 409, 412, 428),
        dependencies=[may(spec.kind, "update")],
    )


def _deleting(spec: Spec[Any], router: APIRouter) -> None:
    remove = spec.remove
    assert remove is not None

    def delete(writer: Changing, id: str, if_match: IfMatch = None) -> Response:
        def action(write: Write) -> Answer:
            row = spec.needed(write.session, id, write.who)
            conditional.check(if_match, row.version)
            before = spec.show(row)
            _ = write.changes
            remove(write, row)
            return Answer(200, before) if writer.dry_run else Answer(204)

        return writer.run(action)

    router.add_api_route(
        "/{id}",
        delete,
        methods=["DELETE"],
        status_code=204,
        summary=f"Take a {spec.word} away",
        responses={
            200: {"model": spec.view, "description": "What a dry run would take away."},
            **documented(404, 409, 412, 428),
        },
        dependencies=[may(spec.kind, "delete")],
    )
