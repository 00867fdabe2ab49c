"""Messages, a directory and a clock to drive a whole Engine by bytes, without a network.

Every datagram that leaves is parsed again on the way out, so each test that uses `Wire` shows SIP-5 as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from random import Random
from typing import Any, NamedTuple

from sipsvc.directory import (
    Block,
    CallerIds,
    Customer,
    Directory,
    Gateway,
    Package,
    Platform,
    PrefixTable,
    PriceList,
    PriceRow,
    Timing,
    Trunk,
    assemble,
)
from sipsvc.effects import Close, Flow, Listener, Notice, Now, Resolve, Send, Target, WriteCdr
from sipsvc.engine import Engine
from sipsvc.message import Message, parse
from sipsvc.message.grammar import LINE_END, canonical
from sipsvc.store.days import month_at

MS = 1_000_000
US = "192.0.2.1:5060"
LISTENERS = (Listener("UDP", "192.0.2.1", 5060),)
SECRET = bytes(range(32))
BEGIN = Now(1_000 * MS, 1_700_000_000_000)

CUSTOMER = Flow("UDP", "198.51.100.10", 5062)
STRANGER = Flow("UDP", "198.51.100.200", 5062)
GATES = tuple(Flow("UDP", f"203.0.113.{number}", 5080) for number in (1, 2, 3))

CALLER, CALLEE = "442071838750", "33123456789"


def row(prefix: str, rate: str, fee: str = "0", initial: int = 1, increment: int = 1, origin: str = "") -> PriceRow:
    """Its id is the prefix as a number."""
    return PriceRow(int(prefix), prefix, f"to {prefix}", Decimal(rate), Decimal(fee), initial, increment, origin)


def gateway(number: int = 1, rate: str = "0.01", **changes: Any) -> Gateway:
    """`gw1` at the first of GATES, cheaper than `gw2` and so on."""
    flow = GATES[number - 1]
    coverage = PrefixTable([row(prefix, str(Decimal(rate) * number)) for prefix in ("33", "44", "979", "882")])
    plain = Gateway(
        f"gw{number}", f"Gateway {number}", "partner", flow.host, flow.port, "USD", coverage, priority=number
    )
    return replace(plain, **changes)


CUSTOMERS = Customer("acme", "Acme Ltd", "partner", "active", "retail", caller_ids=CallerIds(("4420*",)))
RETAIL = PriceList(
    "retail",
    "Retail",
    "partner",
    "USD",
    PrefixTable([row("33", "0.06", initial=30, increment=6), row("44", "0.03"), row("979", "0.03"), row("882", "0.5")]),
    expensive_at=Decimal("0.50"),
)


USUAL = Timing()


def directory(
    *gateways: Gateway,
    customer: Customer = CUSTOMERS,
    pricelist: PriceList = RETAIL,
    trunks: Iterable[Trunk] = (),
    blocks: dict[str, str] | None = None,
    timing: Timing = USUAL,
    rates: dict[str, str] | None = None,
    packages: Iterable[Package] = (),
) -> Directory:
    """Acme, known by CUSTOMER's address, with three gateways unless told otherwise."""
    by_address = Trunk("acme-ip", "acme", source=f"{CUSTOMER.host}/32")
    chosen = gateways or tuple(gateway(number) for number in (1, 2, 3))
    blocked = {"979": "premium rate"} if blocks is None else blocks
    listed = [Block(f"block-{prefix}", "", prefix, reason) for prefix, reason in blocked.items()]
    worth = {currency: Decimal(rate) for currency, rate in (rates or {}).items()}
    return assemble(
        7,
        Platform(timing=timing, rates=worth),
        [customer, pricelist, by_address, *trunks, *chosen, *listed, *packages],
    )


def datagram(start: str, *lines: str, body: bytes = b"") -> bytes:
    """A message from its lines; Content-Length is added."""
    return "\r\n".join([start, *lines, f"Content-Length: {len(body)}", "", ""]).encode("latin-1") + body


