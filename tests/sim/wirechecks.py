"""What must hold of the messages themselves: hunting, CANCEL, answers, ACK, and how each gateway is dressed for."""

from __future__ import annotations

from collections import defaultdict

from tests.sim.network import MS
from tests.sim.rim import Wire
from tests.sim.sipmsg import parse_uri
from tests.sim.sipua import GIVE_UP
from tests.sim.view import INSTANT, Branch, CallView, ours

FROM_CALLER = {302: 500, 401: 500, 407: 500, 503: 500}
LATE = 3_500 * MS


def order_of_hunting(view: CallView) -> None:
    """The gateways tried are the candidates, cheapest (or first) first, each once (SIP-28)."""
    expected = [gateway.id for gateway in view.candidates]
    seen = view.turns
    # A restart may decide a call once more, on another directory, when it had been tried already.
    since = max((one.order for one in view.records if one.record["kind"] == "start"), default=0)
    if view.expect:
        dialled = [branch.gateway.id for branch in view.branches if branch.first.order > since]
        if dialled:
            view.report("refused-not-dialled", f"{view.expect}, yet tried at {dialled}")
    elif seen != expected[: len(seen)]:
        view.report("hunting-order", f"tried {seen}, to be tried {expected}")


def reason_to_hunt(view: CallView, branch: Branch, at: int, order: int) -> bool:
    """Whether by then this branch gave cause to try the next gateway (SIP-13)."""
    final = branch.final(order)
    if final is not None:
        refused = branch.gateway.login is not None and final.msg.status in (401, 407)
        return refused or final.msg.status in branch.gateway.hunt_codes
    return view.failed(branch) or view.left_for_silence(branch, at, order)


def _another_address(before: Branch, branch: Branch, order: int) -> bool:
    """After a 503 another address of the same gateway may do (RFC 3263 §4.3)."""
    final = before.final(order)
    return before.gateway is branch.gateway and final is not None and final.msg.status == 503


def causes_of_hunting(view: CallView) -> None:
    """Each attempt after the first has a cause, and none comes after an answer, a 6xx, a CANCEL, or the end."""
    for before, branch in zip(view.branches, view.branches[1:], strict=False):
        at, order = branch.tried.at, branch.tried.order
        if view.blurred(before) or _another_address(before, branch, order):
            continue
        if not reason_to_hunt(view, before, at, order):
            view.report("hunting-cause", f"{branch.gateway.id} tried without cause after {before.gateway.id}")
        for earlier in view.branches:
            final = earlier.final(order)
            if final is not None and (final.msg.status < 300 or final.msg.status >= 600):
                view.report("attempt-after-answer", f"{branch.gateway.id} tried after {final.msg.line}")
        if view.cancel is not None and view.cancel.order < order:
            view.report("attempt-after-cancel", f"{branch.gateway.id} tried after the caller's CANCEL")
        if view.final_order < order:
            view.report("attempt-after-answer", f"{branch.gateway.id} tried after the caller's final response")


def best_response(view: CallView) -> None:
    """Which final response the caller gets (SIP-13..15)."""
    if view.final is None or not view.branches:
        return
    status, order = view.final.msg.status, view.final.order
    finals = [final.msg.status for branch in view.branches if (final := branch.final(order)) is not None]
    rang_out = any(_rang_out(branch, view.final) for branch in view.branches)
    # A gateway we gave up and CANCELled says 487, and has said no more than one that was silent to the end.
    silent = any(
        not view.failed(branch) and ((final := branch.final(order)) is None or final.msg.status == 487)
        for branch in view.branches
    )
    # Who could not be reached counts as one that said 503 (§16.9).
    unreached = bool(view.unresolved or view.by_tcp or view.passed_over) or any(
        view.failed(branch) for branch in view.branches
    )
    cancelled = view.cancel is not None and view.cancel.order < order
    if view.answer is not None:
        allowed = {view.answer[1].msg.status}
    elif any(final >= 600 for final in finals):
        allowed = {final for final in finals if final >= 600} | ({487} if cancelled else set())
    else:
        allowed = {FROM_CALLER.get(final, final) for final in finals if final != 487}
        allowed |= ({487} if cancelled else set()) | ({408, 480, 487} if rang_out else set())
        allowed |= ({408} if silent or view.by_tcp else set()) | ({500} if unreached else set())
    if status not in allowed:
        view.report("best-response", f"caller got {status}, branches {finals}, allowed {sorted(allowed)}")
    candidates = view.candidates
    if status >= 300 and not cancelled and not rang_out and len(view.turns) < len(candidates):
        last = view.branches[-1]
        if reason_to_hunt(view, last, view.final.at, order) and not any(final >= 600 for final in finals):
            view.report("hunting-missed", f"{status} went up with {len(candidates) - len(view.turns)} gateways left")


