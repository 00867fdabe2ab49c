"""Calls on their way: hunting over branches, answers, CANCEL, and what passes inside the dialog."""

from sipsvc.proxy.call import Call, Phase
from sipsvc.proxy.core import Core, Observer, Watch
from sipsvc.proxy.indialog import acknowledge, inside
from sipsvc.proxy.invite import InviteSession
from sipsvc.proxy.late import LateAnswer
from sipsvc.proxy.stray import stray_answer

__all__ = [
    "Call",
    "Core",
    "InviteSession",
    "LateAnswer",
    "Observer",
    "Phase",
    "Watch",
    "acknowledge",
    "inside",
    "stray_answer",
]
