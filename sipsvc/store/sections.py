"""The bundle's tables, key by key, as `config/README.md` documents them. Money is text; unknown keys are refused."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_after_validator_function

from sipsvc.directory.rules import check_replacement, compile_rule
from sipsvc.settings import HOST_NAME

# Below this no charge, however long the call, leaves the 64 bits that money is stored in.
MONEY = re.compile(r"[0-9]{1,8}(\.[0-9]+)?")
# What is true of a type in the words of JSON Schema, for the API's description.
NO_CONTROLS = r"[^\u0000-\u001f\u007f-\u009f\u2028\u2029]"
NO_BLANKS = r"[^\s\u0000-\u001f\u007f-\u009f\u2028\u2029]"
AMOUNT = r"^[0-9]{1,8}(\.[0-9]{1,6})?$"
LONGEST_PREFIX = 18
LONGEST_INTERVAL_S = 86_400
# Characters before a number; every one of them may be sent as three and more.
LONGEST_BEFORE = 32
# Answers that mean the callee or the request, not the gateway: never tried elsewhere (SIP-13).
NEVER_HUNTED = frozenset({486, 501, 505, 513, 580})


def money(value: Any) -> Decimal:
    """Text such as `0.0125` as an exact Decimal. Raises ValueError with why."""
    if isinstance(value, Decimal):
        return value
    if not isinstance(value, str):
        raise ValueError('money is text: write it in quotes, such as "0.50"')
    if not MONEY.fullmatch(value):
        if re.fullmatch(r"-[0-9.]+", value):
            raise ValueError("must not be negative")
        raise ValueError("is not an amount such as 0.0125 (digits and a decimal point, below 100000000)")
    if len(value.partition(".")[2]) > 6:
        raise ValueError("has more than 6 decimal places")
    return Decimal(value)


def clean(value: str) -> str:
    """Text without control characters (SIP-5). Raises ValueError that names the first."""
    for character in value:
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
            raise ValueError(f"control character U+{ord(character):04X} is not allowed")
    return value


def prefix(value: str) -> str:
    """Digits of an E.164 prefix. Raises ValueError with why."""
    if not (value.isascii() and value.isdigit()):
        raise ValueError("must be digits only, at least one" if value else "is empty")
    if value[0] == "0":
        raise ValueError("an international number never begins with 0")
    if len(value) > LONGEST_PREFIX:
        raise ValueError(f"is longer than {LONGEST_PREFIX} digits")
    return value


def _filled(value: str) -> str:
    if not value.strip():
        raise ValueError("is empty")
    return value


@dataclass(frozen=True, slots=True)
class Matches:
    """The whole text fits `pattern`, or `reason` says what it must be. JSON Schema is told the pattern."""

    pattern: str
    reason: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "pattern": f"^({self.pattern})$"}

    def _check(self, value: str) -> str:
        if not re.fullmatch(self.pattern, value):
            raise ValueError(self.reason)
        return value


def _empty_is_none(value: Any) -> Any:
    return None if value in ("", None) else money(value)


Text = Annotated[
    str, Field(max_length=1024), AfterValidator(clean), Field(json_schema_extra={"pattern": f"^{NO_CONTROLS}*$"})
]
UriPrefix = Annotated[
    str,
    Field(max_length=LONGEST_BEFORE),
    AfterValidator(clean),
    Field(json_schema_extra={"pattern": f"^{NO_CONTROLS}*$"}),
]
Name = Annotated[
    str,
    Field(max_length=1024),
    AfterValidator(clean),
    AfterValidator(_filled),
    Field(json_schema_extra={"pattern": f"^{NO_CONTROLS}*{NO_BLANKS}{NO_CONTROLS}*$"}),
]
Slug = Annotated[
    str, Matches(r"[a-z0-9][a-z0-9._-]{0,63}", "must be 1 to 64 of a-z 0-9 . _ - and begin with a letter or digit")
]
Currency = Annotated[str, Matches(r"[A-Z]{3}", "must be an ISO 4217 code such as USD")]
Digits = Annotated[str, Matches(r"[0-9]*", "must be digits only")]
Prefix = Annotated[
    str, AfterValidator(prefix), Field(json_schema_extra={"pattern": f"^[1-9][0-9]{{0,{LONGEST_PREFIX - 1}}}$"})
]
Amount = Annotated[
    Decimal,
    BeforeValidator(money),
    WithJsonSchema({"type": "string", "pattern": AMOUNT, "examples": ["0.0125"]}),
]
SipUsername = Annotated[
    Text, Matches(r'[^":\\\s]{0,128}', "must be at most 128 characters without space, colon, quote or backslash")
]
Interval = Annotated[int, Field(ge=1, le=LONGEST_INTERVAL_S)]
Milliseconds = Annotated[int, Field(ge=1, le=600_000)]


class Section(BaseModel):
    """No value is converted on the way in: "5080" is no port and 1 is not true."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, validate_default=True)


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
    """How a customer's calls are known, wherever it is written down: by `source` or by `username` (SIP-20, SIP-21)."""

    source: Annotated[str, Field(max_length=64)] = ""
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    username: SipUsername = ""
    password: Annotated[Text, Field(repr=False)] = ""

    @field_validator("source")
    @classmethod
    def _network(cls, value: str) -> str:
        return str(network(value)) if value else value

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if bool(self.source) == bool(self.username):
            raise ValueError("needs either source or username" if not self.source else "has both source and username")
        if self.source and self.password:
            raise ValueError("password and ha1_md5 go with a username, not with source")
        if self.username and self.port:
            raise ValueError("port goes with source, not with a username")
        return self


