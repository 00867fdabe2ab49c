"""docs/transactions.md shows the machines as the code has them, and every row says where it stands."""

from __future__ import annotations

import re

import pytest

from sipsvc.transaction.tables import Do, Event, State
from tests.house import machines


@pytest.mark.rule("SIP-10")
def test_the_document_shows_the_tables() -> None:
    text = machines.DOCUMENT.read_text(encoding="utf-8")
    assert [block.group(2) for block in machines.BLOCK.finditer(text)] == ["timers", *machines.MACHINES]
    assert machines.drawn(text) == text, "python -m tests.house.machines draws it anew"


@pytest.mark.rule("SIP-10")
@pytest.mark.parametrize("name", machines.MACHINES)
def test_every_row_stands_in_an_rfc_and_every_state_ends(name: str) -> None:
    table = machines.MACHINES[name].table
    for where, row in table.items():
        assert re.fullmatch(r"(RFC \d+ |)§\d+(\.\d+)*(, (§[\d.]+|timers? .+|step \d+))?", row.section), where
        assert (row.next == State.TERMINATED) == (Do.END in row.actions), where
    reached, todo = {State.TRYING}, [State.TRYING]
    while todo:
        state = todo.pop()
        after = {row.next for (before, _), row in table.items() if before == state}
        assert state == State.TERMINATED or after, f"{name} cannot leave {state}"
        todo += after - reached
        reached |= after
    assert reached == {state for state, _ in table} | {State.TERMINATED}
    assert Event.LINGER in {event for _, event in table}
