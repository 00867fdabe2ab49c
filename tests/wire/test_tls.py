"""A call by TLS on both sides, through a real server with real certificates, and hung up by the gateway."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from hashlib import sha256
from pathlib import Path

import pytest

from sipsvc.demo.agent import Message, new_branch, parse, respond
from sipsvc.demo.server import Server, free_port
from sipsvc.message.stream import Framer
from tests.transport.certificates import Authority
from tests.wire.conftest import BY_DIGEST, CALLER, NUMBER, Stage, write_bundle

SECONDS = 20


class Link:
    """One end of a TLS connection, message by message."""

    def __init__(self, connection: ssl.SSLSocket) -> None:
        self.connection = connection
        self._framer = Framer()
        self._waiting: list[bytes] = []
        self.here = "{}:{}".format(*connection.getsockname()[:2])

    def send(self, message: Message) -> None:
        self.connection.sendall(message.encode())

    def receive(self) -> Message:
        """The next message. Raises TimeoutError, or ConnectionError when there comes none."""
        while not self._waiting:
            data = self.connection.recv(65_536)
            if not data:
                raise ConnectionError("closed")
            self._waiting += self._framer.feed(data)
        return parse(self._waiting.pop(0))

    def final(self) -> Message:
        """The next final response."""
        while (response := self.receive()).status < 200:
            pass
        return response

    def request(self, method: str, uri: str, cseq: int, sender: str, to: str, call_id: str, *routes: str) -> Message:
        return Message(
            f"{method} {uri} SIP/2.0",
            (
                ("Via", f"SIP/2.0/TLS {self.here};branch={new_branch()};rport"),
                *(("Route", route) for route in routes),
                ("Max-Forwards", "70"),
                ("From", sender),
                ("To", to),
                ("Call-ID", call_id),
                ("CSeq", f"{cseq} {method}"),
                # Where nobody listens: what is for it has to come by its connection.
                ("Contact", "<sip:phone@127.0.0.1:9;transport=tls>"),
            ),
        )


class Carrier(threading.Thread):
    """A gateway: it takes one connection and one call, answers, and hangs up when the ACK came."""

    def __init__(self, certificate: Path, key: Path, ca: Path) -> None:
        super().__init__(daemon=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.context.load_verify_locations(ca)
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.listening.settimeout(120)
        self.port = self.listening.getsockname()[1]
        self.got: list[Message] = []

    def run(self) -> None:
        accepted, _ = self.listening.accept()
        accepted.settimeout(SECONDS)
        with self.context.wrap_socket(accepted, server_side=True) as connection:
            link = Link(connection)
            invite = link.receive()
            contact = ("Contact", f"<sip:gateway@127.0.0.1:{self.port};transport=tls>")
            link.send(respond(invite, 200, "OK", to_tag="gw", fields=[contact]))
            ack = link.receive()
            routes = invite.all("record-route")
            bye = link.request(
                "BYE", "sip:phone@127.0.0.1:9", 1, f"{invite.get('to')};tag=gw", invite.get("from"),
                invite.get("call-id"), *routes,
            )  # fmt: skip
            link.send(bye)
            self.got = [invite, ack, link.final()]


def secured(folder: Path, bundle: Path, ours: tuple[Path, Path], ca: Authority, more: str = "") -> tuple[Server, int]:
    """A server, not started yet, that listens by TLS too, and at which port; `more` are lines of `[sip.tls]`."""
    server, port = Server(folder, bundle), free_port(socket.SOCK_STREAM)
    listen = f'"udp:{server.target}", "tls:127.0.0.1:{port}"'
    tls = f'[sip.tls]\ncertificate = "{ours[0]}"\nkey = "{ours[1]}"\nca = "{ca.file}"\n{more}'
    text = re.sub(r"listen = \[.*\]\n", lambda _: f"listen = [{listen}]\n{tls}", server.config.read_text(), count=1)
    server.config.write_text(text)
    return server, port


@pytest.mark.rule("SIP-20")
def test_a_customer_is_known_by_the_certificate_it_shows(tmp_path: Path) -> None:
    ca = Authority(tmp_path, "ca")
    ours, theirs, others = ca.sign("ours.example", "IP:127.0.0.1"), ca.sign("pbx.example"), ca.sign("other.example")
    fingerprint = sha256(ssl.PEM_cert_to_DER_cert(theirs[0].read_text())).hexdigest()
    bundle = write_bundle(tmp_path / "bundle", free_port(), free_port())
    trunk = f'[[customer.trunk]]\nid = "phone-shown"\ncertificate = "{fingerprint}"\n[[gateway]]'
    bundle.write_text(bundle.read_text().replace("[[gateway]]", trunk, 1))
    more = f'client_certificate = "optional"\nclient_ca = "{ca.file}"\n'
    server, port = secured(tmp_path / "serve", bundle, ours, ca, more)
    server.start()
    try:
        heard = {}
        for shown, files in (("none", None), ("another", others), ("its own", theirs)):
            context = ssl.create_default_context(cafile=str(ca.file))
            if files is not None:
                context.load_cert_chain(*files)
            with (
                # From an address that is no customer's.
                socket.create_connection(("127.0.0.1", port), SECONDS, source_address=(BY_DIGEST, 0)) as plain,
                context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
            ):
                phone, call_id = Link(connection), new_branch()
                sender, to = f"<sip:{CALLER}@127.0.0.1>;tag=phone", f"<sip:979123@127.0.0.1:{port}>"
                phone.send(phone.request("INVITE", to.strip("<>"), 1, sender, to, call_id))
                heard[shown] = phone.final().status
        assert heard == {"none": 407, "another": 407, "its own": 403}
        cdr = Stage(server, 0, 0).cdr(call_id)
        assert (cdr["customer"], cdr["trunk"], cdr["auth"], cdr["code"]) == (
            "phone", "phone-shown", "certificate", "dest_blocked",
        )  # fmt: skip
    finally:
        server.stop()


@pytest.mark.rule("SIP-6", "SIP-7", "SIP-16")
def test_a_call_by_tls_on_both_sides(tmp_path: Path) -> None:
    ca = Authority(tmp_path, "ca")
    ours, carriers = ca.sign("ours.example", "IP:127.0.0.1"), ca.sign("gw.example", "IP:127.0.0.1")
    carrier = Carrier(*carriers, ca.file)
    carrier.start()
    bundle = write_bundle(tmp_path / "bundle", carrier.port, free_port())
    bundle.write_text(
        bundle.read_text().replace(f"port = {carrier.port}", f'port = {carrier.port}\ntransport = "tls"', 1)
    )
    server, port = secured(tmp_path / "serve", bundle, ours, ca)
    server.start()
    try:
        trusting = ssl.create_default_context(cafile=str(ca.file))
        with (
            socket.create_connection(("127.0.0.1", port), SECONDS) as plain,
            trusting.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
        ):
            phone = Link(connection)
            sender, to = f"<sip:{CALLER}@127.0.0.1>;tag=phone", f"<sip:{NUMBER}@127.0.0.1>"
            call_id = new_branch()
            phone.send(phone.request("INVITE", f"sip:{NUMBER}@127.0.0.1:{port}", 1, sender, to, call_id))
            ok = phone.final()
            assert ok.status == 200, ok
            target = ok.addresses("contact")[0].strip("<>")
            routes = ok.addresses("record-route")
            assert routes == [route for route in routes if f"@127.0.0.1:{port};transport=tls;" in route] and routes
            phone.send(phone.request("ACK", target, 1, sender, ok.get("to"), call_id, *reversed(routes)))
            bye = phone.receive()
            assert bye.method == "BYE" and bye.get("via").startswith(f"SIP/2.0/TLS 127.0.0.1:{port};")
            phone.send(respond(bye, 200, "OK"))
            carrier.join(SECONDS)
        invite, ack, done = carrier.got
        assert (invite.method, ack.method, done.status) == ("INVITE", "ACK", 200)
        assert invite.get("via").startswith(f"SIP/2.0/TLS 127.0.0.1:{port};") and ack.get("route") == ""
        cdr = Stage(server, 0, 0).cdr(call_id)
        assert (cdr["gateway"], cdr["code"], cdr["hangup_by"]) == ("alpha", "answered", "callee")
    finally:
        server.stop()
        carrier.listening.close()
    log = server.log.read_text(errors="replace")
    assert "Traceback" not in log and "internal_error" not in log