def _rang_out(branch: Branch, final: Wire) -> bool:
    provisionals = branch.provisionals(final.order)
    return bool(provisionals) and final.at - branch.at >= branch.gateway.ring_timeout_ms * MS


def cancels(view: CallView) -> None:
    """A branch nobody wants is CANCELled at its first provisional, none earlier, and no wanted one (§9.1)."""
    sent: dict[str, Wire] = {}
    for wire in view.where(out=True, caller=False, method="CANCEL", request=True):
        sent.setdefault(wire.msg.branch, wire)
    for index, branch in enumerate(view.branches):
        unwanted = _unwanted_at(view, index)
        cancel = sent.pop(branch.id, None)
        if view.blurred(branch):
            continue
        if cancel is not None and not branch.provisionals(cancel.order):
            view.report("cancel-early", f"{branch.gateway.id} got a CANCEL before it said anything")
            continue
        first = min((wire.at for wire in branch.provisionals(1 << 62)), default=None)
        final = branch.final(1 << 62)
        if unwanted is not None and first is not None and not view.expired(branch):
            due = max(unwanted, first)
            if (final is None or final.at > due) and (cancel is None or cancel.at > due + INSTANT):
                view.report("cancel-sent", f"{branch.gateway.id} was not CANCELled when it was no longer wanted")
        if cancel is not None and (unwanted is None or cancel.at < unwanted):
            _timer_c(view, branch, cancel)
        elif cancel is None and unwanted is None:
            _timer_c_missed(view, branch)
    for wire in sent.values():
        view.report("cancel-sent", f"CANCEL on a branch nothing was sent on: {wire.msg}")


def _unwanted_at(view: CallView, index: int) -> int | None:
    """When this branch stopped being wanted: the next was tried, another answered, the caller gave up or was told."""
    branch = view.branches[index]
    moments = [later.tried.at for later in view.branches[index + 1 : index + 2]]
    if view.cancel is not None and view.cancel.order < view.final_order:
        moments.append(view.cancel.at)
    if view.answer is not None and view.answer[0] is not branch:
        moments.append(view.answer[1].at)
    if view.final is not None and view.final.msg.status >= 300:
        moments.append(view.final.at)
    return min(moments, default=None)


def _timer_c(view: CallView, branch: Branch, cancel: Wire) -> None:
    """Set by the first provisional, set anew by each of 101 to 199, and it fires to the millisecond (SIP-14)."""
    first, *more = branch.provisionals(cancel.order)
    last = max([first.at, *(wire.at for wire in more if wire.msg.status > 100)])
    waited = (cancel.at - last) / MS
    if abs(waited - branch.gateway.ring_timeout_ms) > 1:
        view.report("timer-c", f"{branch.gateway.id} CANCELled {waited:.0f} ms after its last provisional")


def _timer_c_missed(view: CallView, branch: Branch) -> None:
    provisionals = branch.provisionals(1 << 62)
    if provisionals and branch.final(1 << 62) is None:
        view.report("timer-c", f"{branch.gateway.id} rings for ever and is never CANCELled")


