"""Whether a packet's source would fit two trunks, or a trunk and a gateway, alike (SIP-20).

That is asked across all partners, for they share the listeners; the answer names a trunk only to its own partner.
"""

from __future__ import annotations

import ipaddress

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from sipsvc.store.addresses import at_port, is_address, network
from sipsvc.store.models import Gateway, Trunk

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# What a partner may take of each IP version for one trunk, as prefix lengths.
WIDEST = {4: 16, 6: 32}


def source_taken(
    session: Session, source: str, port: int, tech_prefix: str, trunk: str | None, partner: str | None
) -> str:
    """Why `source` (a network as `addresses.network` writes it) cannot be a trunk's with that port and tech prefix.

    "" where it can. `trunk` is the id of the one that asks, `partner` whose it is. Port 0 is any.
    """
    same = select(Trunk.id, Trunk.partner).where(
        Trunk.source == source, Trunk.port == port, Trunk.tech_prefix == tech_prefix
    )
    other = _another(session, same, trunk, partner)
    if other:
        return f"{at_port(port, tech_prefix)} is already the source of {other}"
    found = network(source)
    if found.num_addresses == 1:
        address = str(found.network_address)
        there = select(Gateway.id).where(Gateway.host == address, Gateway.port == port)
        if session.execute(there.limit(1)).first() is not None:
            return f"with port {port} is the address of a gateway"
    return ""


def others_caught(session: Session, source: str, partner: str | None) -> str:
    """Why a partner may not have `source` for a trunk though nobody has just the same: it would get others' calls.

    "" where it may. What the platform's operator sets up is not asked about.
    """
    found = network(source)
    if found.prefixlen < WIDEST[found.version]:
        return f"is wider than /{WIDEST[found.version]}, which only the platform's operator may set up"
    trunks = select(Trunk.source).where(Trunk.partner != partner, Trunk.source != "").distinct()
    if any(_overlap(found, one) for one in session.scalars(trunks)):
        return "overlaps the source of a trunk of another partner"
    gateways = select(Gateway.host).where(Gateway.partner != partner).distinct()
    if any(is_address(host) and _overlap(found, host) for host in session.scalars(gateways)):
        return "holds the address of another partner's gateway"
    return ""


def others_trunk_at(session: Session, host: str, partner: str | None) -> str:
    """Why a partner may not have a gateway at `host`, "" where it may: it would take in another partner's calls."""
    if not is_address(host):
        return ""
    single = network(host)
    trunks = select(Trunk.source).where(Trunk.partner != partner, Trunk.source != "").distinct()
    if any(_overlap(single, one) for one in session.scalars(trunks)):
        return "lies in the source of a trunk of another partner"
    return ""


def _overlap(network: Network, other: str) -> bool:
    there = ipaddress.ip_network(other)
    return network.version == there.version and network.overlaps(there)


def address_taken(session: Session, host: str, port: int) -> str:
    """Why `host` with `port` cannot be a gateway's address, "" where it can.

    A name can always be: where its packets come from is for DNS to say, and may be another place tomorrow.
    """
    if not is_address(host):
        return ""
    single = str(ipaddress.ip_network(host))
    same = select(Trunk.id).where(Trunk.source == single, Trunk.port == port)
    if session.execute(same.limit(1)).first() is not None:
        return f"with port {port} is the source of a trunk"
    return ""


def certificate_taken(session: Session, certificate: str, trunk: str | None, partner: str | None) -> str:
    """Why `certificate` cannot be a trunk's, "" where it can; the rest as in `source_taken`."""
    same = select(Trunk.id, Trunk.partner).where(Trunk.certificate == certificate)
    other = _another(session, same, trunk, partner)
    return f"is already that of {other}" if other else ""


def _another(session: Session, same: Select[str, str], trunk: str | None, partner: str | None) -> str:
    """The trunk found, as `partner` may know of it, "" for none but `trunk`."""
    if trunk is not None:
        same = same.where(Trunk.id != trunk)
    found = session.execute(same.order_by(Trunk.id).limit(1)).first()
    if found is None:
        return ""
    return f"trunk {found[0]}" if found[1] == partner else "a trunk of another partner"
