"""A 2xx whose INVITE is not known any more: its ACK was lost for long, or a restart came between (RFC 6026 §8.4)."""

from __future__ import annotations

from sipsvc.dialog import Half
from sipsvc.effects import PORTS, Flow, Now, written
from sipsvc.errors import MessageDropped
from sipsvc.headers import without_identity
from sipsvc.message import Message, Via, params_get, parse_via, split_values
from sipsvc.message.build import join, without_top_via
from sipsvc.proxy.call import MOST_DIALOGS, Call, Phase
from sipsvc.proxy.core import Core
from sipsvc.proxy.credentials import leg_of
from sipsvc.proxy.session_timer import Asked, settle, tell


def stray_answer(core: Core, call: Call, response: Message, flow: Flow, now: Now) -> None:
    """One of a gateway that lost, or was given up, is its branch's affair. From a party of the call it goes on to the
    other; from anybody else it is ACKed and BYEd. Raises SipError."""
    if not _from_party(core, call, flow.host):
        # The name of its transaction can be put together by whoever knows the call: nobody is called on its word.
        raise MessageDropped("stray_response")
    if call.session is not None and call.session.late(response, now):
        return
    tag = response.to.tag
    # The caller's 2xx to a re-INVITE is still owed its ACK when the call is over.
    if call.gateway is not None and (tag == call.caller_tag or (tag in call.dialogs and call.phase is Phase.UP)):
        _pass_on(core, call, call.gateway, response, now)
    elif tag != call.caller_tag:
        half = call.dialogs.get(tag)
        if half is None:
            contact = f"sip:{written(flow.host)}:{flow.port}"
            half = Half(flow, response.get("to") or "", response.get("from") or "", contact, pinned=False)
            half.meet(response, call.token)
            known = call.gateway
            if known is not None and known.flow.host == flow.host and (leg := leg_of(known.leg)) is not None:
                half.leg = leg.fork()  # another fork of the same INVITE, which had number and credentials
        passed = tag in call.dialogs or tag in call.strays  # its BYE has
        if not passed and len(call.strays) >= MOST_DIALOGS:
            raise MessageDropped("stray_response")
        cseq = _caller_cseq(half, response)
        core.own_request(call, half, "ACK", cseq, now)
        if not passed:
            call.strays.add(tag)
            core.own_request(call, half, "BYE", max(cseq, call.caller.cseq) + 1, now)


def _from_party(core: Core, call: Call, host: str) -> bool:
    """Whether somebody of this call lives there: its caller, or a gateway that it was tried at."""
    halves = (call.caller, *call.dialogs.values())
    return any(host in (half.flow.host, half.target(core).host) for half in halves) or any(
        host == tried.address.partition(":")[2].rpartition(":")[0].strip("[]") for tried in call.tried
    )


def _pass_on(core: Core, call: Call, gateway: Half, response: Message, now: Now) -> None:
    to_caller = response.to.tag != call.caller_tag
    receiver = call.caller if to_caller else gateway
    cseq = _caller_cseq(gateway, response) if to_caller else response.cseq
    # Whether the gateway is trusted a restart has forgotten (TG-4).
    lines, names = (list(part) for part in without_identity(*without_top_via(response)))
    if gateway.rewritten:
        name, value = ("from", call.caller.own) if to_caller else ("to", gateway.other)
        lines[names.index(name)] = f"{name.title()}: {value}"
    if cseq != response.cseq:
        lines[names.index("cseq")] = f"CSeq: {cseq} {response.method}"
    if call.expires is not None and call.phase is Phase.UP and cseq >= receiver.cseq:
        if to_caller and cseq == call.invite_cseq:
            # To the first INVITE: completed as it was before. Since it was recorded nothing refreshed the session.
            if call.answer_at is not None:
                tell(Asked((call.expires.utc - call.answer_at) // 1_000, True, 0), lines, names)
        elif settle(core, call, None, response, now):
            # To a refresh. Without an interval the timer ends: what was asked for is forgotten, and a CDR that is
            # closed while the parties talk would cost more than one that is open too long.
            core.observer.answered(call, now)
    via = parse_via(split_values(lines[names.index("via")].partition(":")[2].strip())[0])
    data = join(f"SIP/2.0 {response.status} {response.reason}", lines, response.body)
    way = _way_back(core, receiver, via)
    call.ladder.went(data, response.method, way, now)
    core.send(data, way, "")


def _caller_cseq(half: Half, response: Message) -> int:
    """The number of a gateway's 2xx as the caller wrote it (SIP-33)."""
    return response.cseq if half.leg is None else half.leg.caller(response.cseq)


def _way_back(core: Core, receiver: Half, via: Via) -> Flow:
    """As the Via says (RFC 3261 §18.2.2), as long as that is an address at which this party is known to be."""
    flow = receiver.flow
    if flow.conn in core.conns or (receiver.pinned and flow.transport == "UDP"):
        return flow
    host = params_get(via.params, "received") or via.host.strip("[]")
    for known in (flow, receiver.target(core)):
        if known.host == host:
            rport = (params_get(via.params, "rport") or "") if known.transport == "UDP" else ""
            port = int(rport) if rport.isascii() and rport.isdigit() and len(rport) <= 5 else via.port
            return known._replace(port=min(port, 65_535) or PORTS[known.transport], conn=0)
    return flow
