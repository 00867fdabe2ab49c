"""Fixed seeds of the simulation, the agents without any proxy, and that the checks can see."""

from __future__ import annotations

from collections.abc import Iterator
from multiprocessing import get_context

import pytest

from tests.sim import mutants
from tests.sim.behaviours import begin
from tests.sim.customers import CallerCall, CustomerAgent
from tests.sim.gateways import GatewayAgent
from tests.sim.network import MS, Address, Faults, Network
from tests.sim.plan import CallPlan, GatewayPlan, GatewaySpec, Row, longest, price
from tests.sim.run import run_seed
from tests.sim.sipmsg import Malformed, build, digest_answer, parse, parse_name, parse_uri, split
from tests.sim.sipua import World

# Far from the seeds `make sim` begins with; and some that once found something.
SEEDS = [*range(1001, 1025), 8, 24, 106, 176, 218, 275]
GATEWAY: Address = ("10.2.0.1", 5080)


@pytest.mark.rule("SIP-5", "SIP-6", "SIP-8", "SIP-9", "SIP-18")
@pytest.mark.rule("SIP-10", "SIP-12", "SIP-13", "SIP-14", "SIP-15", "SIP-16", "SIP-17", "SIP-19", "SIP-33", "law 7")
@pytest.mark.rule("PP-2", "PP-4", "law 6")
@pytest.mark.rule("SIP-20", "SIP-21", "SIP-23", "SIP-26", "SIP-27", "SIP-28", "SIP-31", "TG-3", "TG-4", "TG-5", "TG-6")
@pytest.mark.parametrize("seed", SEEDS)
def test_no_invariant_breaks(seed: int) -> None:
    outcome = run_seed(seed)
    told = "\n".join([*(str(finding) for finding in outcome.findings), *outcome.ladders])
    assert not outcome.findings, told
    assert outcome.calls >= 20


def test_a_seed_gives_the_same_run_twice() -> None:
    first, second = run_seed(1001), run_seed(1001)
    assert first.counts == second.counts


@pytest.mark.parametrize(
    "name", ["stacked-prefix", "doubled-cdr", "blind-to-health", "down-for-ever", "parallel-calls-forgotten"]
)
def test_a_planted_bug_is_seen(name: str) -> None:
    with get_context("spawn").Pool(1) as pool:
        found, _, rules = pool.apply(mutants.hunt, (name,))
    assert found == name
    assert rules


