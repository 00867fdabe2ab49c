"""What must hold of the ways to a gateway: names looked up, addresses in turn, TCP for what UDP cannot carry."""

from __future__ import annotations

from typing import Any

from tests.sim.names import PATIENCE_MS, Lookup
from tests.sim.network import utc_of
from tests.sim.view import CallView


def every_address(view: CallView) -> None:
    """After an address that brings nothing, a gateway's next one is tried before any other gateway (SIP-8)."""
    if view.fates or view.cancel is not None:
        return
    for index, branch in enumerate(view.branches):
        following = view.branches[index + 1] if index + 1 < len(view.branches) else None
        if branch.first.peer[0] not in branch.gateway.spares or (following and following.gateway is branch.gateway):
            continue
        if view.answer is None or (following is not None and following.first.order < view.answer[1].order):
            view.report("every-address", f"{branch.gateway.id} was given up after {branch.first.peer}")


def by_tcp(view: CallView, end: dict[str, Any]) -> None:
    """What is too large for UDP is tried by TCP first, where that is wanted, and then by UDP (SIP-6)."""
    tries = end["attempts"]
    wanted = {gateway.id for gateway in view.setting.gateways if gateway.tcp_if_large and view.plan.large}
    for index, one in enumerate(tries):
        after = tries[index + 1]["address"] if index + 1 < len(tries) else ""
        tcp = one["address"].startswith("tcp:")
        before = tries[index - 1]["address"] if index else ""
        if tcp and one["gateway"] not in wanted:
            view.report("tcp-if-large", f"{one['gateway']} was tried by TCP")
        elif not tcp and one["left"] != "dns" and one["gateway"] in wanted and before != f"tcp{one['address'][3:]}":
            view.report("tcp-if-large", f"{one['gateway']} was tried by UDP at once")
        elif tcp and after != f"udp{one['address'][3:]}" and not (view.cancel or view.fates or _overtaken(view, one)):
            view.report("tcp-if-large", f"{one['gateway']} was tried by TCP, and never by UDP")


def _overtaken(view: CallView, attempt: dict[str, Any]) -> bool:
    """Whether a gateway that had been left answered, or said 6xx, while this attempt was being made."""
    finals = [final for branch in view.branches if (final := branch.final(1 << 62)) is not None]
    return not attempt["left"] and any(one.msg.status < 300 or one.msg.status >= 600 for one in finals)


def names(view: CallView) -> None:
    """A gateway is passed over for its name only where the look-up failed, or took half of the time there was."""
    hosts = {gateway.id: gateway.name for gateway in view.setting.gateways}
    server = view.run.host.names
    for at, gateway in view.unresolved:
        asked = [one for one in (server.asked if server is not None else ()) if one.host == hosts[gateway]]
        if not any(one.failed and abs(utc_of(one.at) + _given_up(one) - at) <= 1 for one in asked):
            view.report("names", f"{gateway} was passed over at {at}, look-ups were {asked}")


def _given_up(lookup: Lookup) -> float:
    """After how many milliseconds the engine has its answer, or waits no longer."""
    return lookup.took_ms if lookup.end == "nothing" else PATIENCE_MS


CHECKS = (every_address,)
