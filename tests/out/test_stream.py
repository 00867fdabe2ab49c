"""The Redis Stream: each call an entry, at least once, though Redis goes and comes back (law 8)."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import orjson
import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from sipsvc.cdrsettings import StreamSettings
from sipsvc.out.document import document
from sipsvc.out.output import Failed, Hand
from sipsvc.out.stream import Stream
from sipsvc.store import outputs
from tests.cdr.records import refused, whole_call
from tests.out.conftest import Log
from tests.redis import Redis


@pytest.fixture
def hand(engine: Engine, redis_server: Redis) -> Iterator[Hand]:
    with redis_server.client() as client:
        client.flushall()
    one = Hand(engine, Stream(StreamSettings(url=redis_server.url, max_length=200)), threading.Event())
    yield one
    one.output.close()


def entries(server: Redis) -> list[dict[bytes, bytes]]:
    with server.client() as client:
        return [fields for _, fields in client.xrange("sipsvc:cdrs")]


@pytest.mark.rule("law 8")
def test_each_call_is_an_entry_in_the_order_of_storing(
    log: Log, hand: Hand, redis_server: Redis, engine: Engine
) -> None:
    log.write(*whole_call(1), refused(2, partner="other", customer="café"), refused(3))
    assert hand.step()
    assert not hand.step()
    found = entries(redis_server)
    assert [one[b"cdr_id"] for one in found] == [b"cdr-000001", b"cdr-000002", b"cdr-000003"]
    assert (found[1][b"partner"], found[1][b"customer"].decode()) == (b"other", "café")
    with Session(engine) as session:
        assert [orjson.loads(one[b"cdr"]) for one in found] == [document(row) for row in outputs.after(session, 0, 9)]


@pytest.mark.rule("law 8")
def test_a_redis_that_is_down_loses_nothing(log: Log, hand: Hand, redis_server: Redis) -> None:
    log.write(refused(1))
    assert hand.step()
    redis_server.stop()
    log.write(refused(2), refused(3))
    try:
        for _ in range(2):
            with pytest.raises(Failed, match="Connection"):
                hand.step()
    finally:
        redis_server.start()
    assert hand.step()
    assert [one[b"cdr_id"] for one in entries(redis_server)] == [b"cdr-000001", b"cdr-000002", b"cdr-000003"]


@pytest.mark.rule("law 8")
def test_what_died_before_it_was_noted_comes_again_under_the_same_id(
    log: Log, hand: Hand, redis_server: Redis, engine: Engine
) -> None:
    log.write(refused(1), refused(2))
    with Session(engine) as session:
        hand.output.hand_on(outputs.after(session, 0, 10))
    assert hand.step()
    assert [one[b"cdr_id"] for one in entries(redis_server)] == [b"cdr-000001", b"cdr-000002"] * 2


def test_the_stream_is_cut(log: Log, hand: Hand, redis_server: Redis) -> None:
    log.write(*(refused(number) for number in range(1, 1_001)))
    while hand.step():
        pass
    found = entries(redis_server)
    assert 200 <= len(found) < 500
    assert found[-1][b"cdr_id"] == b"cdr-001000"
