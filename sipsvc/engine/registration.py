"""We as a user agent that registers at gateways which want it (RFC 3261 §10.2, TG-1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from sipsvc.directory import Gateway
from sipsvc.effects import Flow, Now, Target, written
from sipsvc.engine.errand import Errand, Sender, contact, sip_uri
from sipsvc.engine.health import CREDENTIALS, S, Say, place
from sipsvc.engine.pings import SOON_S, spread
from sipsvc.errors import SipError
from sipsvc.message import Message, escape_user, params_get, parse_name_addr, parse_uri
from sipsvc.proxy import Core
from sipsvc.proxy.credentials import answers_for
from sipsvc.timers import Timer, TimerTarget

REGISTERED, FAILING = "registered", "failing"
# After a failure, doubled each time.
BACK_OFF_S = 30
MOST_BACK_OFF_S = 1_800
# How long a registrar may take. One that is to forget us has less: a server that stops waits for it.
PATIENCE_MS = 32_000
FAREWELL_MS = 4_000
MOST_EXPIRES_S = 604_800


class Registrations:
    """One `Registration` for each enabled gateway that wants it. `say` tells the operator."""

    def __init__(self, core: Core, say: Say) -> None:
        self.core = core
        self.say = say
        self.leaving: set[Registration] = set()
        self._there: dict[str, Registration] = {}

    def use(self, gateways: Mapping[str, Gateway], now: Now) -> None:
        """Another directory's: who came is registered at, who went, moved or knows us by another name is left."""
        for name, one in list(self._there.items()):
            gateway = gateways.get(name)
            if gateway is None or not _wanted(gateway) or _where(gateway) != _where(one.gateway):
                del self._there[name]
                one.leave(now)
            else:
                one.change(gateway, now)
        for name, gateway in gateways.items():
            if _wanted(gateway) and name not in self._there:
                for one in [one for one in self.leaving if one.gateway.id == name]:
                    # Repeated now, its farewell would end what is about to begin.
                    if one.errand is not None:
                        one.errand.drop()
                    self.leaving.discard(one)
                self._there[name] = Registration(self, gateway, now)

    def close(self, now: Now) -> None:
        """The server stops: every gateway is told to forget us."""
        for one in self._there.values():
            one.leave(now)
        self._there.clear()

    def state(self, id: str) -> tuple[str, int | None, str]:
        """`registered`, `failing` or "", until when (UTC milliseconds), and why it fails."""
        one = self._there.get(id)
        return ("", None, "") if one is None else (one.state, one.until, one.reason)


