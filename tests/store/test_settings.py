"""Settings: defaults, file, environment, and every error with its key."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sipsvc.errors import ConfigError
from sipsvc.settings import load

HOOK = '[[cdr.webhook]]\nname = "{}"\nurl = "{}"\nsecret = "{}"\n'
SECRET = "geheim-geheim-geheim"
SHIPPED = Path(__file__).parents[2] / "config" / "sipsvc.toml"


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SIPSVC_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "sipsvc.toml"


def test_the_shipped_file_is_the_defaults() -> None:
    assert load(SHIPPED) == load()


def test_defaults() -> None:
    settings = load(None)
    assert settings.sip.listen == ["udp:127.0.0.1:5060"]
    assert settings.sip.listeners() == [("UDP", "127.0.0.1", 5060, "127.0.0.1", 5060)]
    assert (settings.api.enabled, settings.api.host, settings.api.port) == (True, "127.0.0.1", 8080)
    assert settings.data.dir == Path("data")
    assert settings.data.url == "sqlite:///data/sipsvc.db"
    assert (settings.log.level, settings.log.format) == ("info", "json")


def test_environment_goes_before_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('[sip]\nlisten = ["udp:127.0.0.1:5070"]\nadvertise = "sip.example.net"\n[log]\nlevel = "debug"\n')
    monkeypatch.setenv("SIPSVC_CONFIG", str(file))
    monkeypatch.setenv("SIPSVC_PARENT_FD", "7")
    monkeypatch.setenv("SIPSVC_SIP__LISTEN", "udp:127.0.0.1:5080, udp:[::1]:5081")
    monkeypatch.setenv("SIPSVC_API__ENABLED", "false")
    settings = load()
    assert settings.sip.listeners() == [
        ("UDP", "127.0.0.1", 5080, "sip.example.net", 5080),
        ("UDP", "::1", 5081, "sip.example.net", 5081),
    ]
    assert not settings.api.enabled
    assert settings.log.level == "debug"


@pytest.mark.rule("SIP-6", "SIP-7")
def test_listeners_and_what_others_are_told_of_each(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listen = ["udp:0.0.0.0:5060", "tcp:10.0.0.5:5060=sip.example.org", "tls:[::1]:5061=[2001:db8::5]:443"]
    file.write_text(f'[sip]\nlisten = {listen}\nadvertise = "sip.example.net:5070"\n[sip.tls]\ncertificate = "c.pem"\n')
    monkeypatch.setenv("SIPSVC_SIP__TLS__KEY", "k.pem")
    sip = load(file).sip
    assert sip.listeners() == [
        ("UDP", "0.0.0.0", 5060, "sip.example.net", 5070),
        ("TCP", "10.0.0.5", 5060, "sip.example.org", 5060),
        ("TLS", "::1", 5061, "2001:db8::5", 443),
    ]
    assert sip.uri_host() == "sip.example.net"
    assert (sip.tls.certificate, sip.tls.key) == ("c.pem", "k.pem")


@pytest.mark.rule("SIP-8")
@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("", None),
        ("192.0.2.53", ("192.0.2.53", 53)),
        ("127.0.0.1:5353", ("127.0.0.1", 5353)),
        ("[2001:db8::53]:5353", ("2001:db8::53", 5353)),
    ],
)
def test_the_name_server(tmp_path: Path, text: str, server: tuple[str, int] | None) -> None:
    file = tmp_path / "sipsvc.toml"
    file.write_text(f'[sip]\nnameserver = "{text}"\n')
    assert load(file).sip.dns() == server


def test_where_calls_are_handed_on_to(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not load(None).cdr.handed_on
    assert load(None).cdr.max_bytes == 10 * 1024**3
    file.write_text(HOOK.format("billing", "https://b.example/cdrs", SECRET) + 'partner = "demo"\n')
    monkeypatch.setenv("SIPSVC_CDR__FILES__DIR", "files")
    monkeypatch.setenv("SIPSVC_CDR__KEEP_DAYS", "400")
    cdr = load(file).cdr
    assert cdr.handed_on
    assert (cdr.files.dir, cdr.keep_days, cdr.webhook[0].partner) == ("files", 400, "demo")
    assert (cdr.webhook[0].url, cdr.webhook[0].secret) == ("https://b.example/cdrs", SECRET)


@pytest.mark.parametrize(
    ("toml", "where", "why"),
    [
        ('[sip]\nlisten = ["ws:127.0.0.1:5060"]', "sip.listen", "transport 'ws' is none of udp, tcp, tls"),
        ('[sip]\nlisten = ["127.0.0.1:5060"]', "sip.listen", "must be udp:HOST:PORT, tcp:HOST:PORT or tls:HOST:PORT"),
        ('[sip]\nlisten = ["udp:127.0.0.1:5060="]', "sip.listen", "'' is not a host name"),
        ('[sip]\nlisten = ["udp:127.0.0.1:5060=a.b:x"]', "sip.listen", "port 'x'"),
        ('[sip]\nlisten = ["tls:127.0.0.1:5061"]', "sip", "a tls listener needs sip.tls.certificate"),
        ('[sip.tls]\nkey = "key.pem"', "sip.tls", "key is of no use without certificate"),
        ('[sip.tls]\nclient_ca = "ca.pem"', "sip.tls", "need each other"),
        ('[sip.tls]\nclient_certificate = "required"', "sip.tls", "need each other"),
        ('[sip.tls]\nclient_certificate = "maybe"', "sip.tls.client_certificate", "'none', 'optional' or 'required'"),
        ('[sip.tls]\ncertificates = "x"', "sip.tls.certificates", "unknown key"),
        ('[sip]\nlisten = ["udp:127.0.0.1:0"]', "sip.listen", "port '0' is not a number from 1 to 65535"),
        ('[sip]\nlisten = ["udp:127.0.0.1:65536"]', "sip.listen", "'65536'"),
        ('[sip]\nlisten = ["udp:127.0.0.1"]', "sip.listen", "a port is missing"),
        ('[sip]\nlisten = ["udp:::1:5060"]', "sip.listen", "in brackets"),
        ('[sip]\nlisten = ["udp:[::g]:5060"]', "sip.listen", "not an IPv6 address"),
        ('[sip]\nlisten = ["udp:127.0.0.256:5060"]', "sip.listen", "not an IPv4 address"),
        ('[sip]\nlisten = ["udp:example.net:5060"]', "sip.listen", "must be an IP address to listen on"),
        ('[sip]\nlisten = ["udp:127.0.0.1:1", "udp:127.0.0.1:1"]', "sip.listen", "stands twice"),
        ("[sip]\nlisten = []", "sip.listen", "at least one"),
        ('[sip]\nlisten = ["udp:0.0.0.0:5060"]', "sip", "needs advertise"),
        ('[sip]\nlisten = ["udp:[::]:1=a.b", "tcp:0.0.0.0:1"]', "sip", "needs advertise"),
        ('[sip]\nadvertise = "a b"', "sip.advertise", "not a host name or address"),
        ('[sip]\nnameserver = "ns.example"', "sip.nameserver", "must be an IP address"),
        ('[sip]\nnameserver = "192.0.2.53:0"', "sip.nameserver", "1 to 65535"),
        ('[api]\nlisten = "8080"', "api.listen", "port is missing"),
        ('[data]\ndatabase = ["postgresql://u:geheim@h/d"]', "data.database", "valid string"),
        ('[data]\ndatabase = "u:ge/geheim@h/d"', "data.database", "must begin with"),
        ('[data]\ndatabase = "mysql://u:geheim@h/d"', "data.database", "must begin with"),
        ("[cdr]\nmax_mb = 0", "cdr.max_mb", "greater than or equal to 1"),
        ("[cdr]\nkeep_days = -1", "cdr.keep_days", "greater than or equal to 0"),
        ("[cdr]\nkeep_days = 1000000", "cdr.keep_days", "less than or equal to 36500"),
        ("[cdr.files]\nformats = []", "cdr.files.formats", "csv, jsonl or both"),
        ('[cdr.files]\nformats = ["csv", "csv"]', "cdr.files.formats", "each once"),
        ('[cdr.files]\nformats = ["xml"]', "cdr.files.formats[0]", "'csv' or 'jsonl'"),
        ('[cdr.redis]\nurl = "http://u:geheim@h"', "cdr.redis.url", "redis://"),
        ('[cdr.redis]\nurl = "redis://host:abc/0"', "cdr.redis.url", "is no Redis URL"),
        ('[cdr.redis]\nurl = "redis://:geheim/geheim@host/0"', "cdr.redis.url", "is no Redis URL"),
        ('[cdr.redis]\nurl = "redis://:12/geheim@host/0"', "cdr.redis.url", "is no Redis URL"),
        ('[cdr.redis]\nurl = ":geheim@host"', "cdr.redis.url", "redis://"),
        ('[cdr.redis]\nurl = "http://u:ge/geheim@h"', "cdr.redis.url", "redis://"),
        ('[cdr.redis]\nurl = "http://u:ge@geheim@h"', "cdr.redis.url", "redis://"),
        ('[cdr.redis]\nurl = ["http://geheim@h"]', "cdr.redis.url", "valid string"),
        ('[cdr]\nredis = "redis://:geheim@h"', "cdr.redis", "valid dictionary"),
        ('[cdr]\nredis = "geheim"', "cdr.redis", "valid dictionary"),
        ('[cdr]\nwebhook = "https://geheim@h"', "cdr.webhook", "valid list"),
        ('[cdr]\nwebhook = ["https://geheim@h"]', "cdr.webhook[0]", "valid dictionary"),
        ('cdr = "geheim"', "cdr", "valid dictionary"),
        ("[cdr.redis]\nmax_length = 0", "cdr.redis.max_length", "greater than or equal to 1"),
        (HOOK.format("B", "http://h", SECRET), "cdr.webhook[0].name", "must be 1 to 64"),
        (HOOK.format("b", "ftp://u:geheim@h", SECRET), "cdr.webhook[0].url", "https://"),
        (HOOK.format("b", "http://u:ge/geheim@h", SECRET), "cdr.webhook[0].url", "is no URL"),
        (HOOK.format("b", "http://h", "geheim"), "cdr.webhook[0].secret", "at least 16"),
        (2 * HOOK.format("b", "http://h", SECRET), "cdr.webhook", "'b' stands twice"),
        ('[log]\nlevel = "loud"', "log.level", "'debug'"),
        ("[log]\nlevels = 1", "log.levels", "unknown key"),
        ("[logs]", "logs", "unknown key"),
        ("[log", "config", "is not TOML"),
    ],
)
def test_a_fault_names_its_key(file: Path, toml: str, where: str, why: str) -> None:
    file.write_text(toml)
    with pytest.raises(ConfigError) as caught:
        load(str(file))
    assert [fault[0] for fault in caught.value.faults] == [where]
    assert why in caught.value.faults[0][2]
    assert "geheim" not in str(caught.value)


def test_all_faults_at_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('[log]\nlevel = "loud"\nformat = "xml"\n[api]\nlisten = ""\n')
    monkeypatch.setenv("SIPSVC_SPI__LISTEN", "udp:127.0.0.1:5060")
    monkeypatch.setenv("SIPSVC_SIP__LISTN", "udp:127.0.0.1:5060")
    with pytest.raises(ConfigError) as caught:
        load(file)
    where = {fault[0] for fault in caught.value.faults}
    assert where == {"log.level", "log.format", "api.listen", "SIPSVC_SPI__LISTEN", "sip.listn"}


@pytest.mark.parametrize("name", ["SIPSVC_CDR__WEBHOOK", "SIPSVC_CDR__REDIS", "SIPSVC_CDR"])
def test_a_variable_that_is_no_json_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, '[{"secret": "geheim"')
    monkeypatch.setenv("SIPSVC_CRD__REDIS__URL", "redis://:geheim@h")
    with pytest.raises(ConfigError) as caught:
        load(None)
    strange, fault = caught.value.faults
    assert strange[:2] == ("SIPSVC_CRD__REDIS__URL", None)
    assert fault[:2] == (name, None)
    assert "is not JSON: Expecting" in fault[2]
    assert "geheim" not in str(caught.value)


def test_values_that_hide_nothing_are_shown(file: Path) -> None:
    file.write_text('[log]\nlevel = "loud"\n[cdr]\nmax_mb = 0\n[cdr.redis]\nurl = "http://u:geheim@host"\n')
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert {fault[0]: fault[1] for fault in caught.value.faults} == {
        "log.level": "loud", "cdr.max_mb": 0, "cdr.redis.url": "***@host",
    }  # fmt: skip


def test_files_that_cannot_be_read(file: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load(file)
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(file)
