"""What must hold of the messages inside a call and of the engine's own persistence: all passes, unchanged, to the
other party of that call and nobody else, and is sent again until somebody answers (SIP-10, SIP-16, SIP-17)."""

from __future__ import annotations

from collections import defaultdict

from tests.sim.network import MS
from tests.sim.rim import Wire
from tests.sim.sipmsg import Msg
from tests.sim.sipua import GIVE_UP, T1, T2
from tests.sim.view import INSTANT, CallView, counts

# What a proxy changes of a request that it passes on.
CHANGED = frozenset({"via", "route", "max-forwards", "from", "to", "content-length"})
Sent = dict[tuple[str, str], list[Wire]]


def requests(view: CallView, out: bool) -> Sent:
    """The requests in or out by branch and method, each with all its copies."""
    found: Sent = defaultdict(list)
    for wire in view.wires:
        if wire.out is out and not wire.msg.status:
            found[wire.msg.branch, wire.msg.method].append(wire)
    return found


def as_sent(msg: Msg) -> tuple[object, ...]:
    """What of a request has to arrive as it was sent."""
    return msg.method, msg.cseq, msg.body, [header for header in msg.headers if header[0] not in CHANGED]


def passes_on(view: CallView) -> None:
    """A request inside a dialog comes out as it went in, on the other side (SIP-1, SIP-17)."""
    came = {(wire.msg.get("x-sim"), wire.msg.method): wire for wire in view.wires if not wire.out}
    for (_, method), copies in requests(view, out=True).items():
        first = copies[0]
        token = first.msg.get("x-sim")
        if not token or not first.msg.to_tag:
            continue
        origin = came.get((token, method))
        if origin is None or as_sent(origin.msg) != as_sent(first.msg):
            view.report("passes-unchanged", f"{first.msg} is not what came: {first.msg.raw!r}")
        elif _from_caller(view, origin) == _from_caller(view, first):
            view.report("other-party", f"{first.msg} went back to the side it came from")


def _from_caller(view: CallView, wire: Wire) -> bool:
    return wire.peer[0] == view.caller_address[0]


def other_party(view: CallView) -> None:
    """Inside a dialog a gateway hears only what is for a dialog of its own (SIP-16)."""
    owners = {reply.msg.to_tag: branch.gateway.id for branch in view.branches for reply in branch.replies}
    at = {branch.gateway.id: branch.first.peer[0] for branch in view.branches}
    for wire in view.where(out=True, caller=False, request=True):
        owner = owners.get(wire.msg.to_tag)
        if wire.msg.to_tag and owner is not None and wire.peer[0] != at[owner]:
            view.report("other-party", f"{wire.msg} for {owner} was sent to {wire.peer}")


def acks_pass(view: CallView) -> None:
    """An ACK inside a dialog goes on each time it comes, as long as the call is remembered (SIP-15)."""
    if view.answer is None:
        return
    tags = {view.answer[1].msg.to_tag, view.caller.from_tag}
    outs = [wire for wire in view.wires if wire.out and wire.msg.method == "ACK" and not wire.msg.status]
    for wire in view.wires:
        msg = wire.msg
        if wire.out or msg.status or msg.method != "ACK" or {msg.to_tag, msg.from_tag} != tags:
            continue
        if msg.branch in _refused(view) or wire.at >= view.forgotten_at:
            continue
        if not any(ack.order > wire.order and ack.at <= wire.at + INSTANT and ack.msg.cseq == msg.cseq for ack in outs):
            view.report("ack-passes", f"{msg} was not passed on")


def _refused(view: CallView) -> set[str]:
    """The branches of INVITEs that the engine passed a failure to: their ACK is for the engine alone."""
    return {wire.msg.branch for wire in view.wires
            if wire.out and wire.msg.method == "INVITE" and wire.msg.status >= 300}  # fmt: skip


