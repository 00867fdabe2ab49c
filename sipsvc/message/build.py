"""Messages that we make: responses of our own, and what a forwarded message shares with them."""

from __future__ import annotations

from collections.abc import Iterable

from sipsvc.effects import Flow
from sipsvc.message.grammar import CONTROL
from sipsvc.message.model import Message

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
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    483: "Too Many Hops",
    486: "Busy Here",
    487: "Request Terminated",
    500: "Server Internal Error",
    503: "Service Unavailable",
    505: "Version Not Supported",
}


def clean(text: str) -> str:
    """Text that cannot end the header it stands in (SIP-5)."""
    return CONTROL.sub(" ", text)


def warning(host: str, text: str) -> str:
    """A Warning header (RFC 3261 §20.43, code 399) that says in words what went wrong."""
    quoted = clean(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'Warning: 399 {host} "{quoted}"'


def stamp_via(request: Message, flow: Flow) -> None:
    """Write where the request really came from into its top Via (RFC 3261 §18.2.1, RFC 3581 §4)."""
    via = request.via
    wants_port = "rport" in via.params.lower()
    if not wants_port and via.host == flow.host:
        return
    index = request.index["via"]
    value = request.value_at(index)
    head, tail = _first_value(value)
    pieces = [
        piece for piece in head.split(";") if piece.strip().lower().partition("=")[0] not in ("rport", "received")
    ]
    stamped = ";".join(piece.rstrip() for piece in pieces) + f";received={flow.host}"
    if wants_port:
        stamped += f";rport={flow.port}"
    request.lines[index] = f"Via: {stamped}{tail}"


def _first_value(value: str) -> tuple[str, str]:
    """The first element of a Via list and the rest, comma included. A Via holds no quoted commas."""
    head, comma, rest = value.partition(",")
    return head, comma + rest


def without_top_via(response: Message) -> tuple[list[str], list[str]]:
    """Lines and names of a response as it goes up: the first Via value taken off."""
    index = response.index["via"]
    _, tail = _first_value(response.value_at(index))
    if tail:
        lines = response.lines.copy()
        lines[index] = f"Via: {tail[1:].strip()}"
        return lines, response.names
    return response.lines[:index] + response.lines[index + 1 :], response.names[:index] + response.names[index + 1 :]


def response(
    request: Message, status: int, reason: str = "", *, to_tag: str = "", extra: Iterable[str] = (), body: bytes = b""
) -> bytes:
    """A response of ours to `request` (RFC 3261 §8.2.6). `to_tag` is added where To has none."""
    lines = [f"SIP/2.0 {status} {clean(reason) or REASONS[status]}"]
    for name, line in zip(request.names, request.lines, strict=True):
        if name in ("via", "from", "call-id", "cseq") or (name == "timestamp" and status == 100):
            lines.append(line)
        elif name == "to":
            lines.append(f"{line};tag={to_tag}" if to_tag and ";tag=" not in line.lower() else line)
    lines.extend(extra)
    lines.append(f"Content-Length: {len(body)}\r\n\r\n")
    return "\r\n".join(lines).encode("latin-1", "replace") + body


def join(start: str, lines: list[str], body: bytes) -> bytes:
    """A message from its parts."""
    return "\r\n".join([start, *lines, "\r\n"]).encode("latin-1") + body
