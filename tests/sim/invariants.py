"""What must be true after every run: the laws, checked on the log, the wire and the agents' own accounts."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from tests.sim import challenges, expiries, inside, noise, recovered, ways, wirechecks
from tests.sim.credit import accounts
from tests.sim.explained import explained
from tests.sim.health import health
from tests.sim.late import late_answers
from tests.sim.limits import places
from tests.sim.network import MS, utc_of
from tests.sim.plan import CustomerSpec, longest, price
from tests.sim.rim import Logged, Wire
from tests.sim.scenario import Run
from tests.sim.sipua import GIVE_UP, Finding
from tests.sim.view import CallView, on_the_wire

# What still has to hold of a call that a restart cut into. In set-up, and for what it had yet to say after its end,
# the server's memory is gone; a call that was up goes on, only what was on its way at that instant is lost.
HOLDS_WHATEVER = frozenset(
    "cdr-once money credit cdr-customer cdr-e164 cdr-caller disk-first refused-not-dialled uri-prefix caller-id "
    "identity no-credentials from-restored".split()
)
LOST_WHILE_UP = frozenset(
    "2xx-gets-through other-2xx one-final cseq cancel cancel-sent timer-c ack-branch ack-of-failure-arrives disk-first "
    "cdr-agents ack-passes answers-pass persistence session-interval".split()
)
# What no later word of an answer may change; an attempt that was left may still say how it ended.
SETTLED_BY_ANSWER = ("cdr_id", "answer_at", "progress_at", "status", "gateway", "sent_to", "sell", "buy")
# What a refused call is told (SIP-26, SIP-27).
REFUSALS = {
    "no_price": 403, "dest_blocked": 403, "dest_expensive": 403, "no_route": 404, "caller_not_allowed": 403,
    "customer_suspended": 403, "credit_exhausted": 402, "draining": 503, "session_interval": 422, "gateways_busy": 503,
    "gateways_down": 503,
}  # fmt: skip
# Those with the status its customer has for them.
BUSY = ("channels_full", "trunk_full", "cps_exceeded")


def check(run: Run) -> list[CallView]:
    """Look at everything; findings are added to the run's own. Returns the views for whoever prints them."""
    wires: dict[str, list[Wire]] = defaultdict(list)
    for wire in run.host.wire:
        wires[wire.msg.call_id].append(wire)
    by_cdr = {logged.record["cdr_id"]: logged.record.get("call_id", "") for logged in run.host.log
              if logged.record["kind"] == "start" or "call_id" in logged.record}  # fmt: skip
    records: dict[str, list[Logged]] = defaultdict(list)
    lates: dict[str, list[Logged]] = defaultdict(list)
    for logged in run.host.log:
        (lates if logged.record["kind"] == "late" else records)[by_cdr.get(logged.record["cdr_id"], "")].append(logged)
    quiet(run)
    channels(run)
    explained(run, wires)
    health(run)
    views = []
    for plan in run.plans.values():
        view = CallView(run, plan, wires[plan.call_id], records[plan.call_id])
        view.lates = [logged.record for logged in lates[plan.call_id]]
        views.append(view)
        if not view.known:
            strangers(view)
            continue
        cdr_once(view)
        for look in (*wirechecks.CHECKS, *inside.CHECKS, *expiries.CHECKS, *ways.CHECKS, *challenges.CHECKS):
            look(view)
        hung_up(view)
        if view.final is not None and len(view.records) >= 2 and view.records[-1].record["kind"] == "end":
            cdr_says(view)
            cdr_times(view)
            cdr_money(view)
            late_answers(view)
            disk_first(view)
    places(run, views)
    accounts(run)
    by_call = {view.plan.call_id: view for view in views}
    run.world.findings[:] = [finding for finding in run.findings if stands(finding, by_call.get(finding.call_id))]
    return views


def stands(finding: Finding, view: CallView | None) -> bool:
    """Whether it is a fault, whatever restarts did to its call."""
    if view is None:
        return True
    if finding.rule == "ack-arrives" and finding.at - int(GIVE_UP * MS) >= view.forgotten_at:
        return False  # answered when all there was had long been over
    if finding.rule == "ack-credentials" and view.forgets_losers(finding.tag, finding.at):
        return False
    if finding.rule == "ack-of-failure-arrives" and any(
        view.expired(branch) or view.given_up(branch) for branch in view.branches
    ):
        return False  # refused when that was waited for no longer
    code = view.records[-1].record.get("code") if view.records else ""
    if finding.rule in ("final-reaches-caller", "ack-arrives") and "up" in view.fates and code == "session_expired":
        return False  # its answer died with the server, and its session ran out before that came again
    lenient = {"up": finding.rule not in LOST_WHILE_UP}
    return all(lenient.get(fate, finding.rule in HOLDS_WHATEVER) for fate in view.fates)


