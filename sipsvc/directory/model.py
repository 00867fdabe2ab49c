"""The types of the directory. Made by the builder, never changed; a call keeps the one it was decided on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from sipsvc.directory.prefix import PrefixTable
from sipsvc.directory.schedule import Window


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
    """Who pays. `max_channels` (calls at once) and `max_cps` (calls a second) 0 are unlimited; over any limit of calls
    it is answered `busy_status`, 486 or 503. `status`: trial, active, suspended, closed.

    What it may spend in an hour and a day (UTC), in its price list's currency: at an alert we are told, at a cap new
    calls are refused; None for neither (SIP-27).

    `zone` is the IANA time zone of its days and months. A prepaid account, and one with a `credit_limit`, has its calls
    reserved before they go: `funds` is all that its ledger holds but for charges of calls, `low_balance` where we are
    told that little is left. All in the currency of its price list. `product` is the web product it came by.
    """

    id: str
    name: str
    partner: str
    status: str
    pricelist: str
    allow_expensive: bool = False
    max_channels: int = 0
    dial_plan: DialPlan = DialPlan()
    caller_ids: CallerIds = CallerIds()
    max_cps: int = 0
    busy_status: int = 486
    spend_alert_hour: Decimal | None = None
    spend_alert_day: Decimal | None = None
    spend_cap_hour: Decimal | None = None
    spend_cap_day: Decimal | None = None
    zone: str = "UTC"
    prepaid: bool = False
    credit_limit: Decimal | None = None
    low_balance: Decimal | None = None
    funds: Decimal = Decimal(0)
    product: str = ""

    @property
    def metered(self) -> bool:
        """Whether its calls go only as far as its credit."""
        return self.prepaid or self.credit_limit is not None

    @property
    def watched(self) -> bool:
        """Whether anything hangs on what it spends."""
        limits = (self.spend_alert_hour, self.spend_alert_day, self.spend_cap_hour, self.spend_cap_day)
        return any(limit is not None for limit in limits)


@dataclass(frozen=True, slots=True)
class Trunk:
    """How a customer's calls are known: a `source` network, a TLS `certificate`, or a `username` with HA1 (RFC 7616).

    `source` is CIDR, `port` 0 any; what is dialled from there begins with `tech_prefix`, which is taken off.
    `certificate` is its SHA-256, 64 lower-case hex digits. `ha1_md5` and `ha1_sha256` are lower-case hex, "" where
    none is kept. `algorithms` are those that are accepted, by name as in messages; () is all that there are.
    `max_channels` 0 is unlimited.
    """

    id: str
    customer: str
    source: str = ""
    port: int = 0
    username: str = ""
    ha1_md5: str = ""
    enabled: bool = True
    max_channels: int = 0
    ha1_sha256: str = ""
    algorithms: tuple[str, ...] = ()
    tech_prefix: str = ""
    certificate: str = ""

    def ha1(self, algorithm: str) -> str:
        """What proofs by this algorithm are checked against, "" where it is not accepted (SIP-21)."""
        if self.algorithms and algorithm not in self.algorithms:
            return ""
        return self.ha1_sha256 if algorithm == "SHA-256" else self.ha1_md5 if algorithm == "MD5" else ""


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
    `auth_username` and `auth_password` answer its challenges, with `auth_realm` those of that realm only (SIP-33).
    `plus_in_caller` puts a `+` before the caller's number; `diversion` lets it see Diversion (RFC 5806).
    `max_channels` and `max_cps` 0 are unlimited; `schedule` is when it may be used, () always; `weight` its share
    where a list draws by weight, 0 for none as long as there are others (SIP-28).
    It is pinged every `ping_interval_s` (0 never), down after `down_after` failures in a row and up again after
    `up_after` successes (SIP-34); with `registration` we register there, for `registration_expires_s`.
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
    auth_username: str = ""
    auth_password: str = field(default="", repr=False)
    auth_realm: str = ""
    plus_in_caller: bool = False
    diversion: bool = False
    max_channels: int = 0
    max_cps: int = 0
    weight: int = 1
    schedule: tuple[Window, ...] = ()
    ping_interval_s: int = 0
    down_after: int = 3
    up_after: int = 2
    registration: bool = False
    registration_expires_s: int = 3_600

    @property
    def named(self) -> bool:
        """Whether `host` is a name. No name's last label is a number (RFC 1123 §2.1)."""
        host = self.host
        return ":" not in host and not host.rpartition(".")[2].isdigit()


@dataclass(frozen=True, slots=True)
class PriceList:
    """Sell prices. `minimum` is a call's least charge; `expensive_at` the threshold, None for none (TP-4).

    `strategy`: `cheapest` (by what the expected call costs), `priority` (by gateway priority, then by that) or `weight`
    (drawn by the Call-ID). A gateway at which a call of `expected_s` seconds loses money is left out, unless
    `allow_loss` (SIP-28).
    """

    id: str
    name: str
    partner: str
    currency: str
    rows: PrefixTable
    minimum: Decimal = Decimal(0)
    expensive_at: Decimal | None = None
    strategy: str = "cheapest"
    expected_s: int = 60
    allow_loss: bool = False


