"""The pictures and tables of docs/transactions.md, drawn from the tables the code runs by.

`python -m tests.house.machines` writes them anew, between the document's markers.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sipsvc.directory import Timing
from sipsvc.transaction.tables import (
    INVITE_CLIENT,
    INVITE_SERVER,
    MS,
    OTHER_CLIENT,
    OTHER_SERVER,
    Do,
    Event,
    State,
    Table,
    times,
)

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "transactions.md"
BLOCK = re.compile(r"(<!-- drawn: (.+?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)

S, E, D = State, Event, Do
STATES = ("Trying", "Proceeding", "Accepted", "Completed", "Confirmed", "Terminated")


class Machine(NamedTuple):
    """`first` is what the state before any response is called, `heard` whether responses come in or go out."""

    table: Table
    first: str
    heard: bool
    timers: dict[int, str]


# A timer that runs in several states for different reasons is named by the state.
MACHINES = {
    "INVITE client": Machine(INVITE_CLIENT, "Calling", True, {E.RETRANSMIT: "A", E.TIMEOUT: "B"}),
    "other client": Machine(OTHER_CLIENT, "Trying", True, {E.RETRANSMIT: "E", E.TIMEOUT: "F"}),
    "INVITE server": Machine(INVITE_SERVER, "Unanswered", False, {E.RETRANSMIT: "G", E.TIMEOUT: "H"}),
    "other server": Machine(OTHER_SERVER, "Trying", False, {}),
}
_LINGERS = {
    ("INVITE client", S.ACCEPTED): "timer M",
    ("INVITE client", S.COMPLETED): "timer D",
    ("other client", S.COMPLETED): "timer K",
    ("INVITE server", S.ACCEPTED): "timer L",
    ("INVITE server", S.CONFIRMED): "timer I",
    ("other server", S.COMPLETED): "timer J",
    ("other server", S.TRYING): "its sender has given up",
    ("other server", S.PROCEEDING): "its sender has given up",
}
_EVENTS = {
    E.PROVISIONAL: "1xx", E.SUCCESS: "2xx", E.FAILURE: "300-699", E.REQUEST: "the request again", E.ACK: "ACK",
    E.ERROR: "transport error", E.LATE: "no answer for long", E.ABANDONED: "nobody will answer",
}  # fmt: skip
_ACTIONS = {
    D.PASS: "pass up", D.SEND: "send", D.BACKOFF: "resend later", D.STEADY: "resend in T2",
    D.QUIET: "stop the timers", D.ACK: "ACK", D.LINGER: "linger", D.EXPIRED: "report silence",
    D.FAILED: "report the error", D.END: "", D.TRYING: "send 100", D.OUTLAST: "linger as long as its sender may wait",
}  # fmt: skip


def _event(name: str, state: int, event: int) -> str:
    machine = MACHINES[name]
    if event == E.LINGER:
        return _LINGERS[name, state]
    if event in machine.timers:
        return f"timer {machine.timers[event]}"
    return _EVENTS[event] + (" of ours" if not machine.heard and event <= E.FAILURE else "")


def lines_of(name: str) -> Iterator[tuple[str, str, str, str, str]]:
    """State, event, what is done, next state and section, in words."""
    machine = MACHINES[name]
    words = (machine.first, *STATES[1:])
    for (state, event), row in machine.table.items():
        does = ", ".join(_ACTIONS[action] for action in row.actions if _ACTIONS[action])
        yield words[state], _event(name, state, event), does, words[row.next], row.section


def diagram(name: str) -> str:
    """A Mermaid state diagram; what leads from one state to the same other stands on one arrow."""
    arrows: dict[tuple[str, str], list[str]] = defaultdict(list)
    for state, event, does, following, _ in lines_of(name):
        arrows[state, following].append(f"{event} / {does}" if does else event)
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {MACHINES[name].first}"]
    lines += [f"    {start} --> {end}: {'<br/>'.join(labels)}" for (start, end), labels in arrows.items()]
    return "\n".join([*lines, "    Terminated --> [*]", "```"])


def rows(name: str) -> str:
    lines = ["| in | on | does | goes to | by |", "|---|---|---|---|---|"]
    lines += [f"| {' | '.join(cells)} |" for cells in lines_of(name)]
    return "\n".join(lines).replace("|  |", "| - |")


def timers() -> str:
    """Every timer with the usual T1, T2 and T4, in seconds."""
    udp, stream = times(Timing(), reliable=False), times(Timing(), reliable=True)
    table = [
        ("A, E, G", "first repetition; then twice as long each time, E and G at most T2", udp.resend, stream.resend),
        ("B, F, H", "patience", udp.patience, stream.patience),
        ("D", "an INVITE's client absorbs repeated failures", udp.d, stream.d),
        ("I", "an INVITE's server absorbs repeated ACKs", udp.i, stream.i),
        ("J", "a server absorbs a repeated request other than INVITE", udp.j, stream.j),
        ("K", "a client absorbs repeated responses to it", udp.k, stream.k),
        ("L", "an INVITE's server absorbs it after a 2xx, which may be sent again", udp.l, stream.l),
        ("M", "an INVITE's client hears further 2xx", udp.m, stream.m),
        ("100", "a request other than INVITE that nobody answered gets 100", udp.late, stream.late),
    ]
    lines = ["| timer | what for | over UDP | over TCP and TLS |", "|---|---|---|---|"]
    for name, what, first, second in table:
        cells = [name, what, *(f"{span / MS / 1_000:g} s" if span else "none" for span in (first, second))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def drawn(document: str) -> str:
    """The document with everything between its markers as the tables have it."""

    def draw(block: re.Match[str]) -> str:
        name = block.group(2)
        text = timers() if name == "timers" else f"{diagram(name)}\n\n{rows(name)}"
        return f"{block.group(1)}{text}\n{block.group(4)}"

    return BLOCK.sub(draw, document)


if __name__ == "__main__":
    DOCUMENT.write_text(drawn(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
