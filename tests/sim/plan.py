"""What is drawn from the seed before a run starts: customers, gateways, prices, and every call's script."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from urllib.parse import quote

from tests.sim.login import Login
from tests.sim.network import Address


@dataclass(frozen=True)
class Row:
    """A price per minute; money is text, increments are seconds."""

    id: int
    prefix: str
    rate: str
    fee: str = "0"
    initial: int = 60
    increment: int = 60
    origin: str = ""

    @property
    def per_minute(self) -> Fraction:
        return Fraction(self.rate) + Fraction(self.fee)


def longest(rows: tuple[Row, ...], number: str, caller: str) -> Row | None:
    """DOMAIN's longest match, the plain way: longest prefix, then longest origin, never a shorter prefix."""
    fitting = [row for row in rows if number.startswith(row.prefix)]
    if not fitting:
        return None
    length = max(len(row.prefix) for row in fitting)
    there = [row for row in fitting if len(row.prefix) == length and caller.startswith(row.origin)]
    return max(there, key=lambda row: len(row.origin), default=None)


def price(
    row: Row, duration_ms: int | None, minimum: str = "0", granted_s: int | None = None, allowance: int = 0
) -> tuple[int, str]:
    """Billed seconds and amount by DOMAIN's formula, in fractions; the amount has six places.

    At most `granted_s` seconds are billed, and `allowance` of them cost nothing.
    """
    if duration_ms is None:
        return 0, "0.000000"
    seconds = -(-duration_ms // 1000)
    billed = row.initial + -(-max(0, seconds - row.initial) // row.increment) * row.increment
    if granted_s is not None:
        billed = min(billed, granted_s)
    raw = Fraction(row.fee) + Fraction(row.rate) * (billed - allowance) / 60
    if raw == 0 or billed in (0, allowance):
        return billed, "0.000000"
    millionths = (raw * 1_000_000 + Fraction(1, 2)).__floor__()
    millionths = max(millionths, int(Fraction(minimum) * 1_000_000))
    return billed, f"{millionths // 1_000_000}.{millionths % 1_000_000:06d}"


@dataclass(frozen=True)
class CustomerSpec:
    """A customer and its price list."""

    id: str
    rows: tuple[Row, ...]
    currency: str = "USD"
    minimum: str = "0"
    expensive_at: str = "0.50"
    strategy: str = "cheapest"
    status: str = "active"
    allow_expensive: bool = False
    max_channels: int = 0
    national: str = ""
    country: str = ""
    allowed: tuple[str, ...] = ()
    default: str = ""
    otherwise: str = "refuse"
    source: str = ""
    username: str = ""
    password: str = ""
    trunk_channels: int = 0
    max_cps: int = 0
    busy_status: int = 486
    # Prepaid with so much, "" for an account without bounds; what its package has a month, None without a package.
    funds: str = ""
    zone: str = "UTC"
    minutes: int | None = None
    free: frozenset[str] | None = None

    def shown(self, caller: str) -> str | None:
        """The caller ID a call goes out with, or None where it is refused (SIP-23)."""
        for rule in self.allowed:
            if caller == rule or (rule.endswith("*") and caller.startswith(rule[:-1])):
                return caller
        return self.default if self.otherwise == "default" else None


@dataclass(frozen=True)
class GatewaySpec:
    """A gateway's settings. `dead` ones have nobody at their address."""

    id: str
    address: Address
    rows: tuple[Row, ...]
    priority: int = 100
    uri_prefix: str = ""
    escaped: bool = True
    rewrite: tuple[str, str] | None = None
    caller_prefix: str = ""
    caller_prefix_in: frozenset[str] = frozenset({"from", "pai", "rpid"})
    pai: bool = False
    rpid: bool = False
    trusted: bool = False
    hunt_codes: frozenset[int] = frozenset({500, 502, 503, 504})
    ring_timeout_ms: int = 185_000
    dead: bool = False
    # Where it is only known by name, and the addresses that may come before its own when that is looked up.
    name: str = ""
    spares: tuple[str, ...] = ()
    # Requests too large for UDP are to be tried by TCP, which no gateway here takes: it refuses, or says nothing.
    tcp_if_large: bool = False
    max_channels: int = 0
    max_cps: int = 0
    # It challenges, and we have credentials for it.
    login: Login | None = None
    # Every so many seconds it is asked whether it is there, 0 never; so many failures take it out.
    ping_s: int = 0
    down_after: int = 3

    @property
    def host(self) -> str:
        return self.name or self.address[0]

    def user(self, e164: str) -> str:
        """The user part its Request-URI must have: rewrite, then prefix, escaped as set (TG-6, SIP-30)."""
        if self.rewrite is not None and e164.startswith(self.rewrite[0]):
            e164 = self.rewrite[1] + e164.removeprefix(self.rewrite[0])
        text = self.uri_prefix + e164
        return quote(text, safe="+*") if self.escaped else text

    def caller(self, shown: str, where: str) -> str:
        """The caller's user part in header `where` (TG-5)."""
        return (self.caller_prefix if where in self.caller_prefix_in else "") + shown


@dataclass(frozen=True)
class GatewayPlan:
    """How one gateway will treat one call. Times are milliseconds after the INVITE came, `hangup` after the ACK.

    `early_asks` are requests to the caller by delay after the first provisional response, `asks` after the ACK.
    `timer` says that it knows session timers; `mute` that it says and hears nothing more from then on, after the ACK.
    """

    kind: str
    first: float = 100.0
    final: float = 2000.0
    hangup: float | None = None
    reinvite: float | None = None
    status: int = 0
    early_asks: tuple[tuple[float, str], ...] = ()
    asks: tuple[tuple[float, str], ...] = ()
    timer: bool = False
    mute: float | None = None


@dataclass
class CallPlan:
    """One call's script. `expect` is "" for a call that may go out, else what it must be refused for.

    `timer` says that the caller knows session timers, `session_s` what it asks for; from `mute_ms` after the answer it
    says and hears nothing more.
    """

    call_id: str
    customer: CustomerSpec | None
    agent: str
    action: str
    dialled: str
    e164: str
    caller: str
    start_ms: float
    talk_ms: float = 5000.0
    cancel_ms: float | None = None
    reinvite_ms: float | None = None
    expect: str = ""
    password: str = ""
    privacy: bool = False
    early_asks: tuple[tuple[float, str], ...] = ()
    asks: tuple[tuple[float, str], ...] = ()
    timer: bool = False
    session_s: int = 0
    mute_ms: float | None = None
    large: bool = False
    gateways: dict[str, GatewayPlan] = field(default_factory=dict)


@dataclass(frozen=True)
class Setting:
    """Who there is and how long a call may last, until a change makes another setting of it."""

    customers: tuple[CustomerSpec, ...]
    gateways: tuple[GatewaySpec, ...]
    blocks: dict[str, str]
    max_call_ms: int
    realm: str = "sim"
    version: int = 7
    # Session timers, in seconds: the least taken, and what is asked for where a caller asks for none.
    min_se: int = 90
    session_expires: int = 1_800

    def gateway_at(self, address: Address) -> GatewaySpec | None:
        for gateway in self.gateways:
            if address[0] in (gateway.address[0], *gateway.spares):
                return gateway
        return None

    def customer(self, plan: CallPlan) -> CustomerSpec | None:
        """The customer of a call, as it is in this setting."""
        name = plan.customer.id if plan.customer is not None else ""
        return next((one for one in self.customers if one.id == name), None)

    def expects(self, plan: CallPlan) -> str:
        """As the plan does, but whoever is suspended must be refused for that."""
        customer = self.customer(plan)
        if customer is not None and customer.status == "suspended" and plan.expect != "wrong password":
            return "customer_suspended"
        if not plan.expect and not self.candidates(plan):
            return "no_route"
        too_small = plan.timer and 0 < plan.session_s < self.min_se
        return plan.expect or ("session_interval" if too_small else "")

    def candidates(self, plan: CallPlan) -> list[tuple[GatewaySpec, Row]]:
        """The gateways a call must be tried at, in order: by buy price, or by priority and then price.

        None at which a minute loses money, where both prices are in one currency (SIP-28).
        """
        customer = self.customer(plan)
        shown = customer.shown(plan.caller) if customer is not None else None
        if customer is None or shown is None:
            return []
        found = []
        for gateway in self.gateways:
            row = longest(gateway.rows, plan.e164, shown)
            if row is not None and not self._loses(customer, plan, shown, row):
                found.append((gateway, row))
        by_priority = customer.strategy == "priority"
        found.sort(key=lambda pair: (pair[0].priority if by_priority else 0, pair[1].per_minute))
        return found

    def _loses(self, customer: CustomerSpec, plan: CallPlan, shown: str, buy: Row) -> bool:
        sell = longest(customer.rows, plan.e164, shown)
        if sell is None or customer.currency != "USD":
            return False
        return Fraction(price(buy, 60_000)[1]) > Fraction(price(sell, 60_000, customer.minimum)[1])
