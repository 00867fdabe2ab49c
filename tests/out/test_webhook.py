"""A signed POST a call: a receiver that fails, hangs up or is away for long gets each in the end (law 8)."""

from __future__ import annotations

import hashlib
import hmac
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from sqlalchemy import Engine
from structlog.testing import capture_logs

from sipsvc.cdrsettings import WebhookSettings
from sipsvc.out import output, webhook
from sipsvc.out.document import json_line
from sipsvc.out.output import Failed, Hand
from sipsvc.out.webhook import Webhook, signature
from sipsvc.store import outputs
from tests.cdr.records import refused, whole_call
from tests.out.conftest import Log
from tests.out.receiver import Receiver, receiving

SECRET = "0123456789abcdef"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


def hand_to(engine: Engine, url: str, partner: str = "", end: threading.Event | None = None) -> Hand:
    settings = WebhookSettings(name="billing", url=url, secret=SECRET, partner=partner)
    return Hand(engine, Webhook(settings), end or threading.Event())


@pytest.fixture
def hand(engine: Engine, receiver: Receiver) -> Iterator[Hand]:
    one = hand_to(engine, receiver.url)
    yield one
    one.output.close()


def ids(*numbers: int) -> list[str]:
    return [f"cdr-{number:06d}" for number in numbers]


@pytest.mark.rule("law 8")
def test_each_call_is_posted_once_and_signed(log: Log, receiver: Receiver, hand: Hand, engine: Engine) -> None:
    log.write(*whole_call(1), refused(2), *whole_call(3))
    assert hand.step()
    assert not hand.step()
    assert sorted(receiver.taken) == ids(1, 2, 3)
    for post in receiver.posts:
        assert post.cdr_id == post.key
        fields = dict(part.split("=") for part in post.signature.split(","))
        assert abs(int(fields["t"]) - post.at) < 60
        wanted = hmac.new(SECRET.encode(), f"{fields['t']}.".encode() + post.body, hashlib.sha256).hexdigest()
        assert fields["v1"] == wanted
    with output.Session(engine) as session:
        first = outputs.after(session, 0, 1)[0]
        assert next(post.body for post in receiver.posts if post.key == first.cdr_id) + b"\n" == json_line(first)


def test_the_signature_is_what_anybody_can_work_out() -> None:
    assert signature("s", 17, b"{}") == ("t=17,v1=" + hmac.new(b"s", b"17.{}", hashlib.sha256).hexdigest())


@pytest.mark.rule("law 8")
@pytest.mark.parametrize("status", [500, 503, 429, 404, 401, 302, 0])
def test_a_call_that_is_not_taken_comes_again_and_no_other_does(
    log: Log, receiver: Receiver, hand: Hand, status: int
) -> None:
    log.write(*(refused(number) for number in range(1, 21)))
    receiver.answer = lambda cdr_id: status if cdr_id == "cdr-000007" else 200
    for _ in range(3):
        with pytest.raises(Failed):
            hand.step()
        hand._at = None  # as `run` does
    receiver.answer = lambda cdr_id: 200
    assert hand.step()
    assert sorted(receiver.taken) == ids(*range(1, 21))
    assert sum(post.key == "cdr-000007" for post in receiver.posts) == 4
    assert len(receiver.posts) == 23


@pytest.mark.rule("law 8")
def test_gone_says_that_one_call_is_not_wanted(log: Log, receiver: Receiver, hand: Hand) -> None:
    log.write(*(refused(number) for number in range(1, 4)))
    receiver.answer = lambda cdr_id: 410 if cdr_id == "cdr-000002" else 200
    with capture_logs() as logs:
        assert hand.step()
    assert not hand.step()
    assert [(line["event"], line["cdr_id"]) for line in logs] == [("webhook_gone", "cdr-000002")]
    assert len(receiver.posts) == 3


def test_connections_serve_for_many_calls(log: Log, receiver: Receiver, hand: Hand) -> None:
    log.write(*(refused(number) for number in range(1, 61)))
    assert hand.step()
    assert len(receiver.taken) == 60
    assert len(receiver.connections) <= webhook.SENDERS


@pytest.mark.rule("law 8")
@pytest.mark.parametrize("status", ["200 OK", "500 Oh"])
def test_an_answer_without_end_is_not_read(log: Log, engine: Engine, status: str) -> None:
    """Only its status counts."""
    head = f"HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    chunk = b"10000\r\n" + 65_536 * b"x" + b"\r\n"
    most = 64 * 1024 * 1024
    sent = 0
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            nonlocal sent
            connection, _ = server.accept()
            with connection, suppress(OSError):  # who sends has hung up
                connection.recv(65_536)
                connection.sendall(head)
                while sent < most:
                    connection.sendall(chunk)
                    sent += len(chunk)

        thread = threading.Thread(target=serve)
        thread.start()
        log.write(refused(1))
        hand = hand_to(engine, f"http://127.0.0.1:{server.getsockname()[1]}/")
        if status == "200 OK":
            assert hand.step()
        else:
            with pytest.raises(Failed, match="answered 500"):
                hand.step()
        hand.output.close()
        thread.join(60)
    assert sent < most


@pytest.mark.rule("law 8")
def test_a_partner_gets_its_own_calls_only(log: Log, receiver: Receiver, engine: Engine) -> None:
    log.write(refused(1), refused(2, partner="other"), refused(3))
    hand = hand_to(engine, receiver.url, "other")
    assert hand.step()
    assert not hand.step()
    assert receiver.taken == ids(2)
    hand.output.close()


@pytest.mark.rule("law 8")
def test_a_receiver_that_is_down_loses_nothing(log: Log, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole loop with its back-off, which is made short here."""
    monkeypatch.setattr(output, "BACK_OFF_S", (0.05, 0.2))
    monkeypatch.setattr(output, "IDLE_S", 0.05)
    first = Receiver()
    end = threading.Event()
    hand = hand_to(engine, first.url, end=end)
    hand.start()
    try:
        log.write(*(refused(number) for number in range(1, 11)))
        until(lambda: len(first.taken) == 10)
        first.stop()
        log.write(*(refused(number) for number in range(11, 301)))
        until(lambda: "Connect" in hand.failing)
        time.sleep(1)
        back = Receiver(first.port)
        try:
            until(lambda: len(back.taken) == 290)
            until(lambda: not hand.failing)
            assert sorted(back.taken) == ids(*range(11, 301))
        finally:
            back.stop()
    finally:
        end.set()
        hand.join(20)
    assert not hand.is_alive()


def until(condition: object) -> None:
    assert callable(condition)
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.02)
