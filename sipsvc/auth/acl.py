"""Source networks, longest prefix first (SIP-20)."""

from __future__ import annotations

from ipaddress import ip_address

from sipsvc.directory import Trunk
from sipsvc.directory.model import Networks
from sipsvc.message import unescape

MEMO = 4_096


class Acl:
    """Looks up the packet's real source, never an address it names."""

    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self._order = sorted(networks, key=lambda key: -key[1])
        self._memo: dict[str, tuple[Trunk, ...]] = {}

    def find(self, host: str, port: int, dialled: str = "") -> Trunk | None:
        """Whose call this is; `dialled` is a Request-URI's user part as it came, which tech prefixes are read from."""
        for trunk in self._at(host):
            if trunk.port in (0, port) and (not trunk.tech_prefix or behind(trunk.tech_prefix, dialled) is not None):
                return trunk
        return None

    def knows(self, host: str, port: int) -> bool:
        """Whether some trunk is there, whatever it would have to dial."""
        return any(trunk.port in (0, port) for trunk in self._at(host))

    def _at(self, host: str) -> tuple[Trunk, ...]:
        found = self._memo.get(host)
        if found is None:
            found = self._search(host)
            if len(self._memo) < MEMO:
                self._memo[host] = found
        return found

    def _search(self, host: str) -> tuple[Trunk, ...]:
        """Every trunk whose network holds the address, the longest first."""
        try:
            address = ip_address(host)
        except ValueError:
            return ()
        number, bits = int(address), address.max_prefixlen
        found: list[Trunk] = []
        for version, length in self._order:
            if version == address.version:
                found += self._networks[version, length].get(number >> (bits - length) << (bits - length), ())
        return tuple(found)


def behind(prefix: str, dialled: str) -> str | None:
    """What follows the tech prefix in `dialled`, escaped as it came; None where it does not begin with it."""
    if dialled.startswith(prefix):
        return dialled[len(prefix) :]
    at = 0
    for character in prefix:
        end = at + 3 if dialled.startswith("%", at) else at + 1
        if unescape(dialled[at:end]) != character:
            return None
        at = end
    return dialled[at:]
