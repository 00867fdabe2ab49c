"""A request of our own to a gateway, outside any call: to its addresses in turn until one answers (SIP-8)."""

from __future__ import annotations

from mypy_extensions import trait

from sipsvc.directory import Gateway
from sipsvc.effects import PORTS, Flow, Now, Target
from sipsvc.headers import place_of
from sipsvc.message import Message
from sipsvc.proxy import Core
from sipsvc.proxy.branch import MS
from sipsvc.proxy.own import Nobody
from sipsvc.proxy.way import Way, WayUser
from sipsvc.timers import Timer, TimerTarget
from sipsvc.transaction import ClientTransaction


@trait
class Sender:
    """Who sends it."""

    def request(self, method: str, flow: Flow, branch: str) -> bytes:
        """The whole request as it goes by `flow`, with `branch` in its Via."""
        raise AssertionError("a sender must make its request")

    def on_outcome(self, method: str, response: Message | None, why: str, now: Now) -> None:
        """Its final response; without one `why` is `no_response`, `transport` or `dns`."""
        raise AssertionError("a sender must take outcomes")


class Errand(Nobody, WayUser, TimerTarget):
    """One request; `patience_ms` is for all addresses and the look-up together, `target` the address tried last.

    Its sender is told once, unless it is dropped. A 503 is an outcome only where no other address is left.
    """

    __slots__ = ("client", "core", "gateway", "method", "sender", "target", "timer", "way", "why")

    def __init__(self, core: Core, sender: Sender, gateway: Gateway, method: str) -> None:
        self.core = core
        self.sender = sender
        self.gateway = gateway
        self.method = method
        self.way: Way | None = None
        self.client: ClientTransaction | None = None
        self.timer: Timer | None = None
        self.target: Target | None = None
        self.why = "dns"

    def start(self, patience_ms: int, now: Now, only: Target | None = None) -> None:
        """With `only` it goes to that address and no other."""
        gateway = self.gateway
        way = self.way = Way(self.core, self, gateway, now)
        way.deadline = now.mono + patience_ms * MS
        if only is not None:
            way.targets = [only]
            self._next(None, now)
        elif gateway.named:
            way.look_up(now)
        else:
            transport = gateway.transport.upper()
            way.targets = [Target(transport, gateway.host, gateway.port or PORTS[transport])]
            self._next(None, now)

    def drop(self) -> None:
        """Nobody wants to know any more."""
        if self.way is not None:
            self.way.drop()
            self.way = None
        self.core.timers.cancel(self.timer)
        if self.client is not None:
            self.client.destroy()
            self.client = None

    def on_found(self, way: Way, now: Now) -> None:
        self._next(None, now)

    def on_response(self, client: ClientTransaction, response: Message, now: Now) -> None:
        if client is self.client and response.status >= 200:
            self.client = None
            if response.status == 503:
                self._next(response, now)
            else:
                self._over(response, now)

    def on_no_response(self, client: ClientTransaction, failed: bool, now: Now) -> None:
        if client is self.client:
            self.client = None
            self.why = "transport" if failed else "no_response"
            self._next(None, now)

    def on_timer(self, kind: int, now: Now) -> None:
        if self.client is not None:
            self.client.destroy()
            self.client = None
        self.why = "no_response"
        self._next(None, now)

    def _next(self, response: Message | None, now: Now) -> None:
        """The next address that can be sent to; with none left the outcome is `response`, or why there is none."""
        core, way = self.core, self.way
        core.timers.cancel(self.timer)
        while way is not None and (step := way.step(now)) is not None:
            self.target = step.target
            transport, host, port = step.target
            listener = core.listener_for(transport, host, 0)
            if listener < 0:
                core.count("no_listener")
                self.why = "transport"
                continue
            flow = Flow(transport, host, port, listener, 0, self.gateway.host if transport == "TLS" else "")
            branch = core.branch(core.random_hex(16))
            self.timer = core.timers.set(now.mono + step.silence_ms * MS, self, 0)
            data = self.sender.request(self.method, flow, branch)
            self.client = core.layer.new_client(branch, self.method, data, flow, self, now)
            return
        self._over(response, now)

    def _over(self, response: Message | None, now: Now) -> None:
        self.core.timers.cancel(self.timer)
        self.way = None
        self.sender.on_outcome(self.method, response, "" if response is not None else self.why, now)


def sip_uri(gateway: Gateway) -> str:
    """The gateway's own URI, at the place that calls go to."""
    return f"sip:{place_of(gateway.host, gateway.port, gateway.transport)}"


def contact(core: Core, flow: Flow, user: str = "") -> str:
    """Our own URI on the listener of `flow`. Without transport a URI means UDP (RFC 3263 §4.1)."""
    transport = "" if flow.transport == "UDP" else f";transport={flow.transport.lower()}"
    return f"sip:{user}{'@' if user else ''}{core.names[flow.listener]}{transport}"
