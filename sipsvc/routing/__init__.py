"""Where a call may go, at what price, by which gateways: one pure decision (law 4)."""

from sipsvc.routing.decision import Attempt, CallFacts, Decision, Live, decide
from sipsvc.routing.refusals import REFUSALS, Refusal

__all__ = ["REFUSALS", "Attempt", "CallFacts", "Decision", "Live", "Refusal", "decide"]
