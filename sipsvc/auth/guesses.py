"""Who guesses passwords is held off, longer each time, and nobody else for it (SIP-24)."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

from sipsvc.effects import Now, source_of

S = 1_000_000_000
# Wrong answers a source may give before it is held off: a phone that was set up wrongly has some in a row.
FREE = 10
# The same where the account was guessed at from all sides.
FREE_ATTACKED = 3
# Until it has given so many, a source that is held off is still heard about a username it was never wrong about: a
# colleague of the phone that was set up wrongly.
SPRAYED = 100
# How long it is held off first; twice as long after each wrong answer more, up to the longest.
FIRST_NS = 1 * S
LONGEST_NS = 300 * S
# Its wrong answers are forgotten so long after it could have given another.
FORGOTTEN_NS = 600 * S
# An account is attacked from so many wrong answers on; one of them is forgotten every so often.
ATTACKED = 20
PAID_OFF_NS = 30 * S
# A source that answered rightly is in good standing for so long.
LATELY_NS = 86_400 * S
# Entries of each kind; the one that was idle longest makes room.
MOST = 16_384
# No username of ours is longer.
LONGEST_USERNAME = 128

Key = tuple[str, str]
K = TypeVar("K")
V = TypeVar("V")


class Held(NamedTuple):
    """Wrong answers so far, and until when no more are looked at (monotonic nanoseconds)."""

    failures: int
    until: int


class Guesses:
    """Wrong answers to challenges, by source (an IPv4 address, or an IPv6 /64) and by username.

    Who is held off is not heard: right or wrong, its answer is not looked at. An account is never locked: what is
    held off is a source, and where that is one a customer called from lately, only for the accounts it fails on,
    never for those that answered rightly from there. Attacks on an account only shorten the patience with sources
    that are wrong about it. Usernames count as they come, whether there is such a user or not.
    """

    __slots__ = ("_accounts", "_good", "_known", "_most", "_pairs", "_sources")

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        # By source, and by source and username.
        self._sources: dict[str, Held] = {}
        self._pairs: dict[Key, Held] = {}
        # When which username, and when anybody, last answered rightly from a source.
        self._good: dict[Key, int] = {}
        self._known: dict[str, int] = {}
        # By username, until when its wrong answers are paid off.
        self._accounts: dict[str, int] = {}

    def held_off(self, host: str, username: str, now: Now) -> bool:
        """Whether what `host` answers for this username is not to be looked at."""
        if not self._pairs:
            return False
        source, username = source_of(host), username[:LONGEST_USERNAME]
        pair = self._pairs.get((source, username))
        if self._is_known(source, now):
            return pair is not None and now.mono < pair.until and not self._is_good(source, username, now)
        held = self._sources.get(source)
        return held is not None and now.mono < held.until and (pair is not None or held.failures >= SPRAYED)

    def failed(self, host: str, username: str, now: Now) -> None:
        """A wrong answer, to a challenge of ours."""
        source, username = source_of(host), username[:LONGEST_USERNAME]
        paid = max(self._accounts.get(username, 0), now.mono) + PAID_OFF_NS
        self._put(self._accounts, username, min(paid, now.mono + 2 * ATTACKED * PAID_OFF_NS))
        if self._is_good(source, username, now):
            return  # most likely forged: its own phone knows the password
        free = FREE_ATTACKED if paid > now.mono + ATTACKED * PAID_OFF_NS else FREE
        self._put(self._pairs, (source, username), _once_more(self._pairs.get((source, username)), free, now))
        if not self._is_known(source, now):
            self._put(self._sources, source, _once_more(self._sources.get(source), free, now))

    def succeeded(self, host: str, username: str, now: Now) -> None:
        """A right answer: this username is in good standing at this source."""
        source = source_of(host)
        self._put(self._good, (source, username), now.mono)
        self._put(self._known, source, now.mono)

    def __len__(self) -> int:
        return len(self._sources) + len(self._pairs) + len(self._good) + len(self._known) + len(self._accounts)

    def _is_known(self, source: str, now: Now) -> bool:
        known = self._known.get(source)
        return known is not None and now.mono - known <= LATELY_NS

    def _is_good(self, source: str, username: str, now: Now) -> bool:
        good = self._good.get((source, username))
        return good is not None and now.mono - good <= LATELY_NS

    def _put(self, table: dict[K, V], key: K, value: V) -> None:
        """At the end, for the first is the one that goes."""
        if table.pop(key, None) is None and len(table) >= self._most:
            del table[next(iter(table))]
        table[key] = value


def _once_more(before: Held | None, free: int, now: Now) -> Held:
    """One wrong answer more, of which `free` cost nothing."""
    failures = 1 if before is None or now.mono > before.until + FORGOTTEN_NS else before.failures + 1
    wait = min(FIRST_NS << min(failures - free, 30), LONGEST_NS) if failures >= free else 0
    return Held(failures, now.mono + wait)
