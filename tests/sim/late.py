"""What answers cost that nobody waited for (SIP-15)."""

from __future__ import annotations

from collections import Counter

from tests.sim.view import CallView


def late_answers(view: CallView) -> None:
    """Each callee that we hung up on because another had won is on record once, and nobody else is."""
    end = view.records[-1].record
    recorded = Counter(late["tag"] for attempt in end["attempts"] for late in attempt.get("late", ()))
    recorded.update(record["late"]["tag"] for record in view.lates)
    if view.fates:
        return  # a BYE may have died with the server, and its record with it
    twice = [tag for tag, times in recorded.items() if times > 1]
    if twice:
        view.report("late-answers", f"{twice} are on record more than once")
    won = view.answer[1].msg.to_tag if view.answer is not None else ""
    said = {
        wire.msg.to_tag for wire in view.where(out=False, caller=False, method="INVITE") if 200 <= wire.msg.status < 300
    }
    hung_up = {wire.msg.to_tag for wire in view.where(out=True, caller=False, method="BYE", request=True)} & said - {
        won
    }
    if set(recorded) != hung_up:
        view.report("late-answers", f"{sorted(recorded)} are on record, {sorted(hung_up)} were hung up")
