"""One side of a call: how it knows itself and the other party, and the way to it."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from mypy_extensions import trait

from sipsvc.dialog.numbering import Numbering
from sipsvc.effects import PORTS, Flow
from sipsvc.errors import SipError
from sipsvc.message import Message, params_get, parse_name_addr, parse_uri


@trait
class Reach:
    """What leads out of here: `conns` are the stream connections there are, `sent_by` our own names (`host:port`)."""

    conns: set[int]
    sent_by: frozenset[str]

    def listener_for(self, transport: str, host: str, prefer: int) -> int:
        """The index of a listener that sends to the address `host` over `transport`, -1 if there is none."""
        raise AssertionError("whoever knows the ways out must know the listeners")


class Half:
    """`own` and `other` are the values this side puts into From and To of requests it sends.

    `routes` is the route set from us to this side, nearest first; `cseq` the highest CSeq it sent;
    `pinned` sends to `flow` whatever the Contact says, for a customer may sit behind a NAT (SIP-7);
    `rewritten` tells that this side, a gateway, sees another From than the caller wrote (SIP-31), `off` which of the
    caller's headers it does not get to see, for privacy (SIP-32);
    `tcp_if_large` that it takes by TCP what is too large for UDP (SIP-6);
    `leg` how what it is sent is numbered, None where as the other side does: with all but gateways that challenge.
    """

    __slots__ = ("_way", "contact", "cseq", "flow", "leg", "off", "other", "own", "pinned", "rewritten", "routes",
                 "tcp_if_large", "told")  # fmt: skip

    def __init__(self, flow: Flow, own: str, other: str, contact: str, *, pinned: bool, cseq: int = 0) -> None:
        """`contact` serves until a message of this side brings a better one."""
        self.flow = flow
        self.own = own
        self.other = other
        self.contact = contact
        self.routes: list[str] = []
        self.cseq = cseq
        # The highest CSeq of its requests that told where it is; others may overtake those.
        self.told = cseq
        self.pinned = pinned
        self.rewritten = False
        self.off: frozenset[str] = frozenset()
        self.tcp_if_large = False
        self.leg: Numbering | None = None
        # Where its Contact or first route led when last looked at.
        self._way: Flow | None = None

    def refresh(self, message: Message) -> None:
        """Take the remote target from a request or 2xx of this side (RFC 3261 §12.2)."""
        for contact in message.all("contact")[:1]:
            try:
                uri = parse_name_addr(contact, "Contact").uri
                parsed = parse_uri(uri)
            except SipError:
                return  # what was known before serves on; a broken Contact reaches nobody
            # Headers have no place in a Request-URI (RFC 3261 §19.1.1).
            self.contact = str(parsed._replace(headers="")) if parsed.headers else uri
            self._way = None

    def meet(self, response: Message, token: str) -> None:
        """Take remote target and route set from this side's answer.

        `token` marks our own Record-Route values in it, two where our listeners differ: what stands above the
        first of them lies beyond us.
        """
        self.refresh(response)
        routes = response.all("record-route")
        ours = next((index for index, route in enumerate(routes) if token in route), 0)
        with suppress(SipError):  # a route set nobody can read leads nowhere: its Contact has to do
            self.routes = route_set(list(reversed(routes[:ours])))
        self._way = None

    def address(self) -> tuple[str, list[str]]:
        """Request-URI and Route lines of a request for this side.

        Where the next hop is a strict router, its URI is the Request-URI and the Contact goes last (RFC 3261 §16.6
        step 6).
        """
        routes = self.routes
        if not routes:
            return self.contact, []
        first = parse_uri(parse_name_addr(routes[0], "Route").uri)
        if params_get(first.params, "lr") is not None:
            return self.contact, [f"Route: {route}" for route in routes]
        strict = str(first._replace(headers=""))
        return strict, [*(f"Route: {route}" for route in routes[1:]), f"Route: <{self.contact}>"]

    def target(self, reach: Reach) -> Flow:
        """Where to send a request for this side (SIP-7).

        A customer's stream that is gone is opened again to the Contact, but at its own address only: behind a NAT
        there is no way back, and no customer shall make us connect to whom it likes.
        """
        flow = self.flow
        if self.pinned and not self.routes:
            if flow.transport == "UDP" or flow.conn in reach.conns:
                return flow
            way = _literal(self.contact, flow, reach)
            return way if way.host == flow.host else flow
        if self._way is None:
            uri = parse_name_addr(self.routes[0], "Route").uri if self.routes else self.contact
            self._way = _literal(uri, flow, reach)
        if self.pinned and flow.conn in reach.conns and self._way[:2] == flow[:2]:
            return flow  # the first of its proxies holds a connection to us already
        return self._way

    def move(self, flow: Flow) -> None:
        """This side is now reached by `flow`."""
        self.flow = flow
        self._way = None

    def to_record(self) -> dict[str, Any]:
        """As it stands in the log."""
        record: dict[str, Any] = {
            # A connection does not outlive the process; whom to expect at the end of the next one does.
            "flow": [*self.flow[:4], self.flow.name] if self.flow.name else list(self.flow[:4]),
            "contact": self.contact,
            "routes": self.routes,
            "own": self.own,
            "other": self.other,
            "cseq": self.cseq,
            "pinned": self.pinned,
            "tcp_if_large": self.tcp_if_large,
        }
        if self.leg is not None:
            record["leg"] = self.leg.to_record()
        if self.off:
            record["off"] = sorted(self.off)
        return record

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Half:
        transport, host, port, listener, *name = record["flow"]
        half = cls(
            Flow(transport, host, port, listener, 0, *name),
            record["own"],
            record["other"],
            record["contact"],
            pinned=record["pinned"],
            cseq=record["cseq"],
        )
        half.routes = list(record["routes"])
        half.off = frozenset(record.get("off", ()))
        half.tcp_if_large = record.get("tcp_if_large", False)  # as long as there were no streams none was written
        return half


def route_set(values: list[str]) -> list[str]:
    """Record-Route values that can be routed by. Raises SipError 400 for one that cannot."""
    for value in values:
        parse_uri(parse_name_addr(value, "Record-Route").uri)
    return values


def _literal(uri: str, otherwise: Flow, reach: Reach) -> Flow:
    """The address a URI names, if it names one that a listener of ours reaches; else the flow that served so far.

    A URI that names no transport means the one of that flow: the dialog got here by it (departs from RFC 3263 §4.1,
    by which it would be UDP). maddr is not followed.
    """
    try:
        parsed = parse_uri(uri)
        host = parsed.host.strip("[]")
        ip_address(host)
    except (SipError, ValueError):
        return otherwise
    named = (params_get(parsed.params, "transport") or "").upper()
    transport = "TLS" if parsed.scheme == "sips" else named if named in PORTS else otherwise.transport
    listener = reach.listener_for(transport, host, otherwise.listener)
    if listener < 0:
        return otherwise
    port = parsed.port or PORTS[transport]
    if f"{parsed.host}:{port}" in reach.sent_by:
        return otherwise  # to ourselves it would go round and round
    return otherwise._replace(transport=transport, host=host, port=port, listener=listener, conn=0)
