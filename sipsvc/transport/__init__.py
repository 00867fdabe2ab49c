"""Sockets: datagrams in and out, in batches, nothing awaited."""

from sipsvc.transport.resolver import Resolver
from sipsvc.transport.udp import UdpListener

__all__ = ["Resolver", "UdpListener"]