def quiet(run: Run) -> None:
    """Nothing is left in the engine, and nothing it sent was badly formed (law 6, SIP-5)."""
    report = run.world.report
    for what, number in run.engine.leftovers().items():
        if number:
            report("leftovers", "", f"{number} {what} left")
    if run.engine.live_calls or not run.engine.idle:
        report("leftovers", "", f"{run.engine.live_calls} live calls, idle {run.engine.idle}")
    run.noise.weigh()
    for text in run.host.raised:
        report("raised", "", text)
    for peer, data, fault in run.host.broken:
        if peer != noise.SOURCE:  # what is said to rubbish holds rubbish; the noise itself weighs that
            report("well-formed", "", f"to {peer}: {fault}: {data[:120]!r}")
    seqs = [(logged.life, logged.seq) for logged in run.host.log]
    if seqs != sorted(set(seqs)):
        report("log-order", "", "sequence numbers do not rise")
    for logged in run.host.log:
        record = logged.record
        if not record.get("cdr_id") or (record["kind"] == "start" and record["call_id"] not in run.plans):
            report("cdr-once", "", f"a record of no call of this run: {record}")


def channels(run: Run) -> None:
    """The limit is kept, and only the limit refuses: by the log, how many calls were open at each start (law 6)."""
    # Each customer has one trunk, which may have a limit of its own.
    limits = {spec.id: (spec.max_channels, spec.trunk_channels) for spec in run.setting.customers}
    ends = {logged.record["cdr_id"]: logged.record for logged in run.host.log if logged.record["kind"] == "end"}
    open_now: dict[str, set[str]] = defaultdict(set)
    answered: set[str] = set()
    life = 0
    for logged in run.host.log:
        record = logged.record
        if record["kind"] == "answer":
            answered.add(record["cdr_id"])
        if logged.life != life:
            # Calls that were in set-up died with the server.
            life = logged.life
            for calls in open_now.values():
                calls &= answered
        cdr_id = record["cdr_id"]
        if record["kind"] == "start":
            there = len(open_now[record["customer"]])
            code = ends.get(cdr_id, {}).get("code", "")
            for limit, full in zip(limits[record["customer"]], ("channels_full", "trunk_full"), strict=True):
                if limit and there >= limit and code not in ("channels_full", full, _expected(run, record)):
                    run.world.report("channels", record["call_id"], f"let in as number {there + 1} of {limit}")
                if code == full and there < limit:
                    run.world.report("channels", record["call_id"], f"refused with {there} of {limit} in use")
            open_now[record["customer"]].add(cdr_id)
        elif record["kind"] == "end":
            for calls in open_now.values():
                calls.discard(cdr_id)


def _expected(run: Run, record: dict[str, Any]) -> str:
    """What a call must be refused for by the directory its record names."""
    return run.settings[record["directory"]].expects(run.plans[record["call_id"]])


def strangers(view: CallView) -> None:
    """No CDR, no attempt, no 100, only challenges (law 8, SIP-10)."""
    if view.records:
        view.report("cdr-once", f"{view.plan.expect} has {len(view.records)} records")
    if view.branches:
        view.report("refused-not-dialled", f"{view.plan.expect} reached {view.branches[0].gateway.id}")
    for wire in view.where(out=True, caller=True):
        if wire.msg.status not in (401, 407, 503):
            view.report("stranger", f"{view.plan.expect} was told {wire.msg.line}")


