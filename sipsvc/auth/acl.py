"""Source networks, longest prefix first (SIP-20)."""

from __future__ import annotations

from ipaddress import ip_address

from sipsvc.directory import Trunk
from sipsvc.directory.model import Networks

MEMO = 4_096


class Acl:
    """Looks up the packet's real source, never an address it names."""

    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self._order = sorted(networks, key=lambda key: -key[1])
        self._memo: dict[str, tuple[Trunk, ...]] = {}

    def find(self, host: str, port: int) -> Trunk | None:
        found = self._memo.get(host)
        if found is None:
            found = self._search(host)
            if len(self._memo) < MEMO:
                self._memo[host] = found
        for trunk in found:
            if trunk.port in (0, port):
                return trunk
        return None

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
