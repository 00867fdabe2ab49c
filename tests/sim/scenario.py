"""One run: the directory, the engine, the agents, the clock until all is quiet, and what is left to check."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from random import Random
from typing import Any, cast

import re2

from sipsvc.directory import (
    Block,
    Builder,
    CallerIds,
    Customer,
    DialPlan,
    Directory,
    Gateway,
    Item,
    Package,
    Platform,
    PrefixTable,
    PriceList,
    PriceRow,
    Rewrite,
    Timing,
    Trunk,
)
from sipsvc.effects import Listener
from sipsvc.engine import Engine
from sipsvc.store.days import month_at
from tests.sim.behaviours import begin
from tests.sim.credit import draw_credit, is_bounded, paid_in, stretched, weigh
from tests.sim.customers import LONGEST_SETUP_MS, CallerCall, CustomerAgent
from tests.sim.drawing import (
    STRANGER,
    WRONG_PASSWORD,
    draw_calls,
    draw_faults,
    draw_outages,
    draw_reboots,
    draw_setting,
    draw_way,
)
from tests.sim.gateways import GatewayAgent
from tests.sim.limiting import draw_limits
from tests.sim.live import draw_changes
from tests.sim.login import PASSWORD, USER
from tests.sim.names import Names
from tests.sim.network import MS, Address, Faults, Network
from tests.sim.noise import SOURCE, Noise
from tests.sim.plan import CallPlan, CustomerSpec, GatewaySpec, Row, Setting
from tests.sim.proxies import RecordingProxy
from tests.sim.restart import Restart, draw_restarts, schedule
from tests.sim.rim import EngineHost
from tests.sim.sipmsg import hexmd5
from tests.sim.sipua import GIVE_UP, Finding, World

PROXIES: tuple[Address, ...] = (("10.0.0.1", 5060), ("10.0.0.2", 5070))
SHORT_CALL_MS = 1_000
# Longer than any gateway is left alone.
SETTLE_MS = 660_000
LINGER_MS = 3 * GIVE_UP
NETS = {"acme": "10.1.0", "beta": "10.5.0", "gone": "10.3.0", "stranger": "10.66.0", "wrong": "10.67.0"}


@dataclass
class Run:
    """Everything a run leaves behind for the invariants. `setting` is the first, `settings` all by version."""

    seed: int
    setting: Setting
    settings: dict[int, Setting]
    directories: dict[int, Directory]
    plans: dict[str, CallPlan]
    world: World
    host: EngineHost
    restarts: list[Restart]
    callers: dict[str, CallerCall]
    gateways: dict[str, GatewayAgent]
    proxies: list[RecordingProxy]
    noise: Noise
    # When it was over for the gateways, and how they did then.
    settled_at: int = 0
    health: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def engine(self) -> Engine:
        """The one that lives now."""
        engine = self.host.engine
        assert isinstance(engine, Engine)
        return engine

    @property
    def findings(self) -> list[Finding]:
        return self.world.findings


def _rows(rows: tuple[Row, ...]) -> PrefixTable:
    return PrefixTable(
        PriceRow(row.id, row.prefix, f"to {row.prefix}", Decimal(row.rate).quantize(Decimal("0.000001")),
                 Decimal(row.fee).quantize(Decimal("0.000001")), row.initial, row.increment, row.origin)
        for row in rows
    )  # fmt: skip


def _customer(spec: CustomerSpec) -> Customer:
    return Customer(
        spec.id, f"{spec.id} Ltd", "demo", spec.status, f"list-{spec.id}", spec.allow_expensive, spec.max_channels,
        DialPlan(("00",), spec.national, spec.country, "international"),
        CallerIds(spec.allowed, spec.default, spec.otherwise), spec.max_cps, spec.busy_status, zone=spec.zone,
        prepaid=bool(spec.funds), funds=Decimal(spec.funds or 0),
    )  # fmt: skip


def _package(spec: CustomerSpec) -> Package:
    return Package(
        f"package-{spec.id}", "Unlimited", "demo", "unlimited_domestic", f"list-{spec.id}", spec.minutes or 0,
        spec.free, customer=spec.id,
    )  # fmt: skip


def _trunk(spec: CustomerSpec, realm: str) -> Trunk:
    ha1 = hexmd5(f"{spec.username}:{realm}:{spec.password}") if spec.username else ""
    return Trunk(f"trunk-{spec.id}", spec.id, spec.source, 0, spec.username, ha1, True, spec.trunk_channels)


def _gateway(spec: GatewaySpec) -> Gateway:
    rewrites: tuple[Rewrite, ...] = ()
    if spec.rewrite is not None:
        pattern = f"^{spec.rewrite[0]}"
        rewrites = (Rewrite(pattern, spec.rewrite[1], re2.compile(pattern)),)
    return Gateway(
        spec.id, spec.id.upper(), "demo", spec.host, spec.address[1], "USD", _rows(spec.rows), spec.priority,
        trusted=spec.trusted, remote_party_id=spec.rpid, p_asserted_identity=spec.pai,
        caller_prefix=spec.caller_prefix, caller_prefix_in=spec.caller_prefix_in, uri_prefix=spec.uri_prefix,
        uri_prefix_escaped=spec.escaped, rewrites=rewrites, hunt_codes=spec.hunt_codes,
        ring_timeout_ms=spec.ring_timeout_ms, tcp_if_large=spec.tcp_if_large,
        max_channels=spec.max_channels, max_cps=spec.max_cps,
        auth_username=USER if spec.login is not None else "",
        auth_password=PASSWORD if spec.login is not None else "",
        ping_interval_s=spec.ping_s, down_after=spec.down_after,
    )  # fmt: skip


def _timing(setting: Setting) -> Timing:
    return Timing(max_call_ms=setting.max_call_ms, min_se_s=setting.min_se, session_expires_s=setting.session_expires)


def _items(setting: Setting) -> dict[object, Item]:
    """What the engine's picture of a setting is made of, by what each is made from."""
    items: dict[object, Item] = {}
    for spec in setting.customers:
        rows = _rows(spec.rows)
        items["list", spec.id, spec.rows] = PriceList(
            f"list-{spec.id}", f"list of {spec.id}", "demo", spec.currency, rows, Decimal(spec.minimum),
            Decimal(spec.expensive_at), spec.strategy,
        )  # fmt: skip
        items[spec] = _customer(spec)
        items["trunk", spec.id] = _trunk(spec, setting.realm)
        if spec.minutes is not None:
            items["package", spec.id] = _package(spec)
    for gateway in setting.gateways:
        items[gateway] = _gateway(gateway)
    for prefix, reason in setting.blocks.items():
        items["block", prefix] = Block(prefix, "", prefix, reason)
    return items


