"""Imports as they are shown and asked for."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from portal_api.jobs.schemas import EXAMPLE as JOB
from portal_api.jobs.schemas import JobView
from portal_api.schemas import Instant, InstantIn, ResourceView, Value, examples
from sipsvc.imports.populate import COST_OF
from sipsvc.imports.steps import MODES
from sipsvc.store.values import Amount, Prefix, Section, Text

MOST_NAMED = 100
ROW = {
    "prefix": "4420",
    "origin": "",
    "name": "United Kingdom, London",
    "old_rate": "0.004000",
    "new_rate": "0.006000",
}
EXAMPLE: dict[str, Any] = {
    "id": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e10",
    "version": 2,
    "created_at": "2026-11-22T23:23:05.120Z",
    "updated_at": "2026-11-22T23:23:06.010Z",
    "partner": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e02",
    "target": "gateway",
    "target_id": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e01",
    "source": "upload",
    "mode": "full",
    "status": "validated",
    "filename": "carrier-a.csv",
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "size": 228829,
    "options": {},
    "rows": 16810,
    "rejected": 0,
    "preview": {
        "counts": {
            "new": 0, "dearer": 1, "cheaper": 0, "other": 0, "gone": 0, "newly_expensive": 0, "below_cost": 0,
            "same": 16809,
        },
        "samples": {"dearer": [ROW]},
        "faults": [],
    },
    "effective_from": None,
    "applied_at": None,
    "undone_at": None,
    "error": "",
}  # fmt: skip


class ImportView(ResourceView):
    """`status`: uploaded → validated → applied → superseded; or invalid, failed (`error` says why), undone.

    `preview` counts what it changes, with samples; its whole is `/changes`. Rejected rows are `/rejected`.
    """

    model_config = ResourceView.model_config | examples(EXAMPLE)

    partner: str
    target: str
    target_id: str
    source: str
    mode: str
    status: str
    filename: str
    sha256: str
    size: int
    options: dict[str, Any]
    rows: int
    rejected: int
    preview: dict[str, Any]
    effective_from: Instant | None
    applied_at: Instant | None
    undone_at: Instant | None
    error: str


class ImportStarted(ImportView):
    """The import, and the job that makes it ready to be applied."""

    model_config = ResourceView.model_config | examples(
        EXAMPLE | {"status": "uploaded", "version": 1, "preview": {}, "job": JOB | {"task": "validate"}}
    )

    job: JobView


class ApplyIn(Section):
    """When it is to begin, and whether the rows that were rejected may stay away."""

    model_config = Section.model_config | examples(
        {"effective_from": "2030-01-01T00:00:00Z", "accept_rejected": False}, {}
    )

    effective_from: InstantIn | None = Field(None, description="Now, where it is not said.")
    accept_rejected: bool = False


def _each_once(value: list[str]) -> list[str]:
    if len(set(value)) != len(value):
        raise ValueError("names one twice")
    return value


def _some(kind: Any, least: int = 0) -> Any:
    return Annotated[list[kind], Field(min_length=least, max_length=MOST_NAMED), AfterValidator(_each_once)]


class PopulateIn(Section):
    """Rows of a price list made from what gateways charge, by filter, with a markup (TP-7).

    `fx` turns a gateway's currency into the list's, by the gateway's id. Floor and cap are the list's where not said.
    """

    model_config = Section.model_config | examples(
        {
            "gateways": ["0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e01"],
            "markup": "1.5",
            "countries": ["GB"],
            "kinds": ["L", "M"],
            "mode": "partial",
        }
    )

    gateways: _some(Value, 1)  # type: ignore[valid-type]
    markup: Annotated[Amount, Field(description="1.5 is 50 % on top.", examples=["1.5"])]
    fx: Annotated[dict[Value, Amount], Field(max_length=MOST_NAMED)] = {}
    min_rate: Amount | None = Field(None, description="The least rate; the list's where it is not said (TP-5).")
    max_profit: Amount | None = Field(None, description="The most profit; the list's where it is not said (TP-6).")
    countries: _some(Annotated[str, Field(pattern="^[A-Z]{2}$")]) = []  # type: ignore[valid-type]
    kinds: _some(Literal["L", "M", "O"]) = []  # type: ignore[valid-type]
    prefixes: _some(Prefix) = []  # type: ignore[valid-type]
    name_contains: Annotated[Text, Field(max_length=100)] = ""
    cost_of: Literal[COST_OF] = "cheapest"  # type: ignore[valid-type]
    zero_cost_too: bool = False
    mode: Literal[MODES] = "full"  # type: ignore[valid-type]

    def options(self) -> dict[str, Any]:
        """As an import keeps them: JSON values, decimals as text, without what is not said."""
        said = self.model_dump(exclude={"mode"}, exclude_none=True)
        said["fx"] = {gateway: str(factor) for gateway, factor in self.fx.items()}
        return {name: str(value) if isinstance(value, Decimal) else value for name, value in said.items()}
