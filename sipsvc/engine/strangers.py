"""How much we say to whoever has not shown yet who it is (SIP-10): so many answers a source, of few bytes for few.

Anybody can write any source address on a datagram; an answer goes there whoever lives there.
"""

from __future__ import annotations

from sipsvc.effects import Flow, Now, source_of

S = 1_000_000_000
# What a guessing or scanning source gets, after a burst that no caller's start needs.
ANSWERS_PER_S = 100
BURST = 1_000
# Sources remembered of either kind. Strangers beyond share one allowance.
SOURCES = 16_384
# How many times the bytes that came an answer may have.
AMPLIFICATION = 4
_OTHERS = ""


class Strangers:
    """Counts answers without state by their source: an IPv4 address, or an IPv6 /64, which one host has to itself.

    A source that authenticates gets that answer back, so a customer whose every call is challenged once loses
    nothing; and it is remembered apart from strangers, however many of those there are.
    """

    __slots__ = ("_burst", "_cost", "_customers", "_limit", "_strangers", "_swept")

    def __init__(self, per_s: int = ANSWERS_PER_S, burst: int = BURST, sources: int = SOURCES) -> None:
        self._cost = S // per_s
        self._burst = burst * self._cost
        self._limit = sources
        # By source, until when what it was answered is paid off, in monotonic nanoseconds.
        self._strangers: dict[str, int] = {}
        self._customers: dict[str, int] = {}
        self._swept = 0

    def may_answer(self, flow: Flow, now: Now) -> bool:
        """Whether this source gets one more answer; it is taken to be sent."""
        source = source_of(flow.host)
        table = self._customers if source in self._customers else self._strangers
        if table is self._strangers and source not in table and len(table) >= self._limit:
            self._sweep(now)
            table = self._strangers
            if len(table) >= self._limit:
                source = _OTHERS
        paid = max(table.get(source, 0), now.mono)
        if paid - now.mono > self._burst - self._cost:
            return False
        table[source] = paid + self._cost
        return True

    def succeeded(self, flow: Flow) -> None:
        """This source authenticated: its challenge was no waste, and it is no stranger."""
        source = source_of(flow.host)
        paid = self._customers.get(source)
        if paid is None:
            if len(self._customers) >= self._limit:
                del self._customers[next(iter(self._customers))]  # the one that was first
            paid = self._strangers.pop(source, 0)
        self._customers[source] = paid - self._cost

    def __len__(self) -> int:
        return len(self._strangers) + len(self._customers)

    def _sweep(self, now: Now) -> None:
        """Forget whose answers are paid off, at most once a second, for under a flood nobody's are."""
        if now.mono - self._swept >= S:
            self._swept = now.mono
            self._strangers = {source: paid for source, paid in self._strangers.items() if paid > now.mono}
