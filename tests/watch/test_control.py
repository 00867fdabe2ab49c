"""The control socket: its owner's only, and nobody who asks holds the loop (SIP-38)."""

from __future__ import annotations

import asyncio
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson
import pytest

from sipsvc.control import ControlError, ControlServer, NoServer, Refused, Unanswered, ask
from sipsvc.control.place import NAME, address
from sipsvc.control.server import LINE_BYTES, MOST_CLIENTS
from tests.waiting import until
from tests.watch.conftest import Loop

PIECE = "x" * 20_000


def big(asked: dict[str, Any]) -> Iterator[Any]:
    for _ in range(int(asked["pieces"])):
        yield PIECE


def echo(asked: dict[str, Any]) -> Iterator[Any]:
    yield asked


def no(asked: dict[str, Any]) -> Iterator[Any]:
    yield 1
    raise Refused("not today")


def broken(asked: dict[str, Any]) -> Iterator[Any]:
    yield {"fine": True}
    raise ZeroDivisionError


HANDLERS = {"big": big, "echo": echo, "no": no, "broken": broken}


@contextmanager
def serving(loop: Loop, folder: Path, patience_s: float = 10.0) -> Iterator[ControlServer]:
    async def make() -> ControlServer:
        server = ControlServer(HANDLERS, patience_s=patience_s)
        await server.start(folder)
        return server

    async def stop(server: ControlServer) -> None:
        server.stop()
        await asyncio.sleep(0.05)

    server = loop.run(make())
    try:
        yield server
    finally:
        loop.run(stop(server))


@contextmanager
def linked(folder: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link, address(folder) as name:
        link.connect(name)
        link.settimeout(20)
        yield link


def until_the_end(link: socket.socket) -> int:
    """How much still comes before it is closed."""
    came = 0
    with suppress(ConnectionError):
        while data := link.recv(1 << 20):
            came += len(data)
    return came


def told(link: socket.socket) -> Any:
    return orjson.loads(link.makefile("rb").readline())


def let_in(folder: Path) -> bool:
    with suppress(ControlError):
        return len(list(ask(folder, "echo"))) == 1
    return False


@contextmanager
def turning(loop: Loop) -> Iterator[Callable[[], int]]:
    """How often the loop had its turn meanwhile."""
    turns = 0
    over = False

    async def turn() -> None:
        nonlocal turns
        while not over:
            turns += 1
            await asyncio.sleep(0.001)

    task = asyncio.run_coroutine_threadsafe(turn(), loop.loop)
    try:
        yield lambda: turns
    finally:
        over = True
        task.result(10)


@pytest.mark.rule("SIP-38")
def test_only_its_owner_may_ask(loop: Loop, tmp_path: Path) -> None:
    with serving(loop, tmp_path):
        mode = (tmp_path / NAME).stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
    assert not (tmp_path / NAME).exists()


def test_a_question_and_its_answer_and_another_on_the_same_connection(loop: Loop, tmp_path: Path) -> None:
    with serving(loop, tmp_path):
        assert list(ask(tmp_path, "echo", text="ü\n")) == [{"do": "echo", "text": "ü\n"}]
        assert list(ask(tmp_path, "big", pieces=0)) == []
        with linked(tmp_path) as link:
            for number in range(3):
                link.sendall(b'{"do": "echo", "n": %d}\n' % number)
                lines = link.makefile("rb")
                assert orjson.loads(lines.readline())["data"]["n"] == number
                assert orjson.loads(lines.readline()) == {"done": True}


def test_a_folder_with_a_very_long_name(loop: Loop, tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30) / ("longer" * 30)
    folder.mkdir(parents=True)
    with serving(loop, folder):
        assert len(list(ask(folder, "echo"))) == 1


def test_a_socket_that_a_killed_server_left_is_no_server_and_is_taken_over(loop: Loop, tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / NAME))
    left.close()
    with pytest.raises(NoServer, match="no sipsvc serve runs on the data folder"):
        list(ask(tmp_path, "echo"))
    with serving(loop, tmp_path):
        assert len(list(ask(tmp_path, "echo"))) == 1


@pytest.mark.parametrize("folder", ["empty", "nowhere"])
def test_where_no_server_runs(tmp_path: Path, folder: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoServer, match=f"no sipsvc serve runs on the data folder .*{folder}"):
        list(ask(tmp_path / folder, "echo"))


