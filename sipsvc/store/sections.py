"""The bundle's tables, key by key, as `config/README.md` documents them. Money is text; unknown keys are refused."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from sipsvc.directory.rules import check_replacement, compile_rule
from sipsvc.store.addresses import default_port, host_name, network
from sipsvc.store.exchange import Rate
from sipsvc.store.values import (
    LONGEST_BEFORE,
    LONGEST_INTERVAL_S,
    Algorithm,
    Amount,
    Currency,
    Digits,
    Fingerprint,
    Interval,
    Limit,
    Matches,
    Milliseconds,
    Name,
    Section,
    SipUsername,
    Slug,
    TechPrefix,
    Text,
    TimeZone,
    UriPrefix,
    Window,
    empty_is_none,
    once,
)

# Answers that mean the callee or the request, not the gateway: never tried elsewhere (SIP-13).
NEVER_HUNTED = frozenset({486, 501, 505, 513, 580})


class Platform(Section):
    """`[platform]`."""

    realm: Annotated[Name, Matches(r'[^"\\]*', "must not hold a quote or backslash")] = "sipsvc"
    nonce_lifetime_s: Annotated[int, Field(ge=1, le=86_400)] = 300
    t1_ms: Milliseconds = 500
    t2_ms: Milliseconds = 4000
    t4_ms: Milliseconds = 5000
    max_call_s: Annotated[int, Field(ge=1, le=604_800)] = 14_400
    durable_wait_ms: Annotated[int, Field(ge=1, le=1000)] = 20
    min_se_s: Annotated[int, Field(ge=90, le=86_400)] = 90
    session_expires_s: Annotated[int, Field(ge=0, le=86_400)] = 1800
    rates: dict[Currency, Rate] = {}
    digest: Annotated[list[Algorithm], Field(min_length=1), AfterValidator(once)] = ["SHA-256", "MD5"]

    @field_validator("session_expires_s")
    @classmethod
    def _expires_over_min_se(cls, value: int, info: ValidationInfo) -> int:
        if value and value < info.data.get("min_se_s", 0):
            raise ValueError("must be 0 or not below min_se_s (RFC 4028 §8.1)")
        return value

    @field_validator("t2_ms")
    @classmethod
    def _t2_over_t1(cls, value: int, info: ValidationInfo) -> int:
        if value < info.data.get("t1_ms", 0):
            raise ValueError("must not be below t1_ms (RFC 3261 §17.1.2.1)")
        return value


class Partner(Section):
    """`[partner]`."""

    id: Slug = "partner"
    name: Name


class DialPlan(Section):
    """`[customer.dial_plan]` (SIP-25)."""

    international: list[Annotated[str, Matches(r"[0-9]+", "must be digits only, at least one")]] = ["00"]
    national: Digits = ""
    country: Annotated[str, Matches(r"([1-9][0-9]{0,2})?", "must be a country code such as 44")] = ""
    bare: Literal["international", "national", "refuse"] = "international"

    @field_validator("country")
    @classmethod
    def _country_for_national(cls, value: str, info: ValidationInfo) -> str:
        if not value and info.data.get("national"):
            raise ValueError("is needed where national is set")
        return value

    @field_validator("bare")
    @classmethod
    def _country_for_bare(cls, value: str, info: ValidationInfo) -> str:
        if value == "national" and info.data.get("country") == "":
            raise ValueError("needs country")
        return value


class CallerIds(Section):
    """`[customer.caller_ids]` (SIP-23)."""

    allowed: list[Annotated[str, Matches(r"[0-9]+\*?|\*", "must be digits, or digits and *, or *")]] = []
    default: Digits = ""
    otherwise: Literal["refuse", "default"] = "refuse"
    diversion: bool = False

    @field_validator("otherwise")
    @classmethod
    def _default_is_there(cls, value: str, info: ValidationInfo) -> str:
        if value == "default" and info.data.get("default") == "":
            raise ValueError("needs a default caller ID")
        return value


class TrunkFields(Section):
    """How a customer's calls are known, wherever it is written down: by `source`, `certificate` or `username`
    (SIP-20, SIP-21). Without `algorithms` all are accepted that there are."""

    source: Annotated[str, Field(max_length=64)] = ""
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    username: SipUsername = ""
    password: Annotated[Text, Field(repr=False)] = ""
    max_channels: Limit = 0
    tech_prefix: TechPrefix = ""
    certificate: Fingerprint = ""
    algorithms: Annotated[list[Algorithm], AfterValidator(once)] = []

    @field_validator("source")
    @classmethod
    def _network(cls, value: str) -> str:
        return str(network(value)) if value else value

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = [name for name in ("source", "certificate", "username") if getattr(self, name)]
        if not ways:
            raise ValueError("needs either source or username, or certificate")
        if len(ways) > 1:
            raise ValueError(f"has both {' and '.join(ways)}")
        (way,) = ways
        if way != "username" and self.password:
            raise ValueError(f"password and its hashes go with a username, not with {way}")
        if way != "username" and self.algorithms:
            raise ValueError(f"algorithms go with a username, not with {way}")
        for name in ("port", "tech_prefix"):
            if way != "source" and getattr(self, name):
                raise ValueError(f"{name} goes with source, not with a {way}")
        return self


class Trunk(TrunkFields):
    """`[[customer.trunk]]`: a username has `password`, or hashes of it."""

    id: Slug
    ha1_sha256: Annotated[
        str, Matches(r"([0-9a-f]{64})?", "must be 64 lower-case hexadecimal digits"), Field(repr=False)
    ] = ""
    ha1_md5: Annotated[
        str, Matches(r"([0-9a-f]{32})?", "must be 32 lower-case hexadecimal digits"), Field(repr=False)
    ] = ""

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        hashes = bool(self.ha1_md5 or self.ha1_sha256)
        if self.username and bool(self.password) == hashes:
            raise ValueError("a username needs either password or ha1_md5, ha1_sha256 or both")
        if not self.username and hashes:
            raise ValueError("password and its hashes go with a username")
        return self


class CustomerFields(Section):
    """What a customer's calls go by, wherever it is written down."""

    name: Name
    status: Literal["trial", "active", "suspended", "closed"] = "active"
    pricelist: str
    allow_expensive: bool = False
    max_channels: Limit = 0
    dial_plan: DialPlan = DialPlan()
    caller_ids: CallerIds = CallerIds()
    max_cps: Limit = 0
    busy_status: Literal[486, 503] = 486
    spend_alert_hour: Amount | None = None
    spend_alert_day: Amount | None = None
    spend_cap_hour: Amount | None = None
    spend_cap_day: Amount | None = None
    time_zone: TimeZone = "UTC"
    prepaid: bool = False
    credit_limit: Amount | None = None
    low_balance: Amount | None = None
    product: str | None = None


