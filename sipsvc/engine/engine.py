"""The contract with the rim: `receive`, `handle_timer`, `next_timer`, effects out, outcomes back in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from hashlib import blake2b
from typing import Any

from sipsvc.auth import Authenticator
from sipsvc.auth.digest import Nonces
from sipsvc.dialog import Tokens
from sipsvc.directory import Directory
from sipsvc.effects import Close, Effect, Flow, Listener, Notice, Now, Resolve, Send, Target, WriteCdr
from sipsvc.engine import journal
from sipsvc.engine.admission import Admission, Orphan
from sipsvc.engine.allowance import Months
from sipsvc.engine.carriers import Carriers
from sipsvc.engine.credit import Credit
from sipsvc.engine.limits import Limits
from sipsvc.engine.requests import Requests
from sipsvc.engine.watched import Finished, Watched, find
from sipsvc.errors import MessageDropped, SipError
from sipsvc.message import Message, parse
from sipsvc.message.build import answered_at, has_other_via
from sipsvc.proxy import Call, Core, LateAnswer, Observer, Phase, stray_answer
from sipsvc.proxy.own import Nobody
from sipsvc.routing.refusals import ENDINGS

_KEEPALIVE = (b"\r\n\r\n", b"\r\n", b"\x00\x00\x00\x00", b"")


class Engine(Observer):
    """One SIP worker's whole state. Nothing here waits, reads a clock or touches a socket.

    `listeners` are ours by index, as advertised; `secret` (32 bytes) outlives restarts, so that nonces do, and
    `older_secrets` (newest first) are those before it; `random_bytes(n)` gives randomness, and
    `months(zone, utc_ms)` the name of a local month, its first instant and that of the next, UTC milliseconds.
    """

    def __init__(
        self,
        directory: Directory,
        *,
        listeners: tuple[Listener, ...],
        secret: bytes,
        random_bytes: Callable[[int], bytes],
        months: Months,
        older_secrets: tuple[bytes, ...] = (),
    ) -> None:
        self._effects: list[Effect] = []
        self._written = 0
        self.counters: dict[str, int] = {}
        self.finished = Finished()
        secrets = (secret, *older_secrets)
        self._nonces = Nonces(secrets)
        self.core = Core(
            directory.platform, listeners, Tokens(secrets), self._send, random_bytes, self, self._resolve, self.count
        )
        self._carriers = Carriers(self.core, directory, self._notice)
        self.core.watch = self._carriers.health
        self.credit = Credit(self.core, directory, months, self._notice)
        self.admission = Admission(
            self.core,
            Authenticator(directory, self._nonces, frozenset(one.host for one in listeners), random_bytes),
            directory,
            blake2b(b"to-tag", key=secret, digest_size=16).digest(),
            self._write,
            Limits(self.core, self._carriers.health, self._notice),
            self.credit,
        )
        self._requests = Requests(self.core, self.admission, self.count)

    # In

    def receive(self, data: bytes, flow: Flow, now: Now) -> None:
        """One datagram, or one whole message of a stream. Whatever it holds, nothing is raised for it (SIP-3)."""
        if flow.conn:
            self.core.conns.add(flow.conn)
        if len(data) <= 4 and data in _KEEPALIVE:
            if data == _KEEPALIVE[0]:
                self._send(b"\r\n", flow, "")
            return
        try:
            message = parse(data)
            if message.status:
                self._response(message, flow, now)
            else:
                self._requests.receive(message, len(data), flow, now)
        except MessageDropped as dropped:
            self.count(dropped.code)

    def misframed(self, head: bytes, fault: SipError, flow: Flow, now: Now) -> None:
        """A stream that cannot be cut into messages any more: answered where it can be, and closed (SIP-3, SIP-4).

        `head` is what is known of the message at fault, without a body; "" when that is nothing.
        """
        try:
            message = parse(head)
            if message.status:
                raise MessageDropped("broken_response")
            message.fault = fault
            self._requests.receive(message, len(head), flow, now)
        except MessageDropped as dropped:
            self.count(dropped.code)
        self._effects.append(Close(flow))

    def flow_lost(self, flow: Flow, now: Now) -> None:
        """A connection ended or could not be opened. What was asked by it has failed; what is to be answered goes to
        where its Via says, by a connection to be made (RFC 3261 §18.2.2)."""
        core = self.core
        core.conns.discard(flow.conn)
        for server in core.layer.servers_on(flow.conn):
            server.flow = answered_at(server.request, server.flow)
        core.layer.flow_lost(flow, now)

    def handle_timer(self, now: Now) -> None:
        """Everything that is due at `now`."""
        self.core.timers.run(now)

    def next_timer(self) -> int | None:
        """When `handle_timer` is next wanted, monotonic nanoseconds."""
        return self.core.timers.next()

    def durable(self, seq: int, now: Now) -> None:
        """The records up to `seq` are on disk."""
        self.core.durable(seq, now)

    def send_failed(self, ref: str, now: Now) -> None:
        """The transport could not send the request that carried `ref`."""
        self.core.layer.failed(ref, now)

    def resolved(self, ref: str, targets: tuple[Target, ...], now: Now) -> None:
        """The answer to the Resolve with that `ref`: addresses in order of trial, none when the look-up failed."""
        self.core.resolved(ref, targets, now)

    def drain(self, now: Now) -> None:
        """No new calls; those in set-up and conversation go on."""
        self.admission.closed = "draining"
        self._carriers.drain(now)

    def reopen(self, now: Now) -> None:
        """Take new calls again after `drain`, and be known at registrars again."""
        if self.admission.closed == "draining":
            self.admission.closed = ""
            self._carriers.start(now)

    def swap(self, directory: Directory, now: Now) -> None:
        """Calls that come from now on are decided on `directory`; those there are keep what they were decided on."""
        self.core.use(directory.platform)
        self.admission.use(directory)
        self._carriers.use(directory, now)

    def hang_up(self, cdr_id: str, code: str, now: Now) -> bool:
        """End a call ourselves (SIP-19): `credit_exhausted`, or `admin` for an administrator. False where none is live.

        One that is up gets BYE to both sides, one in set-up is taken back and its caller told. Raises ValueError.
        """
        ending = ENDINGS.get(code)
        if ending is None:
            raise ValueError(f"{code!r} is none of {', '.join(ENDINGS)}")
        call = next((call for call in self.core.calls.values() if call.cdr_id == cdr_id), None)
        if call is None or call.phase is Phase.OVER:
            return False
        if call.phase is Phase.UP:
            self.core.end_by_force(call, "proxy", code, now)
        elif call.session is not None:
            call.session.hang_up(code, ending, now)
        return True

    def rekey(self, secret: bytes, older_secrets: tuple[bytes, ...]) -> None:
        """Nonces and tokens are made with `secret` from now on; nonces made with the older ones stay good."""
        self._nonces.rekey((secret, *older_secrets))
        self.core.tokens.rekey((secret, *older_secrets))

    @property
    def log_full(self) -> bool:
        """Whether the log takes no records, and so no call is admitted."""
        return self.admission.closed == "log_full"

    @log_full.setter
    def log_full(self, full: bool) -> None:
        if self.admission.closed != "draining":
            self.admission.closed = "log_full" if full else ""

    def restore(self, records: Iterable[dict[str, Any]], now: Now, outages: Sequence[int] = ()) -> None:
        """The unfinished calls of the log, before the first datagram: `start` and `answer` records in order.

        A call that was up is up again. `outages` are when servers before this one ended, UTC ms, oldest first: until
        the first of them they ran and had no BYE of it, which is evidence that it lasted. One in set-up is kept for its
        caller's retransmissions, 64·T1 long. From now on gateways are pinged and registered at.
        """
        self._carriers.start(now)
        starts: dict[str, dict[str, Any]] = {}
        answers: dict[str, dict[str, Any]] = {}
        up: list[Call] = []
        for record in records:
            (answers if record["kind"] == "answer" else starts)[record["cdr_id"]] = record
        for cdr_id, first in starts.items():
            if cdr_id in answers:
                gateway = self.admission.directory.gateways.get(answers[cdr_id]["gateway"])
                call = journal.revive(self.core, first, answers[cdr_id], gateway, now, outages)
                self.credit.revive(call, answers[cdr_id])
                up.append(call)
                self.admission.revived[call.call_id, call.caller_tag, first["cseq"]] = call
            else:
                Orphan(self.admission, first, now)
        self.credit.resume(up, now)

    def charged(self, customer: str, currency: str, amount: Decimal) -> None:
        """Before a restart calls of this customer cost so much in all, as far as they are over; before `restore`."""
        self.credit.charge(customer, currency, amount)

    def allowance_used(self, trunk: str, month: str, seconds: int) -> None:
        """Before a restart calls of this trunk used so much of its package's minutes of `month`; before `restore`."""
        self.credit.allowances.use(trunk, month, seconds)

    def spent(self, customer: str, currency: str, amount: Decimal, utc: int) -> None:
        """Before a restart calls of this customer cost so much; they ended at `utc`, ms, or in its hour."""
        self.admission.limits.spending.add(customer, currency, amount, utc)

    # Out

    def take(self) -> list[Effect]:
        """What is to be done, in order; each effect is handed out once."""
        effects, self._effects = self._effects, []
        return effects

    @property
    def idle(self) -> bool:
        """No call is being set up, no answer is held back, and no registrar is still to hear that we leave."""
        return self.core.in_setup == 0 and not self.core.held and self._carriers.idle

    @property
    def draining(self) -> bool:
        return self.admission.closed == "draining"

    @property
    def retransmitted(self) -> int:
        """Messages sent again since the start."""
        return self.core.layer.retransmitted

    def watched(self, key: str) -> list[Watched]:
        """The calls whose `cdr_id` or Call-ID is `key`, live or among the last that ended."""
        return find(self.core, self.finished, key)

    @property
    def live_calls(self) -> int:
        return sum(len(calls) for calls in self.core.by_customer.values())

    def gateway_health(self) -> dict[str, dict[str, Any]]:
        """How each gateway of the directory does, by its id (SIP-34); `Carriers.states` says what of it."""
        return self._carriers.states()

    def leftovers(self) -> dict[str, int]:
        """What is still remembered; all zero once nothing is going on and the lingering is over."""
        core = self.core
        # A place in one of the sets outlives its call only by a fault of ours.
        places = (
            ref for sets in (core.by_customer, core.by_trunk, core.by_gateway) for one in sets.values() for ref in one
        )
        held = core.calls.keys() | set(places)
        return {"transactions": len(core.layer), "timers": len(core.timers), "calls": len(held)}

    def count(self, code: str) -> None:
        """One more thing dropped, refused or challenged for this reason."""
        self.counters[code] = self.counters.get(code, 0) + 1

    # Observer

    def answered(self, call: Call, now: Now) -> int:
        self.credit.answered(call, now)
        return self._write(journal.answer(call), True)

    def ended(self, call: Call, now: Now) -> int:
        self.finished.add(call)
        record = journal.end(call, self.credit.ended(call, now), now)
        if record["sell"] is not None and call.answer_at is not None:
            self.admission.limits.ended(self.admission.directory, call, Decimal(record["sell"]["amount"]), now)
        return self._write(record, False)

    def answered_late(self, call: Call, attempt: int, late: LateAnswer) -> int:
        tried = call.tried[attempt]
        charge = journal.late_charge(tried, late)
        tried.late.append(charge)
        if call.phase is Phase.UP:
            return self._write(journal.answer(call), True)  # its end will say it; a restart is to know
        return self._write(journal.late(call, attempt, charge), False)

    def _write(self, record: Any, wait: bool) -> int:
        self._written += 1
        self._effects.append(WriteCdr(record, self._written, wait))
        return self._written

    def _send(self, data: bytes, flow: Flow, ref: str) -> None:
        self._effects.append(Send(data, flow, ref))

    def _notice(self, event: str, fields: dict[str, Any]) -> None:
        self._effects.append(Notice(event, fields))

    def _resolve(self, ref: str, host: str, port: int, transport: str) -> None:
        self._effects.append(Resolve(ref, host, port, transport))

    def _response(self, response: Message, flow: Flow, now: Now) -> None:
        """To the transaction it answers; what answers none of ours is dropped (SIP-9)."""
        via = response.via
        if via.sent_by not in self.core.sent_by:
            raise MessageDropped("foreign_via")
        client = self.core.layer.client_for(response)
        answer = response.status // 100 == 2 and response.method == "INVITE"
        if answer and not response.to.tag:
            raise MessageDropped("no_to_tag")
        if response.to.tag and response.to.tag == response.from_.tag:
            raise MessageDropped("same_tag")  # who said what inside such a dialog nobody could tell
        if not has_other_via(response) and (client is None or not isinstance(client.user, Nobody)):
            raise MessageDropped("no_via_left")
        if client is not None:
            if client.ladder is not None:
                client.ladder.came(response, flow, now)
            client.receive(response, now)
            return
        call = self.core.calls.get(via.branch[7:23])
        if call is None or not answer:
            raise MessageDropped("stray_response")
        call.ladder.came(response, flow, now)
        try:
            stray_answer(self.core, call, response, flow, now)
        except SipError as error:
            raise MessageDropped("broken_response") from error