def test_what_is_refused_says_why(loop: Loop, tmp_path: Path) -> None:
    with serving(loop, tmp_path):
        with pytest.raises(ControlError, match="`do` must be one of big, broken, echo, no"):
            list(ask(tmp_path, "dance"))
        answer = ask(tmp_path, "no")
        assert next(answer) == 1
        with pytest.raises(ControlError, match="not today"):
            next(answer)
        with pytest.raises(ControlError, match="a fault of the server's"):
            list(ask(tmp_path, "broken"))
        assert len(list(ask(tmp_path, "echo"))) == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"hello\n", "a question is a line of JSON"),
        (b"\xff\xfe\n", "a question is a line of JSON"),
        (b"[]\n", "`do` must be"),
        (b'{"do": ["echo"]}\n', "`do` must be"),
        (b"x" * (LINE_BYTES + 1) + b"\n", "a question has at most"),
        (b"x" * (4 * LINE_BYTES), "a question has at most"),
    ],
)
def test_questions_that_are_none(loop: Loop, tmp_path: Path, line: bytes, said: str) -> None:
    with serving(loop, tmp_path):
        with linked(tmp_path) as link:
            link.sendall(line)
            assert said in told(link)["error"]
        assert len(list(ask(tmp_path, "echo"))) == 1


@pytest.mark.rule("SIP-38")
def test_who_says_nothing_or_takes_nothing_is_hung_up_on(loop: Loop, tmp_path: Path) -> None:
    with serving(loop, tmp_path, patience_s=0.3):
        with linked(tmp_path) as silent, linked(tmp_path) as half, linked(tmp_path) as deaf:
            half.sendall(b'{"do": "echo"')
            deaf.sendall(b'{"do": "big", "pieces": 100000}\n')  # 2 GB that nobody reads
            time.sleep(1)
            assert silent.recv(1) == b""
            assert half.recv(1) == b""
            assert until_the_end(deaf) < 1_000_000
        assert len(list(ask(tmp_path, "echo"))) == 1


def test_who_hangs_up_in_the_middle_costs_nobody_anything(loop: Loop, tmp_path: Path) -> None:
    with serving(loop, tmp_path):
        for _ in range(40):
            with linked(tmp_path) as link:
                link.sendall(b'{"do": "big", "pieces": 1000}\n')
                link.recv(10)
        assert len(list(ask(tmp_path, "big", pieces=100))) == 100


def test_a_large_answer_lets_the_loop_have_its_turns(loop: Loop, tmp_path: Path) -> None:
    with serving(loop, tmp_path), turning(loop) as turns:
        before = turns()
        assert len(list(ask(tmp_path, "big", pieces=2_000))) == 2_000
        assert turns() - before > 20


@pytest.mark.rule("SIP-38")
def test_many_ask_at_once_and_one_too_many_is_told(loop: Loop, tmp_path: Path) -> None:
    with serving(loop, tmp_path):
        with ThreadPoolExecutor(MOST_CLIENTS) as pool:
            done = pool.map(lambda _: len(list(ask(tmp_path, "big", pieces=30))), range(MOST_CLIENTS))
            assert list(done) == [30] * MOST_CLIENTS
        links = [socket.socket(socket.AF_UNIX) for _ in range(MOST_CLIENTS)]
        try:
            with address(tmp_path) as name:
                for link in links:
                    link.connect(name)
                    link.settimeout(20)
            for link in links:
                link.sendall(b'{"do": "echo"}\n')
                assert "data" in told(link)
            with pytest.raises(ControlError, match="too many ask at once"):
                list(ask(tmp_path, "echo"))
        finally:
            for link in links:
                link.close()
        until(lambda: let_in(tmp_path), 20)


def test_an_asker_waits_no_longer_than_it_wants_and_learns_of_the_end(loop: Loop, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / NAME))
        mute.listen()
        with pytest.raises(Unanswered, match=r"did not answer within 0\.2 s"):
            list(ask(tmp_path, "echo", patience_s=0.2))

        def hang_up() -> None:
            for _ in range(2):  # the first is the one above
                mute.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(Unanswered, match="the server hung up"):
            list(ask(tmp_path, "echo"))
        thread.join()
