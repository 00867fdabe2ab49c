"""Requests that we make ourselves, and who hears how they went."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipsvc.dialog import Half
from sipsvc.effects import Now
from sipsvc.message import Message
from sipsvc.proxy.credentials import Answered, Leg
from sipsvc.transaction import ClientTransaction, ClientUser

if TYPE_CHECKING:
    from sipsvc.proxy.call import Call


class Nobody(ClientUser):
    """Sends requests of ours whose outcome changes nothing: CANCEL, and BYEs we make ourselves."""

    def on_response(self, client: ClientTransaction, response: Message, now: Now) -> None:
        return

    def on_no_response(self, client: ClientTransaction, failed: bool, now: Now) -> None:
        return


NOBODY = Nobody()


class Challenged(Nobody):
    """A request of ours towards a gateway that may challenge it; `user` hears how it went in the end (SIP-33)."""

    __slots__ = ("answered", "call", "half", "leg", "method", "user")

    def __init__(self, call: Call, half: Half, leg: Leg, method: str, user: ClientUser) -> None:
        self.call = call
        self.half = half
        self.leg = leg
        self.method = method
        self.user = user
        self.answered: Answered = set()

    def on_response(self, client: ClientTransaction, response: Message, now: Now) -> None:
        if response.status in (401, 407) and self.leg.learn(response, self.answered):
            core, leg = self.call.core, self.leg
            core.send_own(self.call, self.half, self.method, leg.again(), client.flow, leg, now, self)
        else:
            self.user.on_response(client, response, now)

    def on_no_response(self, client: ClientTransaction, failed: bool, now: Now) -> None:
        self.user.on_no_response(client, failed, now)
