"""The four transaction machines as data.

A row reads: in this state, on this event, go to that state and do these things in order; it names where that
stands. What is not in a table is ignored, which is how retransmissions and stragglers are absorbed. The Accepted
states are RFC 6026's. One table serves every transport: a reliable one has other `Times`, in which a timer is 0.
docs/transactions.md shows the machines; `python -m tests.house.machines` writes it anew.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from sipsvc.directory import Timing

MS = 1_000_000


class Times(NamedTuple):
    """The timers of RFC 3261 table 4 and RFC 6026, in nanoseconds. A transaction keeps those it began with.

    `resend` is the first wait of timers A, E and G, 0 where the transport sees to delivery itself; `patience` is
    timers B, F and H; `late` is how long a request other than INVITE may stay without 100 (RFC 4320 §4.1).
    """

    t1: int
    t2: int
    resend: int
    patience: int
    late: int
    d: int
    i: int
    j: int
    k: int
    l: int  # noqa: E741 - its name
    m: int


def times(timing: Timing, reliable: bool) -> Times:
    """What §17 and RFC 6026 §8.7 make of T1, T2 and T4: over UDP, or over a reliable transport."""
    t1, t2, t4 = timing.t1_ms * MS, timing.t2_ms * MS, timing.t4_ms * MS
    late, wait = 0, t1
    while wait < t2:  # until a client's timer E has grown to T2
        late, wait = late + wait, wait * 2
    long = 64 * t1
    if reliable:
        return Times(t1, t2, 0, long, late, d=0, i=0, j=0, k=0, l=long, m=long)
    return Times(t1, t2, t1, long, late, d=long, i=t4, j=long, k=t4, l=long, m=long)


class State:
    TRYING: Final = 0  # "Calling" for an INVITE client, "Proceeding" without a response for an INVITE server
    PROCEEDING: Final = 1
    ACCEPTED: Final = 2
    COMPLETED: Final = 3
    CONFIRMED: Final = 4
    TERMINATED: Final = 5


class Event:
    PROVISIONAL: Final = 0
    SUCCESS: Final = 1
    FAILURE: Final = 2
    RETRANSMIT: Final = 3  # timer A, E or G
    TIMEOUT: Final = 4  # timer B, F or H
    LINGER: Final = 5  # timer D, I, J, K, L or M
    REQUEST: Final = 6  # the request came again
    ACK: Final = 7
    ERROR: Final = 8  # the transport could not send, or its connection was lost
    LATE: Final = 9  # nothing was said to a request other than INVITE for so long that its sender wants a 100
    ABANDONED: Final = 10  # our side will not answer it


class Do:
    PASS: Final = 0  # hand the response to the user of a client transaction
    SEND: Final = 1  # send what was sent before once more
    BACKOFF: Final = 2  # set the retransmission timer anew, doubled (capped at T2 where the RFC caps it)
    STEADY: Final = 3  # set the retransmission timer anew, to T2 (timer E after a 1xx)
    QUIET: Final = 4  # no more retransmissions
    ACK: Final = 5  # acknowledge the final response
    LINGER: Final = 6  # keep the state for the straggler's time
    EXPIRED: Final = 7  # tell the user that no final response, or no ACK, came
    FAILED: Final = 8  # tell the user that it could not be sent
    END: Final = 9  # forget the transaction
    TRYING: Final = 10  # answer 100 by ourselves
    OUTLAST: Final = 11  # keep the state until the sender has given up too


class Row(NamedTuple):
    """`section` is where RFC 3261 (§), or the RFC it names, says so."""

    next: int
    actions: tuple[int, ...]
    section: str


# by (state, event): plain numbers, for each message looks one up
Table = dict[tuple[int, int], Row]
S, E, D = State, Event, Do

# §17.1.1.2 figure 5 as RFC 6026 §8.4 figure 1 has it
INVITE_CLIENT: Table = {
    (S.TRYING, E.RETRANSMIT): Row(S.TRYING, (D.SEND, D.BACKOFF), "§17.1.1.2, timer A"),
    (S.TRYING, E.TIMEOUT): Row(S.TERMINATED, (D.EXPIRED, D.END), "§17.1.1.2, timer B"),
    (S.TRYING, E.ERROR): Row(S.TERMINATED, (D.FAILED, D.END), "§17.1.4"),
    (S.TRYING, E.PROVISIONAL): Row(S.PROCEEDING, (D.QUIET, D.PASS), "§17.1.1.2"),
    (S.TRYING, E.SUCCESS): Row(S.ACCEPTED, (D.QUIET, D.LINGER, D.PASS), "RFC 6026 §7.2, timer M"),
    (S.TRYING, E.FAILURE): Row(S.COMPLETED, (D.QUIET, D.ACK, D.LINGER, D.PASS), "§17.1.1.2, timer D"),
    (S.PROCEEDING, E.PROVISIONAL): Row(S.PROCEEDING, (D.PASS,), "§17.1.1.2"),
    (S.PROCEEDING, E.SUCCESS): Row(S.ACCEPTED, (D.LINGER, D.PASS), "RFC 6026 §7.2, timer M"),
    (S.PROCEEDING, E.FAILURE): Row(S.COMPLETED, (D.ACK, D.LINGER, D.PASS), "§17.1.1.2, timer D"),
    (S.ACCEPTED, E.SUCCESS): Row(S.ACCEPTED, (D.PASS,), "RFC 6026 §7.2"),
    (S.ACCEPTED, E.LINGER): Row(S.TERMINATED, (D.END,), "RFC 6026 §7.2, timer M"),
    (S.COMPLETED, E.FAILURE): Row(S.COMPLETED, (D.ACK,), "§17.1.1.2"),
    (S.COMPLETED, E.SUCCESS): Row(S.COMPLETED, (D.PASS,), "§16.7, step 5"),
    (S.COMPLETED, E.LINGER): Row(S.TERMINATED, (D.END,), "§17.1.1.2, timer D"),
}

# §17.1.2.2 figure 6
OTHER_CLIENT: Table = {
    (S.TRYING, E.RETRANSMIT): Row(S.TRYING, (D.SEND, D.BACKOFF), "§17.1.2.2, timer E"),
    (S.TRYING, E.TIMEOUT): Row(S.TERMINATED, (D.EXPIRED, D.END), "§17.1.2.2, timer F"),
    (S.TRYING, E.ERROR): Row(S.TERMINATED, (D.FAILED, D.END), "§17.1.2.2, §17.1.4"),
    (S.TRYING, E.PROVISIONAL): Row(S.PROCEEDING, (D.PASS,), "§17.1.2.2"),
    (S.TRYING, E.SUCCESS): Row(S.COMPLETED, (D.QUIET, D.LINGER, D.PASS), "§17.1.2.2, timer K"),
    (S.TRYING, E.FAILURE): Row(S.COMPLETED, (D.QUIET, D.LINGER, D.PASS), "§17.1.2.2, timer K"),
    (S.PROCEEDING, E.RETRANSMIT): Row(S.PROCEEDING, (D.SEND, D.STEADY), "§17.1.2.2, timer E"),
    (S.PROCEEDING, E.TIMEOUT): Row(S.TERMINATED, (D.EXPIRED, D.END), "§17.1.2.2, timer F"),
    (S.PROCEEDING, E.ERROR): Row(S.TERMINATED, (D.FAILED, D.END), "§17.1.2.2, §17.1.4"),
    (S.PROCEEDING, E.PROVISIONAL): Row(S.PROCEEDING, (D.PASS,), "§17.1.2.2"),
    (S.PROCEEDING, E.SUCCESS): Row(S.COMPLETED, (D.QUIET, D.LINGER, D.PASS), "§17.1.2.2, timer K"),
    (S.PROCEEDING, E.FAILURE): Row(S.COMPLETED, (D.QUIET, D.LINGER, D.PASS), "§17.1.2.2, timer K"),
    (S.COMPLETED, E.LINGER): Row(S.TERMINATED, (D.END,), "§17.1.2.2, timer K"),
}

# §17.2.1 figure 7 as RFC 6026 §8.5 has it. PROVISIONAL, SUCCESS and FAILURE are what our side answers.
INVITE_SERVER: Table = {
    (S.TRYING, E.PROVISIONAL): Row(S.PROCEEDING, (D.SEND,), "§17.2.1"),
    (S.TRYING, E.SUCCESS): Row(S.ACCEPTED, (D.SEND, D.LINGER), "RFC 6026 §7.1, timer L"),
    (S.TRYING, E.FAILURE): Row(S.COMPLETED, (D.SEND, D.BACKOFF), "§17.2.1, timers G and H"),
    (S.PROCEEDING, E.REQUEST): Row(S.PROCEEDING, (D.SEND,), "§17.2.1"),
    (S.PROCEEDING, E.PROVISIONAL): Row(S.PROCEEDING, (D.SEND,), "§17.2.1"),
    (S.PROCEEDING, E.SUCCESS): Row(S.ACCEPTED, (D.SEND, D.LINGER), "RFC 6026 §7.1, timer L"),
    (S.PROCEEDING, E.FAILURE): Row(S.COMPLETED, (D.SEND, D.BACKOFF), "§17.2.1, timers G and H"),
    (S.ACCEPTED, E.SUCCESS): Row(S.ACCEPTED, (D.SEND,), "RFC 6026 §7.1"),
    (S.ACCEPTED, E.LINGER): Row(S.TERMINATED, (D.END,), "RFC 6026 §7.1, timer L"),
    (S.COMPLETED, E.REQUEST): Row(S.COMPLETED, (D.SEND,), "§17.2.1"),
    (S.COMPLETED, E.RETRANSMIT): Row(S.COMPLETED, (D.SEND, D.BACKOFF), "§17.2.1, timer G"),
    (S.COMPLETED, E.TIMEOUT): Row(S.TERMINATED, (D.EXPIRED, D.END), "§17.2.1, timer H"),
    (S.COMPLETED, E.ACK): Row(S.CONFIRMED, (D.QUIET, D.LINGER), "§17.2.1, timer I"),
    (S.CONFIRMED, E.LINGER): Row(S.TERMINATED, (D.END,), "§17.2.1, timer I"),
}

# §17.2.2 figure 8 with RFC 4320
OTHER_SERVER: Table = {
    (S.TRYING, E.LATE): Row(S.PROCEEDING, (D.TRYING,), "RFC 4320 §4.1"),
    (S.TRYING, E.PROVISIONAL): Row(S.PROCEEDING, (D.QUIET, D.SEND), "§17.2.2"),
    (S.TRYING, E.SUCCESS): Row(S.COMPLETED, (D.QUIET, D.SEND, D.LINGER), "§17.2.2, timer J"),
    (S.TRYING, E.FAILURE): Row(S.COMPLETED, (D.QUIET, D.SEND, D.LINGER), "§17.2.2, timer J"),
    (S.TRYING, E.ABANDONED): Row(S.TRYING, (D.OUTLAST,), "RFC 4320 §4.2"),
    (S.TRYING, E.LINGER): Row(S.TERMINATED, (D.QUIET, D.END), "RFC 4320 §4.2"),
    (S.PROCEEDING, E.REQUEST): Row(S.PROCEEDING, (D.SEND,), "§17.2.2"),
    (S.PROCEEDING, E.PROVISIONAL): Row(S.PROCEEDING, (D.SEND,), "§17.2.2"),
    (S.PROCEEDING, E.SUCCESS): Row(S.COMPLETED, (D.SEND, D.LINGER), "§17.2.2, timer J"),
    (S.PROCEEDING, E.FAILURE): Row(S.COMPLETED, (D.SEND, D.LINGER), "§17.2.2, timer J"),
    (S.PROCEEDING, E.ABANDONED): Row(S.PROCEEDING, (D.OUTLAST,), "RFC 4320 §4.2"),
    (S.PROCEEDING, E.LINGER): Row(S.TERMINATED, (D.END,), "RFC 4320 §4.2"),
    (S.COMPLETED, E.REQUEST): Row(S.COMPLETED, (D.SEND,), "§17.2.2"),
    (S.COMPLETED, E.LINGER): Row(S.TERMINATED, (D.END,), "§17.2.2, timer J"),
}