def answers(view: CallView) -> None:
    """The winner's 2xx goes up each time it comes; every other 2xx is ACKed each time and BYEd (SIP-15)."""
    ups = [wire for wire in view.upward if 200 <= wire.msg.status < 300]
    acks = list(view.where(out=True, caller=False, method="ACK", request=True))
    byes = {wire.msg.to_tag for wire in view.where(out=True, caller=False, method="BYE", request=True)}
    winner = (view.answer[0].id, view.answer[1].msg.to_tag) if view.answer is not None else None
    for branch in view.branches:
        for wire in branch.replies:
            if not 200 <= wire.msg.status < 300 or wire.at >= view.forgotten_at:
                continue
            tag = wire.msg.to_tag
            went_up = any(wire.at <= up.at <= wire.at + 21 * MS and up.msg.to_tag == tag for up in ups)
            if (branch.id, tag) == winner:
                if not went_up:
                    view.report("2xx-gets-through", f"a 2xx of {branch.gateway.id} did not go up")
            elif not went_up:
                if not any(wire.at <= ack.at <= wire.at + INSTANT and ack.msg.to_tag == tag for ack in acks):
                    view.report("other-2xx", f"a 2xx of {branch.gateway.id} that lost was not ACKed")
                if tag not in byes:
                    view.report("other-2xx", f"a 2xx of {branch.gateway.id} that lost was not BYEd")


def acks_of_failures(view: CallView) -> None:
    """The ACK to a non-2xx: on its INVITE's branch, with its Request-URI (§17.1.1.3)."""
    for branch in view.branches:
        if (
            any(200 <= reply.msg.status < 300 for reply in branch.replies)
            or view.expired(branch)
            or view.given_up(branch)
        ):
            continue
        failures = [reply for reply in branch.replies if reply.msg.status >= 300]
        for reply in failures:
            if reply.at > failures[0].at + 31_000 * MS:
                continue
            right = [
                wire
                for wire in view.where(out=True, caller=False, method="ACK", request=True)
                if wire.at == reply.at and wire.msg.branch == branch.id and wire.msg.uri == branch.first.msg.uri
                and wire.msg.get("to") == reply.msg.get("to") and wire.peer == branch.first.peer
            ]  # fmt: skip
            if not right:
                view.report("ack-branch", f"no ACK on the INVITE's branch for {reply.msg.line} of {branch.gateway.id}")


def one_final(view: CallView) -> None:
    """A server transaction says one final response and its copies; 100 is ours alone (SIP-10).

    It is sent at once to an INVITE, to another request only when T1 has grown to T2 (RFC 4320 §4.1) or it repeats.
    """
    said: dict[tuple[str, str, str, int], set[tuple[int, str]]] = defaultdict(set)
    life = view.run.host.life_at
    came = {wire.at for wire in view.wires if not wire.out}
    first: dict[tuple[str, str], int] = {}
    for wire in view.wires:
        if not wire.out and not wire.msg.status:
            first.setdefault((wire.msg.branch, wire.msg.method), wire.at)
    for wire in view.wires:
        msg = wire.msg
        if not wire.out or not msg.status:
            continue
        if msg.status >= 200:
            said[wire.peer[0], msg.branch, msg.method, life(wire.at)].add((msg.status, msg.to_tag))
        elif msg.status == 100 and msg.method != "INVITE":
            if wire.at < first.get((msg.branch, msg.method), wire.at) + LATE:
                view.report("100-not-forwarded", f"100 {msg.method} sent to {wire.peer} too early")
        elif msg.status == 100 and wire.at not in came:
            view.report("100-not-forwarded", f"100 sent to {wire.peer} when nothing had come")
    for (peer, _, method, _), finals in said.items():
        several_answers = method == "INVITE" and all(200 <= status < 300 for status, _ in finals)
        if len(finals) > 1 and not several_answers:
            view.report("one-final", f"{method} of {peer} was told {sorted(finals)}")


