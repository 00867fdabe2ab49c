"""From a datagram to a Message, in one pass over its lines (SIP-1, SIP-3, SIP-4)."""

from __future__ import annotations

import re

from sipsvc.errors import MessageDropped, SipError
from sipsvc.message.grammar import CONTROL, KNOWN_NAMES, LINE_END, MAX_HEADERS, MAX_URI, TOKEN, canonical, spelt
from sipsvc.message.model import Message

_CSEQ = re.compile(r"([0-9]{1,10})[ \t]+([A-Za-z0-9\-.!%*_+`'~]+)\Z")
# The blank before no reason phrase at all is left out by some.
_STATUS = re.compile(r"SIP/2\.0 ([1-6][0-9][0-9])(?: ([^\r\n]*))?\Z", re.IGNORECASE)
_REQUIRED = ("via", "from", "to", "call-id", "cseq")
_REQUIRED_NAMES = frozenset(_REQUIRED)
# Headers of one value (RFC 3261 §25.1, and the RFCs that brought the others). A response twice saying who made it
# harms nobody and is not worth a call: of responses only what we read has to be single.
_ONCE_IN_RESPONSES = frozenset(("from", "to", "call-id", "cseq", "content-length", "content-type"))
_ONCE = _ONCE_IN_RESPONSES | frozenset(
    "max-forwards content-disposition date event expires mime-version min-expires min-se organization priority privacy "
    "rack refer-to referred-by replaces reply-to rseq session-expires subject timestamp user-agent".split()
)
_BARE = re.compile(r"\r(?!\n)|(?<!\r)\n|\x00")
_known = KNOWN_NAMES.get


def parse(data: bytes) -> Message:
    """Read one datagram.

    Raises MessageDropped for what cannot be answered: no SIP, a broken response, a request whose Via, From,
    To, Call-ID or CSeq is missing. Any other fault of a request is left in `Message.fault`.
    """
    if data[:1] in (b"\r", b"\n"):
        data = data.lstrip(b"\r\n")
    head, blank, body = data.partition(b"\r\n\r\n")
    text = head.decode("latin-1")
    lines = text.split("\r\n") if "\r\n " not in text and "\r\n\t" not in text else LINE_END.split(text)
    start = lines.pop(0)
    fault: SipError | None = None
    if len(lines) > MAX_HEADERS:
        fault = SipError(400, "Too many headers")
        del lines[MAX_HEADERS:]  # the rest costs no work
    names = [_known(line[: line.find(":") + 1]) or _unusual_name(line) for line in lines]
    message = Message(lines, names, body)
    message.size = len(data)
    seen = message.index
    if "" in seen:
        fault = fault or SipError(400, "Bad header line")
    if start[:4].upper() == "SIP/":
        _response_line(message, start)
    else:
        fault = _request_line(message, start) or fault
    fault = _bare_characters(text, message) or fault
    if not blank:
        fault = fault or SipError(400, "No empty line after the headers")
    if not seen.keys() >= _REQUIRED_NAMES:
        raise MessageDropped(f"no_{next(name for name in _REQUIRED if name not in seen)}")
    if len(seen) < len(names):
        fault = fault or _once(message)
    fault = fault or _cseq(message) or _length(message) or _views(message)
    if fault is not None:
        if message.status:
            raise MessageDropped("broken_response")
        message.fault = fault
    return message


def _unusual_name(line: str) -> str:
    """The canonical name of a header we do not know by its spelling, "" for what is no header."""
    before, colon, _ = line.partition(":")
    return canonical(before) if colon else ""


def _request_line(message: Message, start: str) -> SipError | None:
    line = start.rstrip(" ")
    parts = line.split(" ")
    if len(parts) < 3 or not parts[-1][:4].upper() == "SIP/" or not TOKEN.match(parts[0]):
        raise MessageDropped("not_sip")
    message.method = parts[0]
    if len(parts) != 3 or line != start:
        message.uri = "sip:invalid"
        return SipError(400, "Bad Request-Line")
    message.uri = parts[1]
    if parts[2].upper() != "SIP/2.0":
        return SipError(505, "Version Not Supported", "version")
    if len(parts[1]) > MAX_URI:
        return SipError(414, "Request-URI Too Long", "uri_too_long")
    return None


def _response_line(message: Message, start: str) -> None:
    match = _STATUS.match(start)
    if match is None:
        raise MessageDropped("broken_response")
    message.status = int(match.group(1))
    message.reason = CONTROL.sub(" ", match.group(2) or "")  # it goes on (SIP-5)


def _bare_characters(text: str, message: Message) -> SipError | None:
    """A CR or LF that ends no line, or a NUL, could end one for somebody behind us."""
    ends = text.count("\r\n")
    if text.count("\n") == ends and text.count("\r") == ends and "\x00" not in text:
        return None
    for line, name in zip(message.lines, message.names, strict=True):
        if name and _BARE.search(line):
            return SipError(400, f"Bare CR, LF or NUL in {spelt(name)} header")
    return SipError(400, "Bare CR, LF or NUL in the first line")


def _cseq(message: Message) -> SipError | None:
    match = _CSEQ.match(message.get("cseq") or "")
    if match is None or int(match.group(1)) > 0x7FFFFFFF:
        return SipError(400, "Bad CSeq header")
    message.cseq = int(match.group(1))
    if message.status:
        message.method = match.group(2)
    elif message.method != match.group(2):
        return SipError(400, "CSeq method does not match the request")
    return None


def _once(message: Message) -> SipError | None:
    once = _ONCE_IN_RESPONSES if message.status else _ONCE
    seen: set[str] = set()
    for name in message.names:
        if name in seen:
            if name in once:
                return SipError(400, f"{spelt(name)} header given more than once")
        else:
            seen.add(name)
    return None


def _length(message: Message) -> SipError | None:
    value = message.get("content-length")
    if value is None:
        # Nothing frames it on a stream, should it leave by one (RFC 3261 §16.6 step 9).
        message.append("content-length", f"Content-Length: {len(message.body)}")
        return None
    if not value.isascii() or not value.isdigit() or len(value) > 9:
        return SipError(400, "Bad Content-Length header")
    length = int(value)
    if length > len(message.body):
        return SipError(400, "Content-Length larger than the message")
    message.body = message.body[:length]
    return None


def _views(message: Message) -> SipError | None:
    """The headers a proxy cannot do without must be readable."""
    try:
        via, sender, to = message.via, message.from_, message.to
    except SipError as error:
        return error
    if not via.host or not sender.uri or not to.uri:
        return SipError(400, "Empty Via, From or To header")
    call_id = message.call_id
    if not call_id or " " in call_id or not call_id.isascii() or not call_id.isprintable():
        return SipError(400, "Bad Call-ID header")
    return None
