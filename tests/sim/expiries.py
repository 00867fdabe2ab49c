"""Session timers as the engine has to keep them: what it passes on, and when a call is over for want of refreshes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.sim.network import MS, utc_of
from tests.sim.rim import Wire
from tests.sim.sessions import interval, least, supports
from tests.sim.sipmsg import Msg
from tests.sim.view import INSTANT, CallView

SECOND = 1_000 * MS
REFRESHES = ("INVITE", "UPDATE")


@dataclass
class Ending:
    """When the session runs out, as it stands, which 2xx set it, and whether both sides keep time for it."""

    at: int
    by: Wire
    both: bool


def expiry(view: CallView) -> Ending | None:
    """When the call is over because nobody refreshed its session (§8.2, SIP-18): None if that never came to pass."""
    if view.answer is None:
        return None
    running: Ending | None = None
    settled: set[tuple[str, str]] = set()
    for wire in view.wires:
        msg = wire.msg
        if running is not None and wire.at >= running.at - INSTANT:
            return running  # a restart knows it to the millisecond
        if wire.order < view.answer[1].order or not _of_this_dialog(view, wire):
            continue
        if wire.out and msg.method == "BYE" and not msg.status:
            return None  # one that came but was not passed on died with the server
        refreshed = not wire.out and msg.method in REFRESHES and 200 <= msg.status < 300
        if not refreshed or (msg.branch, msg.method) in settled:
            continue
        settled.add((msg.branch, msg.method))
        seconds = interval(msg) or _asked(view, msg)
        both = bool(interval(msg) and _able(view, msg))
        running = Ending(wire.at + max(seconds, view.setting.min_se) * SECOND, wire, both) if seconds else None
    return running


def is_due(view: CallView) -> bool:
    """Whether the session ran out before anything else ended the call; a restart may know of fewer refreshes."""
    due = expiry(view)
    if due is None or view.fates:
        return False
    assert view.answer is not None
    longest = view.answer[1].at + view.setting.max_call_ms * MS
    ended = min(view.end.at if view.end is not None else longest, longest)
    return due.at < ended - INSTANT


def _of_this_dialog(view: CallView, wire: Wire) -> bool:
    assert view.answer is not None
    tags = {view.answer[1].msg.to_tag, view.caller.from_tag}
    return {wire.msg.from_tag, wire.msg.to_tag} == tags


def _asked(view: CallView, answer: Msg) -> int:
    """A 2xx without an interval: what was asked for holds, if whoever asked knows timers."""
    request = _request(view, answer)
    return interval(request) if request is not None and supports(request) else 0


def _able(view: CallView, answer: Msg) -> bool:
    request = _request(view, answer)
    return request is not None and bool(interval(request)) and supports(request)


def _request(view: CallView, answer: Msg) -> Msg | None:
    """What was answered, as it was passed on."""
    for wire in view.wires:
        if wire.out and not wire.msg.status and (wire.msg.branch, wire.msg.method) == (answer.branch, answer.method):
            return wire.msg
    return None


def intervals(view: CallView) -> None:
    """What an INVITE asks for goes on, raised where it may not stay, or is begun by the server (§8.1)."""
    if view.admitted is None:
        return
    came, setting = view.admitted.msg, view.setting
    floor = max(least(came), setting.min_se)
    wanted = interval(came)
    if wanted and wanted < setting.min_se:
        wanted = floor  # whoever knows timers is told so instead, with a 422
    elif not wanted and supports(came) and setting.session_expires:
        wanted = max(setting.session_expires, least(came), setting.min_se if setting.min_se > 90 else 0)
    for branch in view.branches:
        got = interval(branch.first.msg)
        if got != wanted:
            view.report("session-interval", f"asked for {came.get('session-expires')!r}, sent on as {got}, is {wanted}")
        if 0 < interval(came) < setting.min_se and least(branch.first.msg) < setting.min_se:
            view.report("session-interval", f"raised, and Min-SE is {branch.first.msg.get('min-se')!r}")
    final = view.final
    if final is not None and final.msg.status == 422 and least(final.msg) != setting.min_se:
        view.report("session-interval", f"422 with Min-SE {final.msg.get('min-se')!r}, is {setting.min_se}")


def told(view: CallView) -> None:
    """Whoever asks and knows timers hears of one, also from a side that knows none (§8.2)."""
    if view.answer is None or view.final is None or view.admitted is None:
        return
    asked = interval(view.answer[0].first.msg)
    said = interval(view.answer[1].msg) or (asked if supports(view.admitted.msg) else 0)
    if interval(view.final.msg) != said:
        view.report("session-interval", f"the 2xx went up with {view.final.msg.get('session-expires')!r}, is {said}")


def times(view: CallView, answered: int, end: dict[str, Any]) -> None:
    """A session nobody refreshed ends its call; a BYE is sent where one side keeps no time for it (SIP-18)."""
    due = expiry(view)
    if due is None and view.fates:
        return  # what put the time off came while the server died or was away
    if end["code"] != "session_expired" or due is None:
        view.report("session-expiry", f"code {end['code']}, due {due and utc_of(due.at)}")
        return
    want = (utc_of(answered), utc_of(due.at), (due.at - answered) // MS)
    got = (end["answer_at"], end["end_at"], end["duration_ms"])
    if view.fates:
        want, got = want[:1], got[:1]  # a refresh may have died with the server, or the time have run out meanwhile
    if any(one is None or abs(one - other) > 1 for one, other in zip(got, want, strict=True)):
        view.report("session-expiry", f"CDR has answer, end, duration {got}; on the wire {want}")
    if view.fates:
        return
    told = view.end is not None and view.end.out
    if told and due.both:
        view.report("session-expiry", "a BYE was sent for a session that ran out")
    elif not told and not due.both:
        view.report("session-expiry", "the side that keeps no time was sent no BYE")


CHECKS = (intervals, told)
