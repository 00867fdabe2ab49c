"""Whether the network alone kept something from happening: then nobody is at fault, however much is missing.

A request whose every copy is lost cannot be answered; that is told from what the links did, never from chance.
"""

from __future__ import annotations

from collections.abc import Iterable

from tests.sim.network import MS, Address, Datagram
from tests.sim.sipmsg import Msg

NEVER = 1 << 62
# What the parties themselves may take of the time a request has: a slow disk, a clock that ticks.
GRAIN = 200 * MS


def took_too_long(record: list[Datagram], stateful: frozenset[str], request: Msg, limit: int) -> bool:
    """Whether the links together used up the `limit` nanoseconds that `request` had, leg by leg on its way.

    An INVITE's way ends at the first of the hosts that are `stateful`: those answer it themselves.
    """
    legs: dict[tuple[Address, Address, str], list[Datagram]] = {}
    back: dict[str, list[Datagram]] = {}
    for packet in record:
        msg = packet.msg
        if msg is None or msg.method != request.method or msg.call_id != request.call_id or not _same(msg, request):
            continue
        if msg.status:
            # An INVITE needs no more than a word to be left alone; anything else needs its final response.
            if msg.status >= 200 or request.method == "INVITE":
                back.setdefault(msg.branch, []).append(packet)
        elif msg.from_tag == request.from_tag and not (request.method == "INVITE" and packet.src[0] in stateful):
            legs.setdefault((packet.src, packet.dst, msg.branch), []).append(packet)
    spent = 0
    for (src, dst, branch), sent in legs.items():
        spent += waited(sent)
        if said := [one for one in back.get(branch, ()) if one.src[0] == dst[0] and one.dst[0] == src[0]]:
            spent += waited(said)
    return spent + GRAIN >= limit


def _same(msg: Msg, request: Msg) -> bool:
    """Whether it is that request, or its answer, further on: a gateway that challenges knows it by another number."""
    token = request.get("x-sim")
    return msg.cseq == request.cseq or bool(msg.status) or (request.method != "INVITE" and msg.get("x-sim") == token)


def waited(copies: list[Datagram]) -> int:
    """From when the first of some copies was sent until one arrived."""
    return min((one.arrivals[0] for one in copies if one.arrivals), default=NEVER) - copies[0].sent


def unacknowledged(record: list[Datagram], call_id: str, tag: str, times: int) -> bool:
    """Whether something was lost of each of `times` rounds of a final response under `tag` and the ACK to it."""
    rounds = (
        packet
        for packet in record
        if packet.msg is not None and packet.msg.call_id == call_id and packet.msg.to_tag == tag
        and (packet.msg.status >= 200 or packet.msg.method == "ACK")
        and packet.msg.method in ("INVITE", "ACK")
    )  # fmt: skip
    return lost(rounds) >= times


def lost(packets: Iterable[Datagram]) -> int:
    """How many of these never arrived."""
    return sum(not packet.arrivals for packet in packets)


def answer_never_came(record: list[Datagram], call_id: str, caller: Address, seen_at: Address) -> bool:
    """Whether every copy of a 2xx on its way to the caller, or to the proxy it sits behind, was lost."""
    answers = [
        packet for packet in record
        if packet.msg is not None and packet.msg.call_id == call_id and packet.dst in (caller, seen_at)
        and packet.msg.method == "INVITE" and 200 <= packet.msg.status < 300
    ]  # fmt: skip
    return bool(answers) and not any(packet.arrivals for packet in answers if packet.dst == caller)
