"""A gateway's challenge answered: a request goes once more with credentials and the next number (SIP-33)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from sipsvc.auth.carrier import Answers, Login
from sipsvc.dialog import Numbering
from sipsvc.directory import Gateway
from sipsvc.message import Message

if TYPE_CHECKING:
    from sipsvc.proxy.core import Core

# What `left` says of an attempt whose credentials were of no use, and the counter of them.
REFUSED = "credentials_refused"
CNONCE_DIGITS = 16
_RACK = re.compile(r"([0-9]{1,10})[ \t]+([0-9]{1,10})[ \t]+(\S+)\Z")

Answered = set[tuple[str, str, bool]]


class Worn(NamedTuple):
    """What a request towards such a gateway wears: its CSeq number, RAck's value ("" for none), credentials."""

    cseq: int
    rack: str
    lines: tuple[str, ...]


# As the sender has it.
BARE = Worn(0, "", ())


class Leg(Numbering):
    """A gateway that has credentials, as one branch or dialog sees it.

    `answers` are shared by all dialogs of a branch, so that a nonce's count goes on; None where the gateway has no
    credentials any more, which a restart may find.
    """

    __slots__ = ("answers", "core", "gateway")

    def __init__(self, core: Core, gateway: str, answers: Answers | None, cseq: int) -> None:
        super().__init__(cseq)
        self.core = core
        self.gateway = gateway
        self.answers = answers

    def fork(self) -> Leg:
        """The same for a dialog that begins here, whose numbers go on from those of the INVITE."""
        leg = Leg(self.core, self.gateway, self.answers, self.highest)
        leg.restore(self.to_record())
        return leg

    def wear(self, request: Message, uri: str, number: int) -> Worn:
        """For a request of the caller's that is sent as `number` to this Request-URI: what is known goes with it."""
        lines = self.lines(request.method, uri)
        if request.method == "INVITE":
            self.invited(request.cseq, number, lines)
        rack = request.get("rack")
        return Worn(number, "" if rack is None else self._rack(rack), lines)

    def wear_ack(self, request: Message) -> Worn:
        """For the ACK to a 2xx: number and credentials of its INVITE (RFC 3261 §13.2.2.4, §22.1)."""
        number, lines = self.invite(request.cseq)
        return Worn(number, "", lines)

    def lines(self, method: str, uri: str) -> tuple[str, ...]:
        """Credentials by what earlier challenges taught."""
        if self.answers is None:
            return ()
        return self.answers.lines(method, uri, self.core.random_hex(CNONCE_DIGITS))

    def learn(self, response: Message, answered: Answered) -> bool:
        """Whether a 401 or 407 can be answered; where not, the gateway is marked. `answered` is the request's own."""
        if self.answers is None:
            return False
        if self.answers.learn(response, answered):
            return True
        self.core.refuse_credentials(self.gateway)
        return False

    def _rack(self, value: str) -> str:
        """RAck names the INVITE by the number that the gateway knows (RFC 3262 §7.2)."""
        match = _RACK.match(value)
        if match is None:
            return value
        return f"{match.group(1)} {self.invite(int(match.group(2)))[0]} {match.group(3)}"


def leg_of(half_leg: Numbering | None) -> Leg | None:
    """Towards a gateway with credentials its leg, else None."""
    return half_leg if isinstance(half_leg, Leg) else None


def leg_to(core: Core, gateway: Gateway, cseq: int) -> Leg | None:
    """For an INVITE of this number to a gateway; None where it has no credentials."""
    if not gateway.auth_username:
        return None
    return Leg(core, gateway.id, answers_for(gateway), cseq)


def answers_for(gateway: Gateway) -> Answers:
    return Answers(Login(gateway.auth_username, gateway.auth_password, gateway.auth_realm))