class Direct:
    """A customer straight to a gateway over a bad network: the agents are sound by themselves."""

    def __init__(self, seed: int, faults: Faults) -> None:
        net = Network(seed, faults)
        self.world = World(net)
        spec = GatewaySpec("gw1", GATEWAY, ())
        self.plans: dict[str, CallPlan] = {}
        self.gateway = GatewayAgent(self.world, spec, spec.address, self.plans, seed, begin)
        self.customer = CustomerAgent(self.world, "anna", ("10.1.0.1", 5061), seed, GATEWAY)

    def call(self, action: str, script: GatewayPlan, cancel_ms: float | None = None) -> CallerCall:
        name = f"{len(self.plans)}@direct"
        plan = CallPlan(name, None, "anna", action, "1", "1", "2", 0.0, cancel_ms=cancel_ms, gateways={"gw1": script})
        plan.reinvite_ms = 500.0 if action == "re-INVITEs" else None
        self.plans[name] = plan
        call = self.customer.call(plan)
        self.world.net.run(self.world.net.time + 400_000 * MS)
        return call

    def faults(self) -> Iterator[str]:
        """What the agents found, apart from there being no proxy to record a route."""
        return (f"{one.rule}: {one.text}" for one in self.world.findings if one.rule != "route-set")


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    ("action", "script", "final"),
    [
        ("talks", GatewayPlan("rings"), 200),
        ("talks", GatewayPlan("answers at once"), 200),
        ("talks", GatewayPlan("many 18x"), 200),
        ("re-INVITEs", GatewayPlan("rings", reinvite=900.0), 200),
        ("talks", GatewayPlan("answers at once", hangup=100.0), 200),
        ("talks", GatewayPlan("486", status=486), 486),
        ("talks", GatewayPlan("twice"), 200),
        ("cancels", GatewayPlan("rings for ever"), 487),
    ],
)
def test_agents_agree_without_a_proxy(seed: int, action: str, script: GatewayPlan, final: int) -> None:
    direct = Direct(seed, Faults(loss=0.1, double=0.1, delay_ms=10, jitter_ms=300))
    call = direct.call(action, script, 1_000.0 if action == "cancels" else None)
    assert call.final == final
    assert list(direct.faults()) == []
    assert all(party.ended_at is not None for party in call.parties.values())
    for answered in (answered for one in direct.gateway.calls for answered in one.answers):
        assert answered.party.ended_at is not None


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"OPTIONS sip:a@b SIP/2.0\r\n\r\n", "no via"),
        (b"INVITE sip:a b SIP/2.0\r\n\r\n", "bad first line"),
        (b"OPTIONS sip:a@b SIP/2.0\r\nVia: x\ny\r\n\r\n", "bad header line"),
        (b"OPTIONS sip:a@b SIP/2.0\r\nVia: x\x00\r\n\r\n", "bad header line"),
        (build("BYE sip:a@b SIP/2.0", [("Via", "SIP/2.0/UDP a")]), "no from"),
        (build("BYE sip:a@b SIP/2.0", [("From", "<sip:a@b>;tag=1")] * 2), "no via"),
    ],
)
def test_reader_is_strict(raw: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        parse(raw)


@pytest.mark.rule("SIP-4")
def test_reader_checks_content_length() -> None:
    names = [("Via", "SIP/2.0/UDP a;branch=z9hG4bK1"), ("From", "<sip:a@b>;tag=1"), ("To", "<sip:c@d>")]
    good = build("BYE sip:a@b SIP/2.0", [*names, ("Call-ID", "1"), ("CSeq", "1 BYE")], b"four")
    assert parse(good).body == b"four"
    with pytest.raises(Malformed, match="Content-Length"):
        parse(good.replace(b"Content-Length: 4", b"Content-Length: 5"))


def test_reader_takes_values_apart() -> None:
    assert split('"a, \\"b" <sip:x,y@z>, <sip:q>') == ['"a, \\"b" <sip:x,y@z>', "<sip:q>"]
    assert parse_name('"A" <sip:a@b;lr>;tag=7').tag == "7"
    uri = parse_uri("sip:9#331@10.0.0.1:5080;lr;x=y")
    assert (uri.user, uri.host, uri.port, uri.has("lr")) == ("9#331", "10.0.0.1", 5080, True)


def test_digest_is_the_rfcs() -> None:
    """RFC 7616 §3.9.1, the MD5 answer."""
    challenge = (
        'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=MD5, '
        'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
    )
    cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
    answer = digest_answer(challenge, "Mufasa", "Circle of Life", "GET", "/dir/index.html", 1, cnonce)
    assert 'response="8ca523f5e9506fed4657c9700eebdbec"' in answer


@pytest.mark.rule("TP-2", "TP-3")
@pytest.mark.parametrize(
    ("ms", "row", "minimum", "amount"),
    [
        (5_000, Row(1, "1", "0.01", initial=1, increment=1), "0.01", "0.010000"),
        (61_000, Row(1, "1", "0.01", initial=1, increment=1), "0.01", "0.010167"),
        (60_001, Row(1, "1", "0.01"), "0.01", "0.020000"),
        (32_000, Row(1, "1", "0.006", initial=30, increment=6), "0", "0.003600"),
        (75_000, Row(1, "1", "0.006", initial=30, increment=6), "0", "0.007800"),
        (30_000, Row(1, "1", "0.05", "0.15", 1, 1), "0", "0.175000"),
        (7_200_000, Row(1, "1", "13"), "0", "1560.000000"),
        (3_600_000, Row(1, "1", "0"), "0.01", "0.000000"),
        (None, Row(1, "1", "13", "1"), "1", "0.000000"),
    ],
)
def test_price_by_fractions(ms: int | None, row: Row, minimum: str, amount: str) -> None:
    assert price(row, ms, minimum)[1] == amount


def test_longest_prefix_then_longest_origin() -> None:
    rows = (Row(1, "44", "1"), Row(2, "44", "1", origin="33"), Row(3, "447", "1", origin="1"))
    assert longest(rows, "442", "331") == rows[1]
    assert longest(rows, "442", "1") == rows[0]
    assert longest(rows, "447", "331") is None
    assert longest(rows, "5", "1") is None
