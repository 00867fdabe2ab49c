"""How many seconds of its package each trunk has used in a month, and what live calls hold of them (PP-2)."""

from __future__ import annotations

from collections.abc import Callable

# A zone and an instant (UTC, ms) to the name of the local month it is in, such as `2026-11`, and the instants at which
# that begins and the next one does. Zones are files, so this is handed in like the clock (law 1).
Months = Callable[[str, int], tuple[str, int, int]]


class Allowances:
    """Minutes are a trunk's own, never pooled. What a call holds nobody else can take."""

    def __init__(self, months: Months) -> None:
        self._months = months
        self._present: dict[str, tuple[str, int, int]] = {}
        self.used: dict[tuple[str, str], int] = {}
        self.held: dict[tuple[str, str], int] = {}

    def month(self, zone: str, utc: int) -> str:
        """The month that `utc` (ms) is in there. A zone is looked up once a month, and for what is of an older one."""
        there = self._present.get(zone)
        if there is not None and utc < there[1]:
            # Told, not kept: else the next call of this month would go through what all trunks used to forget it.
            return self._months(zone, utc)[0]
        if there is None or utc >= there[2]:
            before, there = there, self._months(zone, utc)
            self._present[zone] = there
            if before is not None and before[0] < there[0]:
                self._forget(before[0])
        return there[0]

    def left(self, trunk: str, month: str, minutes: int) -> int:
        """The seconds that are neither used nor held of so many minutes."""
        key = trunk, month
        return max(0, minutes * 60 - self.used.get(key, 0) - self.held.get(key, 0))

    def use(self, trunk: str, month: str, seconds: int) -> None:
        """A call that is over used so many seconds."""
        if seconds:
            self.used[trunk, month] = self.used.get((trunk, month), 0) + seconds

    def hold(self, trunk: str, month: str, seconds: int) -> None:
        """A live call holds so many seconds more, or fewer."""
        held = self.held.get((trunk, month), 0) + seconds
        if held:
            self.held[trunk, month] = held
        else:
            self.held.pop((trunk, month), None)

    def _forget(self, before: str) -> None:
        """No call outlasts two months: of those before that month nothing will be asked."""
        self.used = {key: seconds for key, seconds in self.used.items() if key[1] >= before}