class Registration(Sender, TimerTarget):
    """One address of record at one registrar: one Call-ID, and a CSeq that rises.

    `until` is when the gateway forgets us, UTC milliseconds, None while it does not know us.
    """

    DUE: ClassVar = 0

    __slots__ = ("answered", "answers", "call_id", "cseq", "errand", "expires", "failures", "gateway", "ours",
                 "raised", "reason", "state", "tag", "timer", "until", "user")  # fmt: skip

    def __init__(self, ours: Registrations, gateway: Gateway, now: Now) -> None:
        self.ours = ours
        self.gateway = gateway
        core = ours.core
        self.call_id = core.random_hex(32)
        self.tag = core.random_hex(16)
        self.cseq = 0
        self.answers = answers_for(gateway)
        # What was done about this request already: whose challenges were answered, and its time raised.
        self.answered: set[tuple[str, str, bool]] = set()
        self.raised = False
        self.expires = gateway.registration_expires_s
        self.user = escape_user(gateway.auth_username)
        self.state = self.reason = ""
        self.until: int | None = None
        self.failures = 0
        self.errand: Errand | None = None
        self.timer: Timer | None = None
        self._due(int(SOON_S * spread(gateway.id, 0) * S), now)

    def change(self, gateway: Gateway, now: Now) -> None:
        """The same gateway with other settings; those that bear on the registration are tried at once."""
        before, self.gateway = self.gateway, gateway
        if _how(before) != _how(gateway):
            self.answers = answers_for(gateway)
            self.expires = gateway.registration_expires_s
            self.failures = 0
            if self.errand is not None:
                self.errand.drop()
            self._send(now)

    def leave(self, now: Now) -> None:
        """Be forgotten there, if we may be known, and ask for nothing more."""
        known = self.until is not None or self.errand is not None
        self.ours.core.timers.cancel(self.timer)
        if self.errand is not None:
            self.errand.drop()
            self.errand = None
        if known:
            self.expires = 0
            self.ours.leaving.add(self)
            self._send(now)

    def on_timer(self, kind: int, now: Now) -> None:
        self._send(now)

    def request(self, method: str, flow: Flow, branch: str) -> bytes:
        core, gateway = self.ours.core, self.gateway
        registrar = sip_uri(gateway)
        record = f"sip:{self.user}@{written(gateway.host)}"
        self.cseq += 1
        lines = [
            f"REGISTER {registrar} SIP/2.0",
            core.via(flow, branch),
            "Max-Forwards: 70",
            f"From: <{record}>;tag={self.tag}",
            f"To: <{record}>",
            f"Call-ID: {self.call_id}",
            f"CSeq: {self.cseq} REGISTER",
            f"Contact: <{contact(core, flow, self.user)}>",
            f"Expires: {self.expires}",
            *self.answers.lines("REGISTER", registrar, core.random_hex(16)),
            "Content-Length: 0\r\n\r\n",
        ]
        return "\r\n".join(lines).encode("latin-1", "replace")

    def on_outcome(self, method: str, response: Message | None, why: str, now: Now) -> None:
        where = self.errand.target if self.errand is not None else None
        self.errand = None
        status = 0 if response is None else response.status
        if response is not None and status in (401, 407):
            if self.answers.learn(response, self.answered):
                self._send(now, where)  # the very address that challenged (SIP-8)
                return
            why = CREDENTIALS if self.answered else "challenge_not_understood"
        if self in self.ours.leaving:
            self.ours.leaving.discard(self)
            self.ours.say("gateway_unregistered", {"gateway": self.gateway.id, "answer": status or why})
        elif response is not None and 200 <= status < 300:
            self._granted(self._seconds(response), now)
        elif response is not None and status == 423 and self._raise(_number(response.get("min-expires"))):
            self.answered = set()
            self._send(now, where)
        else:
            self._failed(why or str(status), now)

    def _send(self, now: Now, again: Target | None = None) -> None:
        """A new request, or with `again` the same with what its refusal asked for, to the address that refused it."""
        if again is None:
            self.answered, self.raised = set(), False
        self.ours.core.timers.cancel(self.timer)
        self.errand = Errand(self.ours.core, self, self.gateway, "REGISTER")
        self.errand.start(PATIENCE_MS if self.expires else FAREWELL_MS, now, again)

    def _raise(self, least: int) -> bool:
        """Take the registrar's shortest time (§10.3); once a request."""
        if self.raised or least <= self.expires:
            return False
        self.raised, self.expires = True, least
        return True

    def _granted(self, seconds: int, now: Now) -> None:
        if not seconds:
            self._failed("expires_0", now)
            return
        self.until = now.utc + seconds * 1_000
        self.failures, self.reason = 0, ""
        if self.state != REGISTERED:
            self.state = REGISTERED
            self.ours.say("gateway_registered", {"gateway": self.gateway.id, "expires_s": seconds})
        # At 80 to 90 % of the time, so that a failure leaves some for another try.
        self._due(int(seconds * (0.8 + 0.1 * spread(self.gateway.id, self.cseq)) * S), now)

    def _failed(self, why: str, now: Now) -> None:
        if self.until is not None and self.until <= now.utc:
            self.until = None
        again = min(BACK_OFF_S << min(self.failures, 10), MOST_BACK_OFF_S)
        self.failures += 1
        if self.state != FAILING or self.reason != why:
            self.ours.say("gateway_registration_failed", {"gateway": self.gateway.id, "reason": why})
        self.state, self.reason = FAILING, why
        self._due(again * S, now)

    def _seconds(self, response: Message) -> int:
        """What was granted to our contact (§10.2.4); of others at this address of record we know nothing."""
        for value in response.all("contact"):
            try:
                entry = parse_name_addr(value, "Contact")
                uri = parse_uri(entry.uri)
            except SipError:
                continue
            expires = params_get(entry.params, "expires")
            ours = uri.user == self.user and f"{uri.host}:{uri.port or 5060}".lower() in self.ours.core.sent_by
            if ours and expires:
                return _number(expires)
        return _number(response.get("expires")) if response.get("expires") else self.expires

    def _due(self, nanoseconds: int, now: Now) -> None:
        core = self.ours.core
        core.timers.cancel(self.timer)
        self.timer = core.timers.set(now.mono + nanoseconds, self, self.DUE)


def _wanted(gateway: Gateway) -> bool:
    return gateway.enabled and gateway.registration and bool(gateway.auth_username)


def _where(gateway: Gateway) -> Any:
    """What makes it another registration."""
    return (*place(gateway), gateway.auth_username)


def _how(gateway: Gateway) -> Any:
    """What a registration is to be made anew with."""
    return (gateway.auth_password, gateway.auth_realm, gateway.registration_expires_s)


def _number(text: str | None) -> int:
    """Seconds; 0 for what is no number, and never more than a week."""
    digits = (text or "").strip()
    return min(int(digits[:9]), MOST_EXPIRES_S) if digits.isascii() and digits.isdigit() else 0
