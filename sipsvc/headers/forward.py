"""Requests as they leave: built each time from the pristine one (law 5), raw lines where nothing has to change."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sipsvc.headers.privacy import NOTHING
from sipsvc.message import Message
from sipsvc.message.grammar import canonical

# Rewritten or rebuilt for whoever comes next; from a side we do not trust they never pass (SIP-23, TG-4).
_ALWAYS_OFF = frozenset({"max-forwards", "route"})
# More zeros than anybody writes before a number.
MOST_DIGITS = 32
_UNTRUSTED = frozenset({"p-asserted-identity", "p-preferred-identity", "remote-party-id", "diversion"})
# What some branches change or leave out (SIP-32).
_NOTED = frozenset(
    "from to identity privacy history-info subject call-info organization user-agent reply-to in-reply-to".split()
)
_OFF = _ALWAYS_OFF | _UNTRUSTED


def without_identity(lines: list[str], names: list[str]) -> tuple[list[str], list[str]]:
    """Header lines and names without what an untrusted side says of identities."""
    if _UNTRUSTED.isdisjoint(names):
        return lines, names
    kept = [index for index, name in enumerate(names) if name not in _UNTRUSTED]
    return [lines[index] for index in kept], [names[index] for index in kept]


def max_forwards(request: Message) -> int | None:
    """The hops left, 70 where the header is absent, None where it is no number of 0 to 255 (RFC 3261 §16.3, §20.22)."""
    value = request.get("max-forwards")
    if value is None:
        return 70
    if not value.isascii() or not value.isdigit() or len(value) > MOST_DIGITS:
        return None
    hops = int(value)
    return hops if hops <= 255 else None


class Pristine:
    """The parts of a request that are the same on every branch."""

    __slots__ = ("body", "cseq", "hops", "lines", "method", "noted")

    def __init__(self, request: Message, keep_credentials: Callable[[str], bool]) -> None:
        """`keep_credentials` says which Proxy-Authorization is for somebody behind us."""
        self.method = request.method
        self.body = request.body
        self.cseq = request.cseq
        self.hops = 70 if "max-forwards" not in request.index else (max_forwards(request) or 0) - 1
        # Where in `lines` stands what may have to be changed.
        self.noted: list[tuple[str, int]] = []
        lines: list[str] = []
        for index, name in enumerate(request.names):
            if name in _OFF:
                continue
            if name == "proxy-authorization" and not keep_credentials(request.value_at(index)):
                continue
            if name in _NOTED:
                self.noted.append((name, len(lines)))
            lines.append(request.lines[index])
        self.lines = lines

    def build(
        self,
        uri: str,
        top: Iterable[str],
        *,
        from_value: str = "",
        to_value: str = "",
        off: frozenset[str] = NOTHING,
        cseq: int = 0,
        rack: str = "",
    ) -> bytes:
        """The request for `uri` with the lines of `top` (Via, Record-Route, Route, identity) before all others.

        `off` are the names of headers that do not go on. Identity never does where From or To changed, which it seals
        (RFC 8224 §4.1, SIP-32). `cseq` and `rack` are the number and RAck's value where the next hop counts otherwise
        than the sender (SIP-33).
        """
        lines = self.lines
        if cseq:
            lines = [self._numbered(line, cseq, rack) for line in lines]
        if from_value or to_value or off:
            lines, changed = lines.copy(), bool(from_value or to_value)
            # From the last on, so that what is left out moves nothing that is still to be found.
            for name, index in reversed(self.noted):
                if name in off or (changed and name == "identity"):
                    del lines[index]
                elif name == "from" and from_value:
                    lines[index] = f"From: {from_value}"
                elif name == "to" and to_value:
                    lines[index] = f"To: {to_value}"
        parts = [f"{self.method} {uri} SIP/2.0", *top, f"Max-Forwards: {self.hops}", *lines, "\r\n"]
        return "\r\n".join(parts).encode("latin-1", "replace") + self.body

    def _numbered(self, line: str, cseq: int, rack: str) -> str:
        name = canonical(line.partition(":")[0])
        if name == "cseq":
            return f"CSeq: {cseq} {self.method}"
        return f"RAck: {rack}" if rack and name == "rack" else line
