"""A new call: who sends it, may it go, and off it goes or back with a reason."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any

from sipsvc.auth import Authenticator, Challenge, Identity
from sipsvc.dialog import Half, route_set
from sipsvc.directory import Directory
from sipsvc.effects import Flow, Now, written
from sipsvc.engine import journal
from sipsvc.engine.credit import Credit
from sipsvc.engine.limits import Limits
from sipsvc.engine.strangers import Strangers
from sipsvc.errors import SipError
from sipsvc.headers import Pristine
from sipsvc.message import Message, Uri
from sipsvc.message.build import response, warning
from sipsvc.proxy import Call, Core, InviteSession, Phase
from sipsvc.proxy.call import Who
from sipsvc.proxy.session_timer import CODE, TOO_SMALL, ask
from sipsvc.rating import Price
from sipsvc.routing import CallFacts, Decision, decide, live_facts, refusal_of
from sipsvc.timers import Timer, TimerTarget

RETRY_AFTER_S = 30


class Admission:
    """`write(record, wait)` appends to the log and returns the record's sequence number."""

    def __init__(
        self,
        core: Core,
        authenticator: Authenticator,
        directory: Directory,
        tag_key: bytes,
        write: Callable[[Any, bool], int],
        limits: Limits,
        credit: Credit,
    ) -> None:
        self.core = core
        self.directory = directory
        self.authenticator = authenticator
        self.write = write
        self.limits = limits
        self.credit = credit
        self.closed = ""
        self.strangers = Strangers()
        # Calls in set-up when the server stopped, by what their caller repeats.
        self.orphans: dict[tuple[str, str, int], Orphan] = {}
        # Calls that a restart brought back, by the same.
        self.revived: dict[tuple[str, str, int], Call] = {}
        self._tag_key = tag_key

    def use(self, directory: Directory) -> None:
        """New calls are identified and decided by this directory."""
        self.directory = directory
        self.authenticator.use(directory)
        self.credit.use(directory)

    def invite(self, request: Message, uri: Uri, flow: Flow, loop: str, now: Now) -> None:
        """Take an INVITE outside a dialog. Raises SipError for what is answered without state."""
        if self._is_up_again(request, flow):
            # Its answer is still on the way up, or comes again from the gateway; a second call it is not.
            self.core.send(response(request, 100), flow, "")
            return
        who = self.authenticator.identify(request, uri.user, flow, now)
        if isinstance(who, Challenge):
            orphan = self.orphans.get((request.call_id, request.from_.tag, request.cseq))
            if who.trunk is None or orphan is None or orphan.record["trunk"] != who.trunk.id:
                raise Challenged(who.code, self.authenticator.challenge(who.stale, now))
            # Admitted before the restart, when its nonce was good: challenged now it would be another call.
            who = Identity(who.trunk, "digest")
        if who.auth == "digest":
            self.strangers.succeeded(flow)
        routes = route_set(request.all("record-route"))
        server = self.core.layer.new_server(request, flow)
        self.core.layer.remember_merged(server)
        call = self._call(request, uri, flow, who, now)
        call.caller.routes = routes
        server.ladder = call.ladder
        call.ladder.came(request, flow, now)
        decision = self._decide(call, request, uri, flow, who, now)
        call.decision = decision
        self.write(journal.start(call), False)
        # Not before the record: whoever has a 100 repeats nothing.
        server.respond(100, response(request, 100), now)
        self.core.admit(call)
        asked = ask(request, self.core.platform.timing)
        code = decision.code or (CODE if asked is not None and asked.too_small else "")
        if code:
            refusal = refusal_of(code, decision.customer.busy_status) if decision.code else TOO_SMALL
            call.status, call.reason = refusal.status, refusal.reason
            self.core.over(call, code, "proxy", now)
            extra = [warning(self.core.host(flow), refusal.text)]
            if not decision.code and asked is not None:
                extra.append(f"Min-SE: {asked.too_small}")
            if code == self.closed:
                extra.append(f"Retry-After: {RETRY_AFTER_S}")
            tag = self.core.random_hex(16)
            server.respond(
                refusal.status, response(request, refusal.status, refusal.reason, to_tag=tag, extra=extra), now
            )
            return
        assert decision.pricelist is not None and decision.sell is not None
        self.limits.admitted(decision.customer, now)
        call.sell = Price(decision.sell, decision.pricelist.currency, decision.pricelist.minimum)
        if decision.terms is not None:
            self.credit.begin(call, decision.terms, now)
        pristine = Pristine(request, lambda value: not self.authenticator.ours(value))
        InviteSession(self.core, call, server, pristine, decision.attempts, loop, asked).start(now)

    def stateless_tag(self, request: Message) -> str:
        """A To tag that the same request always gets (RFC 3261 §8.2.7)."""
        text = f"{request.call_id}\n{request.get('via')}\n{request.cseq}"
        return blake2b(text.encode("latin-1", "replace"), key=self._tag_key, digest_size=8).hexdigest()

    def _is_up_again(self, request: Message, flow: Flow) -> bool:
        """Whether this INVITE repeats the one of a call that was answered before a restart.

        Its caller was known then, and is not challenged for what it only repeats.
        """
        call = self.revived.get((request.call_id, request.from_.tag, request.cseq))
        return call is not None and call.phase is Phase.UP and call.caller.flow.host == flow.host

    def _call(self, request: Message, uri: Uri, flow: Flow, who: Identity, now: Now) -> Call:
        core = self.core
        own = request.get("from") or ""
        contact = f"sip:{written(flow.host)}:{flow.port}"
        half = Half(flow, own, request.get("to") or "", contact, pinned=True, cseq=request.cseq)
        half.refresh(request)
        orphan = self.orphans.get((request.call_id, request.from_.tag, request.cseq))
        cdr_id = orphan.claim() if orphan is not None else _uuid7(now, core.random_hex(20))
        call = Call(core, core.random_hex(16), cdr_id, request.call_id, request.from_.tag, half)
        customer = self.directory.customers[who.trunk.customer]
        call.who = Who(customer.id, customer.name, who.trunk.id, who.auth, flow)
        call.directory = self.directory.version
        call.dialled = who.number(uri.user.partition(":")[0])
        call.invite_at = now.utc
        return call

    def _decide(self, call: Call, request: Message, uri: Uri, flow: Flow, who: Identity, now: Now) -> Decision:
        customer = self.directory.customers[call.who.customer]
        live = self.limits.live(self.directory, customer, who.trunk.id, self.closed, now)
        if customer.metered or self.directory.package_for:
            live = self.credit.facts(customer, who.trunk.id, live, now)
        call.live = live_facts(live)
        facts = CallFacts(
            call.who.customer,
            who.trunk.id,
            call.dialled + uri.params if uri.scheme == "tel" else call.dialled,
            request.from_,
            request.get("p-preferred-identity") or "",
            request.get("privacy") or "",
            self.core.host(flow),
            request.call_id,
            tuple(request.all("remote-party-id")),
            tuple(request.all("diversion")),
        )
        return decide(self.directory, facts, live, now)


