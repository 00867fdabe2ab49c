"""Bugs planted in the engine: each must be caught, or the simulation proves little.

A mutant is a function that changes the engine's classes in this process; every one runs in a child of its own.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from multiprocessing import get_context
from typing import Any

from sipsvc.dialog import Half
from sipsvc.directory import Directory
from sipsvc.effects import Effect, Now, WriteCdr
from sipsvc.engine import Engine
from sipsvc.engine import admission as admission_room
from sipsvc.engine import journal as journal_room
from sipsvc.engine import requests as requests_room
from sipsvc.engine.admission import Admission
from sipsvc.engine.requests import Requests
from sipsvc.headers import Pristine
from sipsvc.message import Message, parse, parse_name_addr, parse_uri
from sipsvc.proxy import Call, Core, InviteSession
from sipsvc.proxy import indialog as indialog_room
from sipsvc.proxy import invite as invite_room
from sipsvc.proxy.branch import Branch
from sipsvc.proxy.way import Way
from sipsvc.rating import charge
from sipsvc.transaction import ClientTransaction, Layer
from sipsvc.transaction import client as client_room
from sipsvc.transaction import layer as layer_room
from tests.sim.run import CORES, run_seed, run_seeds

MOST_SEEDS = 60


def plant(where: Any, **changes: Callable[..., Any]) -> None:
    """Put functions in the place of a class's or module's own."""
    for name, change in changes.items():
        setattr(where, name, change)


def doubled_cdr() -> None:
    """Every end is written twice."""
    right = Engine.ended

    def ended(self: Engine, call: Call, now: Now) -> int:
        right(self, call, now)
        return right(self, call, now)

    plant(Engine, ended=ended)


def leaked_transaction() -> None:
    """A CANCELled branch is never given up on."""

    def on_timer(self: Branch, kind: int, now: Now) -> None:
        if kind != Branch.DEAD:
            right(self, kind, now)

    right = Branch.on_timer
    plant(Branch, on_timer=on_timer)


def stacked_prefix() -> None:
    """The second gateway's number is built from the first's (law 5)."""
    right = InviteSession._gateway

    def gateway(self: InviteSession, now: Now) -> bool:
        if self.next:
            before, attempt = self.attempts[self.next - 1], self.attempts[self.next]
            uri = attempt.dress.request_uri.replace("sip:", f"sip:{before.gateway.uri_prefix or '8'}", 1)
            dressed = attempt._replace(dress=attempt.dress._replace(request_uri=uri))
            self.attempts = (*self.attempts[: self.next], dressed, *self.attempts[self.next + 1 :])
        return right(self, now)

    plant(InviteSession, _gateway=gateway)


def lost_2xx() -> None:
    """A 2xx that comes again is not sent up again."""
    right = InviteSession.on_success

    def on_success(self: InviteSession, branch: Branch, response: Message, now: Now) -> None:
        if branch is not self.winner or response.to.tag != self.winner_tag:
            right(self, branch, response, now)

    plant(InviteSession, on_success=on_success)


def ack_elsewhere() -> None:
    """The ACK to a failure goes out on a branch of its own."""
    right = client_room.ack_for

    def ack_for(request: bytes, response: Message) -> bytes:
        return right(request, response).replace(b";branch=z9hG4bK", b";branch=z9hG4bKx", 1)

    plant(client_room, ack_for=ack_for)


def cancel_forgotten() -> None:
    """A CANCEL that comes before the gateway said anything has no effect."""
    right = Branch.cancel

    def cancel(self: Branch, now: Now, *reasons: str) -> None:
        if self.provisional:
            right(self, now, *reasons)

    plant(Branch, cancel=cancel)


def deaf_to_cancel_between() -> None:
    """A CANCEL does not keep the call from going on to the next gateway."""

    def on_cancel(self: InviteSession, server: Any, cancel: Message, now: Now) -> None:
        right(self, server, cancel, now)
        self.cancelled = False

    right = InviteSession.on_cancel
    plant(InviteSession, on_cancel=on_cancel)


def endless_call() -> None:
    """A BYE passes, but the call is not over."""
    right = Core.over

    def over(self: Core, call: Call, code: str, by: str, now: Now) -> None:
        if code != "answered":
            right(self, call, code, by, now)

    plant(Core, over=over)


def second_answer_kept() -> None:
    """A 2xx of a branch that lost is acknowledged, and the callee left waiting."""
    right = Core.own_request

    def own_request(self: Core, call: Call, half: Any, method: str, cseq: int, now: Now, *user: Any) -> None:
        if method != "BYE" or call.code != "answered":
            right(self, call, half, method, cseq, now, *user)

    plant(Core, own_request=own_request)


def hunts_on_busy() -> None:
    """486 is hunted to every carrier."""
    right = InviteSession.on_failure

    def on_failure(self: InviteSession, branch: Branch, response: Message | None, why: str, now: Now) -> None:
        if response is not None and response.status == 486 and self.next < len(self.attempts):
            response, why = None, "no_response"
        right(self, branch, response, why, now)

    plant(InviteSession, on_failure=on_failure)


def credentials_leak() -> None:
    """The gateway is shown the customer's Proxy-Authorization."""
    right = Pristine.__init__

    def init(self: Pristine, request: Message, keep: Callable[[str], bool], **more: Any) -> None:
        right(self, request, lambda value: True, **more)

    plant(Pristine, __init__=init)