def cdr_once(view: CallView) -> None:
    """Law 8: one start, one end, at most one answer between them, for each INVITE of a known customer."""
    if not view.invites:
        return
    records = [logged.record for logged in view.records]
    if "in set-up" in view.fates and view.invites[0].msg.cseq != view.invites[-1].msg.cseq:
        # Challenged anew by the server that came back, its caller sent another INVITE: a call and a CDR of its own.
        lost = {record["cdr_id"] for record in records if record.get("code") == "server_restart"}
        if len(lost) < len({record["cdr_id"] for record in records}):
            records = [record for record in records if record["cdr_id"] not in lost]
    if "just ended" in view.fates:
        # Its end never reached the caller, who repeats the INVITE to a server that has forgotten it: asked again,
        # it is decided again, and that has a CDR of its own.
        kept = {records[-1]["cdr_id"]} | {one["cdr_id"] for one in records if one["kind"] == "answer"}
        refused = {record["cdr_id"] for record in records if record["kind"] == "end"} - kept
        records = [record for record in records if record["cdr_id"] not in refused]
    # An answer is written again when a side's Contact changes, with everything else as it was.
    answers = [record for record in records if record["kind"] == "answer"]
    for again in answers[1:]:
        if any(again[name] != answers[0][name] for name in SETTLED_BY_ANSWER):
            view.report("cdr-once", f"the answer was written again and differs: {again}")
        records.remove(again)
    kinds = [record["kind"] for record in records]
    ids = {record["cdr_id"] for record in records}
    if view.admitted is None:
        died_first = "in set-up" in view.fates and records[-1].get("code") == "server_restart"
        if died_first and kinds == ["start", "end"]:
            return  # its start was on disk, and the server dead before it said 100
        if not kinds and all(wire.at in view.run.host.deaths for wire in view.invites):
            return  # the server died of the only one that came, and was away for the others
        if kinds or view.plan.customer is None or not view.plan.password:
            view.report("cdr-once", f"never admitted, records {kinds}")
        return
    while "in set-up" in view.fates and kinds[:2] == ["start", "start"]:
        kinds = kinds[1:]  # its caller repeated the INVITE, and the call goes on under the same CDR
    if len(ids) != 1 or kinds not in (["start", "end"], ["start", "answer", "end"]):
        view.report("cdr-once", f"{len(ids)} CDRs, records {kinds}")
    elif ("answer" in kinds) != (view.answer is not None) and view.fates <= {"up"}:
        view.report("cdr-once", f"records {kinds}, answered on the wire: {view.answer is not None}")


def hung_up(view: CallView) -> None:
    """Nobody is left in a call the other side ended, and at most one callee is up (laws 7, SIP-15)."""
    caller_tags = set(view.caller.parties)
    expired = bool(view.records) and view.records[-1].record.get("code") == "session_expired"
    for tag, party in view.caller.parties.items():
        if party.ended_at is None and not (party.mute or expired):
            view.report("call-ends", f"the caller is still in its call {tag}")
    for call in view.gateway_calls:
        for answered in call.answers:
            party = answered.party
            if "up" in view.fates and answered.tag not in caller_tags:
                continue  # the BYE to a second answer may have died with the server
            if party.forgotten or party.mute or expired:
                continue  # it does not know of the call either, or nobody told it of the end (RFC 4028 §8.3)
            if party.ended_at is None:
                view.report("call-ends", f"{call.agent.name} is still in its call")
            elif answered.tag not in caller_tags and party.ended_by == "peer":
                up_for = (party.ended_at - answered.at) / MS
                if up_for > GIVE_UP * 2:
                    view.report("one-callee", f"{call.agent.name} was up {up_for:.0f} ms with no caller")
    if view.answer is not None and view.answer[1].msg.to_tag not in caller_tags and not view.caller.answer_lost:
        view.report("2xx-gets-through", "the call was answered, the caller never knew")