def directories(settings: list[Setting]) -> dict[int, Directory]:
    """The engine's picture of each setting by its version, each made from the one before by what differs."""
    builder = Builder()
    first = settings[0]
    builder.place(Platform(first.realm, 20_000, _timing(first)))
    found: dict[int, Directory] = {}
    before: dict[object, Item] = {}
    for setting in settings:
        items = _items(setting)
        for made_from, item in items.items():
            if made_from not in before:
                builder.place(item)
        before = items
        found[setting.version] = builder.commit(setting.version)
    return found


def make_engine(directory: Directory, seed: int, life: int = 0) -> Engine:
    random = Random(f"engine {seed} {life}")
    return Engine(
        directory,
        listeners=(*(Listener("UDP", *address) for address in PROXIES), Listener("TCP", *PROXIES[0])),
        secret=b"s" * 32,
        random_bytes=random.randbytes,
        months=month_at,
    )


def prepare(seed: int) -> Run:
    """Everything in place, nothing begun."""
    setting = draw_credit(seed, draw_limits(seed, draw_setting(seed)))
    plans = {plan.call_id: plan for plan in stretched(seed, setting, draw_calls(seed, setting))}
    changes = paid_in(seed, draw_changes(seed, setting))
    settings = [setting, *(changed for _, changed in changes)]
    books = directories(settings)
    net = Network(seed, draw_faults(seed))
    world = World(net)
    world.stateful = frozenset(host for host, _ in PROXIES)
    host = EngineHost(net, make_engine(books[setting.version], seed), list(PROXIES), books[setting.version])
    if is_bounded(setting):
        host.look = lambda: weigh(cast(Engine, host.engine), world)
    host.enter(lambda: host.engine.restore([], host.now))
    for at, changed in changes:
        net.after(at, partial(host.swap, books[changed.version]))
    host.names = Names(net, seed, {spec.name: spec.address for spec in setting.gateways if spec.name})
    proxies: list[RecordingProxy] = []
    gateways = {spec.id: _carrier(world, spec, plans, seed, proxies) for spec in setting.gateways if not spec.dead}
    for at, name, down_ms in draw_reboots(seed, list(gateways)):
        net.after(at, partial(gateways[name].reboot, down_ms))
    for at, name, away_ms in draw_outages(seed, list(gateways)):
        net.after(at, partial(gateways[name].go_away, away_ms))
    agents: dict[str, CustomerAgent] = {}
    callers = {}
    for plan in plans.values():
        if plan.agent not in agents:
            agents[plan.agent] = _customer_agent(world, plan.agent, seed, proxies)
        callers[plan.call_id] = agents[plan.agent].call(plan)
    # Cutting calls short and dying at once is no life any server leads.
    restarts = draw_restarts(seed) if setting.max_call_ms > SHORT_CALL_MS else []
    if is_bounded(setting) and setting.max_call_ms > SHORT_CALL_MS:
        # Most of these have some, away for long enough that credit runs out meanwhile, but not for 64·T1.
        drawn = restarts or draw_restarts(-seed)
        restarts = [replace(one, down_ms=min(one.down_ms * 15, 25_000.0)) for one in drawn]
    for restart in restarts:
        schedule(restart, host, lambda: make_engine(host.directory, seed, host.life), world)
    by_version = {one.version: one for one in settings}
    noise = Noise(world, PROXIES, seed)
    host.outsiders = frozenset({SOURCE})
    return Run(seed, setting, by_version, books, plans, world, host, restarts, callers, gateways, proxies, noise)


