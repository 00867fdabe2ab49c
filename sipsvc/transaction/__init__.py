"""RFC 3261 §17 with RFC 6026: retransmissions out and in, matching, and nothing else."""

from sipsvc.transaction.client import ClientTransaction, ClientUser, cancel_for
from sipsvc.transaction.layer import Layer
from sipsvc.transaction.server import ServerTransaction, ServerUser

__all__ = ["ClientTransaction", "ClientUser", "Layer", "ServerTransaction", "ServerUser", "cancel_for"]
