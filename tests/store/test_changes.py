"""A change, its history and the catalogue's version are one transaction, and any earlier state can be read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from threading import Thread
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from sipsvc.store import changes as c
from sipsvc.store.catalogue import UNSAID
from sipsvc.store.changes import HIDDEN, Actor, Changes
from sipsvc.store.database import migrate, open_database, writing
from sipsvc.store.models import Customer, Partner, PriceList, Trunk

ANN = Actor("ann", "partner_admin", "192.0.2.7")
T0 = datetime(2026, 11, 1, 12, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return T0 + timedelta(minutes=minutes)


def pricelist(**values: object) -> PriceList:
    given: dict[str, object] = {
        "name": "Retail", "currency": "USD", "initial": 60, "increment": 60, "minimum": Decimal(0),
        "expensive_at": Decimal("0.5"), "min_rate": Decimal(0), "max_profit": None, "strategy": "cheapest",
        "rows_version": 0, "partner": "p", "expected_s": 60, "allow_loss": False,
    }  # fmt: skip
    return PriceList(**given | values)


def make_partner(session: Session) -> None:
    Changes(session, ANN, T0).create(Partner(id="p", name="P", email="", time_zone="UTC"))


@pytest.mark.rule("UI-2")
def test_history_tells_field_by_field(engine: Engine) -> None:
    with writing(engine) as session:
        make_partner(session)
        row = pricelist()
        Changes(session, ANN, at(1)).create(row)
        made = row.id
    with writing(engine) as session:
        row = session.get_one(PriceList, made)
        change = Changes(session, Actor("bob", "platform_admin", "192.0.2.8"), at(2))
        assert change.update(row, {"minimum": Decimal("0.01"), "name": "Retail", "max_profit": Decimal("0.1")})
        assert not change.update(row, {"minimum": Decimal("0.010000")})
        assert (row.version, row.updated_at, row.created_at) == (2, at(2), at(1))
    with Session(engine) as session:
        first, second = c.entries(session, "pricelist", made)
    assert (first.action, first.version, first.actor, first.partner) == ("create", 1, "ann", "p")
    assert first.changes["expensive_at"] == [None, "0.500000"]
    assert (second.actor, second.role, second.address, second.at) == ("bob", "platform_admin", "192.0.2.8", at(2))
    assert second.changes == {"minimum": ["0.000000", "0.010000"], "max_profit": [None, "0.100000"]}
    assert second.directory == first.directory + 1


@pytest.mark.rule("UI-2")
def test_secrets_stay_out_of_history(engine: Engine) -> None:
    with writing(engine) as session:
        make_partner(session)
        change = Changes(session, ANN, at(1))
        change.create(pricelist(id="retail"))
        change.create(
            Customer(
                id="acme", partner="p", name="Acme", status="active", pricelist="retail", allow_expensive=False,
                max_channels=0, dial_plan={}, caller_ids={}, max_cps=0, busy_status=486, prepaid=False, time_zone="UTC",
                **UNSAID,
            )
        )  # fmt: skip
        trunk = Trunk(
            id="pbx",
            partner="p",
            customer="acme",
            enabled=True,
            source="",
            port=0,
            username="u",
            ha1_md5="a" * 32,
            max_channels=0,
            ha1_sha256="",
            algorithms=[],
            tech_prefix="",
            certificate="",
        )
        change.create(trunk)
        change.update(trunk, {"ha1_md5": "b" * 32})
        change.delete(trunk)
        said = [entry.changes for entry in c.entries(session, "trunk", "pbx")]
    assert [one["ha1_md5"] for one in said] == [[None, HIDDEN], [HIDDEN, HIDDEN], [HIDDEN, None]]
    assert not any("a" * 32 in str(one) or "b" * 32 in str(one) for one in said)


def test_a_change_that_fails_leaves_no_history(engine: Engine) -> None:
    with writing(engine) as session:
        make_partner(session)

    def fail() -> None:
        with writing(engine) as session:
            Changes(session, ANN, at(1)).create(pricelist(id="retail"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    with Session(engine) as session:
        assert session.get(PriceList, "retail") is None
        assert c.entries(session, "pricelist", "retail") == []
    with writing(engine) as session:
        # The number was not used up either.
        assert Changes(session, ANN, at(1)).directory == 2


NAMES = st.lists(st.sampled_from(["Retail", "Wholesale", "Trunks"]), min_size=1, max_size=8)


@pytest.mark.rule("UI-2")
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=NAMES, end=st.booleans())
def test_any_earlier_state(tmp_path_factory: pytest.TempPathFactory, names: list[str], end: bool) -> None:
    """As of any instant, and of any version, the fields are what they were then."""
    url = f"sqlite:///{tmp_path_factory.mktemp('history') / 'x.db'}"
    migrate(url)
    engine = open_database(url)
    known: list[tuple[datetime, str | None]] = [(T0, None)]
    versions: dict[int, str] = {}
    with writing(engine) as session:
        make_partner(session)
        row = pricelist(id="retail", name=names[0])
        Changes(session, ANN, at(1)).create(row)
        known.append((at(1), names[0]))
        versions[1] = names[0]
        for minute, name in enumerate(names[1:], 2):
            if Changes(session, ANN, at(minute)).update(row, {"name": name}):
                known.append((at(minute), name))
                versions[row.version] = name
        current = c.fields(row)
        if end:
            Changes(session, ANN, at(20)).delete(row)
            known.append((at(20), None))
        history = c.entries(session, "pricelist", "retail")
    engine.dispose()
    now = None if end else current
    for (since, name), (until, _) in pairwise([*known, (at(60), None)]):
        for moment in (since, until - timedelta(milliseconds=1)):
            state = c.state_at(history, now, at=moment)
            assert (state["name"] if state else None) == name
    for version, name in versions.items():
        state = c.state_at(history, now, version=version)
        assert state is not None
        assert state["name"] == name
        assert state["minimum"] == "0.000000"


def test_ids_are_uuid7_and_in_order() -> None:
    made = [UUID(c.new_id()) for _ in range(200)]
    assert {one.version for one in made} == {7}
    assert {one.variant for one in made} == {"specified in RFC 4122"}
    assert len(set(made)) == 200
    times = [one.int >> 80 for one in made]
    assert times == sorted(times)


def test_a_later_change_never_has_an_earlier_instant(engine: Engine) -> None:
    """One that waited for another's commit is dated after it: prices that begin with each could overlap otherwise."""
    with writing(engine) as session:
        make_partner(session)
    second: list[datetime] = []

    def wait_and_change() -> None:
        with writing(engine) as session:
            second.append(Changes(session, ANN).at)

    waiting = Thread(target=wait_and_change)
    with writing(engine) as session:
        Changes(session, ANN)
        waiting.start()
        # Long enough for it to come to the lock; where it does not, nothing is shown and nothing fails.
        waiting.join(0.3)
        held_until = c.utc_now()
    waiting.join()
    assert second[0] >= held_until