@dataclass(frozen=True, slots=True)
class Package:
    """What a customer's calls are sold by (PP-1..6): the price list, and which of its calls are free for how long.

    `kind`: `payg`, `unlimited_domestic` or `unlimited_international`. An account has `minutes` of free calls a month,
    0 for no end of them; `free` are the prefixes of the list's rows that they are for, `44*` is all that begin so, None
    all there are. `customer`, `products` and `default` say whose it is: one customer's, that of web products, or of all
    others of the partner.
    """

    id: str
    name: str
    partner: str
    kind: str
    pricelist: str
    minutes: int = 0
    free: frozenset[str] | None = None
    customer: str = ""
    products: tuple[str, ...] = ()
    default: bool = False

    def covers(self, prefix: str) -> bool:
        """Whether calls that are priced by the row of this prefix are free while there are minutes."""
        if self.kind == "payg" or self.free is None:
            return self.kind != "payg"
        return prefix in self.free or any(f"{prefix[:size]}*" in self.free for size in range(1, len(prefix) + 1))


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
    """What belongs to the listener rather than to a customer. `digest` are the algorithms offered, in order; `rates`
    what one unit of each currency is worth in units of one that stands for all (SIP-28)."""

    realm: str = "sipsvc"
    nonce_lifetime_ms: int = 300_000
    timing: Timing = Timing()
    rates: Mapping[str, Decimal] = field(default_factory=dict)
    digest: tuple[str, ...] = ("MD5",)


@dataclass(frozen=True, slots=True)
class Block:
    """An E.164 prefix that is blocked, or allowed all the same, and why (SIP-26).

    `partner` "" is the platform's own; with `customer` it is for that customer of the partner alone. `action` is
    `block` or `allow`. `liftable`, of the platform's blocks: a partner may allow it. `lift_expensive`, of a partner's
    allows: the price list's threshold does not hold there.
    """

    id: str
    partner: str
    prefix: str
    reason: str
    customer: str = ""
    action: str = "block"
    liftable: bool = False
    lift_expensive: bool = False


@dataclass(frozen=True, slots=True)
class ShortCode:
    """What a few digits stand for in a partner's accounts, or in one `customer`'s (SIP-25).

    Either `number`, E.164 digits, or `gateways` by id in the order of trial with `dial`, which they are sent as it
    stands. `emergency` goes to gateways only, past every limit and block.
    """

    id: str
    partner: str
    code: str
    name: str
    customer: str = ""
    number: str = ""
    gateways: tuple[str, ...] = ()
    dial: str = ""
    emergency: bool = False


# Source networks by (IP version, prefix length) and network address as a number; a trunk with a port comes first, then
# the longer tech prefix.
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
    # Made from trunks too: enabled ones by the fingerprint of their certificate.
    certificates: Mapping[str, Trunk] = field(default_factory=dict)
    # Made from gateways: each partner's in the order of ids, those of them with a limit of calls, and the ids of those
    # given by address at theirs.
    gateways_of: Mapping[str, tuple[Gateway, ...]] = field(default_factory=dict)
    limited_of: Mapping[str, tuple[Gateway, ...]] = field(default_factory=dict)
    addresses: Mapping[tuple[str, int], tuple[str, ...]] = field(default_factory=dict)
    # Made from blocks: by partner ("" the platform) and prefix; those for one customer by customer and prefix.
    blocked: Mapping[str, Mapping[str, Block]] = field(default_factory=dict)
    blocked_for: Mapping[str, Mapping[str, Block]] = field(default_factory=dict)
    shortcodes: Mapping[str, ShortCode] = field(default_factory=dict)
    # Made from short codes: by partner and code; those of one customer by customer and code.
    codes: Mapping[str, Mapping[str, ShortCode]] = field(default_factory=dict)
    codes_for: Mapping[str, Mapping[str, ShortCode]] = field(default_factory=dict)
    packages: Mapping[str, Package] = field(default_factory=dict)
    # Made from packages, by whose they are: ("customer", id), ("product", id) and ("default", partner).
    package_for: Mapping[tuple[str, str], Package] = field(default_factory=dict)

    def package_of(self, customer: Customer) -> Package | None:
        """The customer's own, before its product's, before the partner's default (PP-6)."""
        table = self.package_for
        if not table:
            return None
        return (
            table.get(("customer", customer.id))
            or (table.get(("product", customer.product)) if customer.product else None)
            or table.get(("default", customer.partner))
        )

    def pricelist_of(self, customer: Customer) -> PriceList:
        """What its calls are sold at: its package's list, its own where it has no package."""
        package = self.package_of(customer)
        return self.pricelists[customer.pricelist if package is None else package.pricelist]
