"""The loop that serves an output: nothing ends it but its end, and what it has not got is known from the first try."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from sqlalchemy import Engine
from structlog.testing import capture_logs

from sipsvc.out import output
from sipsvc.out.output import Failed, Hand, State
from sipsvc.store.models import Cdr
from tests.cdr.records import refused
from tests.out.conftest import Log


class Broken:
    """Fails as `resuming` and `handing` say, one after the other, and then works until it has set `end`."""

    name = "broken"
    batch = 10

    def __init__(self, *, resuming: Sequence[Exception] = (), handing: Sequence[Exception] = ()) -> None:
        self.end = threading.Event()
        self.got: list[str] = []
        self._resuming = list(resuming)
        self._handing = list(handing)

    def resume(self, state: State) -> None:
        if self._resuming:
            raise self._resuming.pop(0)

    def hand_on(self, rows: Sequence[Cdr]) -> tuple[int, State]:
        if self._handing:
            raise self._handing.pop(0)
        self.got += [row.cdr_id for row in rows]
        return len(rows), None

    def rest(self, state: State) -> State:
        self.end.set()
        return state

    def close(self) -> None:
        """Nothing is open."""


def test_a_fault_of_ours_is_tried_again_like_any_other(
    log: Log, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "BACK_OFF_S", (0.01, 0.01))
    log.write(refused(1), refused(2))
    broken = Broken(resuming=[ValueError("a")], handing=[TypeError("b"), Failed("c")])
    hand = Hand(engine, broken, broken.end)
    with capture_logs() as logs:
        hand.run()
    said = [(line["reason"], line["exc_info"]) for line in logs if line["event"] == "output_failed"]
    assert said == [("ValueError: a", True), ("TypeError: b", True), ("c", False)]
    assert broken.got == ["cdr-000001", "cdr-000002"]
    assert hand.failing == ""


def test_what_waits_is_known_though_it_never_began(log: Log, engine: Engine) -> None:
    log.write(refused(1))
    hand = Hand(engine, Broken(resuming=[Failed("no folder")]), threading.Event())
    with pytest.raises(Failed):
        hand.step()
    assert hand.sequence == 0
