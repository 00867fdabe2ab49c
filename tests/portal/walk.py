"""How every operation of the API is exercised. The tenancy test fails on one that is not here.

Add a resource to RESOURCES, and an operation of its own to OTHERS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from fastapi.routing import APIRoute

from portal_api import roles
from portal_api.app import ROUTERS
from portal_api.roles import Action
from tests.portal.world import Tenant, sign_up

Body = Callable[[Tenant], dict[str, Any]]
_numbers = count(1000)


@dataclass(frozen=True)
class Operation:
    """`kind` is what `{id}` names. `body` is one that would succeed for the tenant. `many` says that rows are listed,
    by their ids; `query` is what the operation cannot do without.

    `references` are fields of the body that name rows, with their kind. `upload` is the query parameter that says
    whose file `content` is. `own` is what the owner gets where it is no success. `right` is the kind whose right it
    takes where that is another.
    """

    kind: str
    action: Action
    body: Body | None = None
    references: Mapping[str, str] = field(default_factory=dict)
    many: bool = False
    upload: str = ""
    content: bytes = b"x"
    own: int = 200
    right: str = ""
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def needs(self) -> tuple[str, Action]:
        """The right it takes."""
        return self.right or self.kind, self.action


@dataclass(frozen=True)
class Sample:
    """A resource: bodies of a POST and a PATCH; None where there is no such operation."""

    kind: str
    create: Body | None
    patch: dict[str, Any] | None
    delete: bool = True
    references: Mapping[str, str] = field(default_factory=dict)


def _customer(tenant: Tenant) -> dict[str, Any]:
    return sign_up(f"new{next(_numbers)}", tenant.ids["pricelist"])


def _source(number: int) -> str:
    """In a network of its own: where one partner's trunk is, no other test's partner may have a gateway."""
    return f"198.19.{number // 250}.{number % 250}"


def _user(tenant: Tenant) -> dict[str, Any]:
    name = f"user{next(_numbers)}"
    return {
        "customer": tenant.customer,
        "username": name,
        "email": f"{name}@example.com",
        "first_name": "Bob",
        "role": "customer_user",
    }


RESOURCES = (
    Sample("import", None, None, delete=False),
    Sample("pricelist_import", None, None, delete=False),
    Sample("job", None, None, delete=False),
    Sample("partner", lambda tenant: {"name": "Another"}, {"time_zone": "Europe/Berlin"}, delete=False),
    Sample("customer", _customer, {"phone": "+44 20 7946 0018"}, delete=False, references={"pricelist": "pricelist"}),
    Sample("user", _user, {"last_name": "Renamed"}, references={"customer": "customer"}),
    Sample(
        "trunk",
        lambda tenant: {"customer": tenant.customer, "source": _source(next(_numbers))},
        {"enabled": False},
        references={"customer": "customer"},
    ),
    Sample("gateway", lambda tenant: {"name": "Another", "host": "198.51.100.77"}, {"priority": 5}),
    Sample("pricelist", lambda tenant: {"name": "Another"}, {"strategy": "priority"}),
    Sample(
        "block",
        lambda tenant: {"prefix": "8816", "reason": "satellite"},
        {"reason": "because"},
        references={"customer": "customer"},
    ),
    Sample(
        "shortcode",
        lambda tenant: {"code": "*97", "name": "Clock", "number": "442079460097"},
        {"name": "Speaking clock"},
        references={"customer": "customer"},
    ),
    Sample(
        "product",
        lambda tenant: {"name": "Another", "type": "residential_voip", "currencies": ["USD"]},
        {"name": "Renamed"},
    ),
    Sample(
        "package",
        lambda tenant: {"name": "Another", "pricelist": tenant.ids["pricelist"], "currencies": ["USD"]},
        {"name": "Renamed"},
        references={"pricelist": "pricelist", "customer": "customer"},
    ),
    Sample(
        "token",
        lambda tenant: {"name": "another", "role": "customer_user", "customer": tenant.customer},
        None,
        references={"customer": "customer"},
    ),
)


def _prices(path: str, kind: str) -> dict[str, Operation]:
    """The prices of one kind of owner."""
    return {
        f"GET {path}": Operation(kind, "read"),
        f"GET {path}/{{prefix}}": Operation(kind, "read"),
        f"PUT {path}/{{prefix}}": Operation(kind, "update", lambda tenant: {"name": "UK", "rate": "0.02"}),
        f"PATCH {path}/{{prefix}}": Operation(kind, "update", lambda tenant: {"rate": "0.03"}),
        f"DELETE {path}/{{prefix}}": Operation(kind, "update"),
        f"POST {path}/{{prefix}}/revert": Operation(kind, "update", lambda tenant: {"version": 1}),
        f"GET {path}/{{prefix}}/history": Operation(kind, "read"),
    }


def _importing(path: str, kind: str, owner: str) -> dict[str, Operation]:
    """What is done with an import besides reading it; the tenants' have a rejected row and were not applied."""
    return {
        f"POST {path}": Operation(kind, "create", upload=owner),
        f"POST {path}/{{id}}/apply": Operation(kind, "update", lambda tenant: {"accept_rejected": True}),
        f"POST {path}/{{id}}/undo": Operation(kind, "update", own=409),
        f"GET {path}/{{id}}/rejected": Operation(kind, "read"),
        f"GET {path}/{{id}}/changes": Operation(kind, "read"),
    }


