"""CSeq towards a gateway that challenges: each repetition of a request takes a number, and all behind it move on
(RFC 3261 §22.2, SIP-33, law 7)."""

from __future__ import annotations

from typing import Any

# INVITEs whose ACK or PRACK may still come, and raises that a request which was overtaken may still need.
MOST_INVITES = 8
MOST_STEPS = 16


class Numbering:
    """The caller's numbers and those that a gateway sees, in one dialog or in the INVITE that begins it.

    `highest` is the caller's highest, `sent` the highest the gateway was sent. `steps` are (caller's number, offset):
    what is behind that number goes with that offset. `invites` are, by the caller's number, the number and the
    credentials that an INVITE was sent with last, which its ACK repeats and RAck names.
    """

    __slots__ = ("highest", "invites", "sent", "steps")

    def __init__(self, cseq: int) -> None:
        """`cseq` is the INVITE's, which is sent with it."""
        self.highest = self.sent = cseq
        self.steps: list[tuple[int, int]] = []
        self.invites: dict[int, tuple[int, tuple[str, ...]]] = {}

    def number(self, cseq: int) -> int:
        """The number for a request that the caller, or we in its place, numbered so."""
        number = self._moved(cseq)
        self.highest = max(self.highest, cseq)
        self.sent = max(self.sent, number)
        return number

    def again(self) -> int:
        """The next number for a request that is sent once more. All the caller says from now on goes behind it."""
        self.sent += 1
        step = (self.highest, self.sent - self.highest)
        if self.steps and self.steps[-1][0] == self.highest:
            self.steps[-1] = step
        else:
            self.steps.append(step)
            del self.steps[:-MOST_STEPS]
        return self.sent

    def overtake(self, other: Numbering | None) -> None:
        """Go on behind what another dialog of the same call was sent."""
        if other is not None:
            self.sent = max(self.sent, other.sent)

    def invited(self, cseq: int, number: int, lines: tuple[str, ...]) -> None:
        """An INVITE of the caller's is sent with this number and these credentials."""
        self.invites.pop(cseq, None)
        self.invites[cseq] = (number, lines)
        if len(self.invites) > MOST_INVITES:
            del self.invites[next(iter(self.invites))]

    def invite(self, cseq: int) -> tuple[int, tuple[str, ...]]:
        """What an INVITE of the caller's was sent with last."""
        known = self.invites.get(cseq)
        return known if known is not None else (self._moved(cseq), ())

    def acked(self, number: int) -> tuple[str, ...]:
        """The credentials of the INVITE that was sent as `number`."""
        return next((lines for sent, lines in self.invites.values() if sent == number), ())

    def caller(self, number: int) -> int:
        """The caller's number of an INVITE that was sent as `number`."""
        for cseq, (sent, _) in self.invites.items():
            if sent == number:
                return cseq
        for behind, offset in reversed(self.steps):
            if number - offset > behind:
                return number - offset
        return number

    def _moved(self, cseq: int) -> int:
        offset = 0
        for behind, here in self.steps:
            if cseq > behind:
                offset = here
        return cseq + offset

    def to_record(self) -> dict[str, Any]:
        """As it stands in the log."""
        invites = [[cseq, number, list(lines)] for cseq, (number, lines) in self.invites.items()]
        return {"highest": self.highest, "sent": self.sent, "steps": self.steps, "invites": invites[-1:]}

    def restore(self, record: dict[str, Any]) -> None:
        """Go on as it stood in the log."""
        self.highest, self.sent = record["highest"], record["sent"]
        self.steps = [(behind, offset) for behind, offset in record["steps"]]
        self.invites = {cseq: (number, tuple(lines)) for cseq, number, lines in record["invites"]}