def impatient_answer() -> None:
    """A 2xx does not wait for its record to be on disk."""
    right = InviteSession._answer

    def answer(self: InviteSession, branch: Branch, response: Message, tag: str, now: Now) -> None:
        right(self, branch, response, tag, now)
        self.release(now)

    plant(InviteSession, _answer=answer)


def retransmission_is_a_call() -> None:
    """A repeated INVITE finds no transaction."""

    def server_for(self: Layer, request: Message) -> Any:
        return right(self, request) if request.method != "INVITE" else None

    right = Layer.server_for
    plant(Layer, server_for=server_for)


def quiet_transaction() -> None:
    """Requests to gateways are never repeated."""
    right = ClientTransaction.start

    def start(self: ClientTransaction, now: Now) -> None:
        right(self, now)
        self.layer.timers.cancel(self.retransmit)

    plant(ClientTransaction, start=start)


def one_sided_end() -> None:
    """A call cut at its longest is taken from the caller only."""
    right = Core.own_request

    def own_request(self: Core, call: Call, half: Any, method: str, cseq: int, now: Now, *user: Any) -> None:
        if call.code != "max_duration" or half is call.caller:
            right(self, call, half, method, cseq, now, *user)

    plant(Core, own_request=own_request)


def no_timer_c() -> None:
    """A gateway may ring for ever."""
    right = Branch.on_timer

    def on_timer(self: Branch, kind: int, now: Now) -> None:
        if kind != Branch.RING:
            right(self, kind, now)

    plant(Branch, on_timer=on_timer)


def rounded_down() -> None:
    """A begun second is not charged."""

    def charge_less(duration_ms: int | None, *more: Any) -> Any:
        return charge(duration_ms and duration_ms - duration_ms % 1000, *more)

    plant(journal_room, charge=charge_less)


def dear_first() -> None:
    """Gateways are tried from the dearest down."""
    right = Admission._decide

    def decide(self: Admission, *facts: Any) -> Any:
        decision = right(self, *facts)
        return decision._replace(attempts=decision.attempts[::-1])

    plant(Admission, _decide=decide)


def callee_blamed() -> None:
    """Who hung up is the wrong way round."""
    right = Core.over

    def over(self: Core, call: Call, code: str, by: str, now: Now) -> None:
        right(self, call, code, {"caller": "callee", "callee": "caller"}.get(by, by), now)

    plant(Core, over=over)


def log_after_sending() -> None:
    """Records are appended after what they should precede was sent."""
    right = Engine.take

    def take(self: Engine) -> list[Effect]:
        return sorted(right(self), key=lambda effect: isinstance(effect, WriteCdr))

    plant(Engine, take=take)


def forgets_calls() -> None:
    """A restart knows nothing of the calls that were up."""
    right = Engine.restore

    def restore(self: Engine, records: Iterable[dict[str, Any]], now: Now) -> None:
        right(self, [record for record in records if record["kind"] == "start"], now)

    plant(Engine, restore=restore)


def deaf_to_changes() -> None:
    """Another directory is taken note of, and calls are decided on the old one."""
    plant(Engine, swap=lambda self, directory, now: None)