def request(
    method: str = "INVITE", uri: str = f"sip:{CALLEE}@{US}", *extra: str, body: bytes = b"", **fields: str
) -> bytes:
    """A request of the customer's. `fields` replace a header by its name with `_` for `-`; "" leaves it out."""
    headers: dict[str, str] = {
        "Via": f"SIP/2.0/UDP {CUSTOMER.host}:{CUSTOMER.port};branch=z9hG4bK-1;rport",
        "Max_Forwards": "70",
        "From": f'"Ann" <sip:{CALLER}@acme.example>;tag=ann',
        "To": f"<sip:{CALLEE}@{US}>",
        "Call_ID": "call-1",
        "CSeq": f"1 {method}",
        "Contact": f"<sip:ann@{CUSTOMER.host}:{CUSTOMER.port}>",
    }
    headers.update(fields)
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items() if value]
    return datagram(f"{method} {uri} SIP/2.0", *lines, *extra, body=body)


def answer(
    to: Message, status: int, *extra: str, tag: str = "bob", contact: str = "", reason: str = "Said", body: bytes = b""
) -> bytes:
    """A peer's response to a request it got. `contact` "" makes one, `-` leaves it out."""
    lines = [
        line for line, name in zip(to.lines, to.names, strict=True)
        if name in ("via", "from", "call-id", "cseq") or (name == "record-route" and 100 < status < 300)
    ]  # fmt: skip
    value = to.get("to") or ""
    lines.append(f"To: {value};tag={tag}" if tag and status > 100 and ";tag=" not in value else f"To: {value}")
    if 100 < status < 300 and contact != "-":
        lines.append(f"Contact: <{contact or 'sip:bob@203.0.113.77:5090'}>")
    return datagram(f"SIP/2.0 {status} {reason}", *lines, *extra, body=body)


class Sent(NamedTuple):
    """What left: `at` is milliseconds since the beginning."""

    at: int
    flow: Flow
    message: Message
    data: bytes
    ref: str

    @property
    def what(self) -> str:
        """`INVITE`, or the status and method of a response: `200 BYE`."""
        message = self.message
        return f"{message.status} {message.method}" if message.status else message.method


