"""One heap for every timer, with lazy deletion: cancelling costs nothing, a dead entry falls out when due."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from mypy_extensions import trait

from sipsvc.effects import Now


@trait
class TimerTarget:
    """Something that timers call back."""

    def on_timer(self, kind: int, now: Now) -> None:
        raise AssertionError(f"{type(self).__name__} set timer {kind} but does not take it")


class Timer:
    """A handle; `target` is None once it fired or was cancelled."""

    __slots__ = ("at", "kind", "target")

    def __init__(self, at: int, target: TimerTarget, kind: int) -> None:
        self.at = at
        self.target: TimerTarget | None = target
        self.kind = kind

    def __repr__(self) -> str:
        return f"Timer(at={self.at}, kind={self.kind}, target={type(self.target).__name__})"


class TimerHeap:
    """Monotonic nanoseconds throughout."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Timer]] = []
        self._seq = 0
        self._dead = 0

    def set(self, at: int, target: TimerTarget, kind: int) -> Timer:
        timer = Timer(at, target, kind)
        self._seq += 1
        heappush(self._heap, (at, self._seq, timer))
        return timer

    def cancel(self, timer: Timer | None) -> None:
        if timer is not None and timer.target is not None:
            timer.target = None
            self._dead += 1
            # A busy proxy cancels most of what it sets; sweep before the dead outnumber the living.
            if self._dead > 1024 and self._dead * 2 > len(self._heap):
                self._heap = [entry for entry in self._heap if entry[2].target is not None]
                heapify(self._heap)
                self._dead = 0

    def next(self) -> int | None:
        """When the earliest living timer is due, or None."""
        heap = self._heap
        while heap:
            if heap[0][2].target is not None:
                return heap[0][0]
            heappop(heap)
            self._dead -= 1
        return None

    def run(self, now: Now) -> None:
        """Fire everything due at `now`, in order of time."""
        heap = self._heap
        while heap and heap[0][0] <= now.mono:
            timer = heappop(heap)[2]
            target = timer.target
            if target is None:
                self._dead -= 1
                continue
            timer.target = None
            target.on_timer(timer.kind, now)
            heap = self._heap

    def __len__(self) -> int:
        """How many timers live."""
        return sum(1 for entry in self._heap if entry[2].target is not None)
