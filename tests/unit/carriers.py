"""Gateways that answer by themselves, for what is known of them."""

from __future__ import annotations

from typing import Any

from sipsvc.directory import Directory, Gateway
from sipsvc.effects import Notice
from tests.unit.wire import CUSTOMER, GATES, US, Sent, Wire, answer, directory, request


class Town(Wire):
    """A `Wire` whose gateways answer by themselves: `says` by host, a status, "" for silence, or "fail"; `extra` are
    lines of every answer."""

    def __init__(self, book: Directory, **more: Any) -> None:
        super().__init__(book, **more)
        self.says: dict[str, str] = {}
        self.extra: tuple[str, ...] = ()
        self.calls = 0
        self.engine.restore([], self.now)

    def drain(self) -> list[Sent]:
        found = super().drain()
        for one in list(found):
            if one.message.status == 0 and one.flow.host.startswith("203."):
                found += self._meet(one)
        return found

    def _meet(self, one: Sent) -> list[Sent]:
        word = self.says.get(one.flow.host, "200")
        if word == "fail":
            return self.fail(one)
        if not word or one.what == "ACK":
            return []
        return self.give(answer(one.message, int(word), *self.extra), one.flow)

    def call(self, wait_ms: float = 40_000, dialled: str = "") -> list[str]:
        """One call to its end, each to another number unless told; the gateways that were tried."""
        self.calls += 1
        names = {flow.host: f"gw{number}" for number, flow in enumerate(GATES, 1)}
        number = self.calls
        via = f"SIP/2.0/UDP {CUSTOMER.host}:{CUSTOMER.port};branch=z9hG4bK-{number};rport"
        uri = f"sip:{dialled or 33_123_000_000 + number}@{US}"
        sent = self.give(request("INVITE", uri, Via=via, Call_ID=f"call-{number}"))
        sent += self.wait(wait_ms)
        mine = [one for one in sent if one.what == "INVITE" and one.message.call_id == f"call-{number}"]
        return list(dict.fromkeys(names[one.flow.host] for one in mine if one.flow.host in names))

    def hang_up(self) -> None:
        for call in list(self.engine.core.calls.values()):
            self.engine.hang_up(call.cdr_id, "admin", self.now)
        self.drain()

    def pings(self, ms: float) -> list[Sent]:
        """Without their repetitions."""
        sent = [one for one in self.wait(ms) if one.what == "OPTIONS"]
        return list({one.message.via.branch: one for one in reversed(sent)}.values())[::-1]

    def until_asked(self) -> None:
        """Until the next look-up."""
        before = len(self.asked)
        while len(self.asked) == before:
            self.wait(100)

    def of(self, name: str = "gw1") -> dict[str, Any]:
        return self.engine.gateway_health()[name]

    def state(self, name: str = "gw1") -> str:
        return f"{self.of(name)['state']} {self.of(name)['reason']}".strip()

    def use(self, *gateways: Gateway) -> None:
        self.engine.swap(directory(*gateways), self.now)
        self.drain()


def town(*gateways: Gateway, **more: Any) -> Town:
    return Town(directory(*gateways), **more)


def listened(made: Town) -> list[tuple[str, dict[str, Any]]]:
    """From now on what the operator is told goes into the list."""
    told: list[tuple[str, dict[str, Any]]] = []
    right = made.engine.take

    def take() -> Any:
        effects = right()
        told.extend((one.event, one.fields) for one in effects if isinstance(one, Notice))
        return effects

    made.engine.take = take  # type: ignore[method-assign]
    return told
