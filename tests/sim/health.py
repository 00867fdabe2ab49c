"""What must hold of gateways that go down and come back (SIP-34), by the wire and the log alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.sim.network import MS
from tests.sim.plan import GatewaySpec
from tests.sim.rim import Logged
from tests.sim.scenario import Run

# The shortest for which a gateway that failed calls is left alone.
LEAST_BACK_OFF = 30_000 * MS
# How long a ping waits for its answer, and a little more.
PATIENCE = 4_100 * MS


@dataclass(frozen=True)
class Asked:
    """A request to a gateway that stands for itself: an INVITE, or a ping."""

    at: int
    order: int
    ping: bool


def health(run: Run) -> None:
    """All of it."""
    for spec in run.setting.gateways:
        if any(one.host != spec.host or one.address != spec.address for one in _versions(run, spec)):
            continue  # it moves, and what was known of it is forgotten; who answers for it then is another
        asked = list(_asked(run, spec))
        for logged in run.host.log:
            if logged.record["kind"] == "start":
                _judged(run, spec, logged, [one for one in asked if run.host.life_at(one.at) == logged.life])
        _settled(run, spec)
    _no_more_pings(run)


def _versions(run: Run, spec: GatewaySpec) -> list[GatewaySpec]:
    return [one for setting in run.settings.values() for one in setting.gateways if one.id == spec.id]


def _asked(run: Run, spec: GatewaySpec) -> Iterator[Asked]:
    seen: set[str] = set()
    for wire in run.host.wire:
        msg = wire.msg
        if not wire.out or msg.status or msg.to_tag or wire.peer[0] not in (spec.address[0], *spec.spares):
            continue
        if msg.branch not in seen and msg.method in ("INVITE", "OPTIONS"):
            seen.add(msg.branch)
            yield Asked(wire.at, wire.order, msg.method == "OPTIONS")


def _judged(run: Run, spec: GatewaySpec, start: Logged, asked: list[Asked]) -> None:
    """Nobody is passed over who was not asked in vain often enough, and nobody tried who surely is not there."""
    before = [one for one in asked if one.order < start.order]
    call_id = start.record["call_id"]
    verdict = next((entry[2] for entry in start.record["trace"] if entry[:2] == ["gateway", spec.id]), "")
    if verdict == "down":
        pings = sum(one.ping for one in before)
        # A ping whose name leads nowhere has failed, and nobody saw it.
        if max(pings, len(before) - pings) < spec.down_after and not (spec.name and spec.ping_s):
            run.world.report("health-hasty", call_id, f"{spec.id} passed over after {len(before)} requests to it")
    elif verdict == "serves" and spec.dead and not spec.name and not spec.tcp_if_large:
        # Nobody is there, which the sender is told at once. One that was just sent is not told of yet.
        failed = [one for one in before if one.at < start.at - MS]
        pings = [one for one in failed if one.ping]
        calls = [one for one in failed if not one.ping]
        known = max(len(pings), len(calls)) >= spec.down_after
        # What failed behind the one that took it out leaves it alone for no longer.
        if known and (spec.ping_s or start.at - calls[spec.down_after - 1].at < LEAST_BACK_OFF):
            run.world.report("health-missed", call_id, f"{spec.id} is to be tried after {len(failed)} failures")
    elif verdict == "serves" and not spec.name and not spec.dead:
        over = [one for one in before if one.ping and one.at + PATIENCE < start.at][-spec.down_after :]
        outages = run.gateways[spec.id].outages
        silent = [one for one in over if any(begin <= one.at and one.at + PATIENCE <= end for begin, end in outages)]
        if len(silent) == spec.down_after:
            run.world.report("health-missed", call_id, f"{spec.id} is to be tried, silent to {len(silent)} pings")


def _settled(run: Run, spec: GatewaySpec) -> None:
    """When the weather has been fair for long, who is pinged and there is up, and who is not there is down."""
    if not spec.ping_s or run.host.drained_at is not None:
        return
    state = run.health[spec.id]["state"]
    if not spec.name and state != ("down" if spec.dead else "up"):
        run.world.report(
            "health-settled", "", f"{spec.id}, {'dead' if spec.dead else 'alive'}, is {run.health[spec.id]}"
        )


def _no_more_pings(run: Run) -> None:
    """Who is not in the directory is asked for nothing."""
    late = [wire for wire in run.host.wire if wire.out and wire.at > run.settled_at and wire.msg.method == "OPTIONS"]
    if any(not wire.msg.to_tag for wire in late):
        run.world.report("health-removed", "", f"{len(late)} pings after there were no gateways any more")
