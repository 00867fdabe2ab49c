"""The types of the directory. Made by the builder, never changed; a call keeps the one it was decided on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from sipsvc.directory.prefix import PrefixTable


@dataclass(frozen=True, slots=True)
class DialPlan:
    """How an account's dialled strings become E.164 (SIP-25).

    `international`: prefixes that lead an international number, such as `00`; `+` always does.
    `national`: the trunk prefix of national numbers (`0`), "" for none; `country`: its country code.
    `bare`: what digits without any prefix are: `international`, `national` or `refuse`.
    """

    international: tuple[str, ...] = ("00",)
    national: str = ""
    country: str = ""
    bare: str = "international"


@dataclass(frozen=True, slots=True)
class CallerIds:
    """Which numbers an account may show (SIP-23). Digits; a trailing `*` allows a whole prefix.

    `default` is shown where the caller's is not allowed and `otherwise` is `default`;
    with `refuse` the call is refused. With `diversion` a Diversion of the account's own that names one of these
    numbers goes on to gateways that want it.
    """

    allowed: tuple[str, ...] = ()
    default: str = ""
    otherwise: str = "refuse"
    diversion: bool = False


@dataclass(frozen=True, slots=True)
class Customer:
    """Who pays. `max_channels` 0 is unlimited. `status`: trial, active, suspended, closed."""

    id: str
    name: str
    partner: str
    status: str
    pricelist: str
    allow_expensive: bool = False
    max_channels: int = 0
    dial_plan: DialPlan = DialPlan()
    caller_ids: CallerIds = CallerIds()


@dataclass(frozen=True, slots=True)
class Trunk:
    """How a customer's calls are known: a `source` network, or a `username` with HA1 (RFC 7616).

    `source` is CIDR, `port` 0 any. `ha1_md5` is 32 lower-case hex digits.
    """

    id: str
    customer: str
    source: str = ""
    port: int = 0
    username: str = ""
    ha1_md5: str = ""
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Rewrite:
    """One rule on the digits sent (SIP-30): RE2 `pattern`, `replacement` with `\\1`; `regex` is compiled."""

    pattern: str
    replacement: str
    regex: Any = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Gateway:
    """A carrier's gateway and what it asks for (TG-1..6). Times are milliseconds. Only its partner's calls use it.

    `host` is an IP literal without brackets or a name; port 0 is what DNS says, or the transport's own (SIP-8).
    `transport` is `udp`, `tcp` or `tls`; with `tcp_if_large` a request too large for UDP goes by TCP (SIP-6).
    `plus_in_caller` puts a `+` before the caller's number; `diversion` lets it see Diversion (RFC 5806).
    """

    id: str
    name: str
    partner: str
    host: str
    port: int
    currency: str
    coverage: PrefixTable
    priority: int = 100
    enabled: bool = True
    trusted: bool = False
    remote_party_id: bool = False
    p_asserted_identity: bool = False
    caller_prefix: str = ""
    caller_prefix_in: frozenset[str] = frozenset({"from", "pai", "rpid"})
    uri_prefix: str = ""
    uri_prefix_escaped: bool = True
    rewrites: tuple[Rewrite, ...] = ()
    hunt_codes: frozenset[int] = frozenset({500, 502, 503, 504})
    provisional_timeout_ms: int = 4_000
    ring_timeout_ms: int = 185_000
    transport: str = "udp"
    tcp_if_large: bool = False
    plus_in_caller: bool = False
    diversion: bool = False

    @property
    def named(self) -> bool:
        """Whether `host` is a name. No name's last label is a number (RFC 1123 §2.1)."""
        host = self.host
        return ":" not in host and not host.rpartition(".")[2].isdigit()


@dataclass(frozen=True, slots=True)
class PriceList:
    """Sell prices. `minimum` is a call's least charge; `expensive_at` the threshold, None for none (TP-4).

    `strategy`: `cheapest` (by buy price) or `priority` (by gateway priority, then price).
    """

    id: str
    name: str
    partner: str
    currency: str
    rows: PrefixTable
    minimum: Decimal = Decimal(0)
    expensive_at: Decimal | None = None
    strategy: str = "cheapest"


@dataclass(frozen=True, slots=True)
class Timing:
    """RFC 3261 §17 timers and our own deadlines, milliseconds; session intervals (RFC 4028) in seconds.

    `min_se_s` is the smallest interval taken; `session_expires_s` is asked for where a caller asks for none, 0 never.
    """

    t1_ms: int = 500
    t2_ms: int = 4_000
    t4_ms: int = 5_000
    max_call_ms: int = 14_400_000
    durable_wait_ms: int = 20
    min_se_s: int = 90
    session_expires_s: int = 1_800


@dataclass(frozen=True, slots=True)
class Platform:
    """What belongs to the listener rather than to a customer."""

    realm: str = "sipsvc"
    nonce_lifetime_ms: int = 300_000
    timing: Timing = Timing()


@dataclass(frozen=True, slots=True)
class Block:
    """A blocked E.164 prefix and why (SIP-26). `partner` "" blocks it for the whole platform."""

    id: str
    partner: str
    prefix: str
    reason: str


# Source networks by (IP version, prefix length) and network address as a number; a trunk with a port comes first.
Networks = Mapping[tuple[int, int], Mapping[int, tuple[Trunk, ...]]]


@dataclass(frozen=True, slots=True)
class Directory:
    """Everything a call is decided on: tables by id, and tables made from them for what a call has to look up.

    They are independent: a change makes new ones of those it touches and shares the others with the directory before.
    """

    version: int
    platform: Platform
    customers: Mapping[str, Customer] = field(default_factory=dict)
    pricelists: Mapping[str, PriceList] = field(default_factory=dict)
    trunks: Mapping[str, Trunk] = field(default_factory=dict)
    gateways: Mapping[str, Gateway] = field(default_factory=dict)
    blocks: Mapping[str, Block] = field(default_factory=dict)
    # Made from trunks: enabled ones by username, and by source network.
    users: Mapping[str, Trunk] = field(default_factory=dict)
    networks: Networks = field(default_factory=dict)
    # Made from gateways: each partner's in the order of ids, and the ids of those given by address at theirs.
    gateways_of: Mapping[str, tuple[Gateway, ...]] = field(default_factory=dict)
    addresses: Mapping[tuple[str, int], tuple[str, ...]] = field(default_factory=dict)
    # Made from blocks: by partner ("" the platform) and prefix.
    blocked: Mapping[str, Mapping[str, Block]] = field(default_factory=dict)
