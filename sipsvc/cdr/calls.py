"""What the delivery remembers of calls that are not over: their lines, and which segments still carry them."""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from sipsvc.cdr.segments import Line


class OpenCall:
    """A call without an end so far; `start_in` and `answer_in` are the newest segments with those records."""

    __slots__ = ("answer", "answer_in", "start", "start_in")

    def __init__(self) -> None:
        self.start: bytes | None = None
        self.answer: bytes | None = None
        self.start_in = 0
        self.answer_in = 0


class OpenCalls:
    """By cdr_id. Instants are UTC milliseconds of the log."""

    def __init__(self) -> None:
        self._calls: dict[str, OpenCall] = {}
        # Answered and not yet shown, in the order of the log; since when, once that was looked up.
        self._unseen: dict[str, int | None] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def note(self, line: Line) -> None:
        """Remember a `start` or `answer`; one carried over to a newer segment is no news."""
        call = self._calls.get(line.cdr_id)
        if call is None:
            call = self._calls[line.cdr_id] = OpenCall()
        if line.kind == "start":
            call.start, call.start_in = line.body, line.segment
            return
        if call.answer is None:
            self._unseen[line.cdr_id] = None
        call.answer, call.answer_in = line.body, line.segment

    def end(self, cdr_id: str) -> OpenCall | None:
        """Forget the call; what was known of it."""
        self._unseen.pop(cdr_id, None)
        return self._calls.pop(cdr_id, None)

    def due(self, before: int) -> list[tuple[str, OpenCall]]:
        """Take the calls answered at or before `before` that have not been taken yet."""
        found = []
        for cdr_id, at in self._unseen.items():
            call = self._calls[cdr_id]
            if at is None:
                at = self._unseen[cdr_id] = _answered_at(call)
            if at > before:
                break
            found.append((cdr_id, call))
        for cdr_id, _ in found:
            del self._unseen[cdr_id]
        return found

    def oldest_needed(self, newest: int) -> int:
        """The oldest segment that carries what no newer one does; `newest` when there is none."""
        return min(_segments(self._calls.values()), default=newest)


def _answered_at(call: OpenCall) -> int:
    """When; 0 where the record does not say, so that it is looked at, and refused, at once."""
    try:
        record = orjson.loads(call.answer or b"")
    except ValueError:
        return 0
    at = record.get("answer_at")
    return at if type(at) is int else 0


def _segments(calls: Iterable[OpenCall]) -> Iterable[int]:
    for call in calls:
        if call.start is not None:
            yield call.start_in
        if call.answer is not None:
            yield call.answer_in