def cdr_says(view: CallView) -> None:
    """Status, code, who hung up, gateways tried, caller, number."""
    start, end = view.start, view.records[-1].record
    plan = view.plan
    assert view.final is not None and view.customer is not None

    def must(name: str, got: object, wanted: object) -> None:
        if got != wanted:
            view.report(f"cdr-{name}", f"CDR says {got!r}, is {wanted!r}")

    must("status", end["status"], view.final.msg.status)
    must("customer", start["customer"], view.customer.id)
    code = end["code"]
    if (code in REFUSALS and view.answer is None) or code in BUSY:
        status = REFUSALS.get(code, view.customer.busy_status)
        must("refusal", (end["status"], end["hangup_by"]), (status, "proxy"))
        response = view.final.msg
        if "399" not in response.get("warning") or bool(response.get("retry-after")) != (code == "draining"):
            view.report("cdr-refusal", f"{code}: Warning {response.get('warning')!r}, {response.get('retry-after')!r}")
    if code in BUSY or code == "gateways_busy" or (code == "credit_exhausted" and view.answer is None):
        return  # rightly or not is for `channels`, `places` and `accounts` to say
    if end["code"] == "draining":
        drained = view.run.host.drained_at
        if drained is None or view.records[0].at < drained or view.records[0].life:
            view.report("cdr-code", "refused as draining, and nobody drains")
        return
    if end["code"] == "gateways_down" and view.expect in ("", "session_interval"):
        if view.candidates:
            view.report("cdr-code", f"refused with {[one.id for one in view.candidates]} up")
        return
    if view.expect:
        must("code", end["code"], view.expect)
        return
    must("e164", start["e164"], plan.e164)
    must("caller", plan.caller in start["caller"] and start["caller_shown"], view.customer.shown(plan.caller))
    attempts = [one for one in end["attempts"] if on_the_wire(one)]
    must("attempts", [one["gateway"] for one in attempts], [branch.gateway.id for branch in view.branches])
    must("request-uri", [one["request_uri"] for one in attempts], [one.first.msg.uri for one in view.branches])
    must(
        "address",
        [one["address"] for one in attempts],
        [f"udp:{one.first.peer[0]}:{one.first.peer[1]}" for one in view.branches],
    )
    ways.names(view)
    ways.by_tcp(view, end)
    cancelled = view.cancel is not None and view.cancel.order < view.final_order
    if view.answer is not None:
        must("gateway", end["gateway"], view.answer[0].gateway.id)
        must("hangup", end["hangup_by"], _hung_up_by(view))
    elif cancelled and end["status"] == 487:
        must("hangup", (end["code"], end["hangup_by"]), ("cancelled", "caller"))
    elif end["code"] == "cancelled" or end["code"] == "answered":
        view.report("cdr-code", f"code {end['code']} with {end['status']} and no such thing on the wire")


def _hung_up_by(view: CallView) -> str:
    if view.records[-1].record["code"] == "session_expired":
        return "timeout"  # whether rightly is for the times to say
    if view.end is None:
        return ""
    if view.end.out:
        return "proxy" if view.records[-1].record["code"] == "credit_exhausted" else "timeout"
    return "caller" if view.end.peer[0] == view.caller_address[0] else "callee"


