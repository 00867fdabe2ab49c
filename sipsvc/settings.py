"""Settings: a TOML file, overridden by environment variables `SIPSVC_<SECTION>__<KEY>`.

Every fault names its key, its value and why it is refused; `config/sipsvc.toml` documents the keys.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from sipsvc.cdrsettings import CdrSettings, Section
from sipsvc.effects import written
from sipsvc.errors import ConfigError

PREFIX = "SIPSVC_"
HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(\.(?!-)[A-Za-z0-9-]{1,63})*")


def host_port(text: str, default_port: int | None = None) -> tuple[str, int]:
    """`HOST:PORT`, an IPv6 host in brackets, as (host without brackets, port).

    Without a port `default_port` serves. Raises ValueError that says what is wrong.
    """
    found = re.fullmatch(r"(?:\[(?P<v6>[^\]]*)\]|(?P<host>[^:\[\]]*))(?::(?P<port>[^:]*))?", text)
    if found is None:
        raise ValueError("must be HOST:PORT, an IPv6 address in brackets: [::1]:5060")
    port_text = found["port"]
    if port_text is None:
        if default_port is None:
            raise ValueError("a port is missing: HOST:PORT")
        port = default_port
    elif re.fullmatch(r"[0-9]{1,5}", port_text) and 1 <= int(port_text) <= 65535:
        port = int(port_text)
    else:
        raise ValueError(f"port {port_text!r} is not a number from 1 to 65535")
    if found["v6"] is not None:
        try:
            return str(ipaddress.IPv6Address(found["v6"])), port
        except ValueError:
            raise ValueError(f"{found['v6']!r} is not an IPv6 address") from None
    host = found["host"]
    if re.fullmatch(r"[0-9.]+", host):
        try:
            return str(ipaddress.IPv4Address(host)), port
        except ValueError:
            raise ValueError(f"{host!r} is not an IPv4 address") from None
    if not HOST_NAME.fullmatch(host):
        raise ValueError(f"{host!r} is not a host name or address")
    return host, port


class SipListener(NamedTuple):
    """`transport` is UDP, TCP or TLS; `host` an IP address without brackets; `told_*` what others are told to reach.

    `told_host` "" leaves that to `sip.advertise`, else it is `host`.
    """

    transport: str
    host: str
    port: int
    told_host: str
    told_port: int


def listener(text: str) -> SipListener:
    """`TRANSPORT:HOST:PORT`, or with what others are told `TRANSPORT:HOST:PORT=HOST:PORT`. Raises ValueError."""
    transport, colon, rest = text.partition(":")
    if not colon or not re.fullmatch(r"[a-z]+", transport):
        raise ValueError("must be udp:HOST:PORT, tcp:HOST:PORT or tls:HOST:PORT")
    if transport not in ("udp", "tcp", "tls"):
        raise ValueError(f"transport {transport!r} is none of udp, tcp, tls")
    where, equals, told = rest.partition("=")
    host, port = host_port(where)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"{host!r} must be an IP address to listen on") from None
    told_host, told_port = host_port(told, port) if equals else ("", port)
    return SipListener(transport.upper(), host, port, told_host, told_port)


class TlsSettings(Section):
    """Files in PEM of SIP over TLS; what they hold is read by the SIP worker and by `sipsvc check-config`."""

    certificate: str = ""
    key: str = ""
    ca: str = ""
    client_certificate: Literal["none", "optional", "required"] = "none"
    client_ca: str = ""

    @model_validator(mode="after")
    def _belong_together(self) -> TlsSettings:
        if self.key and not self.certificate:
            raise ValueError("key is of no use without certificate")
        if (self.client_certificate == "none") == bool(self.client_ca):
            raise ValueError("client_certificate (optional or required) and client_ca need each other")
        return self


class SipSettings(Section):
    """Where SIP is listened for, and the name other parties are told (`advertise`, SIP-7).

    `nameserver` answers for the names of gateways (SIP-8), "" the system's.
    """

    listen: Annotated[list[str], NoDecode] = ["udp:127.0.0.1:5060"]
    advertise: str = ""
    nameserver: str = ""
    tls: TlsSettings = TlsSettings()

    @field_validator("listen", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        # An environment variable is one string; its listeners are separated by commas.
        return [part.strip() for part in value.split(",")] if isinstance(value, str) else value

    @field_validator("listen")
    @classmethod
    def _check_listen(cls, value: list[str]) -> list[str]:
        if not value:
            raise ValueError("at least one listener is needed")
        seen = set()
        for text in value:
            try:
                where = listener(text)[:3]
            except ValueError as error:
                raise ValueError(f"{text!r}: {error}") from None
            if where in seen:
                raise ValueError(f"{text!r} stands twice")
            seen.add(where)
        return value

    @field_validator("advertise")
    @classmethod
    def _check_advertise(cls, value: str) -> str:
        if value:
            host_port(value, 5060)
        return value

    @field_validator("nameserver")
    @classmethod
    def _check_nameserver(cls, value: str) -> str:
        if value:
            host, _ = host_port(value, 53)
            try:
                ipaddress.ip_address(host)
            except ValueError:
                raise ValueError(f"{host!r} must be an IP address, for who would look up its name") from None
        return value

    @model_validator(mode="after")
    def _reachable(self) -> SipSettings:
        for one in self.listeners():
            if ipaddress.ip_address(one.host).is_unspecified and one.host == one.told_host:
                raise ValueError(
                    f"listening on any address ({one.host}) needs advertise: what others are told to reach"
                )
            if one.transport == "TLS" and not self.tls.certificate:
                raise ValueError("a tls listener needs sip.tls.certificate")
        return self

    def listeners(self) -> list[SipListener]:
        """Every listener in order, with what is put into Via and Record-Route for it."""
        found = []
        for one in map(listener, self.listen):
            if not one.told_host and self.advertise:
                host, port = host_port(self.advertise, one.port)
                found.append(one._replace(told_host=host, told_port=port))
            else:
                found.append(one._replace(told_host=one.told_host or one.host))
        return found

    def dns(self) -> tuple[str, int] | None:
        """(address, port) of the name server, None for the system's."""
        return host_port(self.nameserver, 53) if self.nameserver else None

    def uri_host(self) -> str:
        """The first listener's name as a URI writes it: what the identities of its calls are at."""
        return written(self.listeners()[0].told_host)


