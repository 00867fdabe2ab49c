"""What FastAPI leaves out of the API's description, or says otherwise than it is."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from portal_api.problems import ProblemBody

METHODS = ("get", "post", "put", "patch", "delete")


def describe(app: FastAPI) -> None:
    """Complete `app`'s document: the shape of a problem, and parameters as they can really be given."""
    make = app.openapi

    def complete() -> dict[str, Any]:
        if app.openapi_schema is not None:
            return app.openapi_schema
        document = make()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        body = ProblemBody.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(body.pop("$defs"))
        schemas["ProblemBody"] = body
        for item in document["paths"].values():
            for method in METHODS:
                for parameter in item.get(method, {}).get("parameters", []):
                    _parameter(parameter)
        return document

    app.openapi = complete  # type: ignore[method-assign]


def _parameter(parameter: dict[str, Any]) -> None:
    """A parameter is there or it is not; there is no null to be given in a URL or a header."""
    schema = parameter["schema"]
    kinds = schema.pop("anyOf", None)
    if kinds is not None:
        schema |= next(kind for kind in kinds if kind.get("type") != "null")
    if "x-schema" in schema:
        exact = schema.pop("x-schema")
        schema.clear()
        schema |= exact
    if schema.pop("x-required", False):
        parameter["required"] = True
    schema.pop("title", None)