def cdr_times(view: CallView) -> None:
    """Answer is the first 2xx received, end the first BYE, both to the millisecond (law 8); agents agree."""
    start, end = view.records[0].record, view.records[-1].record
    assert view.admitted is not None and view.final is not None
    if start["invite_at"] != utc_of(view.admitted.at):
        view.report("cdr-times", f"invite_at {start['invite_at']}, came {utc_of(view.admitted.at)}")
    rang = next((wire.at for wire in view.upward if 100 < wire.msg.status < 200), None)
    if end["progress_at"] != (utc_of(rang) if rang is not None else None):
        view.report("cdr-times", f"progress_at {end['progress_at']}, first 18x went up {rang and utc_of(rang)}")
    if view.answer is None:
        if end["duration_ms"] is not None or end["answer_at"] is not None:
            view.report("cdr-times", f"never answered, yet {end['duration_ms']} ms")
        if end["end_at"] != utc_of(view.final.at):
            view.report("cdr-times", f"end_at {end['end_at']}, final response {utc_of(view.final.at)}")
        return
    answered = view.answer[1].at
    if end["code"] == "session_expired" or expiries.is_due(view):
        expiries.times(view, answered, end)
        return
    if view.end is None:
        view.report("cdr-times", "answered, and no BYE was ever seen or sent")
        return
    lasted = (view.end.at - answered) // MS
    if "up" in view.fates:
        # Nobody pays for what passed while the server was away.
        due = expiries.expiry(view)
        lasted = min(lasted, view.setting.max_call_ms, (due.at - answered) // MS if due is not None else lasted)
    ended = end["code"] in ("probe_failed", "credit_exhausted")
    if view.end.out and not ended and abs(lasted - view.setting.max_call_ms) > 1:
        view.report("max-call", f"ended by the engine after {lasted} ms of {view.setting.max_call_ms}")
    known = recovered.check(view, end)
    if known is not None:
        lasted = min(lasted, (known - answered) // MS)
    want = (utc_of(answered), utc_of(view.end.at), lasted)
    got = (end["answer_at"], end["end_at"], end["duration_ms"])
    # A call that outlived a restart is measured by the wall clock, whose grain is a millisecond.
    grain = len(view.run.host.deaths) if "up" in view.fates else 0
    if any(one is None or abs(one - other) > grain for one, other in zip(got, want, strict=True)):
        view.report("cdr-times", f"CDR has answer, end, duration {got}; on the wire {want}")
    if known is None:
        _agents_agree(view, want[2])


def _agents_agree(view: CallView, duration_ms: int) -> None:
    """With nothing lost, the caller's own watch differs by packets on their way and the wait for the disk only."""
    faults = view.run.world.net.faults
    assert view.answer is not None
    party = view.caller.parties.get(view.answer[1].msg.to_tag)
    if faults.loss or party is None or party.ended_at is None:
        return
    measured = (party.ended_at - party.up_at) / MS
    slack = 2 * view.caller.agent.hops * (faults.delay_ms + faults.jitter_ms) + 25
    if abs(measured - duration_ms) > slack:
        view.report("cdr-agents", f"the caller was up {measured:.0f} ms, the CDR says {duration_ms}")


def cdr_money(view: CallView) -> None:
    """Sell and buy by DOMAIN's formula from the rows that fit best; margin where the currency is one."""
    end = view.records[-1].record
    plan = view.plan
    customer = view.customer
    assert customer is not None
    shown = customer.shown(plan.caller)
    refused = end["code"] in (*BUSY, "gateways_busy", "draining", "credit_exhausted") and view.answer is None
    if view.expect or refused or shown is None:
        for side in ("sell", "buy"):
            if end[side] is not None and end[side]["amount"] != "0.000000":
                view.report("money", f"refused, yet {side} is {end[side]}")
        return
    duration = end["duration_ms"]
    sell = _priced(view, "sell", customer, duration)
    if view.answer is None:
        if end["buy"] is not None and end["buy"]["amount"] != "0.000000":
            view.report("money", f"never answered, yet it cost {end['buy']}")
        return
    buy = _priced(view, "buy", None, duration)
    micro = [int(amount.replace(".", "")) for amount in (sell, buy)]
    left = micro[0] - micro[1]
    margin = f"{'-' if left < 0 else ''}{abs(left) // 1_000_000}.{abs(left) % 1_000_000:06d}"
    wanted = margin if customer.currency == "USD" else None
    if end["margin"] != wanted:
        view.report("money", f"margin {end['margin']}, is {wanted}")


def _priced(view: CallView, side: str, customer: CustomerSpec | None, duration: int | None) -> str:
    """Check one side's price in the CDR; the amount it should be."""
    plan = view.plan
    if customer is not None:
        shown = customer.shown(plan.caller)
        row, minimum, currency = longest(customer.rows, plan.e164, shown or ""), customer.minimum, customer.currency
    else:
        assert view.answer is not None
        row, minimum, currency = view.answer[0].buy, "0", "USD"
    assert row is not None
    end = view.records[-1].record
    got = end[side]
    bounds = (end.get("granted_s"), got.get("allowance", 0)) if customer is not None and got is not None else (None, 0)
    billed, amount = price(row, duration, minimum, *bounds)
    if got is None:
        if duration is not None:
            view.report("money", f"answered, and no {side} price")
    elif (got["row"], got["billed"], got["amount"], got["currency"]) != (row.id, billed, amount, currency):
        view.report("money", f"{side} {got}, is row {row.id}, {billed} s, {amount} {currency} for {duration} ms")
    return amount


def disk_first(view: CallView) -> None:
    """The start is logged before anybody hears of the call; an answer waits for its record 20 ms at most (law 8)."""
    start = view.records[0]
    if view.branches and view.branches[0].first.order < start.order:
        view.report("disk-first", "a gateway was tried before the start record")
    if view.answer is None or view.final is None:
        return
    record = next((logged for logged in view.records if logged.record["kind"] == "answer"), None)
    if record is None:
        return
    on_disk = view.run.host.durable_at.get((record.life, record.seq), 1 << 62)
    trying = next((wire for wire in view.upward if wire.msg.status == 100), None)
    if trying is not None and trying.order < start.order:
        view.report("disk-first", "100 was said before the start record was written")
    # Nothing of the callee's may overtake its answer, which then waits no longer.
    spurred = any(wire.at == view.final.at for wire in view.where(out=False, caller=False, request=True))
    early = view.final.at < on_disk and view.final.at - record.at < 20 * MS and not spurred
    if view.final.order < record.order or early:
        view.report("disk-first", "a 2xx went up before its record was on disk")
    if view.final.at > min(on_disk, record.at + 20 * MS):
        view.report("disk-first", f"a 2xx was held {(view.final.at - record.at) / MS:.1f} ms")
