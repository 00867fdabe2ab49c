"""Every error in one shape: `application/problem+json` (RFC 9457) with the fields at fault."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy.exc import InterfaceError, OperationalError
from starlette.exceptions import HTTPException

from sipsvc.observe import get_logger

MEDIA_TYPE = "application/problem+json"
UNUSABLE_FIELDS = "The request has fields that cannot be used."
UNUSABLE_PARAMETERS = "The request has parameters that cannot be used."
DATABASE_ERRORS = (OperationalError, InterfaceError)

log = get_logger("portal_api")


class FieldFault(BaseModel):
    """A parameter or body field that is refused, and why."""

    field: str
    reason: str


class ProblemBody(BaseModel):
    """RFC 9457 §3, with `errors` where fields are at fault."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Bad Request",
                    "status": 400,
                    "detail": UNUSABLE_PARAMETERS,
                    "errors": [{"field": "filter[colour][eq]", "reason": "there is no such parameter here"}],
                }
            ]
        }
    )

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldFault]


class Problem(Exception):
    """Raised by an endpoint; becomes the answer."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: list[tuple[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors or []
        self.headers = headers

    def response(self) -> Response:
        body = ProblemBody(
            type="about:blank",
            title=HTTPStatus(self.status).phrase,
            status=self.status,
            detail=self.detail,
            errors=[FieldFault(field=field, reason=reason) for field, reason in self.errors],
        )
        # In ASCII: a field's name may hold half of a surrogate pair, which UTF-8 cannot.
        return Response(json.dumps(body.model_dump()), self.status, dict(self.headers or {}), MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems an operation can answer with, for the OpenAPI page."""
    schema = {"$ref": "#/components/schemas/ProblemBody"}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }


def database_away() -> Problem:
    return Problem(503, "The database cannot be reached at the moment.", headers={"Retry-After": "1"})


def install(app: FastAPI) -> None:
    """Have `app` answer every error this way."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _validation)
    for kind in DATABASE_ERRORS:
        app.add_exception_handler(kind, _database)
    app.add_exception_handler(Exception, _unexpected)


def _problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 400:
        # FastAPI's own word for bytes that are no text; broken JSON comes as RequestValidationError.
        return Problem(422, UNUSABLE_FIELDS, [("body", "is not JSON in UTF-8")]).response()
    detail = {
        404: f"There is nothing at {request.url.path}.",
        405: f"{request.method} is not possible at {request.url.path}.",
    }.get(error.status_code, str(error.detail))
    headers = error.headers
    if error.status_code == 405:
        # The router names those of the first route that fits, and a path may have several.
        headers = {"Allow": ", ".join(request.app.state.methods(request.url.path)) or "GET"}
    return Problem(error.status_code, detail, headers=headers).response()


def _validation(_request: Request, error: Exception) -> Response:
    """422, or 400 where the query has a parameter that does not exist."""
    assert isinstance(error, RequestValidationError)
    faults = [(_field(fault["loc"]), _reason(fault)) for fault in error.errors()]
    if any(fault["type"] == "extra_forbidden" and fault["loc"][0] == "query" for fault in error.errors()):
        return Problem(400, UNUSABLE_PARAMETERS, faults).response()
    return Problem(422, UNUSABLE_FIELDS, faults).response()


def faults_of(error: ValidationError) -> list[tuple[str, str]]:
    """The fields a model refuses, and why."""
    return [(".".join(str(part) for part in fault["loc"]) or "body", _reason(fault)) for fault in error.errors()]


def _field(loc: tuple[int | str, ...]) -> str:
    """Without FastAPI's leading `query`, `path`, `header` or `body`."""
    inner = loc[1:] if loc[0] in ("query", "path", "header", "body") else loc
    # Where JSON itself is broken the place is a byte, not a field.
    return ".".join(part for part in inner if isinstance(part, str)) or "body"


def _reason(fault: Mapping[str, Any]) -> str:
    kind, message = fault["type"], str(fault["msg"])
    if kind == "extra_forbidden":
        return "there is no such parameter here" if fault["loc"][:1] == ("query",) else "there is no such field here"
    if kind == "missing":
        return "is missing"
    if kind == "json_invalid":
        return f"is not JSON: {fault.get('ctx', {}).get('error', message)}"
    return message.removeprefix("Value error, ")


def _database(_request: Request, error: Exception) -> Response:
    log.warning("database_away", reason=str(getattr(error, "orig", error)))
    return database_away().response()


def _unexpected(request: Request, error: Exception) -> Response:
    log.error("request_failed", method=request.method, path=request.url.path, exc_info=error)
    return Problem(500, "This is a fault of ours; it has been logged.").response()
