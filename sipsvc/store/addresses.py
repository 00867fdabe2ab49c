"""Addresses as they are written down: of gateways, which may be names, and the networks that customers call from."""

from __future__ import annotations

import ipaddress

from sipsvc.settings import HOST_NAME


def at_port(port: int, tech_prefix: str) -> str:
    """Where a packet comes from besides its address, and what is dialled from there, in words."""
    return f"with port {port or 'any'}" + (f" and tech prefix {tech_prefix}" if tech_prefix else "")


def is_address(host: str) -> bool:
    """Whether a gateway's host is an IP address and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def default_port(host: str, transport: str) -> int:
    """The port of a gateway that names none; 0 for a name, whose port DNS may say (RFC 3263 §4.2)."""
    return (5061 if transport == "tls" else 5060) if is_address(host) else 0


def host_name(value: str) -> str:
    """In lower case. Raises ValueError with why it is none."""
    name = value.removesuffix(".").lower()
    last = name.rpartition(".")[2]
    if not HOST_NAME.fullmatch(name) or last.isdigit() or last == name:
        raise ValueError("must be an IP address without brackets, or a host name with its domain") from None
    return name


def network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """A trunk's source. Raises ValueError with why."""
    try:
        found = ipaddress.ip_network(text)
    except ValueError as error:
        if "host bits" in str(error):
            raise ValueError(f"has host bits set; the network is {ipaddress.ip_network(text, strict=False)}") from None
        raise ValueError("must be an address or a network such as 192.0.2.0/24") from None
    if isinstance(found, ipaddress.IPv6Network) and found.network_address.ipv4_mapped is not None:
        raise ValueError("an IPv4 address is written as IPv4")
    return found
