"""Source networks, longest prefix first (SIP-20)."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network

from sipsvc.directory import Trunk

MEMO = 4_096


class Acl:
    """Looks up the packet's real source, never an address it names."""

    def __init__(self, trunks: Iterable[Trunk]) -> None:
        # (version, prefix length) -> network address as a number -> trunks, the one with a port first
        self._networks: dict[tuple[int, int], dict[int, list[Trunk]]] = {}
        for trunk in trunks:
            if trunk.source and trunk.enabled:
                network = ip_network(trunk.source)
                table = self._networks.setdefault((network.version, network.prefixlen), {})
                there = table.setdefault(int(network.network_address), [])
                there.append(trunk)
                there.sort(key=lambda one: one.port == 0)
        self._order = sorted(self._networks, key=lambda key: -key[1])
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
                found += self._networks[version, length].get(number >> (bits - length) << (bits - length), [])
        return tuple(found)
