"""A call's messages as they would be if no gateway challenged, with the caller's numbers on either side.

Which number of the caller's a request to such a gateway has, the wire does not show. It is worked out here from what
caused the message, so that every other invariant can be held to the caller's numbers; that the gateway's own are right
is for `challenges` to say, and for the gateway, which knows nothing of the caller's.
"""

from __future__ import annotations

from tests.sim.login import WHERE
from tests.sim.plan import Setting
from tests.sim.rim import Wire
from tests.sim.sipmsg import Msg

GIVEN = frozenset({"authorization", "proxy-authorization"})
REFUSALS = frozenset(WHERE)


def credentials(msg: Msg) -> list[tuple[str, str]]:
    return [header for header in msg.headers if header[0] in GIVEN]


class Plain:
    """One call's wires without challenges, and with the caller's numbers towards gateways. `guarded` tells the hosts of
    gateways that challenge.
    """

    def __init__(self, wires: list[Wire], guarded: frozenset[str]) -> None:
        self.raw = wires
        self.guarded = guarded
        # The caller's number of each request to such a gateway by its branch, and the branches that were sent again.
        self.numbers: dict[str, int] = {}
        self.again: set[tuple[str, str]] = set()
        # By branch, the first message of what it was sent again for.
        self.began: dict[str, Wire] = {}
        # By branch, the numbers of the INVITEs that RAck may name: the gateway's to the caller's.
        self.invites: dict[int, int] = {}
        self._read()
        self.wires = [plain for wire in wires if (plain := self._plain(wire)) is not None]

    def _read(self) -> None:
        cause: Wire | None = None
        asked: dict[tuple[str, str], int] = {}
        invite = 0
        for wire in self.raw:
            msg = wire.msg
            if not wire.out:
                cause = wire
                if not msg.status and wire.peer[0] not in self.guarded:
                    asked[msg.get("x-sim"), msg.method] = msg.cseq
                    if msg.method == "INVITE" and not msg.to_tag:
                        invite = msg.cseq
            elif not msg.status and wire.peer[0] in self.guarded and msg.branch not in self.numbers:
                at_once = cause if cause is not None and cause.at == wire.at else None
                self.began[msg.branch] = wire
                self.numbers[msg.branch] = self._number(wire, at_once, asked, invite)
            if wire.out and not msg.status and msg.method == "INVITE" and wire.peer[0] in self.guarded:
                self.invites[msg.cseq] = self.numbers[msg.branch]

    def _number(self, wire: Wire, cause: Wire | None, asked: dict[tuple[str, str], int], invite: int) -> int:
        msg = wire.msg
        again = cause is not None and cause.msg.status in REFUSALS and cause.peer[0] == wire.peer[0]
        if cause is not None and again and cause.msg.method == msg.method:
            self.again.add((cause.msg.branch, msg.method))
            self.began[msg.branch] = self.began[cause.msg.branch]
            return self.numbers.get(cause.msg.branch, msg.cseq)
        if msg.method == "INVITE" and not msg.to_tag:
            return invite
        if msg.method == "ACK" and cause is not None and cause.msg.status:
            return self.numbers.get(cause.msg.branch, msg.cseq)  # the engine's own, to an answer that lost
        token = msg.get("x-sim")
        if token and (token, msg.method) in asked:
            return asked[token, msg.method]
        if cause is not None and not cause.msg.status and cause.msg.method == msg.method:
            return cause.msg.cseq
        return msg.cseq  # a BYE of the engine's own is nobody's

    def _plain(self, wire: Wire) -> Wire | None:
        msg = wire.msg
        if wire.peer[0] not in self.guarded or wire.out == (msg.status > 0) or msg.branch not in self.numbers:
            return wire
        if (msg.branch, "INVITE" if msg.method == "ACK" else msg.method) in self.again:
            return None
        return wire._replace(msg=self._as_the_callers(msg))

    def _as_the_callers(self, msg: Msg) -> Msg:
        number = self.numbers[msg.branch]
        sent = next(wire.msg.cseq for wire in self.raw if wire.out and wire.msg.branch == msg.branch)
        if msg.status and msg.cseq != sent:
            return msg  # distorted by whoever sent it
        headers = []
        for name, value in msg.headers:
            if name == "cseq":
                value = f"{number} {msg.method}"
            elif name == "rack" and not msg.status:
                first, invite, method = value.split()
                value = f"{first} {self.invites.get(int(invite), -1)} {method}"
            elif name in GIVEN and not msg.status:
                continue
            headers.append((name, value))
        plain = Msg(msg.raw, headers, msg.body)
        plain.status, plain.reason, plain.method, plain.uri = msg.status, msg.reason, msg.method, msg.uri
        plain.cseq = number
        return plain


def guarded(setting: Setting) -> frozenset[str]:
    """The hosts of gateways that challenge."""
    gateways = [gateway for gateway in setting.gateways if gateway.login is not None]
    return frozenset(host for gateway in gateways for host in (gateway.address[0], *gateway.spares))
