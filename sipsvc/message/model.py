"""A message as raw lines with names beside them, and lazy views of the few headers a proxy reads."""

from __future__ import annotations

from sipsvc.errors import SipError
from sipsvc.message.fields import NameAddr, Via, parse_name_addr, parse_via, split_values
from sipsvc.message.grammar import FOLD


class Message:
    """`lines[i]` is a header as it came (folds included), `names[i]` its canonical name.

    Of a request `status` is 0; of a response `method` is the CSeq's. `fault` is set by the parser on a
    request that should be answered with an error rather than served. `size` is how many bytes came.
    """

    __slots__ = ("_from", "_to", "_via", "body", "call_id", "cseq", "fault", "index", "lines", "method", "names",
                 "reason", "size", "status", "uri")  # fmt: skip

    def __init__(self, lines: list[str], names: list[str], body: bytes) -> None:
        self.lines = lines
        self.names = names
        # Where each name stands first.
        self.index = dict(zip(reversed(names), range(len(names) - 1, -1, -1), strict=True))
        self.body = body
        self.call_id = self.get("call-id") or ""
        self.method = ""
        self.uri = ""
        self.status = 0
        self.reason = ""
        self.cseq = 0
        self.size = 0
        self.fault: SipError | None = None
        self._via: Via | None = None
        self._from: NameAddr | None = None
        self._to: NameAddr | None = None

    def __repr__(self) -> str:
        what = f"{self.status} {self.reason}" if self.status else f"{self.method} {self.uri}"
        return f"<{what} Call-ID={self.get('call-id')} CSeq={self.cseq}>"

    def append(self, name: str, line: str) -> None:
        """One more header, behind the others."""
        self.index.setdefault(name, len(self.lines))
        self.lines.append(line)
        self.names.append(name)

    def value_at(self, index: int) -> str:
        """A header's value, unfolded and stripped."""
        value = self.lines[index].partition(":")[2].strip(" \t")
        return FOLD.sub(" ", value).strip(" \t") if "\r\n" in value else value

    def get(self, name: str) -> str | None:
        """The first value of `name` (canonical, lower case)."""
        index = self.index.get(name)
        return None if index is None else self.value_at(index)

    def all(self, name: str) -> list[str]:
        """Every value of a list header, in order, several on one line told apart."""
        if name not in self.index:
            return []
        values: list[str] = []
        for index, here in enumerate(self.names):
            if here == name:
                values.extend(split_values(self.value_at(index)))
        return values

    def all_whole(self, name: str) -> list[str]:
        """Every value of a header whose commas separate nothing, such as credentials."""
        return [self.value_at(index) for index, here in enumerate(self.names) if here == name]

    @property
    def via(self) -> Via:
        """The topmost Via. Raises SipError 400."""
        if self._via is None:
            self._via = parse_via(split_values(self.get("via") or "")[0])
        return self._via

    @property
    def from_(self) -> NameAddr:
        """Raises SipError 400."""
        if self._from is None:
            self._from = parse_name_addr(self.get("from") or "", "From")
        return self._from

    @property
    def to(self) -> NameAddr:
        """Raises SipError 400."""
        if self._to is None:
            self._to = parse_name_addr(self.get("to") or "", "To")
        return self._to