def form(view: CallView) -> None:
    """Via and Max-Forwards of what the engine sends (§16.6, §16.7)."""
    for wire in view.wires:
        msg = wire.msg
        if not wire.out:
            continue
        vias = msg.all("via")
        if msg.status:
            hops = 2 if _sits_behind(view, wire) else 1
            if len(vias) != hops or ours(msg):
                view.report("via", f"{msg.line} to {wire.peer} with Via {vias}")
        elif not ours(msg) or msg.get("max-forwards") not in ("68", "69", "70"):
            view.report("via", f"{msg.line} with Via {vias[0]}, Max-Forwards {msg.get('max-forwards')!r}")


def _sits_behind(view: CallView, wire: Wire) -> bool:
    """Whether the peer of this message is a proxy with somebody behind it."""
    return any(proxy.address[0] == wire.peer[0] for proxy in view.run.proxies)


def bye_after_ack(view: CallView) -> None:
    """A BYE of ours goes to the caller only after its ACK, or 64·T1 after the 2xx (SIP-19, §15)."""
    if view.answer is None:
        return
    tag = view.answer[1].msg.to_tag
    acks = [wire.order for wire in view.where(out=False, caller=True, method="ACK") if wire.msg.to_tag == tag]
    byes = [wire.order for wire in view.where(out=False, caller=False, method="BYE", request=True)]
    for bye in view.where(out=True, caller=True, method="BYE", request=True):
        # The callee may hang up when it pleases, and its BYE passes; what counts is what we begin ourselves.
        own = not any(order < bye.order for order in byes)
        # A restart knows to the millisecond when it was answered.
        early = bye.at - view.answer[1].at < GIVE_UP * MS - INSTANT
        if own and early and not any(order < bye.order for order in acks):
            view.report("bye-after-ack", "the engine's BYE to the caller went before the caller's ACK")
            return


def dress(view: CallView) -> None:
    """Each gateway sees exactly its prefix, its caller ID, its identity headers, and no credentials (TG-3..6)."""
    plan = view.plan
    customer = view.customer
    shown = customer.shown(plan.caller) if customer is not None else None
    if customer is None or shown is None:
        return
    for branch in view.branches:
        gateway, msg = branch.gateway, branch.first.msg
        uri = f"sip:{gateway.user(plan.e164)}@{gateway.host}:{gateway.address[1]}"
        if msg.uri != uri:
            view.report("uri-prefix", f"{gateway.id} got {msg.uri}, wants {uri}")
        said = parse_uri(msg.name("from").uri).user
        wanted = {gateway.caller(shown, "from")}
        if plan.privacy:  # whom we trust sees the caller's own; a number that is not its own nobody sees
            wanted = wanted | {shown, "anonymous"} if gateway.trusted else {"anonymous"}
        if said not in wanted:
            view.report("caller-id", f"{gateway.id} got From {said}, wants {sorted(wanted)}")
        open_to_it = gateway.trusted or not plan.privacy
        for name, where, on in (("p-asserted-identity", "pai", gateway.pai), ("remote-party-id", "rpid", gateway.rpid)):
            values = [parse_uri(parse.uri).user for parse in [msg.name(name)] if parse.uri]
            wants = [gateway.caller(shown, where)] if on and open_to_it else []
            if values != wants or len(msg.all(name)) > 1:
                view.report("identity", f"{gateway.id} got {name} {msg.all(name)}, wants {wants}")
        if msg.get("proxy-authorization") or msg.get("authorization"):
            view.report("no-credentials", f"{gateway.id} was shown the caller's credentials")
        if b"evil.example" in msg.raw:
            view.report("identity", f"{gateway.id} was shown an identity the caller made up")
        routes = msg.all("record-route")
        host, port = view.caller.agent.proxy
        came = view.admitted.msg.all("record-route") if view.admitted is not None else []
        if routes[1:] != came or f"@{host}:{port}" not in routes[0]:
            view.report("route-set", f"{gateway.id} got Record-Route {routes}")


CHECKS = (
    order_of_hunting,
    causes_of_hunting,
    best_response,
    cancels,
    answers,
    acks_of_failures,
    one_final,
    form,
    bye_after_ack,
    dress,
)
