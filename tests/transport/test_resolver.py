"""Names become addresses by RFC 3263 §4.2, asked of a real name server (SIP-8)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from random import Random

import pytest
import uvloop

from sipsvc.effects import Listener, Target
from sipsvc.transport import Resolver
from tests.nameserver import Nameserver

pytestmark = pytest.mark.rule("SIP-8")

IPV4 = (Listener("UDP", "192.0.2.1", 5060), Listener("TCP", "192.0.2.1", 5060), Listener("TLS", "192.0.2.1", 5061))
IPV6 = Listener("UDP", "2001:db8::1", 5060, True)
RECORDS = (
    "host-record=one.test,127.0.0.11",
    "host-record=many.test,127.0.0.21",
    "host-record=many.test,127.0.0.22",
    "host-record=both.test,127.0.0.31,2001:db8::31",
    "host-record=brief.test,127.0.0.41,0",
    "host-record=any.test,0.0.0.0",
    "cname=alias.test,one.test",
    "host-record=a.srv.test,127.0.0.51",
    "host-record=b.srv.test,127.0.0.52",
    "host-record=c.srv.test,127.0.0.53",
    "srv-host=_sip._udp.srv.test,b.srv.test,5072,20,0",
    "srv-host=_sip._udp.srv.test,a.srv.test,5071,10,0",
    "srv-host=_sip._tcp.srv.test,a.srv.test,5081,10,0",
    "srv-host=_sips._tcp.srv.test,a.srv.test,5091,10,0",
    "srv-host=_sip._udp.weighted.test,a.srv.test,5060,10,10",
    "srv-host=_sip._udp.weighted.test,b.srv.test,5060,10,30",
    "srv-host=_sip._udp.weighted.test,c.srv.test,5060,10,60",
    "srv-host=_sip._udp.none.test",
    "host-record=none.test,127.0.0.61",
    "srv-host=_sip._udp.gone.test,nowhere.test,5060,10,0",
    "srv-host=_sip._udp.half.test,nowhere.test,5060,10,0",
    "srv-host=_sip._udp.half.test,a.srv.test,5060,20,0",
    "srv-host=_sip._udp.slowhalf.test,x.slow.test,5060,10,0",
    "srv-host=_sip._udp.slowhalf.test,a.srv.test,5060,20,0",
    *(f"host-record=crowd.test,127.0.1.{number}" for number in range(1, 21)),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nameserver]:
    one = Nameserver(tmp_path_factory.mktemp("dns"))
    one.start(*RECORDS)
    yield one
    one.close()


Ask = Callable[..., Awaitable[tuple[Target, ...]]]


def play(
    server: Nameserver, story: Callable[[Ask], Awaitable[None]], listeners: tuple[Listener, ...] = IPV4, seed: int = 1
) -> None:
    """Run `story` with a resolver of its own."""

    async def run() -> None:
        resolver = Resolver(listeners, server.address, Random(seed))

        async def ask(host: str, port: int = 0, transport: str = "UDP") -> tuple[Target, ...]:
            found: asyncio.Future[tuple[Target, ...]] = asyncio.get_running_loop().create_future()
            resolver.resolve(host, port, transport, found.set_result)
            return await found

        try:
            await story(ask)
        finally:
            resolver.close()
            await asyncio.sleep(0)  # what was cancelled ends

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


def found(server: Nameserver, *asked: object, listeners: tuple[Listener, ...] = IPV4) -> list[tuple[str, str, int]]:
    """The targets of one look-up."""
    targets: list[tuple[str, str, int]] = []

    async def story(ask: Ask) -> None:
        targets.extend(tuple(one) for one in await ask(*asked))

    play(server, story, listeners)
    return targets


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        # A port: addresses only, whatever SRV says.
        (("one.test", 5080), [("UDP", "127.0.0.11", 5080)]),
        (("srv.test", 5080), []),
        # No port: SRV of the transport, by priority.
        (("srv.test",), [("UDP", "127.0.0.51", 5071), ("UDP", "127.0.0.52", 5072)]),
        (("SRV.Test.", 0, "TCP"), [("TCP", "127.0.0.51", 5081)]),
        (("srv.test", 0, "TLS"), [("TLS", "127.0.0.51", 5091)]),
        # No SRV: addresses at the transport's port.
        (("one.test",), [("UDP", "127.0.0.11", 5060)]),
        (("one.test", 0, "TCP"), [("TCP", "127.0.0.11", 5060)]),
        (("one.test", 0, "TLS"), [("TLS", "127.0.0.11", 5061)]),
        (("alias.test",), [("UDP", "127.0.0.11", 5060)]),
        # SRV that says that there is no such service is not gone round (RFC 2782).
        (("none.test",), []),
        (("none.test", 0, "TCP"), [("TCP", "127.0.0.61", 5060)]),
        # A host without an address is left out.
        (("half.test",), [("UDP", "127.0.0.51", 5060)]),
        (("gone.test",), []),
        (("nobody.test",), []),
        (("nobody.test", 5060), []),
        # What is no host's address, and what is no name.
        (("any.test",), []),
        ((f"{'x' * 63}." * 4 + "test",), []),
    ],
)  # fmt: skip
def test_where_a_name_leads(
    server: Nameserver, asked: tuple[object, ...], expected: list[tuple[str, str, int]]
) -> None:
    assert found(server, *asked) == expected


def test_ipv6_only_where_it_can_be_sent(server: Nameserver) -> None:
    v4, v6 = ("UDP", "127.0.0.31", 5060), ("UDP", "2001:db8::31", 5060)
    assert found(server, "both.test") == [v4]
    assert found(server, "both.test", listeners=(IPV6,)) == [v6]
    assert found(server, "both.test", listeners=(IPV6, *IPV4)) == [v6, v4]
    assert found(server, "both.test", listeners=(*IPV4, IPV6)) == [v4, v6]
    assert found(server, "both.test", 0, "TCP", listeners=(*IPV4, IPV6)) == [("TCP", "127.0.0.31", 5060)]


def test_all_addresses_are_given_each_of_them_first_at_times(server: Nameserver) -> None:
    async def story(ask: Ask) -> None:
        seen = [await ask("many.test") for _ in range(40)]
        assert {frozenset(one.host for one in targets) for targets in seen} == {frozenset({"127.0.0.21", "127.0.0.22"})}
        assert {targets[0].host for targets in seen} == {"127.0.0.21", "127.0.0.22"}

    play(server, story)


def test_no_more_addresses_than_can_be_tried(server: Nameserver) -> None:
    assert len(found(server, "crowd.test")) == 8


def test_weights(server: Nameserver) -> None:
    """10, 30 and 60 of a hundred; the seed makes the draws the same each time."""
    draws = 3_000

    async def story(ask: Ask) -> None:
        orders = [[one.host for one in await ask("weighted.test")] for _ in range(draws)]
        assert {frozenset(order) for order in orders} == {frozenset(f"127.0.0.5{n}" for n in (1, 2, 3))}
        first = Counter(order[0] for order in orders)
        # RFC 2782 draws from zero to the sum, both included, which gives the first a little more than its share.
        for host, share in (("127.0.0.51", 0.1), ("127.0.0.52", 0.3), ("127.0.0.53", 0.6)):
            assert abs(first[host] / draws - share) < 0.04
        # Behind the heaviest, the other two are one to three.
        second = Counter(order[1] for order in orders if order[0] == "127.0.0.53")
        assert 0.19 < second["127.0.0.51"] / second.total() < 0.31

    play(server, story, seed=7)


def test_what_is_known_is_not_asked_again(server: Nameserver) -> None:
    async def story(ask: Ask) -> None:
        before = server.asked("A", "one.test"), server.asked("SRV", "_sip._udp.one.test")
        for _ in range(5):
            assert await ask("one.test")
        # The name's having no SRV is known too.
        after = server.asked("A", "one.test"), server.asked("SRV", "_sip._udp.one.test")
        assert (after[0] - before[0], after[1] - before[1]) == (1, 1)

    play(server, story)


def test_what_may_not_be_kept_is_asked_each_time_and_serves_once(server: Nameserver) -> None:
    async def story(ask: Ask) -> None:
        before = server.asked("A", "brief.test")
        for _ in range(3):
            assert await ask("brief.test", 5060) == (Target("UDP", "127.0.0.41", 5060),)
        assert server.asked("A", "brief.test") - before == 3

    play(server, story)


def test_the_same_question_at_the_same_time_is_put_once(server: Nameserver) -> None:
    async def story(ask: Ask) -> None:
        before = server.asked("A", "a.srv.test"), server.asked("SRV", "_sip._udp.srv.test")
        answers = await asyncio.gather(*(ask("srv.test") for _ in range(50)))
        assert set(answers) == {answers[0]}
        assert len(answers[0]) == 2
        after = server.asked("A", "a.srv.test"), server.asked("SRV", "_sip._udp.srv.test")
        assert (after[0] - before[0], after[1] - before[1]) == (1, 1)

    play(server, story)


def test_a_slow_name_holds_nobody_up(server: Nameserver) -> None:
    async def story(ask: Ask) -> None:
        slow = asyncio.ensure_future(ask("x.slow.test", 5060))
        await asyncio.sleep(0.05)
        assert await ask("one.test") == (Target("UDP", "127.0.0.11", 5060),)
        assert not slow.done()
        assert await slow == ()

    play(server, story)


def test_what_is_there_serves_when_the_rest_is_late(server: Nameserver) -> None:
    assert found(server, "slowhalf.test") == [("UDP", "127.0.0.51", 5060)]


def test_an_answer_is_forgotten_when_its_time_is_over(tmp_path_factory: pytest.TempPathFactory) -> None:
    server = Nameserver(tmp_path_factory.mktemp("moving"))
    server.start("host-record=moving.test,127.0.0.71,1")

    async def story(ask: Ask) -> None:
        assert [one.host for one in await ask("moving.test", 5060)] == ["127.0.0.71"]
        server.start("host-record=moving.test,127.0.0.72,1")
        assert [one.host for one in await ask("moving.test", 5060)] == ["127.0.0.71"]
        await asyncio.sleep(1.1)
        assert [one.host for one in await ask("moving.test", 5060)] == ["127.0.0.72"]

    try:
        play(server, story)
    finally:
        server.close()


def test_old_answers_serve_while_the_name_server_is_down(tmp_path_factory: pytest.TempPathFactory) -> None:
    server = Nameserver(tmp_path_factory.mktemp("down"))
    server.start("host-record=known.test,127.0.0.81,1")

    async def story(ask: Ask) -> None:
        assert [one.host for one in await ask("known.test", 5060)] == ["127.0.0.81"]
        server.stop()
        await asyncio.sleep(1.1)
        assert [one.host for one in await ask("known.test", 5060)] == ["127.0.0.81"]
        assert await ask("unknown.test", 5060) == ()

    try:
        play(server, story)
    finally:
        server.close()