class Customer(CustomerFields):
    """`[[customer]]`."""

    id: Slug
    trunk: list[Trunk] = []


class Rewrite(Section):
    """`[[gateway.rewrite]]` (SIP-30)."""

    pattern: Name
    replacement: Text

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str) -> str:
        compile_rule(value)
        return value

    @field_validator("replacement")
    @classmethod
    def _groups_exist(cls, value: str, info: ValidationInfo) -> str:
        if "pattern" in info.data:
            check_replacement(compile_rule(info.data["pattern"]), value)
        return value


class GatewayFields(Section):
    """What a gateway has wherever it is written down (TG-1..6)."""

    name: Name
    host: Annotated[str, Field(max_length=253)]
    transport: Literal["udp", "tcp", "tls"] = "udp"
    tcp_if_large: bool = False
    # Behind host and transport, which say what 0 means.
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    currency: Currency = "USD"
    priority: Annotated[int, Field(ge=0, le=1_000_000)] = 100
    enabled: bool = True
    trusted: bool = False
    remote_party_id: bool = False
    p_asserted_identity: bool = False
    caller_prefix: Annotated[
        str, Field(max_length=LONGEST_BEFORE), Matches(r"[0-9A-Za-z+*#._-]*", "must be letters, digits and + * # . _ -")
    ] = ""
    caller_prefix_in: list[Literal["from", "pai", "rpid"]] = ["from", "pai", "rpid"]
    # Before the prefix, which may hold more when it is escaped.
    uri_prefix_escaped: bool = True
    uri_prefix: UriPrefix = ""
    hunt_codes: list[int] = [500, 502, 503, 504]
    provisional_timeout_ms: Milliseconds = 4000
    ring_timeout_s: Annotated[int, Field(ge=1, le=3600)] = 185
    auth_username: SipUsername = ""
    auth_password: Annotated[Text, Field(max_length=128, repr=False)] = ""
    auth_realm: Annotated[Text, Matches(r'[^"\\]*', "must not hold a quote or backslash")] = ""
    ping_interval_s: Annotated[int, Field(ge=0, le=3600)] = 0
    down_after: Annotated[int, Field(ge=1, le=100)] = 3
    up_after: Annotated[int, Field(ge=1, le=100)] = 2
    registration: bool = False
    registration_expires_s: Annotated[int, Field(ge=60, le=86_400)] = 3600

    @field_validator("auth_password")
    @classmethod
    def _whole_login(cls, value: str, info: ValidationInfo) -> str:
        if not value and info.data.get("auth_username"):
            raise ValueError("is needed with auth_username")
        return value

    @field_validator("auth_password", "auth_realm", "registration")
    @classmethod
    def _of_a_login(cls, value: Any, info: ValidationInfo) -> Any:
        if value and info.data.get("auth_username") == "":
            raise ValueError("goes with auth_username")
        return value

    plus_in_caller: bool = False
    diversion: bool = False
    max_channels: Limit = 0
    max_cps: Limit = 0
    weight: Annotated[int, Field(ge=0, le=1_000_000)] = 1
    schedule: Annotated[list[Window], Field(max_length=20)] = []

    @field_validator("host")
    @classmethod
    def _address(cls, value: str) -> str:
        try:
            address = ipaddress.ip_address(value)
        except ValueError:
            return host_name(value)
        if address.is_unspecified or address.is_multicast or "%" in value:
            raise ValueError("must be the address of one host")
        return str(address)

    @field_validator("port")
    @classmethod
    def _own_port(cls, value: int, info: ValidationInfo) -> int:
        return value or default_port(info.data.get("host", ""), info.data.get("transport", "udp"))

    @field_validator("uri_prefix")
    @classmethod
    def _sendable(cls, value: str, info: ValidationInfo) -> str:
        if not info.data.get("uri_prefix_escaped", True) and not re.fullmatch(r"[!#-9;=?A-\[\]-~]*", value):
            raise ValueError('cannot be sent as it stands: visible ASCII without " : < > @ \\ only')
        return value

    @field_validator("hunt_codes")
    @classmethod
    def _huntable(cls, value: list[int]) -> list[int]:
        for code in value:
            if not 300 <= code <= 599 or code in NEVER_HUNTED:
                raise ValueError(f"{code} is never hunted on (SIP-13), only 300 to 599 without {sorted(NEVER_HUNTED)}")
        return sorted(set(value))


