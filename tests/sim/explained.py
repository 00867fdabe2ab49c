"""Each decision is explained by the directory that its CDR names, and that is the one which was in force (law 4)."""

from __future__ import annotations

import json
from bisect import bisect_right

from sipsvc.effects import Now
from sipsvc.message import parse, parse_uri
from sipsvc.routing import CallFacts, decide, live_of
from tests.sim.rim import Logged, Wire
from tests.sim.scenario import PROXIES, Run


def explained(run: Run, wires: dict[str, list[Wire]]) -> None:
    """`wires` are the messages of each call by its Call-ID, in order."""
    codes = {one.record["cdr_id"]: one.record["code"] for one in run.host.log if one.record["kind"] == "end"}
    orders = [order for order, _ in run.host.swaps]
    for logged in run.host.log:
        record = logged.record
        if record["kind"] != "start" or record["call_id"] not in run.plans:
            continue
        in_force = run.host.swaps[bisect_right(orders, logged.order) - 1][1]
        if record["directory"] != in_force:
            run.world.report("directory", record["call_id"], f"names {record['directory']}, in force was {in_force}")
            continue
        invite = _admitted(wires[record["call_id"]], logged)
        if invite is None:
            run.world.report("explained", record["call_id"], "a start record, and no INVITE before it")
            continue
        trace = _again(run, logged, invite, "draining" if codes.get(record["cdr_id"]) == "draining" else "")
        if trace != record["trace"]:
            text = f"directory {in_force} says {trace}, the CDR {record['trace']}"
            run.world.report("explained", record["call_id"], text)


def _admitted(wires: list[Wire], start: Logged) -> Wire | None:
    """The INVITE that made the start record: the last to come before it."""
    came = [wire for wire in wires if not wire.out and wire.msg.method == "INVITE" and wire.order < start.order]
    return came[-1] if came else None


def _again(run: Run, start: Logged, invite: Wire, closed: str) -> object:
    """The trace of the decision made anew, as JSON has it."""
    record, request = start.record, parse(invite.msg.raw)
    uri = parse_uri(request.uri)
    host = next(host for host, port in PROXIES if (uri.host, uri.port) == (host, port))
    facts = CallFacts(
        record["customer"],
        record["trunk"],
        uri.user,
        request.from_,
        request.get("p-preferred-identity") or "",
        request.get("privacy") or "",
        host,
        request.call_id,
        tuple(request.all("remote-party-id")),
        tuple(request.all("diversion")),
    )
    live = live_of(record["live"])._replace(closed=closed)
    decision = decide(run.directories[record["directory"]], facts, live, Now(0, record["invite_at"]))
    return json.loads(json.dumps(decision.trace))
