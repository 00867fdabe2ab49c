"""What all rooms of the proxy share: the calls, the timers, our names, and requests of our own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from mypy_extensions import trait

from sipsvc.dialog import Half, Reach, Tokens
from sipsvc.directory import Gateway, Platform
from sipsvc.effects import Flow, Listener, Now, Target, written
from sipsvc.proxy.buckets import Buckets
from sipsvc.proxy.call import Call, Phase
from sipsvc.proxy.credentials import REFUSED, Leg, leg_of
from sipsvc.proxy.own import NOBODY, Challenged
from sipsvc.timers import TimerHeap
from sipsvc.transaction import ClientUser, Layer

if TYPE_CHECKING:
    from sipsvc.proxy.invite import InviteSession
    from sipsvc.proxy.late import LateAnswer

# What a request may have, in bytes, to go by UDP where the path's MTU is not known (RFC 3261 §18.1.1).
LARGEST_UDP = 1_300
# How long TCP, taken for a request's size, may say nothing before UDP is tried after all (SIP-6).
TCP_SILENCE_MS = 1_000


class Observer:
    """Who writes the CDRs. Each returns the sequence number of what it wrote."""

    def answered(self, call: Call, now: Now) -> int:
        raise AssertionError("an observer must take answers")

    def ended(self, call: Call, now: Now) -> int:
        raise AssertionError("an observer must take ends")

    def answered_late(self, call: Call, attempt: int, late: LateAnswer) -> int:
        """What attempt number `attempt` of this call cost on the side, whether the call goes on or is over."""
        raise AssertionError("an observer must take late answers")


class Watch:
    """Who keeps account of how gateways do (SIP-34), told by the calls. `doubted` are the ids of those not known to be
    well: of the others nothing need be said but a failure."""

    def __init__(self) -> None:
        self.doubted: set[str] = set()

    def trying(self, gateway: Gateway, now: Now) -> None:
        """A call goes to this gateway, which is doubted."""

    def worked(self, gateway: Gateway, now: Now) -> None:
        """It answered a call with anything but 100, 401, 407, 408 and 503, and is doubted."""

    def failed(self, gateway: Gateway, why: str, number: str, retry_after_s: int, now: Now) -> None:
        """A call left it, all its addresses tried: `no_response`, `transport`, or `503` with its Retry-After or 0.

        `number` is what it was to dial.
        """

    def refused(self, gateway: Gateway, now: Now) -> None:
        """It does not take our credentials."""


@trait
class Lookup:
    """Who asked where a name leads."""

    def found(self, targets: tuple[Target, ...], now: Now) -> None:
        """The addresses in order of trial, none when the look-up failed."""
        raise AssertionError("whoever asks must take the answer")


# More requests than a dialog sees between its last record and a restart.
CSEQ_STEP = 10_000


class Core(Reach):
    """`listeners` are ours as advertised; a flow names one by its index."""

    def __init__(
        self,
        platform: Platform,
        listeners: tuple[Listener, ...],
        tokens: Tokens,
        send: Callable[[bytes, Flow, str], None],
        random_bytes: Callable[[int], bytes],
        observer: Observer,
        resolve: Callable[[str, str, int, str], None],
        count: Callable[[str], None],
    ) -> None:
        """`resolve(ref, host, port, transport)` asks for an address, `count(code)` says that something went wrong."""
        self.platform = platform
        self.timers = TimerHeap()
        self.layer = Layer(self.timers, platform.timing, send)
        self.tokens = tokens
        self.send = send
        self.observer = observer
        self.count = count
        self.watch = Watch()
        # Who waits for which answer. A look-up that is given up is no longer here.
        self.lookups: dict[str, Lookup] = {}
        self._resolve = resolve
        self._asked = 0
        self.calls: dict[str, Call] = {}
        # Law 6: a limit is the size of a set. A call is at the gateway it was sent to last.
        self.by_customer: dict[str, set[str]] = {}
        self.by_trunk: dict[str, set[str]] = {}
        self.by_gateway: dict[str, set[str]] = {}
        self.customer_rates = Buckets()
        self.gateway_rates = Buckets()
        self.in_setup = 0
        # How often each gateway, by its id, had no use for the credentials we have for it (SIP-33).
        self.refused_credentials: dict[str, int] = {}
        # Answers held back until their record is on disk, in the order of their records (law 8).
        self.held: deque[tuple[int, InviteSession]] = deque()
        self.conns: set[int] = set()
        self.listeners = listeners
        self.names = tuple(f"{written(one.host)}:{one.port}" for one in listeners)
        self.sent_by = frozenset(name.lower() for name in self.names)
        # Our Record-Route on each listener, behind the token. Without transport a URI means UDP (RFC 3263 §4.1).
        self._route_ends = tuple(
            f"@{name};lr>" if one.transport == "UDP" else f"@{name};transport={one.transport.lower()};lr>"
            for one, name in zip(listeners, self.names, strict=True)
        )
        self._random = random_bytes
        self._pool = ""

    def use(self, platform: Platform) -> None:
        """Calls and transactions that begin from now on take these settings; those there are keep theirs."""
        self.platform = platform
        self.layer.use(platform.timing)

    def random_hex(self, digits: int) -> str:
        """Drawn from a block, for a system call a number would be the dearest step of many."""
        if len(self._pool) < digits:
            self._pool = self._random(512).hex()
        taken, self._pool = self._pool[:digits], self._pool[digits:]
        return taken

    def branch(self, ref: str, loop: str = "") -> str:
        """A branch that names its call, so that a stray 2xx finds its way; `loop` is RFC 5393's part."""
        return f"z9hG4bK{ref}{self.random_hex(8)}.{loop}"

    def via(self, flow: Flow, branch: str) -> str:
        return f"Via: SIP/2.0/{flow.transport} {self.names[flow.listener]};branch={branch};rport"

    def record_route(self, call: Call, flow: Flow) -> str:
        """The header for who gets the request by `flow`; where the caller is on another listener, two of them.

        Each side then finds its own listener first, on the way there and in the order of the way back (RFC 5658 §4).
        """
        here, ends = call.caller.flow.listener, self._route_ends
        there = f"Record-Route: <sip:{call.token}{ends[flow.listener]}"
        return there if here == flow.listener else f"{there}\r\nRecord-Route: <sip:{call.token}{ends[here]}"

    def listener_for(self, transport: str, host: str, prefer: int) -> int:
        """The listener that reaches the address `host` over `transport`: `prefer` if it does, -1 if none does."""
        ipv6 = ":" in host
        preferred = self.listeners[prefer]
        if preferred.transport == transport and preferred.ipv6 == ipv6:
            return prefer
        for index, one in enumerate(self.listeners):
            if one.transport == transport and one.ipv6 == ipv6:
                return index
        return -1

    def by_now(self, flow: Flow) -> Flow:
        """A flow of before a restart: the settings may have given us other listeners meanwhile.

        Where none of them reaches that peer the first one has to do, whose transport the Via then names.
        """
        prefer = flow.listener if flow.listener < len(self.listeners) else 0
        listener = self.listener_for(flow.transport, flow.host, prefer)
        if listener >= 0:
            return flow._replace(listener=listener)
        return flow._replace(transport=self.listeners[0].transport, listener=0)

    def flow_for_size(self, flow: Flow, size: int) -> Flow:
        """How a request of `size` bytes goes to a peer that takes TCP too: by `flow`, or to the same address by TCP.

        Its Via, and so the request, has to be made anew where the transport changed (RFC 3261 §18.1.1).
        """
        if size <= LARGEST_UDP or flow.transport != "UDP":
            return flow
        listener = self.listener_for("TCP", flow.host, flow.listener)
        return flow if listener < 0 else Flow("TCP", flow.host, flow.port, listener)

    def look_up(self, lookup: Lookup, host: str, port: int, transport: str) -> str:
        """Ask where `host` leads; `lookup` is told, unless what is returned is taken out of `lookups` before."""
        self._asked += 1
        ref = f"dns{self._asked}"
        self.lookups[ref] = lookup
        self._resolve(ref, host, port, transport)
        return ref

    def resolved(self, ref: str, targets: tuple[Target, ...], now: Now) -> None:
        """What a look-up found; nobody wants to know what comes too late."""
        lookup = self.lookups.pop(ref, None)
        if lookup is not None:
            lookup.found(targets, now)

    def host(self, flow: Flow) -> str:
        """Our name on the listener a packet came by, without its port."""
        return self.names[flow.listener].rpartition(":")[0]

    def admit(self, call: Call) -> None:
        self.calls[call.ref] = call
        self.layer.ladders[call.ref] = call.ladder
        self.by_customer.setdefault(call.who.customer, set()).add(call.ref)
        self.by_trunk.setdefault(call.who.trunk, set()).add(call.ref)
        self.in_setup += 1

    def full(self, gateway: Gateway, now: Now) -> str:
        """Why no call may be sent there now: `full`, `over_rate` or ""."""
        if gateway.max_channels and len(self.by_gateway.get(gateway.id, ())) >= gateway.max_channels:
            return "full"
        if gateway.max_cps and not self.gateway_rates.has(gateway.id, gateway.max_cps, now):
            return "over_rate"
        return ""

    def move(self, call: Call, gateway: str) -> None:
        """A call goes to a gateway, and with that from the one it was at; "" is none."""
        if call.at == gateway:
            return
        if call.at:
            _leave(self.by_gateway, call.at, call.ref)
        if gateway:
            self.by_gateway.setdefault(gateway, set()).add(call.ref)
        call.at = gateway

    def up(self, call: Call, now: Now) -> None:
        """From set-up to conversation, until a BYE or the longest a call may last (law 6)."""
        if call.phase is Phase.SETUP:
            self.in_setup -= 1
        call.phase = Phase.UP
        spent = (now.mono - call.answer_mono) // 1_000_000
        left = max(0, call.longest_ms - spent)
        call.deadline = self.timers.set(now.mono + left * 1_000_000, call, Call.DEADLINE)

    def over(self, call: Call, code: str, by: str, now: Now) -> None:
        """End a call once: its record is written, its place is free. Its dialog lingers for crossing BYEs."""
        if call.phase is Phase.OVER:
            return
        if call.phase is Phase.SETUP:
            self.in_setup -= 1
        call.phase = Phase.OVER
        call.code = code
        call.hangup_by = by
        call.end_at = now.utc
        if by in ("caller", "callee"):
            call.unshown = None
        call.recovered = call.unshown is not None
        self.timers.cancel(call.deadline)
        self.timers.cancel(call.expiry)
        self.timers.cancel(call.probe)
        _leave(self.by_customer, call.who.customer, call.ref)
        _leave(self.by_trunk, call.who.trunk, call.ref)
        self.move(call, "")
        self.observer.ended(call, now)
        self.timers.set(now.mono + 64 * self.layer.t1, call, Call.FORGET)

    def forget(self, call: Call) -> None:
        call.session = None
        self.calls.pop(call.ref, None)
        self.layer.ladders.pop(call.ref, None)

    def end_by_force(self, call: Call, by: str, code: str, now: Now) -> None:
        """BYE to both sides (SIP-19): each as if from the other, behind the highest CSeq it has seen."""
        if call.phase is not Phase.UP or call.gateway is None:
            return
        self.over(call, code, by, now)
        self.bye(call, call.gateway, call.caller, now)
        settled = call.answer_mono + 64 * self.layer.t1
        if call.acknowledged or now.mono >= settled:
            self.bye_caller(call, now)
        else:
            call.deadline = self.timers.set(settled, call, Call.BYE)

    def acknowledged(self, call: Call, now: Now) -> None:
        """The caller's first ACK: the BYE that waited for it may go."""
        if call.phase is Phase.OVER and call.deadline is not None and call.deadline.target is not None:
            self.timers.cancel(call.deadline)
            self.bye_caller(call, now)

    def bye_caller(self, call: Call, now: Now) -> None:
        if call.gateway is not None:
            self.bye(call, call.caller, call.gateway, now)

    def bye(self, call: Call, half: Half, other: Half, now: Now) -> None:
        """Hang up towards `half`, as if from `other`, behind all that this side said."""
        self.own_request(call, half, "BYE", _next_cseq(call, other), now)

    def own_request(self, call: Call, half: Half, method: str, cseq: int, now: Now, user: ClientUser = NOBODY) -> None:
        """A request of ours inside a dialog, towards `half`; `cseq` is as the other side numbers."""
        flow = half.target(self)
        leg = leg_of(half.leg)
        if leg is None:
            self.send_own(call, half, method, cseq, flow, None, now, user)
        elif method == "ACK":
            self.send_own(call, half, method, leg.invite(cseq)[0], flow, leg, now, user)
        else:
            user = Challenged(call, half, leg, method, user)
            self.send_own(call, half, method, leg.number(cseq), flow, leg, now, user)

    def send_own(
        self, call: Call, half: Half, method: str, number: int, flow: Flow, leg: Leg | None, now: Now, user: ClientUser
    ) -> None:
        """The same as `number` by `flow`, with credentials where `leg` has any."""
        branch = self.branch(call.ref)
        uri, routes = half.address()
        lines = [
            f"{method} {uri} SIP/2.0",
            self.via(flow, branch),
            "Max-Forwards: 70",
            *routes,
            f"From: {half.other}",
            f"To: {half.own}",
            f"Call-ID: {call.call_id}",
            f"CSeq: {number} {method}",
        ]
        if leg is not None:
            lines += leg.acked(number) if method == "ACK" else leg.lines(method, uri)
        lines.append("Content-Length: 0\r\n\r\n")
        data = "\r\n".join(lines).encode("latin-1", "replace")
        if method == "ACK":
            call.ladder.went(data, "", flow, now)
            self.send(data, flow, "")
        else:
            self.layer.new_client(branch, method, data, flow, user, now)

    def refuse_credentials(self, gateway: str) -> None:
        """A gateway wants others than we have for it, or refused those."""
        self.refused_credentials[gateway] = self.refused_credentials.get(gateway, 0) + 1
        self.count(REFUSED)

    def durable(self, seq: int, now: Now) -> None:
        """Everything up to `seq` is on disk: the answers that waited for it go up."""
        held = self.held
        while held and held[0][0] <= seq:
            held.popleft()[1].release(now)


def _leave(sets: dict[str, set[str]], key: str, ref: str) -> None:
    """Take a call out of one of the sets, and the set away with its last."""
    there = sets.get(key)
    if there is not None:
        there.discard(ref)
        if not there:
            del sets[key]


def _next_cseq(call: Call, half: Half) -> int:
    """Behind all that this side said. What it said since the last record, a restart has forgotten; CSeq may have gaps
    (RFC 3261 §12.2.1.1), but no number twice."""
    return half.cseq + 1 + (CSEQ_STEP if call.revived else 0)
