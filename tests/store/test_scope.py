"""Whose rows are whose: every table that the API shows has an owner."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from sipsvc.store import models
from sipsvc.store.changes import LOCAL, Changes
from sipsvc.store.database import writing
from sipsvc.store.models import Base, Gateway, Partner
from sipsvc.store.scope import PLATFORM, Who, find, visible

# What nobody but the platform's own code reads.
INNER = {
    models.Catalogue, models.CdrOutput, models.PlatformSettings, models.DeliveryPosition, models.Idempotency,
    models.LedgerAccount,
}  # fmt: skip


@pytest.mark.rule("IP-2")
def test_every_table_has_an_owner() -> None:
    mapped = {mapper.class_ for mapper in Base.registry.mappers}
    for model in mapped - INNER:
        assert str(visible(model, Who("north", None))) != str(visible(model, PLATFORM)), model
        assert str(visible(model, Who("north", "acme"))) != str(visible(model, PLATFORM)), model
    for model in INNER:
        with pytest.raises(KeyError):
            visible(model, PLATFORM)


@pytest.mark.rule("IP-2")
def test_a_row_is_found_by_its_owner_and_the_platform(engine: Engine) -> None:
    with writing(engine) as session:
        changes = Changes(session, LOCAL)
        for name in ("north", "south"):
            changes.create(Partner(id=name, name=name, email="", time_zone="UTC"))
    with Session(engine) as session:
        for who, seen in (
            (PLATFORM, True),
            (Who("north", None), True),
            (Who("south", None), False),
            (Who("north", "acme"), False),
        ):
            assert (find(session, Partner, "north", who) is not None) == seen
        for nothing in ("", "nobody", "no\0rth", "north' OR 1=1"):
            assert find(session, Partner, nothing, PLATFORM) is None
        assert find(session, Gateway, "north", PLATFORM) is None