OTHERS: Mapping[str, Operation] = {
    **_prices("/term-pricelists/{id}/prices", "pricelist"),
    **_prices("/gateways/{id}/coverage", "gateway"),
    **_importing("/coverage-imports", "import", "gateway"),
    **_importing("/pricelist-imports", "pricelist_import", "pricelist"),
    "POST /blocks/import": Operation("block", "create", upload="partner", content=b"prefix,reason\n8816,satellite\n"),
    "POST /term-pricelists/{id}/populate": Operation(
        "pricelist", "update", lambda tenant: {"gateways": [tenant.ids["gateway"]], "markup": "1.5"}
    ),
    "GET /term-pricelists/{id}/used-by": Operation("pricelist", "read"),
    "GET /price-packages/{id}/free-destinations": Operation("package", "read"),
    "GET /trunks/{id}/allowance": Operation("trunk", "read"),
    "GET /gateways/{id}/health": Operation("gateway", "read", own=503),
    "GET /cdrs": Operation("cdr", "read", many=True),
    "GET /cdrs/{id}": Operation("cdr", "read"),
    "GET /cdrs/{id}/ladder": Operation("cdr", "read", own=503),
    "POST /cdrs/{id}/hangup": Operation("cdr", "update", own=409),
    "POST /cdrs/{id}/rerate": Operation("cdr", "create", lambda tenant: {}, right="ledger", own=409),
    "GET /ledger": Operation("ledger", "read", many=True),
    "GET /ledger/{id}": Operation("ledger", "read"),
    "POST /ledger": Operation(
        "ledger",
        "create",
        lambda tenant: {"customer": tenant.customer, "kind": "payment", "amount": "5"},
        references={"customer": "customer"},
    ),
    "GET /customers/{id}/balance": Operation("customer", "read", right="ledger"),
    "GET /customers/{id}/statement": Operation("customer", "read", right="ledger", query={"month": "2026-09"}),
    "GET /usage": Operation("usage", "read", query={"month": "2026-09"}),
    "GET /statistics/daily": Operation("statistics", "read", query={"from": "2026-09-21", "to": "2026-09-21"}),
    "POST /explain": Operation(
        "explain",
        "read",
        lambda tenant: {"customer": tenant.customer, "dialled": "00442079460018"},
        references={"customer": "customer"},
    ),
}


def operations() -> dict[str, Operation]:
    """By method and path below /api/v1."""
    found = dict(OTHERS)
    for sample in RESOURCES:
        path = f"/{roles.PATHS[sample.kind]}"
        note = Operation(sample.kind, "read", lambda tenant: {"text": "a note"})
        found[f"GET {path}"] = Operation(sample.kind, "read", many=True)
        found[f"GET {path}/{{id}}"] = Operation(sample.kind, "read")
        found[f"GET {path}/{{id}}/history"] = Operation(sample.kind, "read")
        found[f"GET {path}/{{id}}/notes"] = Operation(sample.kind, "read")
        found[f"POST {path}/{{id}}/notes"] = note
        if sample.create is not None:
            found[f"POST {path}"] = Operation(sample.kind, "create", sample.create, sample.references)
        if sample.patch is not None:
            found[f"PATCH {path}/{{id}}"] = Operation(sample.kind, "update", _always(sample.patch))
            found[f"POST {path}/{{id}}/revert"] = Operation(sample.kind, "update", _always({"version": 1}))
        if sample.delete:
            found[f"DELETE {path}/{{id}}"] = Operation(sample.kind, "delete")
    return found


def routes() -> list[str]:
    """Every operation there is, as the application routes it."""
    return sorted(
        f"{method} {route.path}"
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    )


def _always(body: dict[str, Any]) -> Body:
    return lambda tenant: dict(body)
