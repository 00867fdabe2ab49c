"""TLS with real certificates: who is let in, whom we connect to, and a reason for every refusal."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from structlog.testing import capture_logs

from sipsvc.errors import ConfigError
from sipsvc.settings import TlsSettings
from sipsvc.transport import Limits, Tls
from tests.transport.certificates import Authority
from tests.transport.conftest import Run
from tests.transport.peer import HOST, Gateway, Rim, message, until

Files = tuple[Path, Path]


class Papers(NamedTuple):
    """`ours` names ours.example, `gateway` gw.example and 127.0.0.1; `strange` signs for nobody we know."""

    ca: Authority
    strange: Authority
    ours: Files
    renewed: Files
    gateway: Files
    phone: Files
    stranger: Files


@pytest.fixture(scope="session")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    folder = tmp_path_factory.mktemp("certificates")
    ca, strange = Authority(folder, "ca"), Authority(folder, "strange-ca")
    return Papers(
        ca,
        strange,
        ca.sign("ours.example"),
        ca.sign("renewed.example"),
        ca.sign("gw.example", "DNS:gw.example", f"IP:{HOST}"),
        ca.sign("phone.example"),
        strange.sign("stranger.example"),
    )


def settings(papers: Papers, **more: Any) -> TlsSettings:
    certificate, key = papers.ours
    return TlsSettings(certificate=str(certificate), key=str(key), ca=str(papers.ca.file), **more)


def customer(papers: Papers, files: Files | None = None) -> ssl.SSLContext:
    """What a phone that trusts our authority connects with, showing a certificate if it has one."""
    context = ssl.create_default_context(cafile=str(papers.ca.file))
    if files is not None:
        context.load_cert_chain(*files)
    return context


async def connect(
    rim: Rim, context: ssl.SSLContext, name: str = "ours.example"
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(HOST, rim.port, ssl=context, server_hostname=name)


async def asks(rim: Rim, context: ssl.SSLContext) -> bytes:
    """What comes back to a message of somebody with this context; b"" when it is not let in."""
    writer = None
    try:
        reader, writer = await connect(rim, context)
        writer.write(message())
        return await reader.read(100)
    except (ssl.SSLError, ConnectionError):
        # With TLS 1.3 the client learns only behind its own handshake that it is not welcome.
        return b""
    finally:
        if writer is not None:
            writer.close()


@pytest.mark.rule("SIP-6")
def test_a_customer_by_tls(run: Run, papers: Papers) -> None:
    async def go() -> None:
        rim = Rim(lambda data: data, transport="TLS", tls=Tls(settings(papers)))
        reader, writer = await connect(rim, customer(papers))
        assert writer.get_extra_info("ssl_object").version() in ("TLSv1.2", "TLSv1.3")
        data = b"".join(message(number, b"x" * 1_000) for number in range(300))
        writer.write(data)
        assert await reader.readexactly(len(data)) == data
        assert {flow.transport for _, flow in rim.messages} == {"TLS"}
        writer.close()
        await until(lambda: rim.lost)
        await rim.close()

    run(go())


@pytest.mark.rule("SIP-3", "SIP-6")
def test_who_cannot_shake_hands_is_turned_away_and_told_of_once(run: Run, papers: Papers) -> None:
    async def go() -> None:
        with capture_logs() as log:
            rim = Rim(transport="TLS", tls=Tls(settings(papers)), limits=Limits(handshake=0.5))
            old = customer(papers)
            with pytest.warns(DeprecationWarning, match="TLSv1_1"):
                old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
            old.set_ciphers("ALL:@SECLEVEL=0")
            assert await asks(rim, old) == b""
            for _ in range(3):
                reader, writer = await rim.caller()
                writer.write(message())  # in clear
                await reader.read()  # nothing, or an alert
            silent, _ = await rim.caller()
            assert await silent.read(100) == b""
            await until(lambda: len(rim.streams) == 0)
        assert rim.counted == ["tls_handshake"] * 5 and rim.messages == []
        told = [(line["event"], line["host"], line["log_level"]) for line in log]
        assert told == [("connection_refused", HOST, "warning")] * len(told)
        reasons = [line["reason"] for line in log]
        # One for each kind of trouble, however often it came.
        assert len(reasons) == len(set(reasons)) == 3, reasons
        await rim.close()

    run(go())


@pytest.mark.rule("SIP-6")
@pytest.mark.parametrize(
    ("wanted", "none", "good", "wrong"),
    [("none", True, True, True), ("optional", True, True, False), ("required", False, True, False)],
)
def test_client_certificates(run: Run, papers: Papers, wanted: str, none: bool, good: bool, wrong: bool) -> None:
    async def go() -> None:
        more = {"client_certificate": wanted, "client_ca": str(papers.ca.file)} if wanted != "none" else {}
        rim = Rim(lambda data: data, transport="TLS", tls=Tls(settings(papers, **more)))
        assert (await asks(rim, customer(papers)) == message()) is none
        assert (await asks(rim, customer(papers, papers.phone)) == message()) is good
        assert (await asks(rim, customer(papers, papers.stranger)) == message()) is wrong
        assert len(rim.messages) == [none, good, wrong].count(True)
        await until(lambda: len(rim.streams) == 0)
        await rim.close()

    run(go())


@pytest.mark.rule("SIP-20")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_messages_come_with_the_fingerprint_of_the_certificate_shown(
    run: Run, papers: Papers, version: ssl.TLSVersion
) -> None:
    async def go() -> None:
        more = {"client_certificate": "optional", "client_ca": str(papers.ca.file)}
        rim = Rim(lambda data: data, transport="TLS", tls=Tls(settings(papers, **more)))
        shown = ssl.PEM_cert_to_DER_cert(papers.phone[0].read_text())
        for files in (None, papers.phone):
            context = customer(papers, files)
            context.minimum_version = context.maximum_version = version
            assert await asks(rim, context) == message()
        assert [flow.certificate for _, flow in rim.messages] == ["", sha256(shown).hexdigest()]
        await until(lambda: len(rim.lost) == 2)
        assert rim.lost[1] == rim.messages[1][1]
        await rim.close()

    run(go())


class Carrier:
    """A gateway that speaks TLS; `names` are those its callers asked for, `shown` whose certificates it saw."""

    def __init__(self, papers: Papers, files: Files, *, wants_certificate: bool = False) -> None:
        self.gateway = Gateway()
        self.names: list[str | None] = []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*files)
        if wants_certificate:
            self.context.verify_mode = ssl.CERT_REQUIRED
            self.context.load_verify_locations(papers.ca.file)
        self.context.sni_callback = lambda connection, name, context: self.names.append(name)

    async def open(self) -> Carrier:
        await self.gateway.open(ssl=self.context)
        return self


@pytest.mark.rule("SIP-6")
@pytest.mark.parametrize("name", ["gw.example", ""])
def test_a_gateway_by_tls_proves_its_name_or_its_address(run: Run, papers: Papers, name: str) -> None:
    async def go() -> None:
        rim = Rim(transport="TLS", tls=Tls(settings(papers)))
        carrier = await Carrier(papers, papers.gateway, wants_certificate=True).open()
        flow = rim.to(carrier.gateway.port, name=name)
        rim.streams.send(message(1), flow, "a")
        rim.streams.send(message(2), flow, "b")
        await until(lambda: b"".join(carrier.gateway.got) == message(1) + message(2))
        # SNI is for names only (RFC 6066 §3).
        assert carrier.names == [name or None]
        shown = carrier.gateway.writers[0].get_extra_info("peercert")
        assert dict(field for one in shown["subject"] for field in one) == {"commonName": "ours.example"}
        carrier.gateway.writers[0].write(message(3))
        await until(lambda: rim.messages)
        assert rim.messages == [(message(3), flow._replace(conn=1))] and rim.failed == []
        await rim.close()
        await carrier.gateway.close()

    run(go())


REFUSED = {
    "another name": ("gateway", "other.example", "certificate not accepted: Hostname mismatch"),
    "another address": ("phone", "", "certificate not accepted: IP address mismatch"),
    "an authority we do not trust": ("stranger", "stranger.example", "certificate not accepted: unable to get local"),
}


@pytest.mark.rule("SIP-6", "SIP-13")
@pytest.mark.parametrize("why", REFUSED)
def test_a_gateway_with_a_wrong_certificate_gets_nothing(run: Run, papers: Papers, why: str) -> None:
    which, name, reason = REFUSED[why]

    async def go() -> None:
        with capture_logs() as log:
            rim = Rim(transport="TLS", tls=Tls(settings(papers)))
            carrier = await Carrier(papers, getattr(papers, which)).open()
            flow = rim.to(carrier.gateway.port, name=name)
            for ref in ("a", "b"):
                rim.streams.send(message(), flow, ref)
            await until(lambda: rim.failed == ["a", "b"])
            rim.streams.send(message(), flow, "c")
            await until(lambda: rim.failed == ["a", "b", "c"])
        assert carrier.gateway.got == [] and len(rim.streams) == 0
        (line,) = [line for line in log if line["event"] == "connect_failed"]
        assert line["reason"].startswith(reason) and line["name"] == name
        await rim.close()
        await carrier.gateway.close()

    run(go())


@pytest.mark.rule("SIP-6", "SIP-13")
@pytest.mark.parametrize("which", ["one that speaks no TLS", "one that never shakes hands"])
def test_a_gateway_without_tls_gets_nothing(run: Run, papers: Papers, which: str) -> None:
    async def go() -> None:
        rim = Rim(transport="TLS", tls=Tls(settings(papers)), limits=Limits(connect=1.0))
        gateway = await Gateway().open()
        rim.streams.send(message(), rim.to(gateway.port), "a")
        if which == "one that speaks no TLS":
            await until(lambda: gateway.writers)
            gateway.writers[0].write(b"SIP/2.0 400 No TLS here\r\n\r\n")
        await until(lambda: rim.failed == ["a"])
        assert not any(message() in got for got in gateway.got) and rim.messages == []
        await rim.close()
        await gateway.close()

    run(go())


@pytest.mark.rule("SIP-6")
def test_a_new_certificate_is_taken_without_a_restart(run: Run, papers: Papers, tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"

    def put(files: Files) -> None:
        for file, there in zip(files, (certificate, key), strict=True):
            shutil.copy(file, there)

    async def go() -> None:
        put(papers.ours)
        tls = Tls(TlsSettings(certificate=str(certificate), key=str(key)))
        rim = Rim(lambda data: data, transport="TLS", tls=tls)
        before = await connect(rim, customer(papers), "ours.example")
        with capture_logs() as log:
            tls.renew()
            put(papers.renewed)
            tls.renew()
            after = await connect(rim, customer(papers), "renewed.example")
            # A broken file changes nothing, and is told of once.
            certificate.write_text("nothing")
            tls.renew()
            tls.renew()
            still = await connect(rim, customer(papers), "renewed.example")
            certificate.unlink()
            tls.renew()
        events = [line["event"] for line in log]
        assert events == ["certificate_renewed", "certificate_not_renewed", "certificate_not_renewed"]
        assert (log[1]["key"], log[1]["reason"]) == ("sip.tls.certificate", "holds no PEM certificate")
        for reader, writer in (before, after, still):
            writer.write(message())
            assert await reader.readexactly(len(message())) == message()
            writer.close()
        await rim.close()

    run(go())


def faults(**values: str) -> tuple[str, str]:
    """Key and reason of what is wrong with these files."""
    with pytest.raises(ConfigError) as caught:
        Tls(TlsSettings.model_validate(values))
    ((where, value, reason),) = caught.value.faults
    assert value in values.values()
    return where, reason


@pytest.mark.rule("SIP-6")
def test_faults_of_the_files_name_key_and_reason(papers: Papers, tmp_path: Path) -> None:
    certificate, key = map(str, papers.ours)
    ca = str(papers.ca.file)
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("nothing")
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
    missing = str(tmp_path / "missing.pem")
    no_file, wanted = "No such file or directory", {"client_certificate": "required"}
    assert faults(certificate=missing, key=key) == ("sip.tls.certificate", no_file)
    assert faults(certificate=certificate, key=missing) == ("sip.tls.key", no_file)
    assert faults(certificate=certificate) == ("sip.tls.key", "holds no PEM private key")
    assert faults(certificate=key, key=key) == ("sip.tls.certificate", "holds no PEM certificate")
    assert faults(certificate=str(broken), key=key)[0] == "sip.tls.certificate"
    other = str(papers.phone[1])
    assert faults(certificate=certificate, key=other) == ("sip.tls.key", f"is not the key of {certificate}")
    assert faults(ca=missing) == ("sip.tls.ca", no_file)
    assert faults(ca=str(nothing)) == ("sip.tls.ca", "holds no PEM certificates")
    assert faults(certificate=certificate, key=key, client_ca=missing, **wanted) == ("sip.tls.client_ca", no_file)
    whole = tmp_path / "whole.pem"
    whole.write_bytes(papers.ours[0].read_bytes() + papers.ours[1].read_bytes())
    assert Tls(TlsSettings(certificate=str(whole), ca=ca)).client.verify_mode == ssl.CERT_REQUIRED


def test_without_settings_there_is_the_system_s_store() -> None:
    assert Tls(TlsSettings()).client.check_hostname


@pytest.mark.rule("SIP-3", "SIP-4")
def test_a_peer_that_does_not_read_or_stalls_is_closed_by_tls_too(run: Run, papers: Papers) -> None:
    async def go() -> None:
        answer = b"x" * 2_000
        limits = Limits(stuck=1.0, stall=2.0, high_water=20_000, queue=300_000)
        rim = Rim(lambda data: answer, transport="TLS", tls=Tls(settings(papers)), limits=limits)
        _, deaf_writer = await connect(rim, customer(papers))
        deaf_writer.transport.pause_reading()  # type: ignore[attr-defined]

        async def ask() -> None:
            for number in count():
                deaf_writer.write(message(number))
                await deaf_writer.drain()

        asking = asyncio.create_task(ask())
        stalled, stalled_writer = await connect(rim, customer(papers))
        stalled_writer.write(message()[:10])
        await until(lambda: len(rim.lost) == 2)
        assert sorted(rim.counted) == ["stream_not_read", "stream_stalled"]
        assert len(rim.messages) * len(answer) < 30_000_000
        assert await stalled.read() == b""
        asking.cancel()
        for writer in (deaf_writer, stalled_writer):
            writer.transport.abort()
        await until(lambda: len(rim.streams) == 0)
        await rim.close()

    run(go())