class ApiSettings(Section):
    """The management API."""

    enabled: bool = True
    listen: str = "127.0.0.1:8080"

    @field_validator("listen")
    @classmethod
    def _check_listen(cls, value: str) -> str:
        host_port(value)
        return value

    @property
    def host(self) -> str:
        return host_port(self.listen)[0]

    @property
    def port(self) -> int:
        return host_port(self.listen)[1]


class DataSettings(Section):
    """`dir` holds the CDR log and the secret; `database` is a URL, "" an SQLite file in `dir`."""

    dir: Path = Path("data")
    database: str = ""

    @field_validator("database")
    @classmethod
    def _check_database(cls, value: str) -> str:
        if value and not re.match(r"(sqlite|postgresql)(\+[a-z0-9]+)?://", value):
            raise ValueError("must begin with sqlite:/// or postgresql://")
        return value

    @property
    def url(self) -> str:
        """The database URL."""
        return self.database or f"sqlite:///{self.dir / 'sipsvc.db'}"


class MetricsSettings(Section):
    """Where /metrics, /healthz and /readyz of the SIP worker are; `listen` "" is nowhere."""

    listen: str = "127.0.0.1:9108"

    @field_validator("listen")
    @classmethod
    def _check_listen(cls, value: str) -> str:
        if value:
            host, _ = host_port(value)
            try:
                ipaddress.ip_address(host)
            except ValueError:
                raise ValueError(f"{host!r} must be an IP address to listen on") from None
        return value

    def where(self) -> tuple[str, int] | None:
        """(address, port), None for nowhere."""
        return host_port(self.listen) if self.listen else None


