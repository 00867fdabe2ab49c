"""What a run has met, counted from what the links carried and the log holds, so that nobody counts his own deeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tests.sim.network import Datagram
from tests.sim.scenario import PROXIES, Run
from tests.sim.sipmsg import Msg
from tests.sim.view import CallView

# Each must have been met in a long run, or the run has not shown what it is for.
PROMISED = (
    "retransmissions",
    "lost 2xx",
    "CANCEL races",
    "hunts",
    "crashes",
    "forced BYEs",
    "session expiries",
    "re-INVITE seen",
    "UPDATE seen",
    "PRACK seen",
    "INFO seen",
    "calls by a loose proxy",
    "strict-router calls",
    "gateway reboots",
    "DNS answers",
    "second addresses tried",
    "TCP tried for size",
    "gateways passed over for their name",
    "crooked responses",
    "491 on both sides",
    "calls cut by several crashes",
    "challenges",
    "stale nonces",
    "gateway outages",
    "pings",
    "gateways passed over as down",
    "calls cut for credit",
    "calls paid by minutes",
)
# From here on nothing that is promised may be missing.
LONG_RUN = 1_000
OURS = {host for host, _ in PROXIES}


def account(run: Run, views: list[CallView]) -> Counter[str]:
    """Every count of one run; the promised ones by their names."""
    counts: Counter[str] = Counter(run.world.counts)
    for name, number in run.world.net.counts.items():
        counts[f"network: {name}"] += number
    for view in views:
        counts["hunts"] += max(0, len(view.turns) - 1)
        pairs = zip(view.branches, view.branches[1:], strict=False)
        counts["second addresses tried"] += sum(one.gateway is other.gateway for one, other in pairs)
        counts["TCP tried for size"] += view.by_tcp
        counts["gateways passed over for their name"] += len(view.unresolved)
        counts["gateways passed over as down"] += len(view.down)
        counts["CANCEL by callers"] += view.cancel is not None
        counts["answered"] += view.answer is not None
        counts["calls cut by several crashes"] += _lives(view) > 2
        end = view.records[-1].record if view.records else {}
        counts[f"outcome: {end.get('code') or 'no CDR'}"] += 1
        counts["calls cut for credit"] += end.get("code") == "credit_exhausted" and view.answer is not None
        counts["calls paid by minutes"] += bool((end.get("sell") or {}).get("allowance"))
        counts["session expiries"] += end.get("code") == "session_expired"
        counts["forced BYEs"] += _forced(view, str(end.get("code")))
    counts["crashes"] += len(run.host.deaths) - counts["restart: drain"]
    for proxy in run.proxies:
        counts["calls by a loose proxy"] += not proxy.strict and len(proxy.passed)
        counts["strict-router calls"] += len(proxy.rewritten)
    counts["DNS answers"] += run.host.names.answered if run.host.names is not None else 0
    _links(run.world.net.record, counts)
    return counts


def _lives(view: CallView) -> int:
    """How many lives of the server a call went on through."""
    return view.records[-1].life - view.records[0].life + 1 if view.records else 0


def _forced(view: CallView, code: str) -> int:
    """BYEs the engine sent of itself: the call's end is its own doing, and nobody's BYE had come before them."""
    if code != "max_duration" or view.end is None or not view.end.out:
        return 0
    byes = (wire.msg for wire in view.wires if wire.out and wire.msg.method == "BYE" and not wire.msg.status)
    return len({msg.branch for msg in byes})


def _links(record: Iterable[Datagram], counts: Counter[str]) -> None:
    seen: set[tuple[object, ...]] = set()
    cancels: dict[str, Datagram] = {}
    finals: dict[str, Datagram] = {}
    glares: Counter[str] = Counter()
    for packet in record:
        msg = packet.msg
        if msg is None:
            continue
        if (copy := (packet.src, packet.dst, msg.raw)) in seen:
            counts["retransmissions"] += 1
        else:
            seen.add(copy)
            if OURS & {packet.src[0]}:
                _first(msg, counts)
            if msg.status == 491 and packet.src[0] in OURS:
                glares[msg.call_id] += 1
        if msg.method == "INVITE" and 200 <= msg.status < 300:
            counts["lost 2xx"] += not packet.arrivals
        if msg.method == "CANCEL" and not msg.status:
            cancels.setdefault(msg.branch, packet)
        elif msg.method == "INVITE" and msg.status >= 200:
            finals.setdefault(msg.branch, packet)
    counts["491 on both sides"] += sum(number > 1 for number in glares.values())
    counts["CANCEL races"] += sum(_crossed(cancel, finals.get(branch)) for branch, cancel in cancels.items())


def _first(msg: Msg, counts: Counter[str]) -> None:
    """A message of the engine's, when it sends it for the first time."""
    if not msg.status and msg.to_tag and msg.method not in ("ACK", "BYE"):
        counts[f"{'re-INVITE' if msg.method == 'INVITE' else msg.method} seen"] += 1


def _crossed(cancel: Datagram, final: Datagram | None) -> bool:
    """Each was sent before the other had come."""
    if final is None or final.src[0] != cancel.dst[0] or not cancel.arrivals or not final.arrivals:
        return False
    return final.sent < cancel.arrivals[0] and cancel.sent < final.arrivals[0]
