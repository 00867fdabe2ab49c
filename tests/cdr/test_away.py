"""What a database that takes nothing is to blame for is no fault of the calls (law 8)."""

from __future__ import annotations

from pathlib import Path
from random import Random

import psycopg
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from sipsvc.cdr.deliver import DatabaseAway, Deliverer
from sipsvc.cdr.segments import encode, segment_path
from sipsvc.store.database import migrate, open_database
from sipsvc.store.models import Cdr, LedgerPosting
from tests.cdr.records import refused, whole_call
from tests.postgres import Postgres


@pytest.mark.rule("law 8")
@pytest.mark.parametrize(
    ("spoilt", "mended"),
    [
        (
            'ALTER DATABASE "{}" SET default_transaction_read_only = on',
            'ALTER DATABASE "{}" RESET default_transaction_read_only',
        ),
        ("REVOKE INSERT ON ledger_posting FROM app", "GRANT INSERT ON ledger_posting TO app"),
    ],
    ids=["no writes", "no right"],
)
def test_no_call_is_set_aside_for_a_database_that_takes_none(
    postgres: Postgres, tmp_path: Path, spoilt: str, mended: str
) -> None:
    name = postgres.database()
    url = postgres.url(name)
    migrate(url)
    engine = open_database(url)
    with engine.begin() as connection:
        if not connection.execute(text("SELECT 1 FROM pg_roles WHERE rolname = 'app'")).first():
            connection.execute(text("CREATE ROLE app LOGIN"))
        connection.execute(text("GRANT ALL ON ALL TABLES IN SCHEMA public TO app"))
        connection.execute(text(spoilt.format(name)))
    engine.dispose()
    records = [record for number in range(3) for record in whole_call(number)]
    segment_path(tmp_path, 1).write_bytes(b"".join(map(encode, records)))
    reached = open_database(url.replace("sipsvc@", "app@"))
    deliverer = Deliverer(tmp_path, reached)
    for _ in range(2):
        with pytest.raises(DatabaseAway):
            deliverer.step()
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as desk:
        desk.execute("SET default_transaction_read_only = off")
        desk.execute(mended.format(name))
    reached.dispose()
    assert (deliverer.step(), deliverer.step(), deliverer.rejected) == (3, 0, 0)
    with Session(reached) as session:
        assert session.execute(select(func.count()).select_from(Cdr)).scalar_one() == 3
        assert session.execute(select(func.count()).where(LedgerPosting.kind == "charge")).scalar_one() == 3
    reached.dispose()


@pytest.mark.rule("law 8")
def test_a_call_that_is_too_large_for_an_index_holds_up_no_other(postgres: Postgres, tmp_path: Path) -> None:
    url = postgres.url(postgres.database())
    migrate(url)
    engine = open_database(url)
    long = Random(1).randbytes(20_000).hex()  # not to be compressed
    records = [refused(1, call_id=long), *whole_call(2)]
    segment_path(tmp_path, 1).write_bytes(b"".join(map(encode, records)))
    deliverer = Deliverer(tmp_path, engine)
    deliverer.step()
    assert deliverer.rejected == 1
    with Session(engine) as session:
        assert session.execute(select(func.count()).select_from(Cdr)).scalar_one() == 1
    engine.dispose()
