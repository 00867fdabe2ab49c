"""TCP on real sockets: whatever a peer does, messages come whole, memory is bounded and the rest is served."""

from __future__ import annotations

import asyncio
import resource
import socket
from itertools import count

import pytest

from sipsvc.effects import Flow
from sipsvc.message.stream import PING
from sipsvc.transport import Limits
from tests.transport.conftest import Run
from tests.transport.peer import HOST, Gateway, Rim, closed_port, message, until


@pytest.mark.rule("SIP-4", "SIP-6")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_messages_in_pieces_and_many_at_once(run: Run, host: str) -> None:
    async def go() -> None:
        rim = Rim(lambda data: b"pong" if data == PING else data, host=host)
        reader, writer = await rim.caller()
        first = message(1, b"a body")
        for at in range(len(first)):
            writer.write(first[at : at + 1])
            await writer.drain()
            await asyncio.sleep(0)
        assert await reader.readexactly(len(first)) == first
        # Far more than are worked off at a time, and the last in two halves.
        many = [message(number) for number in range(1000)]
        stream = b"".join(many)
        writer.write(stream[:-5])
        assert await reader.readexactly(len(stream) - len(many[-1])) == stream[: -len(many[-1])]
        writer.write(stream[-5:] + PING)
        assert await reader.readexactly(len(many[-1]) + 4) == many[-1] + b"pong"
        flows = {flow for _, flow in rim.messages}
        assert flows == {Flow("TCP", host, writer.get_extra_info("sockname")[1], 0, 1)}
        writer.close()
        await until(lambda: rim.lost)
        assert rim.lost == list(flows) and len(rim.streams) == 0
        await rim.close()

    run(go())


@pytest.mark.rule("SIP-4")
def test_a_stream_that_stalls_inside_a_message_is_closed(run: Run) -> None:
    async def go() -> None:
        rim = Rim(limits=Limits(stall=0.3))
        halted = await rim.caller()
        halted[1].write(message()[:20])
        trickling = await rim.caller()
        trickling[1].write(message(2) + message(3)[:1])

        async def trickle() -> None:
            # A byte now and then does not buy more time: the message's first byte counts.
            for byte in message(3)[1:]:
                trickling[1].write(bytes([byte]))
                await asyncio.sleep(0.05)

        slowly = asyncio.create_task(trickle())
        assert await halted[0].read() == b"" and await trickling[0].read() == b""
        assert rim.counted == ["stream_stalled"] * 2
        assert [data for data, _ in rim.messages] == [message(2)]
        slowly.cancel()
        await rim.close()

    run(go())


@pytest.mark.rule("SIP-4")
def test_who_is_slow_between_messages_is_not_stalled(run: Run) -> None:
    async def go() -> None:
        rim = Rim(limits=Limits(stall=0.4))
        _, writer = await rim.caller()
        # Always inside a message, but never long inside the same.
        data = b"".join(message(number) for number in range(20))
        step = len(message()) + 3
        for at in range(0, len(data), step):
            writer.write(data[at : at + step])
            await asyncio.sleep(0.1)
        await until(lambda: len(rim.messages) == 20)
        assert rim.counted == [] and rim.lost == []
        writer.close()
        await rim.close()

    run(go())


def test_silence_ends_a_connection_sooner_when_it_never_carried_a_message(run: Run) -> None:
    async def go() -> None:
        rim = Rim(limits=Limits(unused=0.3, idle=1.0))
        unused, used = await rim.caller(), await rim.caller()
        unused[1].write(PING)  # a keepalive is no message
        used[1].write(message())
        began = asyncio.get_running_loop().time()
        assert await unused[0].read() == b""
        assert not used[0].at_eof() and rim.counted == ["stream_idle"]
        assert await used[0].read() == b""
        assert asyncio.get_running_loop().time() - began >= 0.9
        await rim.close()

    run(go())


@pytest.mark.rule("SIP-3")
def test_a_stream_that_cannot_be_framed_gets_its_answer_and_is_closed(run: Run) -> None:
    async def go() -> None:
        rim = Rim()
        reader, writer = await rim.caller()
        writer.write(message(1) + b"INVITE sip:x SIP/2.0\r\nl: x\r\n\r\n" + message(2))
        assert await reader.read() == b"fault"
        await until(lambda: rim.lost)
        assert [data for data, _ in rim.messages] == [message(1)]
        assert [fault.reason for _, fault, _ in rim.faults] == ["Bad Content-Length header"]
        # What is sent to it from now on cannot arrive.
        rim.streams.send(b"late", rim.lost[0], "late")
        await until(lambda: rim.failed == ["late"])
        await rim.close()

    run(go())


