"""Prices below `/term-pricelists/{id}/prices` and `/gateways/{id}/coverage`: series of rows, set one by one."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from pydantic import Field
from sqlalchemy import or_

from portal_api import conditional
from portal_api.columns import AMOUNT, INSTANT, ROW, TEXT, choice
from portal_api.conditional import IfMatch, IfNoneMatch, etag
from portal_api.context import Caller, Database, may, typed
from portal_api.gateways.resource import SPEC as GATEWAY
from portal_api.listing import Listing
from portal_api.negotiation import CSV, CSV_TOO, JSON, offers
from portal_api.pricelists.resource import SPEC as PRICELIST
from portal_api.prices.schemas import OnePrice, PricePatch, PricePut, PriceView
from portal_api.problems import UNUSABLE_FIELDS, Problem, documented
from portal_api.resource import AsOf
from portal_api.schemas import InstantIn
from portal_api.spec import Spec
from portal_api.trail import HISTORY, RevertIn
from portal_api.writes import Answer, Changing, Posting, Write
from sipsvc.store import prices
from sipsvc.store.changes import utc_now
from sipsvc.store.models import CoverageRow, History, PriceRow
from sipsvc.store.prices import AnyRow
from sipsvc.store.rates import Owner, TooEarly
from sipsvc.store.values import LONGEST_PREFIX

PREFIX_PATTERN = rf"^[1-9][0-9]{{0,{LONGEST_PREFIX - 1}}}$"
ORIGIN_PATTERN = rf"^([1-9][0-9]{{0,{LONGEST_PREFIX - 1}}})?$"
PrefixPath = Annotated[str, Path(pattern=PREFIX_PATTERN, description="E.164 digits.", examples=["4420"])]
Origin = Annotated[
    str,
    Query(
        pattern=ORIGIN_PATTERN,
        description="The caller's prefix the price is for; for any caller where it is not said.",
    ),
]
From = Annotated[InstantIn | None, Query(description="From when on; now, where it is not said.")]
TIMES = {"as_of": (InstantIn | None, Field(None, description="As they were, or will be, at this instant."))}


def _listing(name: str, model: type[PriceRow] | type[CoverageRow]) -> Listing[Any]:
    columns = {
        "prefix": TEXT,
        "origin": TEXT,
        "name": TEXT,
        "country": TEXT,
        "kind": choice("L", "M", "O"),
        "rate": AMOUNT,
        "fee": AMOUNT,
        "valid_from": INSTANT,
    }
    return Listing(
        name=name, model=model, view=PriceView, columns=columns, key=("id", ROW), order="prefix,origin", more=TIMES
    )


def _operations(
    spec: Spec[Any], path: str, word: str, model: type[PriceRow] | type[CoverageRow], owned: Any
) -> APIRouter:
    """All operations on the prices of one kind of owner; `owned` is the column that names it."""
    listing = _listing(path, model)
    own = APIRouter(prefix=f"/{spec.path}/{{id}}/{path}", tags=[path])

    def row_of(session: Any, owner: Owner, prefix: str, origin: str, at: datetime) -> AnyRow:
        row = prices.at_time(session, owner, prefix, origin, at)
        if row is None:
            raise Problem(404, f"There is no {word} for {prefix} {f'from {origin}' if origin else ''}then.")
        return row

    def open_row(rows: list[AnyRow]) -> AnyRow | None:
        return next((row for row in rows if row.valid_to is None), None)

    def lasting(write: Write, key: str, prefix: str, origin: str, if_match: str | None) -> tuple[Owner, AnyRow, int]:
        """The price that has no end, and its version, which is what If-Match names."""
        owner, rows = _locked(spec, write, key, prefix, origin)
        there = open_row(rows)
        if there is None:
            raise Problem(404, f"There is no {word} for {prefix} that has no end.")
        conditional.check(if_match, len(rows))
        return owner, there, len(rows)

    @offers(JSON, CSV)
    def list_prices(request: Request, session: Database, who: Caller, id: str, query: Any) -> Response:
        spec.needed(session, id, who)
        at = query.as_of
        held = (
            (model.valid_to.is_(None),)
            if at is None
            else (model.valid_from <= at, or_(model.valid_to.is_(None), model.valid_to > at))
        )
        return listing.answer(request, session, who, query, owned == id, *held)

    def get_price(
        session: Database, who: Caller, id: str, prefix: PrefixPath, origin: Origin = "",
        if_none_match: IfNoneMatch = None, as_of: AsOf = None,
    ) -> Response:  # fmt: skip
        owner = spec.needed(session, id, who)
        rows = prices.versions(session, owner, prefix, origin)
        if as_of is not None:
            row = row_of(session, owner, prefix, origin, as_of)
            return Answer(200, _shown(row, rows.index(row) + 1)).response()
        found = open_row(rows) or row_of(session, owner, prefix, origin, utc_now())
        version = rows.index(found) + 1
        if conditional.unchanged(if_none_match, version):
            return Response(status_code=304, headers={"ETag": etag(version)})
        return _one(found, version).response()

    def put_price(
        writer: Changing, id: str, prefix: PrefixPath, body: PricePut, origin: Origin = "", if_match: IfMatch = None
    ) -> Response:
        def action(write: Write) -> Answer:
            owner, rows = _locked(spec, write, id, prefix, origin)
            there = open_row(rows)
            if there is not None:
                conditional.check(if_match, len(rows))
            elif if_match is not None:
                raise Problem(412, "There is no such price.", [("If-Match", "names one that is not there")])
            values = body.model_dump(exclude={"effective_from"})
            return _set(write, owner, (prefix, origin), values, body.effective_from)

        return writer.run(action)

    def patch_price(
        writer: Changing, id: str, prefix: PrefixPath, body: Any, origin: Origin = "", if_match: IfMatch = None
    ) -> Response:
        def action(write: Write) -> Answer:
            owner, there, _ = lasting(write, id, prefix, origin, if_match)
            given = body.model_dump(exclude_unset=True)
            begin = given.pop("effective_from", None)
            return _set(write, owner, (prefix, origin), prices.values_of(there) | given, begin)

        return writer.run(action)

    def end_price(
        writer: Changing, id: str, prefix: PrefixPath, origin: Origin = "", effective_from: From = None,
        if_match: IfMatch = None,
    ) -> Response:  # fmt: skip
        def action(write: Write) -> Answer:
            owner, there, version = lasting(write, id, prefix, origin, if_match)
            before = _shown(there, version)
            _tried(lambda: prices.end_price(write.changes, owner, prefix, origin, effective_from))
            return Answer(200, before) if writer.dry_run else Answer(204)

        return writer.run(action)

    def revert_price(
        writer: Posting, id: str, prefix: PrefixPath, body: RevertIn, origin: Origin = "", if_match: IfMatch = None
    ) -> Response:
        def action(write: Write) -> Answer:
            owner, rows = _locked(spec, write, id, prefix, origin)
            if not rows:
                raise Problem(404, f"There is no {word} for {prefix}.")
            conditional.check(if_match, len(rows))
            row = _tried(lambda: prices.revert(write.changes, owner, prefix, origin, body.version))
            return _one(row, len(prices.versions(write.session, owner, prefix, origin)))

        return writer.run(action)

    @offers(JSON, CSV)
    def list_history(
        request: Request, session: Database, who: Caller, id: str, prefix: PrefixPath, query: Any
    ) -> Response:
        owner = spec.needed(session, id, who)
        origin = query.origin or ""
        told = (History.kind == prices.kind_of(owner), History.resource_id == prices.id_of(owner, prefix, origin))
        return PRICE_HISTORY.answer(request, session, who, query, *told)

    said: dict[int | str, dict[str, Any]] = documented(404, 409, 412, 428)
    routes: list[tuple[str, str, Any, str, Any, dict[int | str, dict[str, Any]], Any]] = [
        ("GET", "", typed(list_prices, query=listing.query), f"Every {word}", listing.page,
         {200: CSV_TOO, **documented(404)}, "read"),
        ("GET", "/{prefix}", get_price, f"One {word}", OnePrice,
         {304: {"description": "Not Modified"}, **documented(404)}, "read"),
        ("PUT", "/{prefix}", put_price, f"Set a {word}, or make one, now or from a time on", OnePrice, said, "update"),
        ("PATCH", "/{prefix}", typed(patch_price, body=PricePatch), f"Change a {word}, now or from a time on", OnePrice,
         said, "update"),
        ("DELETE", "/{prefix}", end_price, f"End a {word}, now or at a time", OnePrice, said, "update"),
        ("POST", "/{prefix}/revert", revert_price, f"Set a {word} to what a version of it said", OnePrice, said,
         "update"),
        ("GET", "/{prefix}/history", typed(list_history, query=PRICE_HISTORY.query), f"Every change of a {word}",
         HISTORY.page, {200: CSV_TOO, **documented(404)}, "read"),
    ]  # fmt: skip
    for method, below, endpoint, summary, view, responses, action in routes:
        ends = method == "DELETE"
        own.add_api_route(
            below,
            endpoint,
            methods=[method],
            summary=summary,
            status_code=204 if ends else 200,
            response_model=None if ends else view,
            responses={200: {"model": view, "description": "What a dry run would end."}, **responses}
            if ends
            else responses,
            dependencies=[may(spec.kind, action)],
        )
    return own


ORIGIN = Field(None, pattern=ORIGIN_PATTERN, description="As it stands in the price.")
PRICE_HISTORY = Listing(
    name="price-history",
    model=History,
    view=HISTORY.view,
    columns=HISTORY.columns,
    key=HISTORY.key,
    order=HISTORY.order,
    more={"origin": (str | None, ORIGIN)},
)


def _locked(spec: Spec[Any], write: Write, key: str, prefix: str, origin: str) -> tuple[Owner, list[AnyRow]]:
    """The owner and the price's rows, which nobody else changes until the commit."""
    owner = spec.needed(write.session, key, write.who)
    return owner, prices.versions(write.session, owner, prefix, origin)


