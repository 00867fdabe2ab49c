"""Bugs in setting calls up, ending them and accounting for them. Each function plants one in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from sipsvc.directory import Directory
from sipsvc.effects import Effect, Now, WriteCdr
from sipsvc.engine import Engine
from sipsvc.engine import journal as journal_room
from sipsvc.engine.admission import Admission
from sipsvc.engine.limits import Limits
from sipsvc.headers import Pristine
from sipsvc.message import Message
from sipsvc.proxy import Call, Core, InviteSession
from sipsvc.proxy.branch import Branch
from sipsvc.rating import charge
from sipsvc.transaction import ClientTransaction, Layer
from sipsvc.transaction import client as client_room


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

    def restore(self: Engine, records: Iterable[dict[str, Any]], now: Now, outages: Sequence[int] = ()) -> None:
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


def places_kept() -> None:
    """A call that leaves a gateway for another keeps its place there."""
    right = Core.move

    def move(self: Core, call: Call, gateway: str) -> None:
        if gateway or call.phase != 0:
            right(self, call, gateway)
            return
        call.at = ""

    plant(Core, move=move)


def blind_to_what_filled_up() -> None:
    """Whether a gateway is full is looked at when a call comes, and no more when it is that gateway's turn."""
    plant(Core, full=lambda self, gateway, now: "")


def free_calls_a_second() -> None:
    """A call takes no token from its customer's bucket."""
    plant(Limits, admitted=lambda self, customer, now: None)
