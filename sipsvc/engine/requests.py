"""What a request is, before anybody asks who sent it: broken, repeated, inside a call, or a new one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b

from sipsvc.dialog import Half
from sipsvc.effects import PORTS, Flow, Now
from sipsvc.engine.admission import Admission, Challenged
from sipsvc.engine.strangers import AMPLIFICATION
from sipsvc.errors import MessageDropped, SipError
from sipsvc.headers import max_forwards
from sipsvc.ladder import Ladder
from sipsvc.message import Message, Uri, params_get, parse_name_addr, parse_uri, parse_via
from sipsvc.message.build import REASONS, response, stamp_via, warning
from sipsvc.proxy import Call, Core, acknowledge, inside
from sipsvc.proxy.session_timer import IntervalTooSmall
from sipsvc.transaction.tables import Event, State

# The code of that warning (RFC 5630 §7), and what it is counted as.
SIPS_NOT_ALLOWED, SIPS = 380, "sips_not_allowed"
ALLOW = "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO"


class Requests:
    """Sorts requests; raises MessageDropped for those that get no answer."""

    def __init__(self, core: Core, admission: Admission, count: Callable[[str], None]) -> None:
        self.core = core
        self.admission = admission
        self.count = count

    def receive(self, request: Message, size: int, flow: Flow, now: Now) -> None:
        """`size` is how many bytes it had."""
        with suppress(SipError):  # a Via that cannot be read is the fault to be answered
            stamp_via(request, flow)
        try:
            if request.fault is not None:
                raise request.fault
            self._sort(request, size, flow, now)
        except SipError as error:
            self._refuse(request, error, size, flow, now)

    def _sort(self, request: Message, size: int, flow: Flow, now: Now) -> None:
        layer = self.core.layer
        method = request.method
        server = layer.invite_for(request) if method == "ACK" else layer.server_for(request)
        if method == "ACK":
            if server is not None and server.state != State.ACCEPTED:
                if server.ladder is not None:
                    server.ladder.came(request, flow, now)
                server.run(Event.ACK, now)
            else:
                self._ack(request, flow, now)
            return
        if server is not None:
            if server.ladder is not None:
                server.ladder.came(request, flow, now)
            server.run(Event.REQUEST, now)
            return
        if method == "CANCEL":
            invite = layer.invite_for(request)
            if invite is not None:
                self._cancel(request, invite.ladder, flow, now)
                if invite.user is not None:
                    invite.user.on_cancel(invite, request, now)
                return
            raise SipError(481, "Call/Transaction Does Not Exist", "cancel_unknown")
        # In the order of RFC 3261 §16.3. Inside a dialog the Request-URI decides nothing (SIP-16).
        uri = None if request.to.tag else _request_uri(request)
        hops = max_forwards(request)
        if hops is None:
            raise SipError(400, "Bad Max-Forwards header")
        ours = method == "OPTIONS" and uri is not None
        if hops == 0 and not ours:
            raise SipError(483, "Too Many Hops", "too_many_hops")
        required = request.all("proxy-require") or (request.all("require") if ours else [])
        if required:
            raise SipError(420, f"Bad Extension: {', '.join(required)}", "bad_extension")
        if uri is None:
            self._inside(request, flow, now)
        elif ours:
            self._answer(request, 200, "", [ALLOW], "Accept: application/sdp", size, flow, now)
        elif method == "INVITE":
            self._new_call(request, uri, flow, now)
        else:
            raise SipError(405, "Method Not Allowed", "method_not_allowed")

    def _inside(self, request: Message, flow: Flow, now: Now) -> None:
        call, sender, receiver = self._dialog(request)
        call.ladder.came(request, flow, now)
        try:
            inside(self.core, call, sender, receiver, request, flow, now)
        except SipError as error:
            if request.method != "INVITE":
                raise
            # With state, for its ACK looks like one to a 2xx and would be passed on.
            self.count(error.code)
            extra = [warning(self.core.host(flow), error.reason)]
            if isinstance(error, IntervalTooSmall):
                extra.append(f"Min-SE: {error.min_se}")
            answer = response(request, error.status, extra=extra)
            server = self.core.layer.new_server(request, flow)
            server.ladder = call.ladder
            server.respond(error.status, answer, now)

    def _new_call(self, request: Message, uri: Uri, flow: Flow, now: Now) -> None:
        if uri.scheme == "sips":
            # It asks for TLS to the very end (RFC 5630 §3.1), and behind a gateway nobody can promise that.
            raise SipError(480, "SIPS Not Allowed", SIPS)
        loop = f"{_digest(request):08x}"
        passed_here = [via for via in map(parse_via, request.all("via")) if via.sent_by in self.core.sent_by]
        if any(via.branch.endswith(f".{loop}") for via in passed_here):
            raise SipError(482, "Loop Detected", "loop")
        if not passed_here and self.core.layer.is_merged(request):
            raise SipError(482, "Loop Detected", "merged")
        if not all(map(self._names_us, request.all("route"))):
            raise SipError(403, "Route leads past this server, which is no relay", "relay")
        try:
            parse_uri(request.from_.uri)
        except SipError as error:
            raise SipError(400, "Bad From header") from error
        self.admission.invite(request, uri, flow, loop, now)

    def _names_us(self, route: str) -> bool:
        """Whether it is any of our listeners: a Route of ours has two of them where a call changes the transport."""
        uri = parse_uri(parse_name_addr(route, "Route").uri)
        transport = "TLS" if uri.scheme == "sips" else (params_get(uri.params, "transport") or "UDP").upper()
        return f"{uri.host}:{uri.port or PORTS.get(transport, 5060)}".lower() in self.core.sent_by

    def _dialog(self, request: Message) -> tuple[Call, Half, Half]:
        """The call whose token the request carries, who sent it and who is to get it. Raises SipError 481.

        The token stands in the first Route, or in the Request-URI where a strict router put it (RFC 3261 §16.4). What
        else those say is not read: where the request goes is what we know of the other party.
        """
        routes = request.all("route")
        call = self._call_of(parse_name_addr(routes[0], "Route").uri, request) if routes else None
        call = call or self._call_of(request.uri, request)
        if call is not None:
            parties = call.parties(request.from_.tag, request.to.tag)
            if parties is not None:
                return call, parties[0], parties[1]
        raise SipError(481, "Call/Transaction Does Not Exist", "no_dialog")

    def _call_of(self, uri: str, request: Message) -> Call | None:
        try:
            token = parse_uri(uri).user
        except SipError:
            return None
        call = self.core.calls.get(self.core.tokens.ref(token))
        # Compared whole: a token can only be had from us, for the sealing key is ours alone.
        return call if call is not None and call.token == token and call.call_id == request.call_id else None

    def _ack(self, request: Message, flow: Flow, now: Now) -> None:
        if not request.to.tag:
            raise MessageDropped("stray_ack")
        if not max_forwards(request):
            raise MessageDropped("too_many_hops")
        try:
            call, sender, receiver = self._dialog(request)
        except SipError as error:
            raise MessageDropped("stray_ack") from error
        call.ladder.came(request, flow, now)
        acknowledge(self.core, call, sender, receiver, request, flow, now)

    def _cancel(self, request: Message, ladder: Ladder | None, flow: Flow, now: Now) -> None:
        """A CANCEL we know is accepted, whatever becomes of it (RFC 3261 §9.2)."""
        answer = response(request, 200, to_tag=self._tag(request))
        server = self.core.layer.new_server(request, flow)
        server.ladder = ladder
        if ladder is not None:
            ladder.came(request, flow, now)
        server.respond(200, answer, now)

    def _refuse(self, request: Message, error: SipError, size: int, flow: Flow, now: Now) -> None:
        """Answer without state (RFC 3261 §8.2.7). An ACK is never answered."""
        self.count(error.code)
        if request.method == "ACK":
            return
        needed, optional = [], ""
        if isinstance(error, Challenged):
            needed += error.challenges
        else:
            code = SIPS_NOT_ALLOWED if error.code == SIPS else 399
            optional = warning(self.core.host(flow), error.reason, code)
        if error.status == 405:
            needed.append(ALLOW)
        if isinstance(error, IntervalTooSmall):
            needed.append(f"Min-SE: {error.min_se}")
        if error.status == 420:
            needed.append(f"Unsupported: {error.reason.partition(': ')[2]}")
        reason = error.reason if error.status == 400 else REASONS[error.status]
        self._answer(request, error.status, reason, needed, optional, size, flow, now)

    def _answer(
        self,
        request: Message,
        status: int,
        reason: str,
        needed: list[str],
        optional: str,
        size: int,
        flow: Flow,
        now: Now,
    ) -> None:
        """Send what we keep no state for, once, within what its source may be sent (SIP-10). Raises MessageDropped."""
        if not self.admission.strangers.may_answer(flow, now) and not self.admission.authenticator.knows(flow):
            raise MessageDropped("answers_limited")
        extra = [*needed, optional] if optional else needed
        most = AMPLIFICATION * size
        data = response(request, status, reason, to_tag=self._tag(request), extra=extra)
        if len(data) > most:
            data = response(request, status, reason, to_tag=self._tag(request), extra=needed)
            if len(data) > most:
                raise MessageDropped("answer_too_long")
        self.core.send(data, flow, "")

    def _tag(self, request: Message) -> str:
        """The same request always gets the same tag, without our remembering it."""
        return self.admission.stateless_tag(request)


def _request_uri(request: Message) -> Uri:
    """Raises SipError 400 naming the Request-URI, 416 for a scheme that is not ours."""
    try:
        return parse_uri(request.uri)
    except SipError as error:
        if error.status != 400:
            raise
        raise SipError(400, f"Bad Request-URI{error.reason.removeprefix('Bad URI')}") from error


def _digest(request: Message) -> int:
    """What decides where a request goes: coming back with all of it unchanged, it loops (RFC 5393 §4.2.1)."""
    text = f"{request.uri}\n{request.from_.tag}\n{request.call_id}\n{request.cseq}"
    return int.from_bytes(blake2b(text.encode("latin-1", "replace"), digest_size=4).digest())
