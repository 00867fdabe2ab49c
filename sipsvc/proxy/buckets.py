"""Calls per second: a bucket of tokens for each customer and gateway that has a limit (SIP-27)."""

from __future__ import annotations

from sipsvc.effects import Now

SECOND = 1_000_000_000
# So many are kept before those that are full again are thrown away: a full bucket is as good as none.
MANY = 1_024


class Buckets:
    """A bucket holds what a second brings, at least one token, and is full at first: after a pause that many calls may
    come at once. By the monotonic clock.

    Of each only the instant is kept at which it is full again.
    """

    def __init__(self) -> None:
        self._full_at: dict[str, int] = {}
        self._most = MANY

    def __len__(self) -> int:
        return len(self._full_at)

    def has(self, key: str, cps: int, now: Now) -> bool:
        """Whether there is a token, where `cps` come a second."""
        full_at = self._full_at.get(key)
        # With n tokens gone it is full again in n times a token's time; one must be left.
        return full_at is None or full_at - now.mono <= (cps - 1) * (SECOND // cps)

    def take(self, key: str, cps: int, now: Now) -> None:
        """Take a token that is there."""
        if len(self._full_at) >= self._most:
            self._full_at = {key: full_at for key, full_at in self._full_at.items() if full_at > now.mono}
            self._most = max(MANY, 2 * len(self._full_at))
        self._full_at[key] = max(self._full_at.get(key, 0), now.mono) + SECOND // cps
