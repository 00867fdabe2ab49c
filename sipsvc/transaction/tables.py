"""The four transaction machines as data.

A row reads: in this state, on this event, go to that state and do these things in order. What is not in a
table is ignored, which is how retransmissions and stragglers are absorbed. The Accepted states are RFC 6026's.
Over an unreliable transport only, for now.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from sipsvc.directory import Timing

MS = 1_000_000


class Times(NamedTuple):
    """T1, T2 and T4 in nanoseconds. A transaction keeps those it began with."""

    t1: int
    t2: int
    t4: int


def times(timing: Timing) -> Times:
    return Times(timing.t1_ms * MS, timing.t2_ms * MS, timing.t4_ms * MS)


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
    ERROR: Final = 8  # the transport could not send


class Do:
    PASS: Final = 0  # hand the response to the user of a client transaction
    SEND: Final = 1  # send what was sent before once more
    BACKOFF: Final = 2  # set the retransmission timer anew, doubled (capped at T2 where the RFC caps it)
    STEADY: Final = 3  # retransmit every T2 from now on (timer E after a 1xx)
    QUIET: Final = 4  # no more retransmissions
    ACK: Final = 5  # acknowledge the final response
    LINGER: Final = 6  # keep the state for the straggler's time
    EXPIRED: Final = 7  # tell the user that no final response, or no ACK, came
    FAILED: Final = 8  # tell the user that it could not be sent
    END: Final = 9  # forget the transaction


# (state, event) -> (next state, what to do); plain numbers, for each message looks one up
Table = dict[tuple[int, int], tuple[int, tuple[int, ...]]]
S, E, D = State, Event, Do

# §17.1.1.2 figure 5, RFC 6026 §8.4
INVITE_CLIENT: Table = {
    (S.TRYING, E.RETRANSMIT): (S.TRYING, (D.SEND, D.BACKOFF)),
    (S.TRYING, E.TIMEOUT): (S.TERMINATED, (D.EXPIRED, D.END)),
    (S.TRYING, E.ERROR): (S.TERMINATED, (D.FAILED, D.END)),
    (S.TRYING, E.PROVISIONAL): (S.PROCEEDING, (D.QUIET, D.PASS)),
    (S.TRYING, E.SUCCESS): (S.ACCEPTED, (D.QUIET, D.LINGER, D.PASS)),
    (S.TRYING, E.FAILURE): (S.COMPLETED, (D.QUIET, D.ACK, D.LINGER, D.PASS)),
    (S.PROCEEDING, E.PROVISIONAL): (S.PROCEEDING, (D.PASS,)),
    (S.PROCEEDING, E.SUCCESS): (S.ACCEPTED, (D.LINGER, D.PASS)),
    (S.PROCEEDING, E.FAILURE): (S.COMPLETED, (D.ACK, D.LINGER, D.PASS)),
    (S.ACCEPTED, E.SUCCESS): (S.ACCEPTED, (D.PASS,)),
    (S.ACCEPTED, E.LINGER): (S.TERMINATED, (D.END,)),  # timer M
    (S.COMPLETED, E.FAILURE): (S.COMPLETED, (D.ACK,)),
    (S.COMPLETED, E.LINGER): (S.TERMINATED, (D.END,)),  # timer D
}

# §17.1.2.2 figure 6
OTHER_CLIENT: Table = {
    (S.TRYING, E.RETRANSMIT): (S.TRYING, (D.SEND, D.BACKOFF)),
    (S.TRYING, E.TIMEOUT): (S.TERMINATED, (D.EXPIRED, D.END)),
    (S.TRYING, E.ERROR): (S.TERMINATED, (D.FAILED, D.END)),
    (S.TRYING, E.PROVISIONAL): (S.PROCEEDING, (D.STEADY, D.PASS)),
    (S.TRYING, E.SUCCESS): (S.COMPLETED, (D.QUIET, D.LINGER, D.PASS)),
    (S.TRYING, E.FAILURE): (S.COMPLETED, (D.QUIET, D.LINGER, D.PASS)),
    (S.PROCEEDING, E.RETRANSMIT): (S.PROCEEDING, (D.SEND, D.STEADY)),
    (S.PROCEEDING, E.TIMEOUT): (S.TERMINATED, (D.EXPIRED, D.END)),
    (S.PROCEEDING, E.PROVISIONAL): (S.PROCEEDING, (D.PASS,)),
    (S.PROCEEDING, E.SUCCESS): (S.COMPLETED, (D.QUIET, D.LINGER, D.PASS)),
    (S.PROCEEDING, E.FAILURE): (S.COMPLETED, (D.QUIET, D.LINGER, D.PASS)),
    (S.COMPLETED, E.LINGER): (S.TERMINATED, (D.END,)),  # timer K
}

# §17.2.1 figure 7, RFC 6026 §8.5. PROVISIONAL, SUCCESS and FAILURE are what our side answers.
INVITE_SERVER: Table = {
    (S.TRYING, E.PROVISIONAL): (S.PROCEEDING, (D.SEND,)),
    (S.TRYING, E.SUCCESS): (S.ACCEPTED, (D.SEND, D.LINGER)),
    (S.TRYING, E.FAILURE): (S.COMPLETED, (D.SEND, D.BACKOFF)),
    (S.PROCEEDING, E.REQUEST): (S.PROCEEDING, (D.SEND,)),
    (S.PROCEEDING, E.PROVISIONAL): (S.PROCEEDING, (D.SEND,)),
    (S.PROCEEDING, E.SUCCESS): (S.ACCEPTED, (D.SEND, D.LINGER)),
    (S.PROCEEDING, E.FAILURE): (S.COMPLETED, (D.SEND, D.BACKOFF)),
    (S.ACCEPTED, E.SUCCESS): (S.ACCEPTED, (D.SEND,)),
    (S.ACCEPTED, E.LINGER): (S.TERMINATED, (D.END,)),  # timer L
    (S.COMPLETED, E.REQUEST): (S.COMPLETED, (D.SEND,)),
    (S.COMPLETED, E.RETRANSMIT): (S.COMPLETED, (D.SEND, D.BACKOFF)),  # timer G
    (S.COMPLETED, E.TIMEOUT): (S.TERMINATED, (D.EXPIRED, D.END)),  # timer H
    (S.COMPLETED, E.ACK): (S.CONFIRMED, (D.QUIET, D.LINGER)),
    (S.CONFIRMED, E.LINGER): (S.TERMINATED, (D.END,)),  # timer I
}

# §17.2.2 figure 8
OTHER_SERVER: Table = {
    (S.TRYING, E.PROVISIONAL): (S.PROCEEDING, (D.SEND,)),
    (S.TRYING, E.SUCCESS): (S.COMPLETED, (D.SEND, D.LINGER)),
    (S.TRYING, E.FAILURE): (S.COMPLETED, (D.SEND, D.LINGER)),
    (S.PROCEEDING, E.REQUEST): (S.PROCEEDING, (D.SEND,)),
    (S.PROCEEDING, E.PROVISIONAL): (S.PROCEEDING, (D.SEND,)),
    (S.PROCEEDING, E.SUCCESS): (S.COMPLETED, (D.SEND, D.LINGER)),
    (S.PROCEEDING, E.FAILURE): (S.COMPLETED, (D.SEND, D.LINGER)),
    (S.COMPLETED, E.REQUEST): (S.COMPLETED, (D.SEND,)),
    (S.COMPLETED, E.LINGER): (S.TERMINATED, (D.END,)),  # timer J
}