class Trunk(TrunkFields):
    """`[[customer.trunk]]`: a username has `password` or `ha1_md5`."""

    id: Slug
    ha1_md5: Annotated[
        str, Matches(r"([0-9a-f]{32})?", "must be 32 lower-case hexadecimal digits"), Field(repr=False)
    ] = ""

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        if self.username and bool(self.password) == bool(self.ha1_md5):
            raise ValueError("a username needs either password or ha1_md5")
        if self.source and self.ha1_md5:
            raise ValueError("password and ha1_md5 go with a username, not with source")
        return self


class CustomerFields(Section):
    """What a customer's calls go by, wherever it is written down."""

    name: Name
    status: Literal["trial", "active", "suspended", "closed"] = "active"
    pricelist: str
    allow_expensive: bool = False
    max_channels: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    dial_plan: DialPlan = DialPlan()
    caller_ids: CallerIds = CallerIds()


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
    plus_in_caller: bool = False
    diversion: bool = False

    @field_validator("host")
    @classmethod
    def _address(cls, value: str) -> str:
        try:
            address = ipaddress.ip_address(value)
        except ValueError:
            return _host_name(value)
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
    strategy: Literal["cheapest", "priority"] = "cheapest"


class PriceList(PriceListFields):
    """`[[pricelist]]`. TOML has no null: `expensive_at` "" is no threshold, `max_profit` "" no cap."""

    id: Slug
    expensive_at: Annotated[Decimal | None, BeforeValidator(_empty_is_none)] = Decimal("0.50")
    max_profit: Annotated[Decimal | None, BeforeValidator(_empty_is_none)] = None
    rows: Name


class Block(Section):
    """`[[block]]` (SIP-26)."""

    prefix: Prefix
    reason: Name


def is_address(host: str) -> bool:
    """Whether a gateway's host is an IP address and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def default_port(host: str, transport: str) -> int:
    """The port of a gateway that names none; 0 for a name, whose port DNS may say (RFC 3263 §4.2)."""
    return (5061 if transport == "tls" else 5060) if is_address(host) else 0


def _host_name(value: str) -> str:
    """In lower case. Raises ValueError with why it is none."""
    name = value.removesuffix(".").lower()
    last = name.rpartition(".")[2]
    if not HOST_NAME.fullmatch(name) or last.isdigit() or last == name:
        raise ValueError("must be an IP address without brackets, or a host name with its domain") from None
    return name


def network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """A trunk's source. Raises ValueError with why."""
    try:
        found = ipaddress.ip_network(text)
    except ValueError as error:
        if "host bits" in str(error):
            raise ValueError(f"has host bits set; the network is {ipaddress.ip_network(text, strict=False)}") from None
        raise ValueError("must be an address or a network such as 192.0.2.0/24") from None
    if isinstance(found, ipaddress.IPv6Network) and found.network_address.ipv4_mapped is not None:
        raise ValueError("an IPv4 address is written as IPv4")
    return found
