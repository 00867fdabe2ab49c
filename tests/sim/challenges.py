"""What must hold of a call with gateways that challenge: CSeq on either leg, credentials, ACK (SIP-33, law 7)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from tests.sim.login import REALM
from tests.sim.plain import REFUSALS, credentials
from tests.sim.rim import Wire
from tests.sim.view import CallView


def numbers(view: CallView) -> None:
    """Towards a gateway that challenges CSeq rises with each request of a dialog, and none has a number twice, a BYE
    of the engine's own that crosses another apart (SIP-33), and its probes, whose number is to be used already. An ACK
    has its INVITE's number and credentials."""
    plain = view.plain
    life = view.run.host.life_at
    highest: dict[tuple[object, ...], tuple[int, int]] = {}
    seen: dict[tuple[object, ...], set[int]] = defaultdict(set)
    branches: set[str] = set()
    invites: dict[tuple[str, int], list[tuple[str, str]]] = {}
    for wire in _requests(plain.raw, plain.guarded):
        msg = wire.msg
        if msg.method == "INVITE":
            invites[wire.peer[0], msg.cseq] = credentials(msg)
        for name, value in credentials(msg):
            if msg.method != "ACK" and f'uri="{msg.uri}"' not in value:
                view.report("credentials", f"{msg} has {name} {value}")
        if msg.branch in branches or msg.method == "CANCEL":
            continue
        branches.add(msg.branch)
        if msg.method == "ACK":
            given = invites.get((wire.peer[0], msg.cseq))
            if given is not None and credentials(msg) != given:
                text = f"{msg} to {msg.to_tag} has {credentials(msg)}, its INVITE {given}"
                view.report("ack-credentials", text, msg.to_tag, wire.at)
            continue
        if msg.method == "OPTIONS" and not msg.get("x-sim"):
            continue
        dialog = (wire.peer[0], msg.to_tag, life(wire.at))
        number = plain.numbers[msg.branch]
        before, of_caller = highest.get(dialog, (0, 0))
        if msg.cseq <= before and number >= of_caller and msg.method != "BYE":
            view.report("cseq-rises", f"{msg} to {wire.peer} after {before}")
        if msg.cseq in seen[dialog] and msg.method != "BYE":
            view.report("cseq-rises", f"{msg} to {wire.peer} has a number for the second time")
        seen[dialog].add(msg.cseq)
        highest[dialog] = max(before, msg.cseq), max(of_caller, number)


def callers_numbers(view: CallView) -> None:
    """The caller hears only of its own numbers, and never of a challenge of a gateway's."""
    asked = {(wire.msg.method, wire.msg.cseq) for wire in view.where(out=False, caller=True, request=True)}
    for wire in view.where(out=True, caller=True, request=False):
        msg = wire.msg
        if (msg.method, msg.cseq) not in asked:
            view.report("callers-cseq", f"the caller was told {msg}, and has asked {sorted(asked)}")
        if msg.status in REFUSALS and f'realm="{REALM}"' in str(msg.headers) and view.plain.guarded:
            view.report("challenge-hidden", f"the caller was told {msg} by a gateway that has credentials")


def _requests(wires: Iterable[Wire], guarded: frozenset[str]) -> Iterable[Wire]:
    return (wire for wire in wires if wire.out and not wire.msg.status and wire.peer[0] in guarded)


CHECKS = (numbers, callers_numbers)