class Wire:
    """An engine between a customer and gateways. What it wrote stands in `records`, what it sent in `sent`, what it
    wanted to be looked up in `asked`, what it gave notice of in `notices`.

    With `disk` off, `Engine.durable` is never called and answers wait for their timer.
    """

    def __init__(
        self,
        book: Directory | None = None,
        *,
        begin: Now = BEGIN,
        seed: int = 1,
        listeners: tuple[Listener, ...] = LISTENERS,
        disk: bool = True,
    ) -> None:
        self.engine = Engine(
            book or directory(),
            listeners=listeners,
            secret=SECRET,
            random_bytes=Random(seed).randbytes,
            months=month_at,
        )
        self.begin = begin
        self.now = begin
        self.disk = disk
        self.sent: list[Sent] = []
        self.records: list[dict[str, Any]] = []
        self.closed: list[Flow] = []
        self.asked: list[Resolve] = []
        self.notices: list[Notice] = []

    def give(self, data: bytes, flow: Flow = CUSTOMER) -> list[Sent]:
        """One datagram in; what left because of it."""
        self.engine.receive(data, flow, self.now)
        return self.drain()

    def wait(self, ms: float) -> list[Sent]:
        """Let time pass, every timer at its moment; what left meanwhile."""
        until = self.now.mono + round(ms * MS)
        sent: list[Sent] = []
        due = self.engine.next_timer()
        while due is not None and due <= until:
            self._at(max(due, self.now.mono))
            self.engine.handle_timer(self.now)
            sent += self.drain()
            due = self.engine.next_timer()
        self._at(until)
        return sent

    def drain(self) -> list[Sent]:
        """Take the effects; records go to disk at once, where there is one."""
        taken: list[Sent] = []
        while effects := self.engine.take():
            for effect in effects:
                if isinstance(effect, Send):
                    taken.append(Sent(self.elapsed, effect.flow, reread(effect.data), effect.data, effect.ref))
                elif isinstance(effect, WriteCdr):
                    self.records.append(effect.record)
                elif isinstance(effect, Close):
                    self.closed.append(effect.flow)
                elif isinstance(effect, Resolve):
                    self.asked.append(effect)
                elif isinstance(effect, Notice):
                    self.notices.append(effect)
            if self.disk:
                self.engine.durable(self.engine_seq, self.now)
        self.sent += taken
        return taken

    def fail(self, sent: Sent) -> list[Sent]:
        """The transport could not send it."""
        self.engine.send_failed(sent.ref, self.now)
        return self.drain()

    def find(self, *targets: Target) -> list[Sent]:
        """The answer to the latest look-up."""
        self.engine.resolved(self.asked[-1].ref, targets, self.now)
        return self.drain()

    @property
    def engine_seq(self) -> int:
        return len(self.records)

    @property
    def elapsed(self) -> int:
        return (self.now.mono - self.begin.mono) // MS

    def kinds(self) -> list[str]:
        return [record["kind"] for record in self.records]

    @property
    def end(self) -> dict[str, Any]:
        """The one `end` record there is."""
        (record,) = [record for record in self.records if record["kind"] == "end"]
        return record

    def _at(self, mono: int) -> None:
        self.now = Now(mono, self.begin.utc + (mono - self.begin.mono) // MS)


def reread(data: bytes) -> Message:
    """Parse what we sent; it must have no fault (SIP-5). A keepalive is an empty message.

    The answer to a broken request (400, 414, 505) repeats From, To, Via and CSeq as they came, broken ones too;
    its lines at least must be whole.
    """
    if data == b"\r\n":
        return Message([], [], b"")
    head = data.partition(b"\r\n\r\n")[0].decode("latin-1")
    start, *lines = LINE_END.split(head)
    assert not re.search(r"\r(?!\n)|(?<!\r)\n|\x00", head), f"a line ends where it should not: {data!r}"
    names = [canonical(line.partition(":")[0]) if ":" in line else "" for line in lines]
    assert all(names), f"no header: {lines[names.index('')]!r}"
    if start.startswith(("SIP/2.0 400 ", "SIP/2.0 414 ", "SIP/2.0 505 ")):
        message = Message(lines, names, b"")
        message.status, message.reason = int(start[8:11]), start[12:]
        message.method = (message.get("cseq") or "").rpartition(" ")[2]
        return message
    message = parse(data)
    assert message.fault is None, f"{message.fault}: {data!r}"
    return message


class Talk(NamedTuple):
    """A call between the INVITE a gateway got and the response the caller got, and requests inside it."""

    wire: Wire
    forwarded: Message
    ok: Message

    def by_caller(self, method: str, cseq: int, *extra: str, uri: str = "", route: str = "", **fields: str) -> bytes:
        """As the caller builds it from the response it got. `route` is a whole line that stands for its route set."""
        routes = [route] if route else [f"Route: {one}" for one in reversed(self.ok.all("record-route"))]
        target = uri or (self.ok.get("contact") or "").strip("<>")
        heads: dict[str, Any] = {"From": self.ok.get("from") or "", "To": self.ok.get("to") or "", **fields}
        return request(method, target, *routes, *extra, **_inside(method, method, cseq), **heads)

    def by_callee(self, method: str, cseq: int, *extra: str, uri: str = "", **fields: str) -> bytes:
        """As the gateway builds it from the INVITE it got."""
        routes = [f"Route: {one}" for one in self.forwarded.all("record-route")]
        target = uri or (self.forwarded.get("contact") or "").strip("<>")
        own = f"{self.forwarded.get('to')};tag=bob"
        heads: dict[str, Any] = {"From": own, "To": self.forwarded.get("from") or "", **fields}
        return request(method, target, *routes, *extra, **_inside(method, "b" + method, cseq), **heads)


def _inside(method: str, branch: str, cseq: int) -> dict[str, Any]:
    via = f"SIP/2.0/UDP peer.example:5060;branch=z9hG4bK-{branch}-{cseq};rport"
    return {"Via": via, "CSeq": f"{cseq} {method}"}


def talking(wire: Wire, *, invite: bytes = b"", contact: str = "") -> Talk:
    """A call that the first gateway answered at once."""
    forwarded = wire.give(invite or request())[-1].message
    return Talk(wire, forwarded, wire.give(answer(forwarded, 200, contact=contact), GATES[0])[-1].message)
