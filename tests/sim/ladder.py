"""A call's packets in the order they were sent, for people to read."""

from __future__ import annotations

from tests.sim.network import MS, START, Address
from tests.sim.scenario import PROXIES, Run


def ladder(run: Run, call_id: str, width: int = 200) -> list[str]:
    """One line a datagram: when sent, from whom to whom, what, and what the network did to it."""
    plan = run.plans.get(call_id)
    lines = [f"{call_id}: {plan.agent} {plan.action}, {plan.gateways}"[: width * 4]] if plan is not None else []
    for packet in run.world.net.record:
        msg = packet.msg
        if msg is None or msg.call_id != call_id:
            continue
        fate = [f"+{(at - packet.sent) / MS:.0f}ms" for at in packet.arrivals]
        tags = f"from {msg.from_tag[:6]} to {msg.to_tag[:6]}"
        text = (
            f"{(packet.sent - START) / 1e9:10.4f}  {_name(run, packet.src):>10} -> {_name(run, packet.dst):<10} "
            f"{msg.line[:60]:<60} {msg.get('cseq'):<12} {msg.branch[-10:]} {tags} {' '.join(fate) or 'LOST'}"
        )
        lines.append(text[:width])
    for logged in run.host.log:
        record = logged.record
        if record.get("call_id") == call_id:
            lines.append(f"{(logged.at - START) / 1e9:10.4f}  log {record['kind']} {record.get('code', '')}")
    return lines


def _name(run: Run, address: Address) -> str:
    if address in PROXIES:
        return f"proxy{PROXIES.index(address) or ''}"
    node = run.world.net.nodes.get(address)
    return str(getattr(node, "name", address[0]))
