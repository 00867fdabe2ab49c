"""OPTIONS to the gateways that are to be pinged, one timer each (SIP-34, RFC 3261 §11)."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import ClassVar

from sipsvc.directory import Gateway
from sipsvc.effects import Flow, Now
from sipsvc.engine.errand import Errand, Sender, contact, sip_uri
from sipsvc.engine.health import DOWN, Health, S, place
from sipsvc.message import Message
from sipsvc.proxy import Core
from sipsvc.timers import Timer, TimerTarget

# The first ping comes within this; one that is down is pinged at least so often.
SOON_S = 10


class Pings:
    """One `Ping` for each enabled gateway that has a `ping_interval_s`."""

    def __init__(self, core: Core, health: Health) -> None:
        self.core = core
        self.health = health
        self._pings: dict[str, Ping] = {}
        health.went_down = self._hurry

    def __len__(self) -> int:
        return len(self._pings)

    def use(self, gateways: Mapping[str, Gateway], now: Now) -> None:
        """Another directory's: who came is pinged from now on, who went is not."""
        for name, ping in list(self._pings.items()):
            gateway = gateways.get(name)
            if gateway is None or not _wanted(gateway) or place(gateway) != place(ping.gateway):
                ping.stop()
                del self._pings[name]
            else:
                sooner = gateway.ping_interval_s < ping.gateway.ping_interval_s
                ping.gateway = gateway
                if sooner:
                    ping.hurry(now)
        for name, gateway in gateways.items():
            if _wanted(gateway) and name not in self._pings:
                self._pings[name] = Ping(self, gateway, now)

    def stop(self) -> None:
        """All of them."""
        for ping in self._pings.values():
            ping.stop()
        self._pings.clear()

    def _hurry(self, id: str, now: Now) -> None:
        ping = self._pings.get(id)
        if ping is not None:
            ping.hurry(now)


class Ping(Sender, TimerTarget):
    """The pings of one gateway, one at a time. Each waits as long for an answer as a call would."""

    DUE: ClassVar = 0

    __slots__ = ("call_id", "cseq", "errand", "gateway", "pings", "since", "tag", "timer")

    def __init__(self, pings: Pings, gateway: Gateway, now: Now) -> None:
        self.pings = pings
        self.gateway = gateway
        core = pings.core
        self.call_id = core.random_hex(32)
        self.tag = core.random_hex(16)
        self.cseq = 0
        self.errand: Errand | None = None
        self.since = now.mono
        soon = min(gateway.ping_interval_s, SOON_S) * spread(gateway.id, 0)
        self.timer: Timer | None = core.timers.set(now.mono + int(soon * S), self, self.DUE)

    def stop(self) -> None:
        self.pings.core.timers.cancel(self.timer)
        if self.errand is not None:
            self.errand.drop()
            self.errand = None

    def hurry(self, now: Now) -> None:
        """It went down, or its interval became shorter: the next ping is due sooner."""
        if self.errand is None:
            self.pings.core.timers.cancel(self.timer)
            self._again(now)

    def on_timer(self, kind: int, now: Now) -> None:
        self.since = now.mono
        self.cseq += 1
        self.errand = Errand(self.pings.core, self, self.gateway, "OPTIONS")
        self.errand.start(self.gateway.provisional_timeout_ms, now)

    def request(self, method: str, flow: Flow, branch: str) -> bytes:
        core, uri = self.pings.core, sip_uri(self.gateway)
        ours = contact(core, flow)
        lines = [
            f"OPTIONS {uri} SIP/2.0",
            core.via(flow, branch),
            "Max-Forwards: 70",
            f"From: <{ours}>;tag={self.tag}",
            f"To: <{uri}>",
            f"Call-ID: {self.call_id}",
            f"CSeq: {self.cseq} OPTIONS",
            f"Contact: <{ours}>",
            "Accept: application/sdp",
            "Content-Length: 0\r\n\r\n",
        ]
        return "\r\n".join(lines).encode("latin-1", "replace")

    def on_outcome(self, method: str, response: Message | None, why: str, now: Now) -> None:
        self.errand = None
        if response is not None and response.status in (408, 503):
            why = str(response.status)
        gateway = self.gateway
        self.pings.health.pinged(gateway, why, now)
        if self.errand is None and (self.timer is None or self.timer.target is None):
            self._again(now)

    def _again(self, now: Now) -> None:
        interval = float(self.gateway.ping_interval_s)
        if self.pings.health.state(self.gateway.id)[0] == DOWN:
            interval = max(1.0, min(interval / 4, SOON_S))
        interval *= 0.9 + 0.2 * spread(self.gateway.id, self.cseq)
        due = max(self.since + int(interval * S), now.mono)
        self.timer = self.pings.core.timers.set(due, self, self.DUE)


def _wanted(gateway: Gateway) -> bool:
    return gateway.enabled and gateway.ping_interval_s > 0


def spread(id: str, turn: int) -> float:
    """0 to 1, the same for the same gateway and turn: what is due of many is not due at once."""
    return int.from_bytes(blake2b(f"{id} {turn}".encode(), digest_size=4).digest()) / 2**32