def answers_pass(view: CallView) -> None:
    """The final response to a request inside a dialog goes to whoever sent it, with its status (SIP-17)."""
    asked = {(wire.msg.method, wire.msg.cseq, wire.msg.from_tag, wire.msg.to_tag): wire for wire in view.wires
             if not wire.out and not wire.msg.status and wire.msg.to_tag}  # fmt: skip
    told = [wire for wire in view.wires if wire.out and wire.msg.status >= 200]
    for (branch, method), copies in requests(view, out=True).items():
        msg = copies[0].msg
        request = asked.get((method, msg.cseq, msg.from_tag, msg.to_tag))
        final = _final(view, branch, method, copies[0].at + int(GIVE_UP * MS))
        if request is None or final is None or method == "ACK" or request.order > copies[0].order:
            continue
        if method == "BYE" and view.end is not None and view.end.out:
            continue  # our own, once more with credentials; the party's, which crossed it, had 200 at once
        said = {wire.msg.status for wire in told if wire.msg.branch == request.msg.branch and wire.msg.method == method}
        if not said:
            view.report("answers-pass", f"{final.msg} of {final.peer} did not go to {request.peer}")
        elif final.msg.status not in said:
            view.report("answers-pass", f"{final.msg} of {final.peer} went to {request.peer} as {said}")


def _final(view: CallView, branch: str, method: str, until: int) -> Wire | None:
    return next((wire for wire in view.wires if not wire.out and wire.msg.status >= 200 and wire.at < until
                 and wire.msg.branch == branch and wire.msg.method == method), None)  # fmt: skip


def persistence(view: CallView) -> None:
    """A request over UDP is sent again after T1, 2·T1, 4·T1 and so on until it is answered, 64·T1 long (§17.1)."""
    quiet = _left_at(view)
    for (branch, method), copies in requests(view, out=True).items():
        if method == "ACK":
            continue
        replies = [wire for wire in view.wires if not wire.out and wire.msg.status and counts(wire.msg)
                   and (wire.msg.branch, wire.msg.method) == (branch, method)]  # fmt: skip
        began = copies[0].at
        until = min([began + int(GIVE_UP * MS), quiet.get(branch, 1 << 62) if method == "INVITE" else 1 << 62])
        if method == "INVITE":
            until = min([until, *(wire.at for wire in replies)])
        else:
            until = min([until, *(wire.at for wire in replies if wire.msg.status >= 200)])
        if any(began <= death < until for death in view.run.host.deaths):
            continue
        slowed = [wire.at for wire in replies if wire.msg.status < 200 and method != "INVITE"]
        sent = [wire.at for wire in copies]
        # What falls on the instant of the answer may be sent or not.
        due = [_schedule(began, until + slack, method == "INVITE", slowed) for slack in (-INSTANT, INSTANT)]
        if method == "INVITE" and any(view.blurred(one) for one in view.branches if one.id == branch):
            # Left for a gateway that had to be looked up, at a moment that the wire does not show.
            due.append(due[0][: len(sent)])
        if not any(_alike(sent, one) for one in due):
            told = [round((at - began) / MS) for at in sent], [round((at - began) / MS) for at in due[0]]
            view.report("persistence", f"{method} {branch} sent at {told[0]} ms, to be sent at {told[1]}")


def _alike(sent: list[int], due: list[int]) -> bool:
    return len(sent) == len(due) and all(abs(one - other) <= INSTANT for one, other in zip(sent, due, strict=True))


def _schedule(began: int, until: int, invite: bool, provisional: list[int]) -> list[int]:
    """When each copy is due; a provisional response to a request that is no INVITE slows them to one every T2."""
    due, wait, at = [began], T1, began
    while True:
        following = at + int(wait * MS)
        slowed = [came for came in provisional if at < came < following]
        if slowed:
            following = slowed[-1] + int(T2 * MS)
        if following >= until:
            return due
        due.append(following)
        at = following
        wait = wait * 2 if invite else min(T2, wait * 2)


def _left_at(view: CallView) -> dict[str, int]:
    """From when on nothing more is said on a branch of hunting: it was left, refused by its socket, or is over."""
    found: dict[str, int] = {}
    for index, branch in enumerate(view.branches):
        moments = [later.tried.at for later in view.branches[index + 1 :]]
        if view.answer is not None and view.answer[0] is not branch:
            moments.append(view.answer[1].at)
        if view.final is not None and view.final.msg.status >= 300:
            moments.append(view.final.at)
        if view.failed(branch):
            moments.append(branch.at + INSTANT)
        found[branch.id] = min(moments, default=1 << 62)
    return found


CHECKS = (passes_on, other_party, acks_pass, answers_pass, persistence)