class LogSettings(Section):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"


class Settings(BaseSettings):
    """All of it. Made by `load`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", env_nested_max_split=2, extra="forbid", frozen=True
    )

    sip: SipSettings = SipSettings()
    api: ApiSettings = ApiSettings()
    data: DataSettings = DataSettings()
    cdr: CdrSettings = CdrSettings()
    metrics: MetricsSettings = MetricsSettings()
    log: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # The file comes in as keyword arguments; the environment goes before it.
        return env_settings, init_settings


def load(path: str | Path | None = None) -> Settings:
    """The settings from the TOML file `path`, else the file `SIPSVC_CONFIG` names, else the defaults.

    Raises ConfigError with every fault found.
    """
    name = str(path) if path else os.environ.get("SIPSVC_CONFIG", "")
    faults = _strange_variables()
    values = read_toml(Path(name), "config") if name else {}
    try:
        settings = Settings(**values)
    except SettingsError as error:
        raise ConfigError(faults + _not_json(error.__cause__)) from None
    except ValidationError as error:
        faults += [
            (
                key_of(fault["loc"]) or "settings",
                None if fault["type"] == "extra_forbidden" else _shown(fault["loc"], fault["input"]),
                reason_of(fault["type"], fault["msg"]),
            )
            for fault in error.errors()
        ]
        raise ConfigError(faults) from None
    if faults:
        raise ConfigError(faults)
    return settings


def read_toml(path: Path, where: str) -> dict[str, Any]:
    """The tables of a TOML file. Raises ConfigError that names the file, and the line where it is broken."""
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError([(where, str(path), error.strerror or "cannot be read")]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([(where, str(path), f"is not UTF-8 (byte {error.start})")]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([(where, str(path), f"is not TOML: {error}")]) from None


def key_of(loc: tuple[int | str, ...]) -> str:
    """`("gateway", 1, "port")` as `gateway[1].port`."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def reason_of(kind: str, message: str) -> str:
    """Pydantic's message in our words."""
    if kind == "extra_forbidden":
        return "unknown key"
    if kind == "missing":
        return "is missing"
    return message.removeprefix("Value error, ")


def _shown(loc: tuple[int | str, ...], value: object) -> object:
    """The value as it may be printed: a password can stand before any @, and anywhere in what should be a table.

    A missing key has no value.
    """
    name = [part for part in loc if isinstance(part, str)][-1:]
    if loc[:1] == ("cdr",) and (name[0] in ("cdr", "files", "webhook", "redis") or isinstance(value, list)):
        return None
    if name == ["secret"]:
        return "***"
    if isinstance(value, list):
        return None if value and isinstance(value[0], BaseModel | dict | list) else [_shown(loc, one) for one in value]
    if isinstance(value, str):
        return re.sub(r"^.*@", "***@", value, flags=re.DOTALL)
    return None if isinstance(value, BaseModel | dict) else value


def _not_json(cause: BaseException | None) -> list[tuple[str, object, str]]:
    """The variable that should have been JSON, by its text: pydantic does not say which it was."""
    if not isinstance(cause, json.JSONDecodeError):
        return [("environment", None, "cannot be read")]
    names = [name for name, value in sorted(os.environ.items()) if name.startswith(PREFIX) and value == cause.doc]
    reason = f"is not JSON: {cause.msg} (character {cause.pos + 1})"
    return [(name, None, reason) for name in names] or [("environment", None, reason)]


def _strange_variables() -> list[tuple[str, object, str]]:
    """Variables that look like settings of a section there is not, so that a misspelling is not silent."""
    return [
        (name, None, f"no such section; there are {', '.join(Settings.model_fields)}")
        for name in sorted(os.environ)
        if name.startswith(PREFIX)
        and "__" in name
        and name.removeprefix(PREFIX).partition("__")[0].lower() not in Settings.model_fields
    ]
