"""All that is known of the gateways at this moment, and what is done to know it: health, pings, registrations."""

from __future__ import annotations

from typing import Any

from sipsvc.directory import Directory
from sipsvc.effects import Now
from sipsvc.engine.health import Health, Say
from sipsvc.engine.pings import Pings
from sipsvc.engine.registration import Registrations
from sipsvc.proxy import Core


class Carriers:
    """Nothing is sent before `start`. `say(event, fields)` tells the operator."""

    def __init__(self, core: Core, directory: Directory, say: Say) -> None:
        self.health = Health(core, say, directory.gateways)
        self._pings = Pings(core, self.health)
        self._registrations = Registrations(core, say)
        self._gateways = directory.gateways
        self._begun = False

    def start(self, now: Now) -> None:
        """Ping who is to be pinged, register where that is wanted."""
        self._begun = True
        self._use(now)

    def use(self, directory: Directory, now: Now) -> None:
        """Another directory is in force; a change elsewhere leaves its gateways the same object."""
        if directory.gateways is not self._gateways:
            self._gateways = directory.gateways
            self.health.use(directory.gateways, now)
            if self._begun:
                self._use(now)

    def _use(self, now: Now) -> None:
        self._pings.use(self._gateways, now)
        self._registrations.use(self._gateways, now)

    def drain(self, now: Now) -> None:
        """No call comes to need them: be forgotten at the registrars, and ask nobody any more."""
        self._begun = False
        self._pings.stop()
        self._registrations.close(now)

    @property
    def idle(self) -> bool:
        """No registrar is still to hear that we leave."""
        return not self._registrations.leaving

    def states(self) -> dict[str, dict[str, Any]]:
        """By gateway id: `state` (`up`, `down`, `unknown`), `since` (UTC milliseconds, 0 where nothing is known), the
        last `reason`, `failures` in a row, `registration` ("", `registered`, `failing`) and `registered_until`."""
        found = {}
        for name in self._gateways:
            state, since, reason, failures = self.health.state(name)
            registration, until, trouble = self._registrations.state(name)
            if trouble:
                reason = f"{reason}, registration: {trouble}" if reason else f"registration: {trouble}"
            found[name] = {
                "state": state,
                "since": since,
                "reason": reason,
                "failures": failures,
                "registration": registration,
                "registered_until": until,
            }
        return found
