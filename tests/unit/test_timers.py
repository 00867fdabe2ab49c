"""The one heap for every timer: order, cancelling, sweeping, and timers set while timers run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipsvc.effects import Now
from sipsvc.timers import Timer, TimerHeap, TimerTarget


def at(mono: int) -> Now:
    return Now(mono, 0)


class Recorder(TimerTarget):
    """Notes what fired; `then` runs inside the timer."""

    def __init__(self, then: Callable[[int, Now], None] | None = None) -> None:
        self.fired: list[tuple[int, int]] = []
        self.then = then

    def on_timer(self, kind: int, now: Now) -> None:
        self.fired.append((kind, now.mono))
        if self.then is not None:
            self.then(kind, now)

    @property
    def kinds(self) -> list[int]:
        return [kind for kind, _ in self.fired]


def test_fires_in_order_of_time_and_of_setting() -> None:
    heap, target = TimerHeap(), Recorder()
    for due, kind in ((30, 1), (10, 2), (20, 3), (10, 4)):
        heap.set(due, target, kind)
    assert heap.next() == 10
    heap.run(at(20))
    assert target.fired == [(2, 20), (4, 20), (3, 20)]
    assert heap.next() == 30
    assert len(heap) == 1


def test_not_before_its_time_and_only_once() -> None:
    heap, target = TimerHeap(), Recorder()
    heap.set(100, target, 7)
    heap.run(at(99))
    assert target.fired == []
    heap.run(at(100))
    heap.run(at(1_000))
    assert target.fired == [(7, 100)]
    assert heap.next() is None
    assert len(heap) == 0


def test_cancelled_never_fires_and_is_not_waited_for() -> None:
    heap, target = TimerHeap(), Recorder()
    first = heap.set(10, target, 1)
    heap.set(20, target, 2)
    heap.cancel(first)
    assert first.target is None
    assert heap.next() == 20
    assert len(heap) == 1
    heap.run(at(50))
    assert target.kinds == [2]


def test_cancelling_none_twice_or_after_firing_does_nothing() -> None:
    heap, target = TimerHeap(), Recorder()
    heap.cancel(None)
    fired = heap.set(10, target, 1)
    heap.run(at(10))
    heap.cancel(fired)
    pending = heap.set(20, target, 2)
    gone = heap.set(21, target, 3)
    heap.cancel(gone)
    heap.cancel(gone)
    assert pending.target is target
    assert len(heap) == 1
    heap.run(at(30))
    assert target.kinds == [1, 2]
    assert heap.next() is None


def test_a_timer_set_while_running_and_already_due_fires_in_the_same_run() -> None:
    heap = TimerHeap()

    def then(kind: int, now: Now) -> None:
        if kind < 3:
            heap.set(now.mono, target, kind + 1)
        else:
            heap.set(now.mono + 1, target, kind + 1)

    target = Recorder(then)
    heap.set(10, target, 1)
    heap.run(at(10))
    assert target.kinds == [1, 2, 3]
    assert heap.next() == 11


def test_a_timer_set_while_running_keeps_its_place_among_those_due() -> None:
    heap = TimerHeap()

    def then(kind: int, now: Now) -> None:
        if kind == 1:
            heap.set(15, target, 2)

    target = Recorder(then)
    heap.set(10, target, 1)
    heap.set(20, target, 3)
    heap.run(at(30))
    assert target.kinds == [1, 2, 3]


def test_a_timer_may_cancel_another_that_is_due_and_itself() -> None:
    heap = TimerHeap()
    handles: list[Timer] = []

    def then(kind: int, now: Now) -> None:
        for handle in handles:
            heap.cancel(handle)

    target = Recorder(then)
    handles.extend(heap.set(due, target, due) for due in (1, 2, 3))
    heap.run(at(10))
    assert target.kinds == [1]
    assert heap.next() is None
    assert len(heap) == 0


def test_a_sweep_while_running_loses_and_repeats_nothing() -> None:
    heap = TimerHeap()
    doomed: list[Timer] = []

    def then(kind: int, now: Now) -> None:
        if kind == 0:
            for handle in doomed:
                heap.cancel(handle)
            heap.set(now.mono, target, 2)

    target = Recorder(then)
    heap.set(1, target, 0)
    doomed.extend(heap.set(5_000 + each, target, -1) for each in range(4_000))
    heap.set(1, target, 1)
    heap.set(9_999, target, 3)
    heap.run(at(10))
    assert target.kinds == [0, 1, 2]
    assert heap.next() == 9_999
    assert len(heap) == 1
    heap.run(at(10_000))
    assert target.kinds == [0, 1, 2, 3]


def test_an_error_in_one_timer_leaves_the_others_to_the_next_run() -> None:
    heap = TimerHeap()

    def then(kind: int, now: Now) -> None:
        if kind == 1:
            raise RuntimeError("fault in a timer")

    target = Recorder(then)
    heap.set(1, target, 1)
    heap.set(2, target, 2)
    with pytest.raises(RuntimeError, match="fault in a timer"):
        heap.run(at(5))
    heap.run(at(5))
    assert target.kinds == [1, 2]


def test_a_target_that_takes_no_timers_says_so() -> None:
    heap = TimerHeap()
    heap.set(1, TimerTarget(), 4)
    with pytest.raises(AssertionError, match="TimerTarget set timer 4 but does not take it"):
        heap.run(at(1))


# Enough of them that sweeps (more than 1,024 dead, and more dead than living) happen.
steps = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(1, 50), st.integers(1, 600)),
        st.tuples(st.just("cancel"), st.integers(0, 99), st.integers(0, 99)),
        st.tuples(st.just("run"), st.integers(0, 20), st.just(0)),
    ),
    max_size=40,
)


@given(steps)
def test_agrees_with_a_sorted_list(plan: list[tuple[str, int, int]]) -> None:
    """`set` (delay, how many), `cancel` (from and to percent of those set so far), `run` (time passes)."""
    heap, target = TimerHeap(), Recorder()
    handles: list[Timer] = []
    living: dict[int, int] = {}
    fired: list[int] = []
    mono = 0
    for step, one, other in plan:
        if step == "set":
            for _ in range(other):
                living[len(handles)] = mono + one
                handles.append(heap.set(mono + one, target, len(handles)))
        elif step == "cancel":
            low, high = sorted((one, other))
            for kind in range(len(handles) * low // 100, len(handles) * high // 100):
                heap.cancel(handles[kind])
                living.pop(kind, None)
        else:
            mono += one
            heap.run(at(mono))
            due = sorted((when, kind) for kind, when in living.items() if when <= mono)
            fired.extend(kind for _, kind in due)
            for _, kind in due:
                del living[kind]
        assert len(heap) == len(living)
        assert heap.next() == min(living.values(), default=None)
    assert target.kinds == fired
