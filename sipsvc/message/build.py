"""Messages that we make: responses of our own, and what a forwarded message shares with them."""

from __future__ import annotations

from collections.abc import Iterable

from sipsvc.effects import PORTS, Flow
from sipsvc.errors import SipError
from sipsvc.message.fields import params_get, params_without, parse_via, split_values
from sipsvc.message.grammar import CONTROL, FOLD
from sipsvc.message.model import Message

_STAMPS = frozenset({"received", "rport"})
_RETURNED = frozenset({"from", "call-id", "cseq"})
REASONS = {
    100: "Trying",
    200: "OK",
    400: "Bad Request",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    414: "Request-URI Too Long",
    416: "Unsupported URI Scheme",
    420: "Bad Extension",
    422: "Session Interval Too Small",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    483: "Too Many Hops",
    486: "Busy Here",
    487: "Request Terminated",
    500: "Server Internal Error",
    503: "Service Unavailable",
    505: "Version Not Supported",
    513: "Message Too Large",
}


def clean(text: str) -> str:
    """Text that cannot end the header it stands in (SIP-5)."""
    return CONTROL.sub(" ", text)


def quoted(text: str) -> str:
    """A quoted-string (RFC 3261 §25.1)."""
    escaped = clean(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def warning(host: str, text: str, code: int = 399) -> str:
    """A Warning header (RFC 3261 §20.43) that says in words what went wrong."""
    return f"Warning: {code} {host} {quoted(text)}"


def stamp_via(request: Message, flow: Flow) -> None:
    """Write where the request really came from into its top Via (RFC 3261 §18.2.1, RFC 3581 §4). Raises SipError."""
    via = request.via
    wants_port = params_get(via.params, "rport") is not None
    if not wants_port and via.host == flow.host:
        return
    index = request.index["via"]
    head, *rest = split_values(request.value_at(index))
    stamped = f"{head[: len(head) - len(via.params)]}{params_without(via.params, _STAMPS)};received={flow.host}"
    if wants_port:
        stamped += f";rport={flow.port}"
    request.lines[index] = f"Via: {', '.join([stamped, *rest])}"


def answered_at(request: Message, flow: Flow) -> Flow:
    """Where a request that came by `flow` is answered when its connection is gone (RFC 3261 §18.2.2).

    To where it came from, at the port its Via names; maddr is not followed, so that nobody points us at others.
    """
    port = request.via.port or PORTS[flow.transport]
    return flow._replace(port=port, conn=0)


def has_other_via(response: Message) -> bool:
    """Whether somebody is left to hear a response once our own Via is off (RFC 3261 §16.7 step 3)."""
    return response.names.count("via") > 1 or len(split_values(response.get("via") or "")) > 1


def upward(response: Message, request: Message) -> tuple[list[str], list[str]]:
    """Lines and names of a response as it answers `request`: what tells whose answer it is stands there as the
    request has it (Via, From, Call-ID, CSeq, and To but for the tag), whatever came back (RFC 3261 §8.1.3.3).
    """
    lines = [line for line, name in zip(request.lines, request.names, strict=True) if name == "via"]
    names = ["via"] * len(lines)
    for line, name in zip(response.lines, response.names, strict=True):
        if name in _RETURNED:
            line = request.lines[request.index[name]]
        elif name == "to":
            tag = "" if request.to.tag else response.to.tag
            line = request.lines[request.index[name]] + (f";tag={tag}" if tag else "")
        elif name == "via":
            continue
        lines.append(line)
        names.append(name)
    return lines, names


def without_top_via(response: Message) -> tuple[list[str], list[str]]:
    """The same where the request is no longer known: the first Via taken off. Raises SipError for a broken next one."""
    index = response.index["via"]
    _, *rest = split_values(response.value_at(index))
    others = rest or response.all("via")[1:]
    parse_via(others[0])
    if rest:
        lines = response.lines.copy()
        lines[index] = f"Via: {', '.join(rest)}"
        return lines, response.names
    return response.lines[:index] + response.lines[index + 1 :], response.names[:index] + response.names[index + 1 :]


def response(
    request: Message, status: int, reason: str = "", *, to_tag: str = "", extra: Iterable[str] = (), body: bytes = b""
) -> bytes:
    """A response of ours to `request` (RFC 3261 §8.2.6). `to_tag` is added where To has none."""
    lines = [f"SIP/2.0 {status} {clean(reason) or REASONS[status]}"]
    for index, (name, line) in enumerate(zip(request.names, request.lines, strict=True)):
        if request.fault is not None:
            if name != "via" and request.index[name] != index:
                continue  # what is wrong may be that it is given twice
            line = clean(FOLD.sub(" ", line))  # or a bare line end
        if name in ("via", "from", "call-id", "cseq") or (name == "timestamp" and status == 100):
            lines.append(line)
        elif name == "to":
            lines.append(f"{line};tag={to_tag}" if to_tag and not _tagged(request) else line)
    lines.extend(extra)
    lines.append(f"Content-Length: {len(body)}\r\n\r\n")
    return "\r\n".join(lines).encode("latin-1", "replace") + body


def _tagged(request: Message) -> bool:
    try:
        return bool(request.to.tag)
    except SipError:
        return False  # a To that cannot be read is the fault being answered


def join(start: str, lines: list[str], body: bytes) -> bytes:
    """A message from its parts."""
    return "\r\n".join([start, *lines, "\r\n"]).encode("latin-1") + body
