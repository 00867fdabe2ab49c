"""Whether a packet's source would fit two trunks, or a trunk and a gateway, alike (SIP-20).

That is asked across all partners, for they share the listeners; the answer names nobody.
"""

from __future__ import annotations

import ipaddress

from sqlalchemy import select
from sqlalchemy.orm import Session

from sipsvc.store.models import Gateway, Trunk
from sipsvc.store.sections import is_address, network


def source_taken(session: Session, source: str, port: int, trunk: str | None) -> str:
    """Why `source` (a network as `sections.network` writes it) with `port` cannot be a trunk's, "" where it can.

    `trunk` is the id of the one that asks. Port 0 is any.
    """
    same = select(Trunk.id).where(Trunk.source == source, Trunk.port == port)
    if trunk is not None:
        same = same.where(Trunk.id != trunk)
    if session.execute(same.limit(1)).first() is not None:
        return f"with port {port or 'any'} is already the source of a trunk"
    found = network(source)
    if found.num_addresses == 1:
        address = str(found.network_address)
        there = select(Gateway.id).where(Gateway.host == address, Gateway.port == port)
        if session.execute(there.limit(1)).first() is not None:
            return f"with port {port} is the address of a gateway"
    return ""


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
