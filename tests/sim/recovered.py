"""What is known of a call that outlived the server: until when there is evidence of it (SIP-19)."""

from __future__ import annotations

from typing import Any

from tests.sim.network import MS, utc_of
from tests.sim.rim import Wire
from tests.sim.sipua import GIVE_UP
from tests.sim.view import CallView

GONE = (408, 481)


def check(view: CallView, end: dict[str, Any]) -> int | None:
    """Whether its record is marked, and the probe was right; until when there is evidence of it, None: to its end."""
    ours = end["hangup_by"] == "timeout" or end["code"] == "credit_exhausted"
    known = _evidence(view) if ours else None
    if end["recovered"] != (known is not None):
        view.report("cdr-recovered", f"recovered {end['recovered']}, shown alive only until {known and utc_of(known)}")
    if end["code"] == "probe_failed" and not _gone(view):
        view.report("probe", "ended although nobody said, or showed by silence, that it is not there")
    return known


def _evidence(view: CallView) -> int | None:
    """The instant up to which a call that we ended may be charged; None when it was shown alive after the restart."""
    assert view.answer is not None
    answered, deaths, last = view.answer[1], view.run.host.deaths, view.records[-1].life
    known: int | None = None
    for life in range(view.run.host.life_at(answered.at) + 1, last + 1):
        if known is None:
            known = max(deaths[life - 1], answered.at)
        # What an earlier life saw of it counts as far as it came into the log.
        logged = any(one.life == life and one.record.get("shown_at") for one in view.records)
        if logged if life < last else _shown(view, deaths[life - 1]):
            known = None
    return known


def _gone(view: CallView) -> bool:
    """Whether a probe found that a party does not know the call any more, or is not there."""
    probes = _probes(view, view.run.host.deaths[view.records[-1].life - 1])
    return any(
        any(said.msg.status in GONE for said in answers) or (not answers and view.over_at - asked.at >= GIVE_UP * MS)
        for asked, answers in probes
    )


def _probes(view: CallView, died: int) -> list[tuple[Wire, list[Wire]]]:
    """The OPTIONS that nobody had sent us, and what was answered."""
    found: dict[str, tuple[Wire, list[Wire]]] = {}
    for wire in view.wires:
        if died < wire.at <= view.over_at and wire.msg.method == "OPTIONS" and not wire.msg.get("x-sim"):
            if not wire.msg.status and wire.out:
                found.setdefault(wire.msg.branch, (wire, []))
            elif wire.msg.status >= 200 and not wire.out and wire.msg.branch in found:
                found[wire.msg.branch][1].append(wire)
    return list(found.values())


def _shown(view: CallView, died: int) -> bool:
    """A request that was passed on was answered, or both parties answered ours."""
    passed = {
        wire.msg.branch
        for wire in view.wires
        if wire.out and died < wire.at < view.over_at and not wire.msg.status and wire.msg.to_tag
        and wire.msg.method not in ("ACK", "BYE") and (wire.msg.method != "OPTIONS" or wire.msg.get("x-sim"))
    }  # fmt: skip
    if any(
        wire.msg.branch in passed and wire.msg.status >= 200 and wire.msg.status not in GONE and wire.at <= view.over_at
        for wire in view.wires
        if not wire.out
    ):
        return True
    known = [any(said.msg.status not in GONE for said in answers) for _, answers in _probes(view, died)]
    return len(known) == 2 and all(known)
