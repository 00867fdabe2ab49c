"""Drawing a run from its seed: the customers and gateways there are, and each call's script."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

from tests.sim.login import draw_login
from tests.sim.names import spares
from tests.sim.network import Faults
from tests.sim.plan import CallPlan, CustomerSpec, GatewayPlan, GatewaySpec, Row, Setting

BLOCKS = {"979": "premium rate", "3389": "value added"}
# E.164 numbers that may be called, and those that may not, by reason.
NUMBERS = ("33123456789", "33612345678", "442071234567", "447700900123", "12125550123", "4915112345678")
REFUSED = {
    "no_price": "7495123456",
    "dest_blocked": "979123456",
    "dest_expensive": "88216123456",
    "no_route": "8135551234",
}
ACME = CustomerSpec(
    "acme",
    (
        Row(1, "33", "0.020000", initial=30, increment=6),
        Row(2, "336", "0.050000", fee="0.010000", initial=1, increment=1),
        Row(3, "44", "0.015000"),
        Row(4, "44", "0.025000", origin="33"),
        Row(5, "1", "0.010000", initial=6, increment=6),
        Row(6, "49", "0.033333", fee="0.000007", initial=1, increment=1),
        Row(7, "8821", "0.600000"),
        Row(8, "81", "0.040000"),
        Row(9, "3389", "0.080000"),
        Row(10, "979", "0.100000"),
    ),
    minimum="0.01",
    national="0",
    country="44",
    allowed=("4420*", "33170001122"),
    source="10.1.0.0/28",
)
BETA = CustomerSpec(
    "beta",
    (
        Row(21, "33", "0.031000", initial=1, increment=1),
        Row(22, "44", "0.029000", initial=60, increment=60),
        Row(23, "1", "0.019000", fee="0.15", initial=1, increment=1),
        Row(24, "49", "0.045000", initial=30, increment=6),
        Row(25, "8821", "0.700000", initial=1, increment=1),
        Row(26, "81", "0.050000"),
        Row(27, "979", "0.2"),
    ),
    currency="EUR",
    strategy="priority",
    allow_expensive=True,
    allowed=("1212*",),
    default="12125550000",
    otherwise="default",
    username="beta-trunk",
    password="correct horse",
)
GONE = CustomerSpec("gone", ACME.rows, status="suspended", allowed=("44*",), source="10.3.0.1/32")
CALLERS = {"acme": ("442079460001", "+442079460002", "33170001122"), "beta": ("12125550777", "4930123", "+12125550778")}
STRANGER = "stranger"
WRONG_PASSWORD = "wrong password"
# Behaviour of a gateway, and how often it is drawn.
KINDS = {
    "rings": 14, "answers at once": 6, "many 18x": 4, "100 only": 4, "hangs up": 8, "rr": 3, "strict": 2,
    "re-INVITE by callee": 3, "486": 5, "503": 7, "500": 4, "404": 3, "603": 3, "302": 2, "401": 2, "407": 2,
    "rings and fails": 4, "silent": 4, "late": 5, "late 2xx": 5, "twice": 3, "rings for ever": 2, "stubborn": 2,
    "rude": 2, "100 for ever": 1, "100rel": 6, "keeps ringing": 1, "forks": 3, "rubbish": 2, "not for us": 2,
    "distorts": 3, "2xx without a tag": 2, "rings after the end": 2, "refuses thrice": 2, "answers after refusing": 1,
    "refuses after answering": 1,
}  # fmt: skip
LOSSES = (0.0, 0.0, 0.0, 0.01, 0.03, 0.06, 0.1, 0.1, 0.2, 0.3)
# Behind what a customer or a gateway may stand.
WAYS = {"": 70, "loose": 18, "strict": 12}
ASKED = ("UPDATE", "INFO", "OPTIONS", "MESSAGE", "XYZZY")


def draw_faults(seed: int) -> Faults:
    rng = Random(f"faults {seed}")
    return Faults(
        loss=rng.choice(LOSSES),
        double=rng.choice((0.0, 0.02, 0.1)),
        delay_ms=rng.choice((1.0, 10.0, 60.0)),
        jitter_ms=rng.choice((0.5, 10.0, 80.0, 300.0)),
    )


def draw_way(seed: int, name: str) -> str:
    """Whether `name` stands behind a proxy that keeps itself in the way, `loose` or `strict`; most do not."""
    return Random(f"way {seed} {name}").choices(list(WAYS), list(WAYS.values()))[0]


def draw_reboots(seed: int, gateways: list[str]) -> list[tuple[float, str, float]]:
    """When in milliseconds which gateway forgets everything, and how long it is away."""
    rng = Random(f"reboots {seed}")
    times = rng.choice((0, 0, 0, 0, 0, 1, 1, 2, 4)) if gateways else 0
    return [(rng.uniform(3_000, 70_000), rng.choice(gateways), rng.uniform(0, 2_500)) for _ in range(times)]


def draw_setting(seed: int) -> Setting:
    rng = Random(f"setting {seed}")
    gateways = tuple(watched(seed, _gateway(rng, number)) for number in range(1, rng.randint(2, 4) + 1))
    gateways = tuple(replace(gateway, login=draw_login(seed, gateway.id)) for gateway in gateways)
    channels = rng.choice((0, 3, 6))
    acme = CustomerSpec(**{**ACME.__dict__, "max_channels": channels})
    longest = rng.choice((60_000,) * 9 + (400,))
    min_se, asked_for = rng.choice(((90, 1_800), (4, 0), (4, 12), (5, 5), (90, 0)))
    return Setting((acme, BETA, GONE), gateways, BLOCKS, longest, min_se=min_se, session_expires=asked_for)


def _gateway(rng: Random, number: int) -> GatewaySpec:
    # Distinct by construction, and under every sell price, whatever the order and the fee.
    step = rng.randrange(0, 9) * 10 + number
    rows = [
        Row(1000 * number + 1, "33", f"0.0{10000 + step * 7:05d}", initial=1, increment=1),
        Row(1000 * number + 2, "44", f"0.00{5000 + step * 11:04d}"),
        Row(1000 * number + 3, "44", f"0.00{4000 + step * 11:04d}", origin="4420"),
        Row(1000 * number + 4, "1", f"0.00{2000 + step * 13:04d}", initial=6, increment=6),
        Row(1000 * number + 5, "49", f"0.00{3000 + step * 3:04d}", fee="0.001", initial=30, increment=6),
        Row(1000 * number + 6, "8821", f"0.{300000 + step * 17:06d}"),
    ]
    if number == 2:
        rows.append(Row(1000 * number + 7, "336", f"0.00{9000 + step * 5:04d}", initial=1, increment=1))
    if number == 3:
        del rows[3]
    return GatewaySpec(
        f"gw{number}",
        (f"10.2.0.{number}", 5080),
        tuple(rows),
        priority=rng.choice((10, 20, 100)) * 10 + number,
        uri_prefix=rng.choice(("", "9#", "00", "1234*")),
        escaped=rng.random() < 0.6,
        rewrite=rng.choice((None, None, ("33", "0"), ("44", "+44"))),
        caller_prefix=rng.choice(("", "555", "77")),
        caller_prefix_in=frozenset(name for name in ("from", "pai", "rpid") if rng.random() < 0.7),
        pai=rng.random() < 0.5,
        rpid=rng.random() < 0.5,
        trusted=rng.random() < 0.3,
        hunt_codes=frozenset({500, 502, 503, 504} if rng.random() < 0.7 else {404, 503}),
        ring_timeout_ms=rng.choice((185_000, 185_000, 40_000)),
        dead=rng.random() < 0.1,
        tcp_if_large=rng.random() < 0.4,
        **_named(number, rng.random() < 0.25),
    )


def _named(number: int, named: bool) -> dict[str, Any]:
    return {"name": f"gw{number}.carrier.example", "spares": spares(f"10.2.0.{number}")} if named else {}


def watched(seed: int, gateway: GatewaySpec) -> GatewaySpec:
    """How closely it is watched; half of them are not pinged."""
    rng = Random(f"health {seed} {gateway.id}")
    return replace(gateway, ping_s=rng.choice((0, 0, 4, 20)), down_after=rng.choice((1, 2, 3, 3, 5)))


def draw_outages(seed: int, gateways: list[str]) -> list[tuple[float, str, float]]:
    """When in milliseconds which gateway takes no new call and says nothing to pings, and for how long."""
    rng = Random(f"outages {seed}")
    times = rng.choice((0, 0, 1, 1, 2)) if gateways else 0
    return [(rng.uniform(0, 50_000), rng.choice(gateways), rng.uniform(10_000, 60_000)) for _ in range(times)]


def draw_calls(seed: int, setting: Setting) -> list[CallPlan]:
    rng = Random(f"calls {seed}")
    return [_call(rng, f"{seed}-{number:03d}@sim", setting) for number in range(rng.randint(20, 40))]


def _call(rng: Random, call_id: str, setting: Setting) -> CallPlan:
    acme, beta, gone = setting.customers
    start = rng.uniform(0, 60_000)
    customer = rng.choice((acme, acme, beta))
    number = rng.choice(NUMBERS)
    caller = rng.choice(CALLERS[customer.id])
    plan = CallPlan(
        call_id, customer, _agent(rng, customer), "talks", "", number, caller.lstrip("+"), start,
        talk_ms=rng.choice((rng.uniform(0, 1500), rng.uniform(500, 12_000), rng.uniform(10_000, 45_000))),
        password=customer.password, privacy=rng.random() < 0.15,
    )  # fmt: skip
    plan.gateways = {gateway.id: draw_gateway(rng) for gateway in setting.gateways}
    action = rng.choices(
        ("talks", "cancels", "re-INVITEs", "never hangs up", "refused", "not known"), (45, 22, 10, 4, 12, 7)
    )[0]
    plan.action = action
    if action == "cancels":
        plan.cancel_ms = _cancel_moment(rng, plan)
    elif action == "re-INVITEs":
        plan.reinvite_ms = rng.uniform(0, 3000)
        plan.talk_ms += 2000
    elif action == "refused":
        _refuse(rng, plan, gone)
    elif action == "not known":
        plan.expect = rng.choice((STRANGER, WRONG_PASSWORD))
        plan.customer, plan.action = beta if plan.expect == WRONG_PASSWORD else None, plan.expect
        plan.password = "guess" if plan.expect == WRONG_PASSWORD else ""
        plan.agent = f"{plan.expect.split()[0]}{rng.randint(1, 3)}"
    if plan.cancel_ms is None and any(script.kind in ("rings for ever", "stubborn", "rude") for script in
                                      plan.gateways.values()) and rng.random() < 0.5:  # fmt: skip
        plan.cancel_ms = rng.uniform(2000, 20_000)
    plan.large = rng.random() < 0.15
    plan.timer = rng.random() < 0.5
    if rng.random() < 0.4:
        plan.session_s = rng.choice((2, 6, 10, 90, 1800))
    if rng.random() < 0.1:
        plan.mute_ms = rng.uniform(0, 10_000)
    plan.dialled = _dialled(rng, plan)
    if rng.random() < 0.3:
        plan.asks = _asks(rng, 3_000)
    if rng.random() < 0.3:
        plan.early_asks = _asks(rng, 1_500, ("UPDATE", "INFO", "XYZZY"))
    if plan.reinvite_ms is not None and rng.random() < 0.4:
        # Both ask at once (§14.1).
        for name, script in plan.gateways.items():
            plan.gateways[name] = replace(script, reinvite=max(0.0, plan.reinvite_ms - rng.uniform(0, 40)))
    return plan


def _asks(rng: Random, within_ms: float, methods: tuple[str, ...] = ASKED) -> tuple[tuple[float, str], ...]:
    return tuple((rng.uniform(0, within_ms), rng.choice(methods)) for _ in range(rng.randint(1, 3)))


def _agent(rng: Random, customer: CustomerSpec) -> str:
    return f"{customer.id}{rng.randint(1, 3)}"


def _cancel_moment(rng: Random, plan: CallPlan) -> float:
    """Before any provisional, while it rings, or as close to the answer as can be planned."""
    script = rng.choice(list(plan.gateways.values()))
    return rng.choice(
        (
            rng.uniform(0, 60),
            rng.uniform(0, 8_000),
            max(0.0, script.final + rng.uniform(-80, 120)),
            rng.uniform(3_900, 4_300),
        )
    )


def _refuse(rng: Random, plan: CallPlan, gone: CustomerSpec) -> None:
    """Make the call one that must not go out, and say for what."""
    assert plan.customer is not None
    reasons = [*REFUSED, "caller_not_allowed", "customer_suspended"]
    reason = rng.choice(reasons)
    if reason in REFUSED:
        plan.e164 = REFUSED[reason]
        if reason == "dest_expensive" and plan.customer.allow_expensive:
            plan.action = "expensive, allowed"
            return
    elif reason == "customer_suspended":
        plan.customer, plan.agent, plan.password = gone, "gone1", ""
    elif plan.customer.otherwise == "refuse":
        plan.caller = "15005550006"
    else:
        plan.action = "caller replaced"
        plan.caller = "15005550006"
        return
    plan.expect = plan.action = reason


def _dialled(rng: Random, plan: CallPlan) -> str:
    """One of the ways this customer may write the number (SIP-25)."""
    number = plan.e164
    ways = [number, f"00{number}", f"+{number}", f"%2B{number}", f"+{number[:2]}-{number[2:5]}.{number[5:]}"]
    if plan.customer is not None and plan.customer.national and number.startswith(plan.customer.country):
        ways.append(plan.customer.national + number.removeprefix(plan.customer.country))
    return rng.choice(ways)


def draw_gateway(rng: Random) -> GatewayPlan:
    """How a gateway treats one call."""
    kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
    first, final = rng.uniform(20, 400), rng.uniform(500, 9_000)
    hangup = reinvite = None
    status = 0
    if kind == "hangs up":
        kind, hangup = rng.choice(("rings", "answers at once", "rr")), rng.uniform(0, 15_000)
    elif kind == "re-INVITE by callee":
        kind, reinvite = rng.choice(("rings", "rr")), rng.uniform(0, 3_000)
    elif kind.isdigit():
        status, final = int(kind), rng.uniform(5, 1_500)
    elif kind == "rings and fails":
        status = rng.choice((486, 503, 500, 404))
    elif kind in ("late", "late 2xx"):
        first = rng.uniform(4_050, 7_000)
        final = first + rng.choice((5.0, rng.uniform(0, 100), rng.uniform(0, 6_000)))
    elif kind == "refuses thrice":
        status, final = rng.choice((486, 404)), rng.uniform(5, 1_500)
    asks = _asks(rng, 3_000) if rng.random() < 0.2 else ()
    early = _asks(rng, 1_500, ("UPDATE", "INFO")) if kind == "100rel" and rng.random() < 0.5 else ()
    mute = rng.uniform(0, 10_000) if rng.random() < 0.1 else None
    return GatewayPlan(kind, first, final, hangup, reinvite, status, early, asks, rng.random() < 0.5, mute)