def half_a_swap() -> None:
    """A call is decided on the new directory and says that it was the one before."""
    right = Admission._call

    def call(self: Admission, *facts: Any) -> Call:
        made = right(self, *facts)
        made.directory = max(7, made.directory - 1)
        return made

    plant(Admission, _call=call)


def old_gateways() -> None:
    """A change takes new prices over, but not who lives where."""
    right = Engine.swap

    def swap(self: Engine, directory: Directory, now: Now) -> None:
        before = self.admission.directory
        right(self, replace(directory, gateways=before.gateways, gateways_of=before.gateways_of), now)

    plant(Engine, swap=swap)


def calls_lost_in_a_swap() -> None:
    """The calls of a customer are forgotten with the directory that knew it."""
    right = Engine.swap

    def swap(self: Engine, directory: Directory, now: Now) -> None:
        right(self, directory, now)
        self.core.by_customer.clear()

    plant(Engine, swap=swap)


def limitless() -> None:
    """One call more than the limit is let in."""
    right = Admission._decide

    def decide(self: Admission, call: Call, *facts: Any) -> Any:
        calls = self.core.by_customer.get(call.who.customer, set())
        kept = set(calls)
        calls -= set(list(kept)[:1])
        try:
            return right(self, call, *facts)
        finally:
            calls |= kept

    plant(Admission, _decide=decide)


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


def glare_hidden() -> None:
    """491 is told as 500."""
    right = indialog_room.Relay.on_failure

    def on_failure(self: Any, branch: Branch, failure: Message | None, why: str, now: Now) -> None:
        if failure is not None and failure.status == 491:
            failure.status = 500
        right(self, branch, failure, why, now)

    plant(indialog_room.Relay, on_failure=on_failure)


MUTANTS: dict[str, Callable[[], None]] = {
    mutant.__name__.replace("_", "-"): mutant
    for mutant in (
        doubled_cdr,
        leaked_transaction,
        stacked_prefix,
        lost_2xx,
        ack_elsewhere,
        cancel_forgotten,
        deaf_to_cancel_between,
        endless_call,
        second_answer_kept,
        hunts_on_busy,
        credentials_leak,
        impatient_answer,
        retransmission_is_a_call,
        quiet_transaction,
        one_sided_end,
        no_timer_c,
        rounded_down,
        dear_first,
        callee_blamed,
        log_after_sending,
        forgets_calls,
        deaf_to_changes,
        half_a_swap,
        old_gateways,
        calls_lost_in_a_swap,
        limitless,
        session_for_ever,
        bye_at_expiry,
        any_interval,
        refresh_unheard,
        first_address_only,
        patient_look_up,
        loose_only,
        direct_only,
        deaf_to_moves,
        any_token,
        answers_as_they_came,
        anybodys_answers,
        no_way_back_to_udp,
        one_ack_is_enough,
        bodies_lost,
        hasty,
        glare_hidden,
    )
}


def hunt(name: str) -> tuple[str, int, list[str]]:
    """Plant a bug, then run seeds until an invariant is broken: its name, how many seeds it took, what was broken."""
    MUTANTS[name]()
    for seed in range(1, MOST_SEEDS + 1):
        findings = run_seed(seed).findings
        if findings:
            return name, seed, list(dict.fromkeys(finding.rule for finding in findings))
    return name, MOST_SEEDS, []


def main() -> int:
    """Exit 1 when a mutant survives, or when the engine as it is breaks an invariant on the same seeds."""
    sound = [finding.rule for outcome in run_seeds(1, MOST_SEEDS) for finding in outcome.findings]
    if sound:
        print(f"the engine without any mutant breaks {', '.join(sorted(set(sound)))}: nothing can be told from this")
        return 1
    with get_context("fork").Pool(CORES, maxtasksperchild=1) as pool:
        results = pool.imap(hunt, MUTANTS, chunksize=1)
        survivors = 0
        for name, seeds, rules in results:
            survivors += not rules
            told = f"caught by {', '.join(rules)} after {seeds} seed{'s'[: seeds > 1]}" if rules else "SURVIVED"
            print(f"{name:<26} {told}", flush=True)
    print(f"{len(MUTANTS) - survivors} of {len(MUTANTS)} mutants caught")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
