"""What an output is, and the one loop that serves each: calls in order, at least once, from a position kept (law 8)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from random import Random
from typing import Any, Protocol

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from sipsvc.errors import SipsvcError
from sipsvc.observe import get_logger
from sipsvc.store import outputs
from sipsvc.store.models import Cdr

IDLE_S = 0.5
BACK_OFF_S = (1.0, 300.0)

State = dict[str, Any] | None

log = get_logger("out")


class Failed(SipsvcError):
    """Not handed on, and to be tried again; the text says why."""


def expected(error: Exception) -> bool:
    """Whether it is one of those that pass by; any other is a fault of ours, which must not end the rest with it."""
    return isinstance(error, Failed | SQLAlchemyError | OSError)


def reason_of(error: Exception) -> str:
    """Why, for whoever watches."""
    said = str(getattr(error, "orig", None) or error)
    return said if expected(error) else f"{type(error).__name__}: {said}"


class Output(Protocol):
    """`name` is its position's; it gets at most `batch` calls at a time."""

    name: str
    batch: int

    def resume(self, state: State) -> None:
        """Be where `state` was noted, whatever was begun after it. Raises Failed."""

    def hand_on(self, rows: Sequence[Cdr]) -> tuple[int, State]:
        """Hand on the first of the rows, or only change state; how many, and the state to note. Raises Failed."""

    def rest(self, state: State) -> State:
        """Nothing waits: the state to note, the same one for none. Raises Failed."""

    def close(self) -> None:
        """The end."""


class Hand(threading.Thread):
    """Hands on to one output until `end` is set: each its own thread, so that one that is down holds up no other."""

    def __init__(self, engine: Engine, output: Output, end: threading.Event) -> None:
        super().__init__(name=f"out-{output.name}", daemon=True)
        self.output = output
        self._engine = engine
        self._end = end
        self._at: tuple[int, State] | None = None
        self._random = Random()
        # "" or why the last try failed.
        self.failing = ""
        # What was handed on when that was last known.
        self.sequence: int | None = None

    def run(self) -> None:
        pause = BACK_OFF_S[0]
        wait = 0.0
        while not self._end.wait(wait):
            try:
                wait = 0.0 if self.step() else IDLE_S
            except Exception as error:
                # From what is noted, next time: what was done beyond it is done again.
                self._at = None
                reason = reason_of(error)
                # Not all at the same time, where many were waiting for the same receiver.
                wait = pause * (0.75 + self._random.random() / 2)
                log.warning(
                    "output_failed", output=self.output.name, reason=reason, retry_s=round(wait, 1),
                    exc_info=not expected(error),
                )  # fmt: skip
                self.failing = reason
                pause = min(2 * pause, BACK_OFF_S[1])
            else:
                if self.failing:
                    log.info("output_works", output=self.output.name)
                    self.failing = ""
                pause = BACK_OFF_S[0]
        self.output.close()

    def step(self) -> bool:
        """Hand on the next calls, and note it; whether there were any. Raises Failed, and what a database raises."""
        if self._at is None:
            with Session(self._engine) as session:
                at = outputs.position(session, self.output.name)
            # Before the output has a say: how many calls wait is known though it never begins.
            self.sequence = at[0]
            self.output.resume(at[1])
            self._at = at
        sequence, state = self._at
        with Session(self._engine) as session:
            rows = outputs.after(session, sequence, self.output.batch)
        if not rows:
            rested = self.output.rest(state)
            if rested != state:
                self._note(sequence, rested)
            return False
        done, state = self.output.hand_on(rows)
        last = rows[done - 1].sequence if done else sequence
        assert last is not None
        self._note(last, state)
        return True

    def _note(self, sequence: int, state: State) -> None:
        with Session(self._engine) as session, session.begin():
            outputs.note(session, self.output.name, sequence, state)
        self._at = sequence, state
        self.sequence = sequence
