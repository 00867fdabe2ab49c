"""Where a call may go, at what price, by which gateways: one pure decision (law 4)."""

from sipsvc.routing.decision import CallFacts, Decision, decide
from sipsvc.routing.live import Live, Spent, live_facts, live_of
from sipsvc.routing.refusals import REFUSALS, Refusal, refusal_of
from sipsvc.routing.select import Attempt

__all__ = [
    "REFUSALS",
    "Attempt",
    "CallFacts",
    "Decision",
    "Live",
    "Refusal",
    "Spent",
    "decide",
    "live_facts",
    "live_of",
    "refusal_of",
]
