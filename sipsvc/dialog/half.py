"""One side of a call: how it knows itself and the other party, and the way to it."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from sipsvc.effects import Flow
from sipsvc.errors import SipError
from sipsvc.message import Message, params_get, parse_name_addr, parse_uri


class Half:
    """`own` and `other` are the values this side puts into From and To of requests it sends.

    `routes` is the route set from us to this side, nearest first; `cseq` the highest CSeq it sent;
    `pinned` sends to `flow` whatever the Contact says, for a customer may sit behind a NAT (SIP-7).
    """

    __slots__ = ("contact", "cseq", "flow", "other", "own", "pinned", "routes")

    def __init__(self, flow: Flow, own: str, other: str, contact: str, *, pinned: bool, cseq: int = 0) -> None:
        """`contact` serves until a message of this side brings a better one."""
        self.flow = flow
        self.own = own
        self.other = other
        self.contact = contact
        self.routes: list[str] = []
        self.cseq = cseq
        self.pinned = pinned

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

    def meet(self, response: Message, token: str) -> None:
        """Take remote target and route set from this side's answer; `token` marks our own Record-Route in it."""
        self.refresh(response)
        routes = response.all("record-route")
        ours = next((index for index, route in enumerate(routes) if token in route), 0)
        with suppress(SipError):  # a route set nobody can read leads nowhere: its Contact has to do
            self.routes = route_set(list(reversed(routes[:ours])))

    def address(self) -> tuple[str, list[str]]:
        """Request-URI and Route lines of a request for this side (RFC 3261 §12.2.1.1, strict routers included)."""
        routes = self.routes
        if routes:
            strict = parse_name_addr(routes[0], "Route").uri
            loose = params_get(parse_uri(strict).params, "lr") is not None
        if routes and not loose:
            return strict, [*(f"Route: {route}" for route in routes[1:]), f"Route: <{self.contact}>"]
        return self.contact, [f"Route: {route}" for route in routes]

    def target(self) -> Flow:
        """Where to send a request for this side."""
        if self.routes:
            return _literal(parse_name_addr(self.routes[0], "Route").uri, self.flow)
        return self.flow if self.pinned else _literal(self.contact, self.flow)

    def to_record(self) -> dict[str, Any]:
        """As it stands in the log."""
        return {
            "flow": list(self.flow[:4]),  # a connection does not outlive the process
            "contact": self.contact,
            "routes": self.routes,
            "own": self.own,
            "other": self.other,
            "cseq": self.cseq,
            "pinned": self.pinned,
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Half:
        transport, host, port, listener = record["flow"]
        half = cls(
            Flow(transport, host, port, listener),
            record["own"],
            record["other"],
            record["contact"],
            pinned=record["pinned"],
            cseq=record["cseq"],
        )
        half.routes = list(record["routes"])
        return half


def route_set(values: list[str]) -> list[str]:
    """Record-Route values that can be routed by. Raises SipError 400 for one that cannot."""
    for value in values:
        parse_uri(parse_name_addr(value, "Record-Route").uri)
    return values


def _literal(uri: str, otherwise: Flow) -> Flow:
    """The address a URI names, if it names one; resolving names is not this version's (SIP-8)."""
    try:
        parsed = parse_uri(uri)
        ip_address(parsed.host.strip("[]"))
    except (SipError, ValueError):
        return otherwise
    return Flow(otherwise.transport, parsed.host.strip("[]"), parsed.port or 5060, otherwise.listener)
