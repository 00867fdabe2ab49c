"""A real HTTP server that takes calls, or does not: what it answers can be changed while it runs."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import orjson

from sipsvc.out.webhook import SIGNATURE


class Post(NamedTuple):
    """One that came, and what it was answered."""

    key: str
    signature: str
    body: bytes
    status: int
    at: float

    @property
    def cdr_id(self) -> str:
        return str(orjson.loads(self.body)["cdr_id"])


class Receiver:
    """`answer(cdr_id)` is the status; 0 hangs up without one."""

    def __init__(self, port: int = 0) -> None:
        self.posts: list[Post] = []
        self.answer: Callable[[str], int] = lambda cdr_id: 200
        self._lock = threading.Lock()
        self.connections: set[socket.socket] = set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if len(body) < int(self.headers["Content-Length"]):  # who sent it was killed
                    self.close_connection = True
                    return
                key = self.headers["Idempotency-Key"]
                status = receiver.answer(key)
                post = Post(key, self.headers[SIGNATURE], body, status, time.time())
                with receiver._lock:
                    receiver.posts.append(post)
                if not status:
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def setup(self) -> None:
                super().setup()
                receiver.connections.add(self.connection)

            def log_message(self, *_: object) -> None:
                """Nobody wants to read it."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """Who sends is killed at times; its connection ends as it may."""

        self._server = Server(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/calls"

    @property
    def taken(self) -> list[str]:
        """The cdr_id of every post that was answered 2xx."""
        return [post.key for post in self.posts if 200 <= post.status < 300]

    def stop(self) -> None:
        self._server.shutdown()
        for one in self.connections:
            with suppress(OSError):  # it is over already
                one.shutdown(socket.SHUT_RDWR)
        self._server.server_close()
        self._thread.join()


@contextmanager
def receiving() -> Iterator[Receiver]:
    one = Receiver()
    try:
        yield one
    finally:
        one.stop()
