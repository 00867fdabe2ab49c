"""Bugs in what happens inside a call, on the way to a gateway, in its health, and in sessions. Each plants one."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from sipsvc.auth.carrier import Answers
from sipsvc.dialog import Half
from sipsvc.directory import Gateway
from sipsvc.effects import Now
from sipsvc.engine import Engine
from sipsvc.engine import admission as admission_room
from sipsvc.engine import requests as requests_room
from sipsvc.engine.health import DOWN, Health
from sipsvc.engine.pings import Ping
from sipsvc.engine.requests import Requests
from sipsvc.message import Message, parse, parse_name_addr, parse_uri
from sipsvc.proxy import Call, Core, InviteSession
from sipsvc.proxy import indialog as indialog_room
from sipsvc.proxy import invite as invite_room
from sipsvc.proxy.branch import Branch
from sipsvc.proxy.credentials import BARE, Leg, Worn
from sipsvc.proxy.probe import Probe
from sipsvc.proxy.way import Way
from sipsvc.transaction import layer as layer_room
from tests.sim.bugs import plant


def session_for_ever() -> None:
    """A session that nobody refreshes never runs out."""
    right = Call.on_timer

    def on_timer(self: Call, kind: int, now: Now) -> None:
        if kind != Call.EXPIRY:
            right(self, kind, now)

    plant(Call, on_timer=on_timer)


def bye_at_expiry() -> None:
    """A session that ran out is ended with BYEs."""
    right = Call.on_timer

    def on_timer(self: Call, kind: int, now: Now) -> None:
        if kind == Call.EXPIRY:
            self.core.end_by_force(self, "timeout", "session_expired", now)
        else:
            right(self, kind, now)

    plant(Call, on_timer=on_timer)


def unbilled_talk() -> None:
    """A session that ran out is said goodbye to by nobody, though one side keeps no time."""
    plant(Call, one_sided=property(lambda self: False, lambda self, value: None))


def any_interval() -> None:
    """Nobody's session interval is too small."""
    right = admission_room.ask

    def ask(request: Message, timing: Any) -> Any:
        return right(request, replace(timing, min_se_s=0))

    plant(admission_room, ask=ask)


def refresh_unheard() -> None:
    """A session is not prolonged by what happens inside the call."""
    plant(indialog_room, settle=lambda *facts: False)


def first_address_only() -> None:
    """When an address of a gateway fails, the others are not tried."""
    right = InviteSession._address

    def address(self: InviteSession, now: Now) -> bool:
        if self.branches and self.places and self.places[-1] == self.next - 1:
            return False
        return right(self, now)

    plant(InviteSession, _address=address)


def patient_look_up() -> None:
    """A name server that does not answer is waited for."""
    plant(Way, on_timer=lambda self, kind, now: None)


def loose_only() -> None:
    """A strict router is sent requests as if it were a loose one."""
    plant(Half, address=lambda self: (self.contact, [f"Route: {route}" for route in self.routes]))


def direct_only() -> None:
    """The route set of a gateway is not kept."""
    right = Half.meet

    def meet(self: Half, response: Message, token: str) -> None:
        right(self, response, token)
        self.routes = []

    plant(Half, meet=meet)


def deaf_to_moves() -> None:
    """A party that changes its Contact is sent requests where it was."""
    plant(indialog_room, _refresh=lambda half, message: False)


def any_token() -> None:
    """The seal on a token is not looked at."""
    right = Requests._dialog

    def dialog(self: Requests, request: Message, *more: Any) -> Any:
        for route in request.all("route")[:1]:
            call = self.core.calls.get(self.core.tokens.ref(parse_uri(parse_name_addr(route, "Route").uri).user))
            if call is not None:
                return right(self, parse(_sealed(request, route, call.token)), *more)
        return right(self, request, *more)

    plant(Requests, _dialog=dialog)


def _sealed(request: Message, route: str, token: str) -> bytes:
    user = parse_uri(parse_name_addr(route, "Route").uri).user
    lines = [line.replace(user, token) for line in request.lines]
    return "\r\n".join([f"{request.method} {request.uri} SIP/2.0", *lines, "\r\n"]).encode("latin-1") + request.body


def answers_as_they_came() -> None:
    """What a party distorts of the request it answers is passed on."""

    def upward(response: Message, request: Message) -> tuple[list[str], list[str]]:
        vias = [line for line, name in zip(request.lines, request.names, strict=True) if name == "via"]
        kept = [index for index, name in enumerate(response.names) if name != "via"]
        return [*vias, *(response.lines[index] for index in kept)], [*("via" for _ in vias),
                *(response.names[index] for index in kept)]  # fmt: skip

    plant(invite_room, upward=upward)
    plant(indialog_room, upward=upward)


