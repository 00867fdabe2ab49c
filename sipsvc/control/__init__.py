"""The control socket: questions to a running server from its own machine, by its owner (SIP-38)."""

from sipsvc.control.client import ControlError, NoServer, Unanswered, ask
from sipsvc.control.server import ControlServer, Refused

__all__ = ["ControlError", "ControlServer", "NoServer", "Refused", "Unanswered", "ask"]