@pytest.mark.rule("SIP-3")
def test_a_peer_that_does_not_read_is_not_read_from_and_then_closed(run: Run) -> None:
    async def go() -> None:
        answer = b"x" * 2_000
        limits = Limits(stuck=1.0, high_water=20_000, queue=300_000)
        rim = Rim(lambda data: answer, limits=limits)
        reader, writer = await rim.caller()
        reader._transport.pause_reading()  # type: ignore[attr-defined]

        async def ask() -> None:
            for number in count():
                writer.write(message(number))
                await writer.drain()

        asking = asyncio.create_task(ask())
        other = await rim.caller()
        served = 0
        while not rim.lost:
            # Meanwhile others are served.
            other[1].write(message())
            await other[0].readexactly(len(answer))
            served += 1
            await asyncio.sleep(0.05)
        assert served > 5
        assert rim.counted == ["stream_not_read"]
        asked = len(rim.messages) - served
        # A kernel's buffers, and ours, bound what was taken in and answered.
        assert asked * len(answer) < 30_000_000
        asking.cancel()
        writer.close()
        other[1].close()
        await rim.close()

    run(go())


@pytest.mark.rule("SIP-3")
def test_what_does_not_fit_into_the_queue_is_not_sent(run: Run) -> None:
    async def go() -> None:
        rim = Rim(limits=Limits(queue=10_000))
        gateway = await Gateway().open()
        flow = rim.to(gateway.port)
        for number in range(15):
            rim.streams.send(b"x" * 1_000, flow, f"ref{number}")
        await until(lambda: sum(map(len, gateway.got)) == 10_000)
        assert rim.failed == [f"ref{number}" for number in range(10, 15)]
        await rim.close()
        await gateway.close()

    run(go())


@pytest.mark.rule("SIP-6", "SIP-13")
def test_a_refused_connection_fails_all_that_waited_for_it(run: Run) -> None:
    async def go() -> None:
        rim = Rim()
        flow = rim.to(closed_port())
        for ref in ("a", "", "b"):
            rim.streams.send(b"data", flow, ref)
        await until(lambda: rim.lost)
        assert rim.failed == ["a", "b"] and rim.counted == ["connect_failed"]
        assert rim.lost == [flow._replace(conn=1)] and len(rim.streams) == 0
        # The next one tries anew.
        rim.streams.send(b"data", flow, "c")
        await until(lambda: rim.failed == ["a", "b", "c"])
        assert rim.lost[1].conn == 2
        await rim.close()

    run(go())


@pytest.mark.rule("SIP-6", "SIP-13")
def test_a_connection_that_nobody_answers_has_a_deadline(run: Run) -> None:
    async def go() -> None:
        rim = Rim(limits=Limits(connect=0.3))
        with socket.socket() as full, socket.socket() as one, socket.socket() as two:
            full.bind((HOST, 0))
            full.listen(0)
            for other in (one, two):
                other.setblocking(False)
                other.connect_ex(full.getsockname())
            rim.streams.send(b"data", rim.to(full.getsockname()[1]), "a")
            await until(lambda: rim.failed == ["a"])
        assert len(rim.streams) == 0
        await rim.close()

    run(go())


@pytest.mark.rule("SIP-6")
def test_one_connection_to_a_peer_and_another_when_it_is_gone(run: Run) -> None:
    async def go() -> None:
        rim = Rim(host="127.0.0.2")
        gateway = await Gateway().open()
        flow = rim.to(gateway.port)
        for number in range(3):
            rim.streams.send(message(number), flow, "a")
        await until(lambda: b"".join(gateway.got) == b"".join(map(message, range(3))))
        rim.streams.send(message(3), flow, "a")
        await until(lambda: gateway.got[-1] == message(3))
        # It sees the address of the listener that is named in the Via.
        assert [host for host, _ in gateway.peers] == ["127.0.0.2"]
        gateway.writers[0].write(message(4))
        await until(lambda: rim.messages)
        assert rim.messages == [(message(4), flow._replace(conn=1))]
        await gateway.hang_up()
        await until(lambda: rim.lost)
        assert rim.lost == [flow._replace(conn=1)]
        rim.streams.send(message(5), flow, "a")
        await until(lambda: gateway.got[-1] == message(5))
        gateway.writers[0].write(message(6))
        await until(lambda: len(rim.messages) == 2)
        assert rim.messages[1] == (message(6), flow._replace(conn=2))
        assert len(gateway.peers) == 2 and rim.failed == []
        await rim.close()
        await gateway.close()

    run(go())


def test_an_end_before_the_connection_is_made_leaves_nothing(run: Run) -> None:
    async def go() -> None:
        rim = Rim()
        gateway = await Gateway().open()
        rim.streams.send(b"data", rim.to(gateway.port), "a")
        await rim.caller()
        await rim.close()
        # Nor does what is sent behind it begin anything.
        rim.streams.send(b"data", rim.to(gateway.port), "b")
        assert len(rim.streams) == 0 and rim.lost == [] and rim.failed == []
        await gateway.close()

    run(go())