def anybodys_answers() -> None:
    """A response is taken whoever stands in its top Via."""
    right = Engine._response

    def response(self: Engine, message: Message, *facts: Any) -> None:
        mine, self.core.sent_by = self.core.sent_by, self.core.sent_by | {message.via.sent_by}
        try:
            right(self, message, *facts)
        finally:
            self.core.sent_by = mine

    plant(Engine, _response=response)


def no_way_back_to_udp() -> None:
    """When TCP, taken for a request's size, brings nothing, the next gateway is tried."""
    plant(Way, by_tcp=lambda self, target, share_ms: 1_000)


def one_ack_is_enough() -> None:
    """An ACK that comes again is not passed on."""
    right = indialog_room.acknowledge

    def acknowledge(core: Core, call: Call, *facts: Any) -> None:
        if not call.acknowledged:
            right(core, call, *facts)

    plant(requests_room, acknowledge=acknowledge)


def bodies_lost() -> None:
    """Requests inside a call are passed on without their bodies."""
    right = indialog_room._build

    def build(*facts: Any) -> bytes:
        head, blank, _ = right(*facts).partition(b"\r\n\r\n")
        return re.sub(rb"(?im)^(content-length|l)[ \t]*:[^\r]*", rb"Content-Length: 0", head) + blank

    plant(indialog_room, _build=build)


def hasty() -> None:
    """A request to a slow peer is repeated every second."""
    right = layer_room.times

    def times(timing: Any, **more: Any) -> Any:
        return right(replace(timing, t2_ms=1_000), **more)

    plant(layer_room, times=times)


def ack_by_the_caller() -> None:
    """The ACK to a 2xx goes with the caller's number and without credentials."""
    plant(Leg, wear_ack=lambda self, request: BARE)


def offset_lost_at_prack() -> None:
    """Behind a PRACK the gateway is sent the caller's numbers again."""
    right = Leg.wear

    def wear(self: Leg, request: Message, *facts: Any) -> Worn:
        worn = right(self, request, *facts)
        if request.method == "PRACK":
            self.steps.clear()
        return worn

    plant(Leg, wear=wear)


def rack_by_the_caller() -> None:
    """RAck names the INVITE as the caller numbers it."""
    plant(Leg, _rack=lambda self, value: value)


def credentials_elsewhere() -> None:
    """What one gateway's challenge taught is said to the next one too."""
    right, kept = invite_room.leg_to, dict[str, Answers]()

    def leg_to(core: Core, gateway: Gateway, cseq: int) -> Leg | None:
        leg = right(core, gateway, cseq)
        if leg is not None and leg.answers is not None:
            leg.answers = kept.setdefault("all", leg.answers)
        return leg

    plant(invite_room, leg_to=leg_to)


def offset_forgotten_by_a_restart() -> None:
    """A call that a restart brings back is numbered as by the caller."""
    plant(Leg, restore=lambda self, record: None)


def glare_hidden() -> None:
    """491 is told as 500."""
    right = indialog_room.Relay.on_failure

    def on_failure(self: Any, branch: Branch, failure: Message | None, why: str, now: Now) -> None:
        if failure is not None and failure.status == 491:
            failure.status = 500
        right(self, branch, failure, why, now)

    plant(indialog_room.Relay, on_failure=on_failure)


def blind_to_health() -> None:
    """Who is down is tried all the same."""
    right = Health._shut
    plant(Health, _shut=lambda self, name, out: right(self, name, False))


def down_for_ever() -> None:
    """Who went down stays there."""
    plant(Health, _good=lambda self, gauge, why, now: None)


def quick_to_judge() -> None:
    """One failure takes a gateway out, however many it is allowed."""
    right = Health.failed

    def failed(self: Health, gateway: Gateway, why: str, number: str, after: int, now: Now) -> None:
        right(self, gateway, why, number, after, now)
        gauge = self._gauge(gateway)
        if gauge is not None and gauge.state != DOWN:
            self._strike(gauge, why, now)

    plant(Health, failed=failed)


def pinged_for_ever() -> None:
    """Who is removed is pinged on."""
    plant(Ping, stop=lambda self: None)


def taken_for_alive() -> None:
    """A call of before a restart is charged to whatever end it finds."""
    right = Core.over

    def over(self: Core, call: Call, code: str, by: str, now: Now) -> None:
        call.unshown = None
        right(self, call, code, by, now)

    plant(Core, over=over)


def half_a_probe() -> None:
    """Who answers for one side answers for both."""

    def start(self: Probe, now: Now) -> None:
        right(self, now)
        self.waiting = 1

    right = Probe.start
    plant(Probe, start=start)