def _set(write: Write, owner: Owner, named: tuple[str, str], values: dict[str, Any], begin: datetime | None) -> Answer:
    for interval in ("initial", "increment"):
        if values[interval] is None:
            # A gateway names none for its rows: carriers bill by the second where they do not say.
            values[interval] = getattr(owner, interval, 1)
    row = _tried(lambda: prices.set_price(write.changes, owner, *named, values, begin))
    return _one(row, len(prices.versions(write.session, owner, *named)))


def _tried(change: Any) -> AnyRow:
    try:
        row: AnyRow = change()
    except TooEarly as error:
        raise Problem(409, f"{error}.", [("effective_from", "is too early")]) from None
    except prices.NotNow as error:
        raise Problem(422, UNUSABLE_FIELDS, [("effective_from", str(error))]) from None
    except prices.NoPrice as error:
        raise Problem(422, UNUSABLE_FIELDS, [("version", str(error))]) from None
    return row


def _shown(row: AnyRow, version: int) -> dict[str, Any]:
    return PriceView.model_validate(row).model_dump(mode="json") | {"version": version}


def _one(row: AnyRow, version: int) -> Answer:
    return Answer(200, _shown(row, version), {"ETag": etag(version)})


routers = (
    _operations(PRICELIST, "prices", "price", PriceRow, PriceRow.pricelist),
    _operations(GATEWAY, "coverage", "buy price", CoverageRow, CoverageRow.gateway),
)