class Challenged(SipError):
    """407, with the challenges; counted under the reason, which the caller is not told."""

    def __init__(self, code: str, challenges: list[str]) -> None:
        super().__init__(407, "Proxy Authentication Required", code)
        self.challenges = challenges


class Orphan(TimerTarget):
    """A call that was in set-up when the server stopped. Its caller may still repeat the INVITE; then it goes on
    under the same CDR. When nobody does, the CDR is closed, unanswered and marked recovered."""

    def __init__(self, admission: Admission, record: dict[str, Any], now: Now) -> None:
        self.admission = admission
        self.record = record
        self.key = (record["call_id"], record["from_tag"], record["cseq"])
        core = admission.core
        self.timer: Timer = core.timers.set(now.mono + 64 * core.layer.t1, self, 0)
        admission.orphans[self.key] = self

    def claim(self) -> str:
        """Its INVITE came again: the CDR it goes on under."""
        self.admission.core.timers.cancel(self.timer)
        self.admission.orphans.pop(self.key, None)
        return str(self.record["cdr_id"])

    def on_timer(self, kind: int, now: Now) -> None:
        self.admission.orphans.pop(self.key, None)
        self.admission.write(journal.lost(self.record, now), False)


def _uuid7(now: Now, random: str) -> str:
    """RFC 9562 §5.7: 48 bits of UTC milliseconds, the rest random. `random` is 20 hex digits."""
    time = f"{now.utc & 0xFFFF_FFFF_FFFF:012x}"
    variant = "89ab"[int(random[3], 16) & 3]
    return f"{time[:8]}-{time[8:]}-7{random[:3]}-{variant}{random[4:7]}-{random[7:19]}"