@pytest.mark.rule("SIP-3", "SIP-24")
def test_connections_are_bounded_in_all_and_for_each_source(run: Run) -> None:
    async def go() -> None:
        rim = Rim(host="0.0.0.0", limits=Limits(connections=30, per_source=10))

        async def connect(source: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            return await asyncio.open_connection(HOST, rim.port, local_addr=(source, 0))

        crowd = [await connect("127.0.0.9") for _ in range(14)]
        await until(lambda: rim.counted.count("connections_of_source") == 4)
        assert len(rim.streams) == 10
        others = [await connect(f"127.0.1.{number}") for number in range(24)]
        await until(lambda: rim.counted.count("connections_full") == 4)
        assert len(rim.streams) == 30
        for _, writer in crowd:
            writer.close()
        await until(lambda: len(rim.streams) == 20)
        others.append(await connect("127.0.0.9"))
        others[-1][1].write(message())
        await until(lambda: rim.messages)
        for _, writer in others:
            writer.close()
        await until(lambda: len(rim.streams) == 0)
        await rim.close()

    run(go())


@pytest.mark.rule("SIP-3", "SIP-24")
def test_a_crowd_at_the_door_does_not_keep_us_from_a_gateway(run: Run) -> None:
    async def go() -> None:
        rim = Rim(limits=Limits(connections=5, per_source=5, ours=2))
        for _ in range(8):
            await rim.caller()
        await until(lambda: len(rim.counted) == 3)
        gateways = [await Gateway().open() for _ in range(3)]
        for number, gateway in enumerate(gateways):
            rim.streams.send(message(), rim.to(gateway.port), f"ref{number}")
        # Nor do ours, of which there may only be so many, keep anybody out.
        await until(lambda: rim.failed == ["ref2"] and gateways[0].got and gateways[1].got)
        assert gateways[2].got == [] and len(rim.streams) == 7
        for gateway in gateways:
            await gateway.close()
        await until(lambda: len(rim.streams) == 5)
        await rim.close()

    run(go())


@pytest.mark.rule("SIP-3", "SIP-24")
def test_a_peer_of_many_ports_leaves_connections_for_others(run: Run) -> None:
    """A customer's Vias may name any port of its own to be answered at."""

    async def go() -> None:
        rim = Rim(limits=Limits(ours=10, per_peer=3))
        gateway = await Gateway().open()
        for number in range(5):
            rim.streams.send(message(), rim.to(40_000 + number, "127.0.0.77"), f"ref{number}")
        await until(lambda: rim.counted.count("connections_of_ours") == 2)
        rim.streams.send(message(), rim.to(gateway.port), "others")
        await until(lambda: gateway.got)
        await gateway.close()
        await until(lambda: len(rim.streams) == 0)
        await rim.close()

    run(go())


@pytest.mark.rule("SIP-3")
def test_thousands_of_idle_connections_hold_up_nobody(run: Run) -> None:
    async def go() -> None:
        rim = Rim(lambda data: data, host="0.0.0.0")
        crowd = []
        for number in range(2_000):
            one = socket.socket()
            one.bind((f"127.0.{number % 8}.9", 0))
            one.setblocking(False)
            one.connect_ex((HOST, rim.port))
            crowd.append(one)
            if number % 100 == 0:
                await asyncio.sleep(0.01)
        await until(lambda: len(rim.streams) == 2_000)
        reader, writer = await asyncio.open_connection(HOST, rim.port)
        writer.write(message())
        assert await reader.readexactly(len(message())) == message()
        writer.close()
        for one in crowd:
            one.close()
        await until(lambda: len(rim.streams) == 0)
        assert len(rim.lost) == 2_001
        await rim.close()

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8_192), hard))
    try:
        run(go())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.rule("SIP-3")
def test_without_descriptors_nobody_is_taken_in_until_there_are_some(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sipsvc.transport.stream.ACCEPT_AGAIN_S", 0.2)

    async def go() -> None:
        rim = Rim(lambda data: data)
        waiting = [socket.socket() for _ in range(20)]
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with socket.socket() as last:
            free = last.fileno()  # the lowest there is
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        try:
            for one in waiting:
                one.setblocking(False)
                one.connect_ex((HOST, rim.port))
            await asyncio.sleep(0.5)
            assert len(rim.streams) == 0
            # One of ours cannot be opened either.
            rim.streams.send(b"data", rim.to(rim.port), "a")
            await until(lambda: rim.failed == ["a"])
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await until(lambda: len(rim.streams) == 20)
        for one in waiting:
            one.close()
        await until(lambda: len(rim.streams) == 0)
        await rim.close()

    run(go())