def _carrier(
    world: World, spec: GatewaySpec, plans: dict[str, CallPlan], seed: int, proxies: list[RecordingProxy]
) -> GatewayAgent:
    """A gateway at its address, or behind a proxy that has that address."""
    way = draw_way(seed, spec.id)
    if not way:
        return GatewayAgent(world, spec, spec.address, plans, seed, begin)
    inside = (spec.address[0].replace("10.2.0.", "10.2.1."), spec.address[1])
    agent = GatewayAgent(world, spec, inside, plans, seed, begin)
    agent.seen_at = spec.address
    edge = RecordingProxy(world, f"edge-{spec.id}", spec.address, way == "strict", inside)
    edge.alias = spec.name
    proxies.append(edge)
    return agent


def _customer_agent(world: World, name: str, seed: int, proxies: list[RecordingProxy]) -> CustomerAgent:
    """A phone; some sit behind a proxy of their own."""
    stem, number = name[:-1], int(name[-1])
    net = NETS[stem]
    proxy = PROXIES[Random(f"{seed} {name}").random() < 0.3]
    way = draw_way(seed, name) if stem in ("acme", "beta") else ""
    hidden = number == 3 and not way
    agent = CustomerAgent(world, name, (f"{net}.{number}", 5060 + number), seed, proxy, hidden=hidden)
    if way:
        outbound = (f"{net}.{10 + number}", 5060)
        agent.outbound = agent.seen_at = outbound
        proxies.append(RecordingProxy(world, f"pbx-{name}", outbound, way == "strict"))
    return agent


def play(run: Run) -> Run:
    """Until every customer is done, and then three times 64·T1 for what lingers."""
    net = run.world.net
    net.run(net.time + int((60_000 + LONGEST_SETUP_MS + run.setting.max_call_ms) * MS),
            lambda: all(call.done for call in run.callers.values()))  # fmt: skip
    net.run(net.time + int(LINGER_MS * MS))
    settle(run)
    return run


def settle(run: Run) -> None:
    """In fair weather gateways come back by themselves; when there are none any more, nothing is asked of them."""
    net, host = run.world.net, run.host
    if any(spec.ping_s for spec in run.setting.gateways):
        foul, net.faults = net.faults, Faults()
        net.run(net.time + int(SETTLE_MS * MS))
        net.faults = foul
    run.settled_at = net.time
    run.health = run.engine.gateway_health()
    host.swap(replace(host.directory, version=host.directory.version + 1, gateways={}, gateways_of={}))
    net.run(net.time + int(LINGER_MS * MS))


def is_known(plan: CallPlan) -> bool:
    """Whether the engine must know who this is."""
    return plan.expect not in (STRANGER, WRONG_PASSWORD)
