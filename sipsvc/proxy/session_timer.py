"""Session timers as a proxy keeps them (RFC 4028 §8, SIP-18): what a request asks for, what its 2xx settles."""

from __future__ import annotations

from sipsvc.directory import Timing
from sipsvc.effects import Now
from sipsvc.errors import SipError
from sipsvc.message import Message
from sipsvc.proxy.call import Call
from sipsvc.proxy.core import Core
from sipsvc.routing.refusals import Refusal

SECOND = 1_000_000_000
# Below it nobody goes anyway (RFC 4028 §5).
LEAST_S = 90
CODE = "session_interval"
TOO_SMALL = Refusal(422, "Session Interval Too Small", "The session interval is below this server's minimum")


class IntervalTooSmall(SipError):
    """422; `min_se` is the smallest interval we take, in seconds (RFC 4028 §6)."""

    def __init__(self, min_se: int) -> None:
        super().__init__(TOO_SMALL.status, TOO_SMALL.text, CODE)
        self.min_se = min_se


class Asked:
    """What a request that refreshes a session asks for.

    `interval` is the Session-Expires it is forwarded with, in seconds; `able` says that its sender supports timers.
    `too_small` is the Min-SE that it has to be refused with (422), or 0.
    """

    __slots__ = ("able", "interval", "too_small")

    def __init__(self, interval: int, able: bool, too_small: int) -> None:
        self.interval = interval
        self.able = able
        self.too_small = too_small


def ask(request: Message, timing: Timing) -> Asked | None:
    """Read the interval of an INVITE or UPDATE and write ours into it where it may not stay (RFC 4028 §8.1).

    None where no timer is asked for. One is asked for by us where the sender supports timers: then it holds, whatever
    the other side supports.
    """
    index = request.index
    if "session-expires" not in index:
        if not timing.session_expires_s or "supported" not in index or not _able(request):
            return None
        least = _raise_min_se(request, timing)
        interval = max(timing.session_expires_s, least)
        request.append("session-expires", f"Session-Expires: {interval}")
        return Asked(interval, True, 0)
    able = _able(request)
    interval = seconds(request)
    if not interval:
        return None  # a header that cannot be read is its receiver's to judge
    if interval < timing.min_se_s:
        if able:
            return Asked(interval, able, timing.min_se_s)
        interval = _raise_min_se(request, timing, always=True)
        where = index["session-expires"]
        _, semicolon, params = request.value_at(where).partition(";")
        request.lines[where] = f"Session-Expires: {interval}{semicolon}{params}"
    else:
        _raise_min_se(request, timing)
    return Asked(interval, able, 0)


def tell(asked: Asked, lines: list[str], names: list[str]) -> None:
    """Complete a 2xx without Session-Expires: its sender knows no timers, so whoever asked refreshes (§8.2)."""
    if asked.able and "session-expires" not in names:
        lines += (f"Session-Expires: {asked.interval};refresher=uac", "Require: timer")
        names += ("session-expires", "require")


def settle(core: Core, call: Call, asked: Asked | None, response: Message, now: Now) -> bool:
    """Start the session's time with the first 2xx to its INVITE, or anew with that to a refresh. Whether there is one.

    A 2xx without an interval ends the timer (§8.2). An interval below our minimum counts as the minimum: nobody
    shall make us close a CDR while the parties talk on.
    """
    granted = seconds(response)
    asked_for = asked.interval if asked is not None and asked.able else 0
    interval = granted or asked_for
    if not interval and call.expires is None:
        return False
    core.timers.cancel(call.expiry)
    call.expiry = call.expires = None
    if interval:
        interval = max(interval, core.platform.timing.min_se_s)
        call.one_sided = not (granted and asked_for)
        call.expires = Now(now.mono + interval * SECOND, now.utc + interval * 1_000)
        call.expiry = core.timers.set(call.expires.mono, call, Call.EXPIRY)
    return True


def seconds(message: Message) -> int:
    """The interval in Session-Expires; 0 where there is none, or none that can be read."""
    return _number(message, "session-expires")


def _raise_min_se(request: Message, timing: Timing, *, always: bool = False) -> int:
    """Raise Min-SE to our minimum where that is not everybody's, so that nobody beyond us goes below it; the least."""
    theirs = _number(request, "min-se")
    if not always and timing.min_se_s <= max(theirs, LEAST_S):
        return theirs
    least = max(theirs, timing.min_se_s)
    line = f"Min-SE: {least}"
    where = request.index.get("min-se")
    if where is None:
        request.append("min-se", line)
    else:
        request.lines[where] = line
    return least


def _able(request: Message) -> bool:
    """Whether the sender supports timers; one that requires them does."""
    return any(tag.lower() == "timer" for name in ("supported", "require") for tag in request.all(name))


def _number(message: Message, name: str) -> int:
    where = message.index.get(name)
    if where is None:
        return 0
    text = message.value_at(where).partition(";")[0].strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else 0