class Gateway(GatewayFields):
    """`[[gateway]]` (TG-1..7)."""

    id: Slug
    coverage: Name
    rewrite: list[Rewrite] = []


class PriceListFields(Section):
    """What a price list has wherever it is written down (TP-1..6). Without `expensive_at` nothing is too expensive,
    without `max_profit` there is no cap."""

    name: Name
    currency: Currency = "USD"
    initial: Interval = 60
    increment: Interval = 60
    minimum: Amount = Decimal(0)
    expensive_at: Amount | None = Decimal("0.50")
    min_rate: Amount = Decimal(0)
    max_profit: Amount | None = None
    strategy: Literal["cheapest", "priority", "weight"] = "cheapest"
    expected_s: Annotated[int, Field(ge=1, le=LONGEST_INTERVAL_S)] = 60
    allow_loss: bool = False


class PriceList(PriceListFields):
    """`[[pricelist]]`. TOML has no null: `expensive_at` "" is no threshold, `max_profit` "" no cap."""

    id: Slug
    expensive_at: Annotated[Decimal | None, BeforeValidator(empty_is_none)] = Decimal("0.50")
    max_profit: Annotated[Decimal | None, BeforeValidator(empty_is_none)] = None
    rows: Name


def usable(offered: Iterable[str], algorithms: Collection[str], kept: Mapping[str, Any]) -> bool:
    """Whether a username can answer a challenge: by one of `offered`, that it may use and has a hash for (SIP-21).

    `algorithms` () are all, `kept` are hashes by algorithm, "" or None for none.
    """
    return any(bool(kept[name]) and (not algorithms or name in algorithms) for name in offered)
