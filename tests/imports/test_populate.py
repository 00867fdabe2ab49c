"""A price list made from what gateways charge: filtered, marked up, previewed, applied and undone like any import."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from sipsvc.errors import ConfigError
from sipsvc.imports import steps
from sipsvc.imports.populate import check, options, populate
from sipsvc.store.changes import Changes
from sipsvc.store.database import writing
from sipsvc.store.models import CoverageRow, Gateway, PriceList, PriceRow
from sipsvc.store.pricefile import key
from tests.imports.world import SOMEBODY, LocalStep, applied, state

HEAD = "prefix,name,rate,fee,initial,increment,origin,country,kind\n"
ALPHA = HEAD + (
    "44,UK,0.02,0,1,1,,GB,L\n"
    "447,UK Mobile,0.40,0.05,1,1,,GB,M\n"
    "447,UK Mobile from France,0.10,0,1,1,33,GB,M\n"
    "33,France,0.005,0,1,1,,FR,L\n"
    "800,Freephone,0,0,1,1,,,O\n"
)
BETA = HEAD + "44,Britain,0.03,0,1,1,,GB,L\n33,France,0.004,0,1,1,,FR,L\n"


@pytest.fixture(autouse=True)
def coverage(engine: Engine) -> None:
    applied(engine, Gateway, "alpha", ALPHA)
    applied(engine, Gateway, "beta", BETA)
    applied(engine, Gateway, "gamma", HEAD + "49,Germany,0.0121,0,60,60,,DE,L\n")


def made(engine: Engine, asked: dict[str, Any], mode: str = "partial") -> str:
    with writing(engine) as session:
        item = steps.create(
            Changes(session, SOMEBODY), session.get_one(PriceList, "retail"), source="populate", mode=mode,
            filename="", content=b"", options=asked,
        )  # fmt: skip
        import_id = item.id
    populate(LocalStep(engine), import_id)
    return import_id


def prices(engine: Engine, asked: dict[str, Any]) -> dict[str, str]:
    """Rates by destination after applying."""
    import_id = made(engine, asked)
    steps.apply(LocalStep(engine), import_id, effective_from=None, accept_rejected=False)
    with Session(engine) as session:
        rows = session.scalars(select(PriceRow).where(PriceRow.valid_to.is_(None)))
        return {key(row.prefix, row.origin): f"{row.rate:f}" for row in rows}


@pytest.mark.rule("TP-7")
def test_rows_say_what_they_were_made_of(engine: Engine) -> None:
    assert prices(engine, {"gateways": ["alpha"], "markup": "1.5"}) == {
        "44": "0.030000", "447": "0.600000", "447:33": "0.150000", "33": "0.007500", "800": "0.000000",
    }  # fmt: skip
    with Session(engine) as session:
        costs = {row.id: row for row in session.scalars(select(CoverageRow).where(CoverageRow.gateway == "alpha"))}
        rows = session.scalars(select(PriceRow)).all()
        assert len(rows) == 5
        for row in rows:
            assert row.source_row is not None
            source = costs[row.source_row]
            assert (row.prefix, row.origin, row.name, row.country, row.kind) == (
                source.prefix, source.origin, source.name, source.country, source.kind,
            )  # fmt: skip
            assert (row.markup, row.initial, row.increment) == (Decimal("1.5"), 60, 60)
            assert row.fee == source.fee * Decimal("1.5")


@pytest.mark.rule("TP-5", "TP-6", "TP-7")
def test_floor_and_cap_are_the_lists_unless_others_are_said(engine: Engine) -> None:
    with writing(engine) as session:
        limits = {"min_rate": Decimal("0.01"), "max_profit": Decimal("0.10")}
        Changes(session, SOMEBODY).update(session.get_one(PriceList, "retail"), limits)
    asked = {"gateways": ["alpha"], "markup": "1.5"}
    assert prices(engine, asked) == {
        "44": "0.030000", "447": "0.500000", "447:33": "0.150000", "33": "0.010000", "800": "0.000000",
    }  # fmt: skip
    assert prices(engine, {**asked, "min_rate": "0", "max_profit": None})["447"] == "0.600000"
    assert prices(engine, {**asked, "max_profit": "0", "zero_cost_too": True}) == {
        "44": "0.020000", "447": "0.400000", "447:33": "0.100000", "33": "0.010000", "800": "0.010000",
    }  # fmt: skip


FILTERS = [
    ({"countries": ["GB"]}, {"44", "447", "447:33"}),
    ({"kinds": ["M", "O"]}, {"447", "447:33", "800"}),
    ({"prefixes": ["447", "8"]}, {"447", "447:33", "800"}),
    ({"name_contains": "uk m"}, {"447", "447:33"}),
    ({"countries": ["GB"], "kinds": ["L"]}, {"44"}),
    ({"name_contains": "%"}, set()),
]


@pytest.mark.rule("TP-7")
@pytest.mark.parametrize(("asked", "wanted"), FILTERS)
def test_filters(engine: Engine, asked: dict[str, Any], wanted: set[str]) -> None:
    import_id = made(engine, {"gateways": ["alpha"], "markup": "1", **asked})
    item = state(engine, import_id)
    assert item.status == ("validated" if wanted else "invalid")
    assert {key(one["prefix"], one["origin"]) for one in item.preview.get("samples", {}).get("new", [])} == wanted


@pytest.mark.rule("TP-7")
def test_the_cheapest_or_the_dearest_cost(engine: Engine) -> None:
    both = {"gateways": ["beta", "alpha"], "markup": "1"}
    assert prices(engine, both)["44"] == "0.020000"
    assert prices(engine, both)["33"] == "0.004000"
    dear = prices(engine, {**both, "cost_of": "dearest"})
    assert (dear["44"], dear["33"]) == ("0.030000", "0.005000")


@pytest.mark.rule("TP-7")
def test_a_foreign_currency_needs_a_factor(engine: Engine) -> None:
    asked = {"gateways": ["gamma"], "markup": "1.5"}
    with pytest.raises(ConfigError, match=r"fx\.gamma.*EUR.*USD"):
        made(engine, asked)
    assert prices(engine, {**asked, "fx": {"gamma": "0.92"}}) == {"49": "0.016698"}
    # Each currency by its own factor, and only then compared.
    applied(engine, Gateway, "alpha", HEAD + "49,Germany,0.02,0,60,60,,DE,L\n")
    both = {"gateways": ["alpha", "gamma"], "markup": "1", "cost_of": "dearest"}
    assert prices(engine, {**both, "fx": {"gamma": "2"}})["49"] == "0.024200"


WRONG = [
    ({"gateways": ["nobody"]}, "gateways[0]", "no such gateway"),
    ({"gateways": ["foreign"]}, "gateways[0]", "no such gateway"),
    ({"gateways": ["alpha", "alpha"]}, "gateways[1]", "twice"),
    ({"gateways": []}, "gateways", "names none"),
    ({"gateways": ["alpha"], "markup": "0"}, "markup", "above 0"),
    ({"gateways": ["alpha"], "fx": {"beta": "1"}}, "fx.beta", "not one of gateways"),
]


@pytest.mark.parametrize(("asked", "field", "why"), WRONG)
def test_what_cannot_be_populated_names_the_field(engine: Engine, asked: dict[str, Any], field: str, why: str) -> None:
    with Session(engine) as session:
        pricelist = session.get_one(PriceList, "retail")
        with pytest.raises(ConfigError) as caught:
            check(session, pricelist, options({"markup": "1", **asked}, pricelist))
    assert [(where, why in reason) for where, _, reason in caught.value.faults] == [(field, True)]


def test_a_price_too_large_to_store(engine: Engine) -> None:
    applied(engine, Gateway, "alpha", HEAD + "44,UK,99999999,0,1,1,,GB,L\n")
    with pytest.raises(ConfigError, match="price of 44 larger than can be stored"):
        made(engine, {"gateways": ["alpha"], "markup": "2"})


@pytest.mark.rule("TP-7")
def test_populated_rows_are_taken_back_like_any(engine: Engine) -> None:
    applied(engine, PriceList, "retail", "prefix,name,rate\n44,Ours,1\n999,Other,1\n")
    import_id = made(engine, {"gateways": ["alpha"], "markup": "2", "countries": ["GB"]})
    assert state(engine, import_id).preview["counts"] | {"below_cost": 0} == {
        "new": 2, "dearer": 0, "cheaper": 1, "other": 0, "gone": 0, "same": 0, "newly_expensive": 1, "below_cost": 0,
    }  # fmt: skip
    steps.apply(LocalStep(engine), import_id, effective_from=None, accept_rejected=False)
    steps.undo(LocalStep(engine), import_id)
    with Session(engine) as session:
        rows = session.scalars(select(PriceRow).where(PriceRow.valid_to.is_(None)))
        assert {(row.prefix, row.name, row.markup) for row in rows} == {("44", "Ours", None), ("999", "Other", None)}
    full = made(engine, {"gateways": ["alpha"], "markup": "2", "countries": ["GB"]}, mode="full")
    assert state(engine, full).preview["counts"]["gone"] == 1
