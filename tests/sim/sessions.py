"""Session timers (RFC 4028): what a party does with one."""

from __future__ import annotations

from collections.abc import Callable

from tests.sim.network import Handle
from tests.sim.sipmsg import Msg
from tests.sim.sipua import Agent, Headers


def interval(msg: Msg) -> int:
    """The seconds in Session-Expires, 0 without."""
    text = msg.get("session-expires").partition(";")[0].strip()
    return int(text) if text.isdigit() else 0


def least(msg: Msg) -> int:
    """The seconds in Min-SE, 0 without."""
    text = msg.get("min-se").partition(";")[0].strip()
    return int(text) if text.isdigit() else 0


def supports(msg: Msg) -> bool:
    return any("timer" in value for name in ("supported", "require") for value in msg.all(name))


class Session:
    """A party's side of one: it refreshes at half the time if that is its part, and hangs up when nobody did (§10)."""

    def __init__(self, agent: Agent, refresh: Callable[[], None], hang_up: Callable[[], None]) -> None:
        self.agent, self.refresh, self.hang_up = agent, refresh, hang_up
        self.seconds = 0
        self.mine = False
        # Some do not watch: they leave it to whoever stands between them.
        self.watches = agent.rng.random() < 0.5
        self._half: Handle | None = None
        self._late: Handle | None = None

    def settle(self, seconds: int, mine: bool) -> None:
        """From a 2xx given or got; 0 ends it."""
        self.stop()
        self.seconds, self.mine = seconds, mine
        if not seconds:
            return
        if mine:
            self._half = self.agent.later(seconds * 500.0, self.refresh)
        if self.watches:
            self._late = self.agent.later((seconds - min(32.0, seconds / 3)) * 1_000.0, self.hang_up)

    def stop(self) -> None:
        for handle in (self._half, self._late):
            if handle is not None:
                handle.cancel()

    def headers(self) -> Headers:
        """For a request that refreshes it."""
        if not self.seconds:
            return []
        return [
            ("Supported", "timer"),
            ("Session-Expires", f"{self.seconds};refresher={'uac' if self.mine else 'uas'}"),
        ]


def given(request: Msg, able: bool) -> list[tuple[str, str]]:
    """What a UAS puts into its 2xx (§9): nothing, if it knows no timers or is asked for none."""
    seconds = interval(request)
    if not able or not seconds:
        return []
    asked = request.get("session-expires").rpartition("refresher=")[2]
    refresher = asked if asked in ("uac", "uas") else "uac" if supports(request) else "uas"
    told = [("Session-Expires", f"{seconds};refresher={refresher}")]
    return [*told, ("Require", "timer")] if refresher == "uac" else told
